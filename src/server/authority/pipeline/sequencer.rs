//! The one write path: decide in order, make the batch durable, publish, notify, answer.
//!
//! One thread does all of it, with group commit. Nothing is visible to anyone before it is durable.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::notify::EventFeed;
use crate::personal_data::{SubjectKey, SubjectKeys, TextError};
use crate::tokens::{NewKey, TokenSealer};
use tenure_core::{
    Actor, Position, SessionId, StreamId, SubjectId, Timestamp,
    command::{ActivityDependency, BeginEpoch, Command, EndContested, RenewSession, SystemCommand},
    event::SessionSeen,
    observed::Observation,
    refusal::Refusal,
    session::Session,
    subject::Subject,
};
use tenure_log::{AppendOutcome, EventLog, LogError, StoredCommit};
use tenure_protocol::clock::{Clock, stopwatch};
use tenure_protocol::entropy::{Entropy, commit_id};

use super::{
    batch::{Batch, BatchChanges, CommitError, CommitStamp, Decision, MARKS_PER_COMMIT},
    batch_size::{BESIDE_URGENT, BatchSize, DECIDING},
    bulk_application::BulkApplication,
    command_queue::{CommandQueue, GatherWindow, QueueItem},
    disk_room::DiskRoom,
    eviction::EvictionWalk,
    health::SequencerHealth,
    key_destruction::destroy_keys,
    log_damage::LogDamage,
    observation::{observed_by_system, without_stale_marks},
    recalled_sessions::RecalledSessions,
    relay::{PendingReply, ReplyRelay},
    request::{CommandEffect, CommandError, CommandOutcome, CommandRequest, QueuedRequest, RequestContext},
};
use crate::authority::{
    SubjectHistory,
    state::{
        idempotency::{IdempotencyLookup, IdempotencyTable},
        presented_tokens::PresentedTokens,
        published::PublishedState,
    },
};

/// How long to wait for a request before looking at what is due.
const IDLE_WAIT: Duration = Duration::from_millis(500);
/// Marks of presented tokens are recorded this often; the contract allows 5 s.
const MARK_INTERVAL: Duration = Duration::from_secs(3);

/// The answer to a request whose texts became unreadable.
const ERASED_MEANWHILE: &str =
    "all text about the subject was erased while this request waited; nothing of it was recorded";

/// Receives every batch, after it is durable and before its callers are answered. The commits follow, in this order,
/// those of the call before.
///
/// The published state reflects them. An observer must be quick: the next batch waits for it.
pub type BatchObserver = Arc<dyn Fn(&PublishedState, &[Arc<StoredCommit>]) + Send + Sync>;

/// What the sequencer works with.
pub(crate) struct Sequencer {
    pub(crate) queue: Arc<CommandQueue>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) live: Arc<PublishedState>,
    pub(crate) feed: Arc<EventFeed>,
    pub(crate) presented_tokens: Arc<PresentedTokens>,
    pub(crate) health: Arc<SequencerHealth>,
    pub(crate) disk_room: Arc<DiskRoom>,
    pub(crate) log_damage: Arc<LogDamage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) idempotency: IdempotencyTable,
    pub(crate) texts: Arc<SubjectKeys>,
    pub(crate) tokens: Arc<TokenSealer>,
    pub(crate) observers: Vec<BatchObserver>,
    pub(crate) bulk_application: BulkApplication,
    pub(crate) eviction: EvictionWalk,
    pub(crate) size: BatchSize,
    pub(crate) relay: Arc<ReplyRelay>,
    /// Whether it decides; otherwise it follows what another machine has decided. No other part changes it.
    pub(crate) leads: Arc<AtomicBool>,
    /// What subjects were, sessions that left memory included.
    pub(crate) past: SubjectHistory,
}

/// Keeps callers from waiting forever if the thread dies.
struct CloseOnExit(Arc<CommandQueue>, Arc<SequencerHealth>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.stop("the sequencer died".into());
        }
        self.0.close();
        let nothing = GatherWindow { answered: 0, until: stopwatch() };
        while !matches!(self.0.take(usize::MAX, Duration::ZERO, nothing), QueueItem::Closed) {}
    }
}

