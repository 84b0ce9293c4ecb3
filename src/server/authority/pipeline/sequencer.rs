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
    event::{PresentedToken, SessionSeen},
    observed::Observation,
    refusal::Refusal,
    session::SharedSession,
    subject::Subject,
};
use tenure_log::{AppendOutcome, EventLog, LogError, StoredCommit};
use tenure_protocol::clock::{Clock, stopwatch};
use tenure_protocol::entropy::{Entropy, commit_id};

use super::{
    batch::{Batch, BatchChanges, CommitError, CommitStamp, Decision},
    bulk_application::BulkApplication,
    carrying::RecalledSessions,
    command_queue::{CommandQueue, GatherWindow, QueueItem},
    disk_room::{DiskRoom, RoomFor},
    eviction::EvictionWalk,
    health::SequencerHealth,
    key_destruction::destroy_keys,
    log_damage::LogDamage,
    observing::{observed_by_system, with_news},
    relay::{PendingReply, ReplyRelay},
    request::{CommandEffect, CommandError, CommandOutcome, CommandRequest, QueuedRequest, RequestContext},
};
use crate::authority::state::{
    activity::ActivityTracker,
    idempotency::{IdempotencyLookup, IdempotencyTable},
    presented_tokens::PresentedTokens,
    published::PublishedState,
};

