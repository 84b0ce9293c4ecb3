//! The one write path. Every change is asked of the [`Authority`]; it answers when the fact is
//! on disk, and from then on every check sees it.
//!
//! ```text
//!   create, renew, revoke …          introspect
//!        │                               │ reads
//!        ▼                               ▼
//!     queue ──► sequencer ──► log ──► live state
//!   (bounded)    (decides)   (durable)  (published) ──► observers ──► the caller's answer
//! ```
//!
//! What costs time (sealing tokens and texts, hashing) happens outside of the sequencer.

mod alarms;
mod commands;
mod pipeline;
mod state;
mod storage;
mod storage_backlog;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::oneshot};

pub use self::{
    commands::{
        bulk::{BulkRequest as AskedBulk, BulkResult, SessionSelection},
        console::{console_subject, is_console_subject},
        credentials::{IssuedCredential, NewCredential},
        epoch::{BegunEpoch, NewEpoch},
        erase::SubjectErasure,
        keys::{AccessKey, MintedToken, NoticeLinks, RotatedKey, TokenIssuance},
        recall::RecallCaller,
        sessions::{
            AuthenticatedSession, GrantedSession, InactiveToken, NewSession, NewUse, RecordedUse,
            RevocationRequest, SessionEnd, SessionsEnd, SubjectRevocationRequest, UnrecordedUses,
        },
        subjects::{NewProfile, ProfilePatch, RegisteredSubject},
        suspend::NewSuspension,
        sweep::SweepResult,
        webhooks::CreatedWebhook,
    },
    pipeline::{
        disk_room::{DiskRoom, FreeSpace},
        eviction::{MemoryRetention, OnLeaving},
        health::SequencerHealth,
        log_damage::LogDamage,
        request::{CommandEffect, CommandError, RequestContext},
        sequencer::BatchObserver,
    },
    state::{
        idempotency::IdempotencyTable,
        published::{LeftBefore, PublishedState, SystemView},
    },
    storage::{CheckpointStatus, StorageStatus},
};

pub(crate) use self::state::published::NAMED;
use self::{
    commands::{recall::SessionRecalls, repeats::RepeatedRequests},
    pipeline::{
        batch_size::BatchSize,
        command_queue::{CommandQueue, QueueRejection},
        control::{ControlAction, ControlMessage},
        eviction::EvictionWalk,
        recalled_sessions::RecalledSessions,
        relay::ReplyRelay,
        request::{CommandOutcome, CommandRequest, QueuedRequest},
        sequencer::Sequencer,
        timings::CommandTimings,
    },
    state::{key_uses::KeyUses, presented_tokens::PresentedTokens},
};
use crate::gate::WorkGate;
use crate::notify::{EndWatcher, EventCursor, EventFeed, Notice, NoticeContext, WatchTarget};
use crate::personal_data::SubjectKeys;
use crate::tokens::{KeyedDigests, TokenSealer};
use crate::traces::stage;
use tenure_core::{
    Actor, Digest16, OwnerId, Policy, Position, SealedText, SessionId, StreamId, SubjectId, Timestamp,
    command::SystemCommand, commit::ActorKind, event::SessionTerms, state::AuthorityState, subject::Subject,
};
use tenure_log::{EventLog, StoredCommit};
use tenure_protocol::clock::Clock;
use tenure_protocol::entropy::Entropy;

/// A wall clock that is further behind than this does not catch up soon.
const CLOCK_BEHIND_MILLIS: i64 = 60_000;

/// The session authority, in process. The HTTP service is this and a router.
pub struct Authority {
    queue: Arc<CommandQueue>,
    live: Arc<PublishedState>,
    feed: Arc<EventFeed>,
    log: Arc<dyn EventLog>,
    presented_tokens: Arc<PresentedTokens>,
    health: Arc<SequencerHealth>,
    disk_room: Arc<DiskRoom>,
    log_damage: Arc<LogDamage>,
    storage: StorageStatus,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    secrets: AuthorityKeys,
    issuing: TokenIssuance,
    past: SubjectHistory,
    repeats: RepeatedRequests,
    recalls: SessionRecalls,
    sweep: commands::sweep::ExpirySweep,
    key_uses: KeyUses,
    relay: Arc<ReplyRelay>,
    policy: Policy,
    leads: Arc<AtomicBool>,
    sequencer: Mutex<Option<JoinHandle<()>>>,
}