impl Sequencer {
    /// Serves until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _guard = CloseOnExit(Arc::clone(&self.queue), Arc::clone(&self.health));
        let mut marked = stopwatch();
        let mut gathering = GatherWindow { answered: 0, until: marked };
        loop {
            let item = self.queue.take(self.size.most(stopwatch()), self.longest_wait(), gathering);
            let begun = stopwatch();
            let answered = match item {
                QueueItem::Requests(requests) => self.serve(requests),
                QueueItem::Control(control) => self.obey(control),
                QueueItem::Closed => break,
            };
            self.bulk_application.go_on(&self.live);
            self.eviction.go_on(&self.live, self.clock.now().max(self.live.recorded_at()));
            let now = stopwatch();
            gathering = GatherWindow { answered, until: now + (now - begun) / 2 };
            if marked.elapsed() >= MARK_INTERVAL {
                self.record_due();
                marked = stopwatch();
            }
        }
        if self.record_all() {
            self.health.all_uses_recorded();
        }
    }

    /// With bulk revocations to settle, or sessions to let go of, the sequencer does not wait for requests.
    fn longest_wait(&self) -> Duration {
        let is_busy = self.eviction.is_under_way() || !self.live.unsettled_bulks().is_empty();
        if is_busy { Duration::ZERO } else { IDLE_WAIT }
    }

    /// Decides what fits into one batch and makes it durable; what does not fit goes back to the queue. What is urgent
    /// and comes meanwhile goes first. Says how many were answered.
    fn serve(&mut self, requests: Vec<QueuedRequest>) -> usize {
        if requests.is_empty() {
            return 0;
        }
        if let Err(failure) = self.may_write() {
            let refused = requests.into_iter().map(|request| (request.caller, Err(failure.clone())));
            return self.relay.send(refused.collect());
        }
        if requests[0].ask.is_bulk() {
            self.bulk_application.make_room(&self.live);
        }
        let begun = stopwatch();
        let live = Arc::clone(&self.live);
        let mut batch = Batch::new(&live, requests.len());
        let waiting = self.decide_batch(&mut batch, requests);
        self.size.note_decided(waiting.iter().map(|(caller, _)| caller.goes_first), begun);
        let result = self.commit(batch, begun);
        for (caller, _) in &waiting {
            caller.passage.durable();
        }
        // Even a refusal may rest on a commit of this batch, so all share the batch's fate.
        let answers = waiting.into_iter().map(|(caller, outcome)| (caller, result.clone().and(outcome)));
        self.relay.send(answers.collect())
    }

    fn decide_batch(&self, batch: &mut Batch<'_>, requests: Vec<QueuedRequest>) -> Vec<PendingReply> {
        let mut waiting: Vec<PendingReply> = Vec::with_capacity(requests.len());
        let mut begins_with_bulk = requests.first().is_some_and(|request| request.ask.is_bulk());
        let mut requests = requests.into_iter().peekable();
        let room = self.disk_room.check();
        let mut now = stopwatch();
        let (until, most) = (now + DECIDING, self.size.most(now));
        let (mut until_for_ordinary, mut most_ordinary, mut ordinary) = (until, most, 0);
        let mut put_off = None;
        // At least one is decided, however long the disk took to say what is free.
        while waiting.is_empty() || (waiting.len() < most && now < until) {
            // What is urgent and was taken first is decided first.
            let is_next_urgent = requests.peek().is_some_and(|request| request.ask.is_urgent());
            let urgent = if is_next_urgent { None } else { self.queue.take_urgent() };
            let Some(request) = urgent.or_else(|| requests.next()) else { break };
            if request.ask.is_urgent() {
                until_for_ordinary = until_for_ordinary.min(now + BESIDE_URGENT);
                most_ordinary = self.size.beside_urgent();
            } else if !waiting.is_empty() && (now >= until_for_ordinary || ordinary >= most_ordinary) {
                put_off = Some(request);
                break;
            } else {
                ordinary += 1;
            }
            // A bulk revocation takes long to count, so it is alone in its batch: no other caller waits for it.
            let is_bulk = request.ask.is_bulk();
            if is_bulk && !std::mem::take(&mut begins_with_bulk) {
                put_off = Some(request);
                break;
            }
            request.caller.passage.taken();
            let fits = self.check_fits(batch, &request, room);
            let QueuedRequest { ask, context, carried, caller } = request;
            let outcome = fits.and_then(|()| self.decide(batch, ask, context, carried));
            caller.passage.decided();
            waiting.push((caller, outcome));
            if is_bulk {
                break;
            }
            now = stopwatch();
        }
        self.queue.put_back(put_off.into_iter().chain(requests));
        waiting
    }

    pub(super) fn may_write(&self) -> Result<(), CommandError> {
        if !self.leads.load(Ordering::Acquire) {
            return Err(CommandError::NotLeading);
        }
        if let Some(why) = self.health.stopped() {
            return Err(CommandError::StorageUnavailable { why });
        }
        self.clock.plausible().map_err(|jump| CommandError::StorageUnavailable { why: jump.to_string() })
    }

    fn decide(
        &self,
        batch: &mut Batch<'_>,
        ask: CommandRequest,
        context: RequestContext,
        carried: Option<RecalledSessions>,
    ) -> Result<CommandOutcome, CommandError> {
        let at = batch.moment(self.clock.now());
        if let Some(first) = self.first_of_repeat(batch, &context, at)? {
            return Ok(CommandOutcome::Repeat(first));
        }
        if self.lacks_sessions(batch, &ask, carried.as_ref()) {
            return Ok(CommandOutcome::Unread(Box::new((ask, context))));
        }
        let stamp = self.stamp(at, context);
        let (decided, sample) = self.decide_fresh(batch, ask, carried, stamp)?;
        let Decision { refusal, commit, after } = decided.map_err(|fault| self.unwritable(&fault))?;
        match refusal {
            None => Ok(CommandOutcome::Done(CommandEffect { at, commit, after, sample, is_repeat: false })),
            Some(refusal) => {
                let recorded = commit.map(|commit| commit.last());
                Err(CommandError::Refused { refusal: refusal.recorded_at(recorded), recorded })
            }
        }
    }

    /// Whether a command must be given back, because it needs sessions that are not in memory.
    fn lacks_sessions(
        &self,
        batch: &Batch<'_>,
        ask: &CommandRequest,
        carried: Option<&RecalledSessions>,
    ) -> bool {
        let (CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _)) = ask else {
            return false;
        };
        if !self.may_need(id, command) {
            return false;
        }
        let subject = batch.subject(id);
        let needs = match command.session_id() {
            Some(id) => subject.session(id).is_none(),
            None => subject.profile().is_some_and(|known| command.moves(known)),
        };
        needs && carried.is_none_or(|carried| carried.version != subject.version())
    }

    fn may_need(&self, id: &SubjectId, command: &Command) -> bool {
        self.live.horizon().is_there()
            && (command.session_id().is_some()
                || matches!(command, Command::RegisterSubject(_) | Command::ChangeSubject(_)))
            && self.live.has_left(id)
    }

    /// Where the commit of the request begins of which this one is a repeat.
    fn first_of_repeat(
        &self,
        batch: &Batch<'_>,
        context: &RequestContext,
        at: Timestamp,
    ) -> Result<Option<Position>, CommandError> {
        let Some(mark) = context.idempotency else { return Ok(None) };
        match batch.look_up(&self.idempotency, mark, at) {
            IdempotencyLookup::No => self.room_for_key(context, at).map(|()| None),
            IdempotencyLookup::Repeat(first) => Ok(Some(first)),
            IdempotencyLookup::Reused(caused_by) => Err(Refusal::IdempotencyKeyReused { caused_by }.into()),
        }
    }

    /// Decides what is no repeat; with some of the sessions that a bulk revocation ends.
    fn decide_fresh(
        &self,
        batch: &mut Batch<'_>,
        ask: CommandRequest,
        carried: Option<RecalledSessions>,
        stamp: CommitStamp,
    ) -> Result<(Result<Decision, CommitError>, Vec<SessionId>), CommandError> {
        let at = stamp.at;
        Ok(match ask {
            CommandRequest::Sealed(id, _, key) if !self.still_seals(batch, &id, &key) => {
                return Err(CommandError::StorageUnavailable { why: ERASED_MEANWHILE.into() });
            }
            CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _) => {
                self.record_activity(batch, &id, &command, at)?;
                let subject = batch.subject(&id);
                let subject = RecalledSessions::put_all_into(carried, subject);
                let observed = self.observed(batch, &subject, &command);
                (batch.decide_subject(subject, &command, &observed, stamp), vec![])
            }
            CommandRequest::Rotate(command, key) => {
                let command = SystemCommand::RotateKey(command);
                let observed = observed_by_system(batch, &command, at);
                self.keep_key(batch, &command, &observed, key, at)?;
                (batch.decide_system(&command, &observed, stamp), vec![])
            }
            CommandRequest::BeginEpoch(command, keys) => {
                let from = Position(batch.next().0 - 1);
                let command = SystemCommand::BeginEpoch(Box::new(BeginEpoch { from, ..*command }));
                let observed = observed_by_system(batch, &command, at);
                for key in keys {
                    self.keep_key(batch, &command, &observed, key, at)?;
                }
                (batch.decide_system(&command, &observed, stamp), vec![])
            }
            CommandRequest::System(command) => {
                let command = without_stale_marks(batch, command, at);
                let observed = observed_by_system(batch, &command, at);
                let decided = batch.decide_system(&command, &observed, stamp);
                (decided, observed.matched.sample().to_vec())
            }
        })
    }

    fn room_for_key(&self, context: &RequestContext, at: Timestamp) -> Result<(), CommandError> {
        self.idempotency.room_for(&context.actor, at).map_err(|until| {
            let millis = until.as_millis() - at.as_millis();
            CommandError::TooManyKeys { retry_after: u32::try_from(millis / 1000 + 1).unwrap_or(1) }
        })
    }

    pub(super) fn stamp(&self, at: Timestamp, context: RequestContext) -> CommitStamp {
        CommitStamp { id: commit_id(&*self.entropy, at), at, context }
    }

    /// Records what a decision rests on and the log does not hold yet, so that the decision follows from the log
    /// alone: uses of sessions that would count as idle without them; and, if the decision grants something because
    /// sessions are idle, that they are permanently idle.
    fn record_activity(
        &self,
        batch: &mut Batch<'_>,
        id: &SubjectId,
        command: &Command,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        let rests_on = command.rests_on();
        if rests_on == ActivityDependency::Nothing || batch.has_nothing_idle(id) {
            return Ok(());
        }
        let subject = batch.subject(id);
        let idle: Vec<_> = subject
            .sessions
            .iter()
            .filter(|session| rests_on.concerns(session.id) && session.is_idle(at) && session.can_be_seen())
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        let later = |session: &&Session| {
            let seen_at = self.live.uses().later_than(session)?;
            Some(SessionSeen { session_id: session.id, seen_at })
        };
        let uses = batch.still_new_uses(idle.iter().filter_map(later).collect(), at);
        for uses in uses.chunks(MARKS_PER_COMMIT) {
            let command = SystemCommand::MarkSeen(uses.to_vec());
            self.decide_own(batch, &command, at)?;
        }
        if rests_on == ActivityDependency::AllForGood { self.record_ends(batch, id, at) } else { Ok(()) }
    }

    /// Records which sessions of a subject have ended by themselves, in as many commits as that needs.
    fn record_ends(&self, batch: &mut Batch<'_>, id: &SubjectId, at: Timestamp) -> Result<(), CommandError> {
        loop {
            let (subject, stamp) = (batch.subject(id), self.stamp(at, RequestContext::of(Actor::AUTHORITY)));
            let decided =
                batch.decide_subject(subject, &Command::RecordExpiries, &Observation::default(), stamp);
            if decided.map_err(|fault| self.unwritable(&fault))?.commit.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether texts that were sealed under this key can be read once they are recorded.
    fn still_seals(&self, batch: &Batch<'_>, id: &SubjectId, key: &SubjectKey) -> bool {
        !batch.erases(id) && self.texts.get(&StreamId::Subject(id.clone())).as_ref() == Some(key)
    }

    /// Writes the key before the event that admits it: a crash between the two leaves a file that no fact names.
    fn keep_key(
        &self,
        batch: &Batch<'_>,
        command: &SystemCommand,
        observed: &Observation,
        key: NewKey,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        if !batch.grants(command, observed, at) {
            return Ok(());
        }
        let kept = self.tokens.keyring().keep(key);
        kept.map_err(|error| {
            tracing::warn!(%error, "a key of tokens cannot be kept");
            CommandError::StorageUnavailable { why: error.to_string() }
        })
    }

    /// What was presented is known here before the log knows it, and the log does not know which keys are gone.
    pub(super) fn observed(&self, batch: &Batch<'_>, subject: &Subject, command: &Command) -> Observation {
        match command {
            Command::RenewSession(RenewSession { session_id, .. })
            | Command::EndContested(EndContested { session_id, .. }) => {
                let session = subject.session(*session_id);
                let is_presented = session
                    .is_some_and(|session| self.presented_tokens.has_seen(session.id, session.generation()));
                Observation { is_presented, ..Observation::default() }
            }
            Command::EraseSubject(_) => {
                let stream = StreamId::Subject(subject.id.clone());
                let is_forgotten = batch.erases(&subject.id) || self.texts.is_forgotten(&stream);
                Observation { is_forgotten, ..Observation::default() }
            }
            Command::RegisterSubject(_)
            | Command::ChangeSubject(_)
            | Command::CreateSession(_)
            | Command::RefreshSession(_)
            | Command::RecordUsage(_)
            | Command::RevokeSession(_)
            | Command::RevokeSessions(_)
            | Command::RecordExpiries
            | Command::SuspendSubject(_)
            | Command::ResumeSubject(_)
            | Command::EndAndSuspend(_) => Observation::default(),
        }
    }

    /// Decides a command of the authority's own.
    pub(super) fn decide_own(
        &self,
        batch: &mut Batch<'_>,
        command: &SystemCommand,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        let stamp = self.stamp(at, RequestContext::of(Actor::AUTHORITY));
        let decided = batch.decide_system(command, &Observation::default(), stamp);
        decided.map(drop).map_err(|fault| self.unwritable(&fault))
    }

    pub(super) fn commit(&mut self, batch: Batch<'_>, begun: Instant) -> Result<(), CommandError> {
        let after = self.live.position();
        let (encoded, published) = batch.finish();
        if let Some(why) = self.health.stopped() {
            // A decision of this batch could not be written down; the others stood on it.
            return Err(CommandError::StorageUnavailable { why });
        }
        if encoded.is_empty() {
            self.clear_due(&published);
            return Ok(());
        }
        let (appended, took) = self.health.appending(|| self.log.append(after, encoded));
        self.size.note_append(took);
        match appended {
            Ok(AppendOutcome::Appended) => {
                self.health.committed(&published.commits, begun.elapsed());
                self.health.found_room(None);
                let destroyed = destroy_keys(&self.texts, &published.commits);
                self.publish(&published);
                self.log.note_published();
                destroyed.map_err(|error| self.not_destroyed(&error))
            }
            // What became of it is read with what the others append.
            Ok(AppendOutcome::Unknown) if self.log.is_shared() => {
                self.leads.store(false, Ordering::Release);
                Err(CommandError::OutcomeUnknown)
            }
            Ok(AppendOutcome::Unknown) => {
                let why = self.log.stopped().unwrap_or_else(|| "the fate of a batch is not known".into());
                self.health.stop(why);
                Err(CommandError::OutcomeUnknown)
            }
            Err(error) => Err(self.refused_by_log(&error)),
        }
    }

    /// The texts are gone from memory, and the next start destroys the key on disk. Until then no caller gets a
    /// success.
    fn not_destroyed(&self, error: &TextError) -> CommandError {
        self.health.stop(format!("the key of an erased subject could not be destroyed: {error}"));
        CommandError::OutcomeUnknown
    }

    fn refused_by_log(&self, error: &LogError) -> CommandError {
        let why = error.to_string();
        if let LogError::Exhausted { .. } = error {
            tracing::warn!(%why, "a batch was not written; the next one is tried");
            return CommandError::StorageUnavailable { why };
        }
        if let LogError::Full { .. } = error {
            tracing::error!(%why, "a batch was not written; the next one is tried");
            self.health.found_room(Some(&why));
            return CommandError::StorageUnavailable { why };
        }
        if let LogError::Deposed { .. } = error
            && self.log.is_shared()
        {
            self.leads.store(false, Ordering::Release);
            return CommandError::NotLeading;
        }
        self.health.stop(why.clone());
        CommandError::StorageUnavailable { why }
    }

    pub(super) fn unwritable(&self, fault: &CommitError) -> CommandError {
        let why = fault.to_string();
        self.health.stop(why.clone());
        CommandError::StorageUnavailable { why }
    }

    /// A node that follows is brought it sooner or later; until then tokens of it are none here.
    fn lacks_key(&self) {
        if self.leads.load(Ordering::Acquire) {
            self.health.stop("the file of a key that was just written is gone".into());
        } else {
            tracing::warn!("a key of tokens was rotated, and the new one is not here yet");
        }
    }

    pub(super) fn publish(&mut self, published: &BatchChanges) {
        self.live.registrations().note(&published.registrations);
        for subject in published.subjects.values() {
            self.live.publish_subject(Arc::clone(subject));
        }
        self.forget_overtaken(&published.commits);
        if let Some(system) = &published.system {
            if published.rotates_keys() && !self.tokens.keyring().follow(&system.keys, published.recorded_at)
            {
                self.lacks_key();
            }
            self.live.publish_system(Arc::clone(system));
        }
        if !published.bulks.is_empty() {
            self.live.publish_bulks(&published.bulks);
        }
        published.commits.iter().for_each(|stored| self.idempotency.fold(stored));
        self.health.lost_keys(self.idempotency.take_lost());
        self.clear_due(published);
        for observer in &self.observers {
            observer(&self.live, &published.commits);
        }
        self.live.publish_position(published.head, published.recorded_at);
        self.feed.publish(&published.commits, |id| published.subjects.get(id).cloned());
    }

    /// Due uses recorded now are no longer due.
    fn clear_due(&self, published: &BatchChanges) {
        for id in &published.uses {
            self.live.uses().clear_due(*id, self.live.recorded_session(*id).as_deref());
        }
    }
}