/// Maximum commands per batch; a frame of the log holds about as many renewals.
const BATCH: usize = 512;
/// The longest time spent on decisions before the disk is asked. Some decisions cost a hundred times what a renewal
/// does, and every caller of the batch waits for all of them.
const DECIDING: Duration = Duration::from_millis(5);
/// The longest wait of something urgent for the others of its batch.
const BESIDE_URGENT: Duration = Duration::from_millis(1);
/// How long to wait for a request before looking at what is due.
const PATIENCE: Duration = Duration::from_millis(500);
/// Marks of presented tokens are recorded this often; the contract allows 5 s.
const MARK_INTERVAL: Duration = Duration::from_secs(3);
/// Maximum marks per commit: 24 bytes each, far below the size that a commit may have.
pub(crate) const MARKS_PER_COMMIT: usize = 1_000;
/// Maximum commits of marks made durable together.
const MARK_COMMITS: usize = 32;

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
    pub(crate) intake: Arc<CommandQueue>,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) live: Arc<PublishedState>,
    pub(crate) feed: Arc<EventFeed>,
    pub(crate) presence: Arc<PresentedTokens>,
    pub(crate) health: Arc<SequencerHealth>,
    pub(crate) room: Arc<DiskRoom>,
    pub(crate) doubt: Arc<LogDamage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) idempotency: IdempotencyTable,
    pub(crate) texts: Arc<SubjectKeys>,
    pub(crate) tokens: Arc<TokenSealer>,
    pub(crate) observers: Vec<BatchObserver>,
    pub(crate) settling: BulkApplication,
    pub(crate) eviction: EvictionWalk,
    pub(crate) relay: Arc<ReplyRelay>,
    /// Whether it decides; otherwise it follows what another machine has decided. No other part changes it.
    pub(crate) leads: Arc<AtomicBool>,
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
    /// Serves until the intake is closed and empty.
    pub(crate) fn run(mut self) {
        let _guard = CloseOnExit(Arc::clone(&self.intake), Arc::clone(&self.health));
        let mut marked = stopwatch();
        let mut gathering = GatherWindow { answered: 0, until: marked };
        loop {
            let item = self.intake.take(BATCH, self.patience(), gathering);
            let begun = stopwatch();
            let answered = match item {
                QueueItem::Requests(requests) => self.serve(requests),
                QueueItem::Control(control) => self.obey(control),
                QueueItem::Closed => break,
            };
            self.settling.go_on(&self.live);
            self.eviction.go_on(&self.live, self.clock.now().max(self.live.recorded_at()));
            let now = stopwatch();
            gathering = GatherWindow { answered, until: now + (now - begun) / 2 };
            if marked.elapsed() >= MARK_INTERVAL {
                self.record_marks();
                self.end_contested();
                self.record_uses(|uses| uses.due_now(MARKS_PER_COMMIT * MARK_COMMITS));
                marked = stopwatch();
            }
        }
        if self.record_all() {
            self.health.all_uses_recorded();
        }
    }

    /// Records all that it knows and the log does not; whether that was possible.
    pub(super) fn record_all(&mut self) -> bool {
        self.record_marks();
        self.end_contested();
        self.record_uses(ActivityTracker::all)
    }

    /// With bulk revocations to settle, or sessions to let go of, the sequencer does not wait for requests.
    fn patience(&self) -> Duration {
        let is_busy = self.eviction.is_under_way() || !self.live.unsettled_bulks().is_empty();
        if is_busy { Duration::ZERO } else { PATIENCE }
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
            self.settling.make_room(&self.live);
        }
        let begun = stopwatch();
        let live = Arc::clone(&self.live);
        let mut staging = Batch::new(&live, requests.len());
        let waiting = self.decide_batch(&mut staging, requests);
        let result = self.commit(staging, begun);
        for (caller, _) in &waiting {
            caller.passage.durable();
        }
        // Even a refusal may rest on a commit of this batch, so all share the batch's fate.
        let answers = waiting.into_iter().map(|(caller, outcome)| (caller, result.clone().and(outcome)));
        self.relay.send(answers.collect())
    }

    fn decide_batch(&self, staging: &mut Batch<'_>, requests: Vec<QueuedRequest>) -> Vec<PendingReply> {
        let mut waiting: Vec<PendingReply> = Vec::with_capacity(requests.len());
        let mut begins_with_bulk = requests.first().is_some_and(|request| request.ask.is_bulk());
        let mut requests = requests.into_iter().peekable();
        let room = self.room.look();
        let mut now = stopwatch();
        let until = now + DECIDING;
        let mut until_for_ordinary = until;
        let mut put_off = None;
        // At least one is decided, however long the disk took to say what is free.
        while waiting.is_empty() || (waiting.len() < BATCH && now < until) {
            // What is urgent and was taken first is decided first.
            let is_next_urgent = requests.peek().is_some_and(|request| request.ask.is_urgent());
            let urgent = if is_next_urgent { None } else { self.intake.take_urgent() };
            let Some(request) = urgent.or_else(|| requests.next()) else { break };
            if request.ask.is_urgent() {
                until_for_ordinary = until_for_ordinary.min(now + BESIDE_URGENT);
            } else if now >= until_for_ordinary && !waiting.is_empty() {
                put_off = Some(request);
                break;
            }
            // A bulk revocation takes long to count, so it is alone in its batch: no other caller waits for it.
            let is_bulk = request.ask.is_bulk();
            if is_bulk && !std::mem::take(&mut begins_with_bulk) {
                put_off = Some(request);
                break;
            }
            request.caller.passage.taken();
            let fits = self.check_fits(staging, &request, room);
            let QueuedRequest { ask, context, carried, caller } = request;
            let outcome = fits.and_then(|()| self.decide(staging, ask, context, carried));
            caller.passage.decided();
            waiting.push((caller, outcome));
            if is_bulk {
                break;
            }
            now = stopwatch();
        }
        self.intake.put_back(put_off.into_iter().chain(requests));
        waiting
    }

    fn may_write(&self) -> Result<(), CommandError> {
        if !self.leads.load(Ordering::Acquire) {
            return Err(CommandError::NotLeading);
        }
        if let Some(why) = self.health.stopped() {
            return Err(CommandError::StorageUnavailable { why });
        }
        self.clock.plausible().map_err(|jump| CommandError::StorageUnavailable { why: jump.to_string() })
    }

    /// Whether the authority may record its own notes now. They wait for room, because no caller asked for them.
    fn may_note(&self) -> bool {
        self.may_write().is_ok() && self.room.look() == RoomFor::All
    }

    fn decide(
        &self,
        staging: &mut Batch<'_>,
        ask: CommandRequest,
        context: RequestContext,
        carried: Option<RecalledSessions>,
    ) -> Result<CommandOutcome, CommandError> {
        let at = staging.moment(self.clock.now());
        if let Some(mark) = context.idempotency {
            match staging.look_up(&self.idempotency, mark, at) {
                IdempotencyLookup::No => self.room_for_key(&context, at)?,
                IdempotencyLookup::Repeat(first) => return Ok(CommandOutcome::Repeat(first)),
                IdempotencyLookup::Reused(caused_by) => {
                    return Err(Refusal::IdempotencyKeyReused { caused_by }.into());
                }
            }
        }
        if self.lacks_sessions(staging, &ask, carried.as_ref()) {
            return Ok(CommandOutcome::Unread(Box::new((ask, context))));
        }
        let stamp = self.stamp(at, context);
        let (decided, sample) = match ask {
            CommandRequest::Sealed(id, _, key) if !self.still_seals(staging, &id, &key) => {
                return Err(CommandError::StorageUnavailable { why: ERASED_MEANWHILE.into() });
            }
            CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _) => {
                self.record_activity(staging, &id, &command, at)?;
                let subject = staging.subject(&id);
                let subject = RecalledSessions::put_all_into(carried, subject);
                let observed = self.observed(staging, &subject, &command);
                (staging.decide_subject(subject, &command, &observed, stamp), vec![])
            }
            CommandRequest::Rotate(command, key) => {
                let command = SystemCommand::RotateKey(command);
                let observed = observed_by_system(staging, &command, at);
                self.keep_key(staging, &command, &observed, key, at)?;
                (staging.decide_system(&command, &observed, stamp), vec![])
            }
            CommandRequest::BeginEpoch(command, keys) => {
                let from = Position(staging.next().0 - 1);
                let command = SystemCommand::BeginEpoch(Box::new(BeginEpoch { from, ..*command }));
                let observed = observed_by_system(staging, &command, at);
                for key in keys {
                    self.keep_key(staging, &command, &observed, key, at)?;
                }
                (staging.decide_system(&command, &observed, stamp), vec![])
            }
            CommandRequest::System(command) => {
                let command = with_news(staging, command, at);
                let observed = observed_by_system(staging, &command, at);
                let decided = staging.decide_system(&command, &observed, stamp);
                (decided, observed.matched.sample().to_vec())
            }
        };
        let Decision { refusal, commit, subject } = decided.map_err(|fault| self.unwritable(&fault))?;
        match refusal {
            None => Ok(CommandOutcome::Done(CommandEffect { at, commit, subject, sample, is_repeat: false })),
            Some(refusal) => {
                let recorded = commit.map(|commit| commit.last());
                Err(CommandError::Refused { refusal: refusal.recorded_at(recorded), recorded })
            }
        }
    }

    fn room_for_key(&self, context: &RequestContext, at: Timestamp) -> Result<(), CommandError> {
        self.idempotency.room_for(&context.actor, at).map_err(|until| {
            let millis = until.as_millis() - at.as_millis();
            CommandError::TooManyKeys { retry_after: u32::try_from(millis / 1000 + 1).unwrap_or(1) }
        })
    }

    fn stamp(&self, at: Timestamp, context: RequestContext) -> CommitStamp {
        CommitStamp { id: commit_id(&*self.entropy, at), at, context }
    }

    /// Records what a decision rests on and the log does not hold yet, so that the decision follows from the log
    /// alone: uses of sessions that would count as idle without them; and, if the decision grants something because
    /// sessions are idle, that they are permanently idle.
    fn record_activity(
        &self,
        staging: &mut Batch<'_>,
        id: &SubjectId,
        command: &Command,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        let rests_on = command.rests_on();
        if rests_on == ActivityDependency::Nothing {
            return Ok(());
        }
        let subject = staging.subject(id);
        let idle: Vec<_> = subject
            .sessions
            .iter()
            .filter(|session| rests_on.concerns(session.id) && session.is_idle(at) && session.can_be_seen())
            .collect();
        if idle.is_empty() {
            return Ok(());
        }
        let later = |session: &&SharedSession| {
            let seen_at = self.live.uses().later_than(session)?;
            Some(SessionSeen { session_id: session.id, seen_at })
        };
        let uses = staging.still_news(idle.iter().filter_map(later).collect(), at);
        for uses in uses.chunks(MARKS_PER_COMMIT) {
            let command = SystemCommand::MarkSeen(uses.to_vec());
            self.decide_own(staging, &command, at)?;
        }
        if rests_on == ActivityDependency::AllForGood { self.record_ends(staging, id, at) } else { Ok(()) }
    }

    /// Records which sessions of a subject have ended by themselves, in as many commits as that needs.
    fn record_ends(
        &self,
        staging: &mut Batch<'_>,
        id: &SubjectId,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        loop {
            let (subject, stamp) =
                (staging.subject(id), self.stamp(at, RequestContext::of(Actor::AUTHORITY)));
            let decided =
                staging.decide_subject(subject, &Command::RecordExpiries, &Observation::default(), stamp);
            if decided.map_err(|fault| self.unwritable(&fault))?.commit.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether texts that were sealed under this key can be read once they are recorded.
    fn still_seals(&self, staging: &Batch<'_>, id: &SubjectId, key: &SubjectKey) -> bool {
        !staging.erases(id) && self.texts.get(&StreamId::Subject(id.clone())).as_ref() == Some(key)
    }

    /// Writes the key before the event that admits it: a crash between the two leaves a file that no fact names.
    fn keep_key(
        &self,
        staging: &Batch<'_>,
        command: &SystemCommand,
        observed: &Observation,
        key: NewKey,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        if !staging.grants(command, observed, at) {
            return Ok(());
        }
        let kept = self.tokens.keyring().keep(key);
        kept.map_err(|error| {
            tracing::warn!(%error, "a key of tokens cannot be kept");
            CommandError::StorageUnavailable { why: error.to_string() }
        })
    }

    /// What was presented is known here before the log knows it, and the log does not know which keys are gone.
    pub(super) fn observed(&self, staging: &Batch<'_>, subject: &Subject, command: &Command) -> Observation {
        match command {
            Command::RenewSession(RenewSession { session_id, .. })
            | Command::EndContested(EndContested { session_id, .. }) => {
                let session = subject.session(*session_id);
                let is_presented =
                    session.is_some_and(|session| self.presence.has_seen(session.id, session.generation));
                Observation { is_presented, ..Observation::default() }
            }
            Command::EraseSubject(_) => {
                let stream = StreamId::Subject(subject.id.clone());
                let is_forgotten = staging.erases(&subject.id) || self.texts.is_forgotten(&stream);
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
    fn decide_own(
        &self,
        staging: &mut Batch<'_>,
        command: &SystemCommand,
        at: Timestamp,
    ) -> Result<(), CommandError> {
        let stamp = self.stamp(at, RequestContext::of(Actor::AUTHORITY));
        let decided = staging.decide_system(command, &Observation::default(), stamp);
        decided.map(drop).map_err(|fault| self.unwritable(&fault))
    }

    fn commit(&mut self, staging: Batch<'_>, begun: Instant) -> Result<(), CommandError> {
        let after = self.live.position();
        let (encoded, published) = staging.finish();
        if let Some(why) = self.health.stopped() {
            // A decision of this batch could not be written down; the others stood on it.
            return Err(CommandError::StorageUnavailable { why });
        }
        if encoded.is_empty() {
            self.settle_due(&published);
            return Ok(());
        }
        match self.health.appending(|| self.log.append(after, encoded)) {
            Ok(AppendOutcome::Appended) => {
                self.health.committed(&published.commits, begun.elapsed());
                let destroyed = destroy_keys(&self.texts, &published.commits);
                self.publish(&published);
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

    /// The texts are gone from memory, and the next start destroys the key on disk. Until then no caller is told that
    /// it is done.
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
        if let LogError::Deposed { .. } = error
            && self.log.is_shared()
        {
            self.leads.store(false, Ordering::Release);
            return CommandError::NotLeading;
        }
        self.health.stop(why.clone());
        CommandError::StorageUnavailable { why }
    }

    fn unwritable(&self, fault: &CommitError) -> CommandError {
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
        for subject in published.subjects.values() {
            self.live.publish_subject(Arc::clone(subject));
        }
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
        self.settle_due(published);
        for observer in &self.observers {
            observer(&self.live, &published.commits);
        }
        self.live.publish_position(published.head, published.recorded_at);
        self.feed.publish(&published.commits);
    }

    /// Due uses recorded now are no longer due.
    fn settle_due(&self, published: &BatchChanges) {
        for id in &published.uses {
            self.live.uses().settle_due(*id, self.live.recorded_session(*id).as_ref());
        }
    }

    fn record_marks(&mut self) {
        loop {
            let pending = self.presence.pending(MARKS_PER_COMMIT * MARK_COMMITS);
            if pending.is_empty() || !self.may_note() || !self.record(&pending) {
                return;
            }
            self.presence.recorded(&pending);
        }
    }

    /// Ends contested sessions of which a token of the current generation was presented, one commit each.
    fn end_contested(&mut self) {
        let ids = self.live.contested().all();
        if ids.is_empty() || self.may_write().is_err() || self.room.look() < RoomFor::Ends {
            return;
        }
        let live = Arc::clone(&self.live);
        for ids in ids.chunks(BATCH) {
            let mut staging = Batch::new(&live, ids.len());
            let all_decided = ids.iter().all(|id| self.end_if_contested(&mut staging, *id).is_ok());
            if !all_decided || self.commit(staging, stopwatch()).is_err() {
                return;
            }
        }
    }

    fn end_if_contested(&self, staging: &mut Batch<'_>, session_id: SessionId) -> Result<(), CommandError> {
        let Some(id) = self.live.subject_of(session_id) else { return Ok(()) };
        let (subject, at) = (staging.subject(&id), staging.moment(self.clock.now()));
        let command = Command::EndContested(EndContested { session_id, shown: None });
        let observed = self.observed(staging, &subject, &command);
        let stamp = self.stamp(at, RequestContext::of(Actor::AUTHORITY));
        let decided = staging.decide_subject(subject, &command, &observed, stamp);
        decided.map(drop).map_err(|fault| self.unwritable(&fault))
    }

    /// Records uses of sessions; whether that was possible.
    fn record_uses(&mut self, which: impl FnOnce(&ActivityTracker) -> Vec<SessionId>) -> bool {
        if !self.may_note() {
            return false;
        }
        let live = Arc::clone(&self.live);
        let uses = which(live.uses());
        uses.chunks(MARKS_PER_COMMIT * MARK_COMMITS).all(|uses| {
            let mut staging = Batch::new(&live, uses.len().div_ceil(MARKS_PER_COMMIT));
            let all_decided = uses.chunks(MARKS_PER_COMMIT).all(|uses| {
                let at = staging.moment(self.clock.now());
                let command = SystemCommand::MarkSeen(staging.uses_of(uses, at));
                self.decide_own(&mut staging, &command, at).is_ok()
            });
            all_decided && self.commit(staging, stopwatch()).is_ok()
        })
    }

    /// Records marks in as many commits as they need, made durable together.
    fn record(&mut self, marks: &[PresentedToken]) -> bool {
        let live = Arc::clone(&self.live);
        let mut staging = Batch::new(&live, marks.len().div_ceil(MARKS_PER_COMMIT));
        let all_decided = marks.chunks(MARKS_PER_COMMIT).all(|marks| {
            let at = staging.moment(self.clock.now());
            let command = SystemCommand::MarkPresented(staging.still_true(marks.to_vec()));
            self.decide_own(&mut staging, &command, at).is_ok()
        });
        all_decided && self.commit(staging, stopwatch()).is_ok()
    }
}