/// What an authority is made of.
pub struct Dependencies {
    /// Where the facts go.
    pub log: Arc<dyn EventLog>,
    /// What the facts in it say.
    pub state: AuthorityState,
    /// Which requests had their effect.
    pub idempotency: IdempotencyTable,
    /// The limits that apply from now on.
    pub policy: Policy,
    /// The disk of the log.
    pub disk_room: DiskRoom,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// The keys.
    pub secrets: AuthorityKeys,
    /// What its tokens obey.
    pub issuing: TokenIssuance,
    /// Who hears of every batch.
    pub observers: Vec<BatchObserver>,
    /// What subjects were.
    pub past: SubjectHistory,
    /// How ended sessions leave memory. Those behind the horizon of the state do so at once.
    pub retention: MemoryRetention,
    /// Before this moment sessions may have been used without a record: those of the last process that did not end in
    /// order. `None` if all uses are recorded.
    pub uses_forgotten_before: Option<Timestamp>,
}

/// The keys of an authority, which never leave it.
pub struct AuthorityKeys {
    /// Seals and opens session tokens, and signs access tokens.
    pub tokens: Arc<TokenSealer>,
    /// Digests what callers say, so that it can be compared and not read.
    pub digests: KeyedDigests,
    /// Seals and opens text about people.
    pub texts: Arc<SubjectKeys>,
}

/// The state of a subject as of a position, so that a repeated request gets the answer of the first; an error says
/// why the log cannot give it.
pub type SubjectHistory = Arc<dyn Fn(&SubjectId, Position) -> Result<Subject, String> + Send + Sync>;

/// How often the sessions that a command needs are read back, if something happens to their subject meanwhile.
const READINGS: usize = 8;

/// What a request will be answered.
type PendingOutcome = oneshot::Receiver<Result<CommandOutcome, CommandError>>;

impl Authority {
    /// Starts to serve, and records the limits in force and the keys that seal, if not recorded yet.
    ///
    /// # Errors
    /// The failure of such a commit.
    pub fn start(parts: Dependencies) -> Result<Self, CommandError> {
        let authority = Self::begin(parts, true)?;
        authority.record_start()?;
        Ok(authority)
    }

    /// The same of a node that follows another one: it decides nothing and records nothing before
    /// [`Authority::lead`].
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn follow(parts: Dependencies) -> Result<Self, CommandError> {
        let authority = Self::begin(parts, false)?;
        // They may be used at the node that leads, now and later.
        authority.live.uses().are_forgotten_before(Timestamp::MAX);
        Ok(authority)
    }

    /// Decides from now on, and records the limits in force and the keys that seal, if not recorded yet.
    ///
    /// # Errors
    /// The failure of such a commit.
    pub fn lead(&self) -> Result<(), CommandError> {
        self.control(ControlAction::Lead).map_err(|why| CommandError::StorageUnavailable { why })?;
        self.record_start()
    }

    /// Decides nothing more: what waits is refused with [`CommandError::NotLeading`]. If the log still takes it, what is due
    /// is recorded first.
    ///
    /// # Errors
    /// The sequencer has ended.
    pub fn retire(&self) -> Result<(), String> {
        self.control(ControlAction::Retire)
    }

    /// Publishes what another machine has recorded. The log must hold it already.
    ///
    /// # Errors
    /// It does not follow from what is published.
    pub fn publish(&self, commits: Vec<Arc<StoredCommit>>) -> Result<(), String> {
        self.control(ControlAction::Follow(commits))
    }

    /// Whether it decides, or follows another one that does.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    fn control(&self, turn: ControlAction) -> Result<(), String> {
        let ended = || "the sequencer has ended".to_owned();
        let (control, told) = ControlMessage::new(turn);
        self.queue.control(control).map_err(|_| ended())?;
        told.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn record_start(&self) -> Result<(), CommandError> {
        self.submit_blocking(
            CommandRequest::System(SystemCommand::SetPolicy(self.policy.clone())),
            RequestContext::of(Actor::AUTHORITY),
        )?;
        self.admit_keys()
    }

    fn begin(parts: Dependencies, leads: bool) -> Result<Self, CommandError> {
        let (horizon, mut retention) = (parts.state.horizon, parts.retention);
        let left = std::mem::take(&mut retention.left);
        let forgotten = parts.uses_forgotten_before;
        let live = PublishedState::trimmed(parts.state, forgotten, &left, &*retention.leaving);
        drop(left);
        let unavailable = |error: std::io::Error| CommandError::StorageUnavailable { why: error.to_string() };
        let authority = Self {
            queue: Arc::new(CommandQueue::new()),
            live: Arc::new(live),
            feed: Arc::new(EventFeed::new(Arc::clone(&parts.log)).map_err(unavailable)?),
            log: parts.log,
            presented_tokens: Arc::default(),
            health: Arc::default(),
            disk_room: Arc::new(parts.disk_room),
            log_damage: Arc::default(),
            storage: StorageStatus::default(),
            clock: parts.clock,
            entropy: parts.entropy,
            secrets: parts.secrets,
            issuing: parts.issuing,
            past: parts.past,
            repeats: RepeatedRequests::new(),
            recalls: SessionRecalls::new(),
            sweep: commands::sweep::ExpirySweep::default(),
            key_uses: KeyUses::default(),
            relay: Arc::default(),
            policy: parts.policy,
            leads: Arc::new(AtomicBool::new(leads)),
            sequencer: Mutex::new(None),
        };
        let eviction = EvictionWalk::new(retention, horizon);
        let sequencer = authority.sequencer_with(parts.idempotency, parts.observers, eviction);
        let thread = std::thread::Builder::new()
            .name("tenure-sequencer".into())
            .spawn(move || sequencer.run())
            .map_err(unavailable)?;
        *authority.sequencer.lock() = Some(thread);
        Ok(authority)
    }

    /// What decides for this authority, with the parts that are its own.
    fn sequencer_with(
        &self,
        idempotency: IdempotencyTable,
        observers: Vec<BatchObserver>,
        eviction: EvictionWalk,
    ) -> Sequencer {
        Sequencer {
            queue: Arc::clone(&self.queue),
            log: Arc::clone(&self.log),
            live: Arc::clone(&self.live),
            feed: Arc::clone(&self.feed),
            presented_tokens: Arc::clone(&self.presented_tokens),
            health: Arc::clone(&self.health),
            disk_room: Arc::clone(&self.disk_room),
            log_damage: Arc::clone(&self.log_damage),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            idempotency,
            texts: Arc::clone(&self.secrets.texts),
            tokens: Arc::clone(&self.secrets.tokens),
            observers,
            bulk_application: pipeline::bulk_application::BulkApplication::default(),
            eviction,
            size: BatchSize::default(),
            relay: Arc::clone(&self.relay),
            leads: Arc::clone(&self.leads),
            past: Arc::clone(&self.past),
        }
    }

    /// Decides what waits already, records what is due, and ends. Further requests are refused.
    pub fn stop(&self) {
        self.queue.close();
        if let Some(thread) = self.sequencer.lock().take()
            && thread.join().is_err()
        {
            self.health.stop("the sequencer died".into());
        }
        self.feed.close();
    }

    /// Says that most callers are tasks of this runtime: then answers cost less. Its workers must run all the time, and
    /// none of them may stand still until it is answered.
    pub fn answer_by_way_of(&self, runtime: Handle) {
        self.relay.by_way_of(runtime);
    }

    /// The published state.
    pub fn live(&self) -> &PublishedState {
        &self.live
    }

    /// The events after a position: the past first, then each commit as it happens.
    pub fn subscribe(&self, after: Position) -> EventCursor {
        self.feed.subscribe(after)
    }

    /// Wakes a reader when what it follows has happened.
    pub fn watch(&self, followed: WatchTarget) -> EndWatcher {
        self.feed.watch(followed)
    }

    /// The feed of events, for those who pass them on.
    pub fn feed(&self) -> &EventFeed {
        &self.feed
    }

    /// The log, for readers.
    pub fn log(&self) -> &dyn EventLog {
        &*self.log
    }

    /// Whether it can write, and how it has been doing.
    pub fn health(&self) -> &SequencerHealth {
        &self.health
    }

    /// How the log lies on disk.
    pub fn storage(&self) -> &StorageStatus {
        &self.storage
    }

    /// Fixes how many events a segment of the log holds, unless the number is recorded already; returns the recorded
    /// number.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub(crate) fn fix_segment_events(&self, events: u64) -> Result<u64, CommandError> {
        let fixed = || self.live.system().system.segment_events;
        if fixed().is_none() {
            let ask = CommandRequest::System(SystemCommand::SegmentLog(events));
            self.submit_blocking(ask, RequestContext::of(Actor::AUTHORITY))?;
        }
        Ok(fixed().unwrap_or(events))
    }

    /// The disk of the log, and what it has room for.
    pub fn disk_room(&self) -> &DiskRoom {
        &self.disk_room
    }

    /// The damage that was found in the history; while there is any, nothing is granted.
    pub fn log_damage(&self) -> &LogDamage {
        &self.log_damage
    }

    /// That something may be granted at present.
    ///
    /// # Errors
    /// [`CommandError::StorageUnavailable`] while a part of the history is damaged.
    pub fn may_grant(&self) -> Result<(), CommandError> {
        self.log_damage.fault().map_or(Ok(()), |why| Err(CommandError::StorageUnavailable { why }))
    }

    /// How many requests wait for a decision.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Where ids come from.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// The keyed digests of what callers say.
    pub fn digests(&self) -> &KeyedDigests {
        &self.secrets.digests
    }

    /// The moment at which checks are made now: never before the last recorded one, so that a clock that
    /// jumps back revives nothing.
    pub fn now(&self) -> Timestamp {
        self.clock.now().max(self.live.recorded_at())
    }

    /// Whether the wall clock can be believed; the reason otherwise.
    pub fn clock_fault(&self) -> Option<String> {
        self.clock.plausible().err().map(|jump| jump.to_string())
    }

    /// By how many seconds the wall clock is behind the last recorded moment, where that is too much to wait for.
    pub fn clock_behind(&self) -> Option<i64> {
        let behind = self.live.recorded_at().millis_since(self.clock.now());
        (behind > CLOCK_BEHIND_MILLIS).then_some(behind / 1000)
    }

    /// The keys of texts about people.
    pub fn texts(&self) -> &SubjectKeys {
        &self.secrets.texts
    }

    /// Opens a text of a stream; `None` if it was erased.
    pub fn open_text(&self, stream: &StreamId, field: &'static str, text: &SealedText) -> Option<String> {
        self.secrets.texts.open_text(stream, field, text)
    }

    fn put(
        &self,
        ask: CommandRequest,
        context: RequestContext,
        carried: Option<RecalledSessions>,
        passage: CommandTimings,
    ) -> Result<PendingOutcome, CommandError> {
        let (request, answer) = QueuedRequest::of(ask, context, carried, passage);
        match self.queue.put(request) {
            Ok(()) => Ok(answer),
            Err(QueueRejection::Full) => Err(CommandError::Overloaded),
            Err(QueueRejection::Closed) => {
                let why = self.health.stopped().unwrap_or_else(|| "the authority is stopping".into());
                Err(CommandError::StorageUnavailable { why })
            }
        }
    }

    /// Reads the first answers of repeated requests.
    pub(crate) fn repeats(&self) -> &WorkGate {
        self.repeats.gate()
    }

    /// Reads sessions back that left memory.
    pub(crate) fn recalls(&self) -> &WorkGate {
        self.recalls.gate()
    }

    /// Asks, and waits for the answer. Dropping the future does not take the request back. A repeat is answered as the
    /// first request was, which had the effect.
    async fn submit(
        &self,
        ask: CommandRequest,
        context: RequestContext,
    ) -> Result<CommandEffect, CommandError> {
        let repeater = context.idempotency.and_then(|_| context.actor.id.clone());
        let mut outcome = self.outcome(ask, context, None).await?;
        for _ in 0..READINGS {
            let CommandOutcome::Unread(unread) = outcome else { break };
            let (ask, context) = *unread;
            let carried = Box::pin(self.carried_for(&ask)).await?;
            outcome = self.outcome(ask, context, carried).await?;
        }
        match outcome {
            CommandOutcome::Done(done) => Ok(done),
            CommandOutcome::Repeat(first) => {
                let _reading = stage("read the first answer");
                self.repeats.effect(Arc::clone(&self.log), repeater, first).await
            }
            // Its subject is never at rest.
            CommandOutcome::Unread(_) => Err(CommandError::Overloaded),
        }
    }

    /// A thread that drops the question without an answer has died with it: its outcome is unknown.
    async fn outcome(
        &self,
        ask: CommandRequest,
        context: RequestContext,
        carried: Option<RecalledSessions>,
    ) -> Result<CommandOutcome, CommandError> {
        let passage = CommandTimings::begin();
        let answer = self.put(ask, context, carried, passage.clone())?.await;
        passage.report();
        answer.unwrap_or(Err(CommandError::OutcomeUnknown))
    }

    /// The same for callers outside of async. It may be called on a thread of a runtime too, as when a
    /// program opens its authority there; `blocking_recv` would panic.
    fn submit_blocking(
        &self,
        ask: CommandRequest,
        context: RequestContext,
    ) -> Result<CommandEffect, CommandError> {
        pollster::block_on(self.submit(ask, context))
    }

    /// Asks for what has its own rule for repeats, or none: the mark of an idempotent request is neither looked up nor
    /// recorded.
    async fn submit_unmarked(
        &self,
        ask: CommandRequest,
        context: RequestContext,
    ) -> Result<CommandEffect, CommandError> {
        self.submit(ask, RequestContext { idempotency: None, ..context }).await
    }
}

impl NoticeContext for Authority {
    fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.live.subject(id)
    }

    fn subject_in_full(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.subject_in_full_now(id).ok()?
    }

    fn terms_of_left(&self, session: SessionId) -> Option<(SessionTerms, Timestamp)> {
        Self::terms_of_left(self, session)
    }

    fn open_text(&self, stream: &StreamId, field: &'static str, text: &SealedText) -> Option<String> {
        self.secrets.texts.open_text(stream, field, text)
    }

    /// Looks at every session until one is found: for rare notices.
    fn device_name(&self, digest: Digest16, owner: Option<&OwnerId>) -> Option<String> {
        let mut found = None;
        self.live.for_each_subject(|subject| {
            let owned_by = subject.profile().and_then(|profile| profile.owner_id.as_ref());
            if found.is_none() && owned_by == owner {
                let of_device = subject.sessions.iter().find(|known| known.device_digest() == Some(digest));
                let name = of_device.and_then(tenure_core::session::Session::device_name);
                let stream = StreamId::Subject(subject.id.clone());
                found = name.and_then(|name| self.open_text(&stream, "device", name));
            }
        });
        found
    }

    fn own_key_name(&self, actor: &Actor, owner: Option<&OwnerId>) -> Option<String> {
        let id = actor.id.as_ref().filter(|_| actor.kind == ActorKind::Credential)?.parse().ok()?;
        let system = self.live.system();
        let key = system.system.credentials.get(&id).filter(|key| key.owner_id.as_ref() == owner)?;
        let name = key.name.as_ref().filter(|_| owner.is_some())?;
        self.open_text(&StreamId::System, "name", name)
    }

    fn epoch_of(&self, position: Position) -> u32 {
        self.live.system().system.epochs.of(position)
    }

    fn erasures(&self) -> u64 {
        self.secrets.texts.forgettings()
    }

    fn reject_url(&self, session: SessionId) -> Option<String> {
        self.console_url(session)
    }

    fn veto_url(&self, notice: &Notice) -> Option<String> {
        self.veto_link(notice)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.stop();
    }
}
