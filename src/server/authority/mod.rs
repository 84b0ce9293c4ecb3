//! The one write path. Every change is asked of the [`Authority`]; it answers when the fact is
//! on disk, and from then on every check sees it.
//!
//! ```text
//!   create, renew, revoke …          introspect
//!        │                               │ reads
//!        ▼                               ▼
//!     intake ──► sequencer ──► log ──► live state
//!   (bounded)    (decides)   (durable)  (published) ──► observers ──► the caller's answer
//! ```
//!
//! What costs time (sealing tokens and texts, hashing) happens outside of the sequencer.

mod alarms;
mod backlog;
mod commands;
mod pipeline;
mod state;
mod storage;

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
        bulk::{Asked as AskedBulk, RevokedInBulk, Selection},
        console::{console_subject, is_console_subject},
        credentials::{IssuedCredential, NewCredential},
        epoch::{BegunEpoch, NewEpoch},
        erase::Erased,
        keys::{AccessKey, Issuing, Minted, NoticeLinks, Rotated},
        recall::Asker,
        sessions::{
            AuthenticatedSession, Granted, InactiveToken, NewSession, NewUse, Revocation, RevocationOfMany,
            Revoked, RevokedMany, Used, UsesUnrecorded,
        },
        subjects::{NewProfile, Registered, SubjectChanges},
        suspend::NewSuspension,
        sweep::Swept,
        webhooks::CreatedWebhook,
    },
    pipeline::{
        doubt::Doubt,
        eviction::{OnLeaving, Retention},
        health::Health,
        request::{Context, Done, Failure},
        room::{FreeSpace, Room},
        sequencer::Observer,
    },
    state::{
        idempotency::Table as IdempotencyTable,
        published::{Live, SystemView},
    },
    storage::{Checkpoints, Storage},
};

use self::{
    commands::{recall::Recalls, repeats::Repeats},
    pipeline::{
        carrying::Carried,
        command_queue::{CommandQueue, Rejected},
        eviction::Eviction,
        following::{Control, Turn},
        passage::Passage,
        relay::Relay,
        request::{CommandOutcome, CommandRequest, Request},
        sequencer::Sequencer,
    },
    state::{key_uses::KeyUses, presented_tokens::PresentedTokens},
};
use crate::gate::Gate;
use crate::notify::{Cursor, Feed, Followed, Notice, NoticeContext, Watcher};
use crate::personal_data::SubjectKeys;
use crate::tokens::{Digests, Tokens};
use crate::traces::stage;
use tenure_core::{
    Actor, Digest16, OwnerId, Policy, Position, SealedText, SessionId, Stream, SubjectId, Timestamp,
    command::SystemCommand, event::Terms, state::State, subject::Subject,
};
use tenure_log::{EventLog, StoredCommit};
use tenure_protocol::clock::Clock;
use tenure_protocol::entropy::Entropy;

/// The session authority, in process. The HTTP service is this and a router.
pub struct Authority {
    intake: Arc<CommandQueue>,
    live: Arc<Live>,
    feed: Arc<Feed>,
    log: Arc<dyn EventLog>,
    presence: Arc<PresentedTokens>,
    health: Arc<Health>,
    room: Arc<Room>,
    doubt: Arc<Doubt>,
    storage: Storage,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    secrets: Secrets,
    issuing: Issuing,
    past: Past,
    repeats: Repeats,
    recalls: Recalls,
    sweep: commands::sweep::Sweep,
    key_uses: KeyUses,
    relay: Arc<Relay>,
    policy: Policy,
    leads: Arc<AtomicBool>,
    sequencer: Mutex<Option<JoinHandle<()>>>,
}

/// What an authority is made of.
pub struct Dependencies {
    /// Where the facts go.
    pub log: Arc<dyn EventLog>,
    /// What the facts in it say.
    pub state: State,
    /// Which requests had their effect.
    pub idempotency: IdempotencyTable,
    /// The limits that apply from now on.
    pub policy: Policy,
    /// The disk of the log.
    pub room: Room,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<dyn Entropy>,
    /// The keys.
    pub secrets: Secrets,
    /// What its tokens obey.
    pub issuing: Issuing,
    /// Who hears of every batch.
    pub observers: Vec<Observer>,
    /// What subjects were.
    pub past: Past,
    /// How ended sessions leave memory. Those behind the horizon of the state do so at once.
    pub retention: Retention,
    /// Before this moment sessions may have been used without a record: those of the last process that did not end in
    /// order. `None` if all uses are recorded.
    pub uses_forgotten_before: Option<Timestamp>,
}

/// The keys of an authority, which never leave it.
pub struct Secrets {
    /// Seals and opens session tokens, and signs access tokens.
    pub tokens: Arc<Tokens>,
    /// Digests what callers say, so that it can be compared and not read.
    pub digests: Digests,
    /// Seals and opens text about people.
    pub texts: Arc<SubjectKeys>,
}

/// The state of a subject as of a position, so that a repeated request gets the answer of the first; an error says
/// why the log cannot give it.
pub type Past = Arc<dyn Fn(&SubjectId, Position) -> Result<Subject, String> + Send + Sync>;

/// How often the sessions that a command needs are read back, if something happens to their subject meanwhile.
const READINGS: usize = 8;

/// What a request will be answered.
type Waiting = oneshot::Receiver<Result<CommandOutcome, Failure>>;

impl Authority {
    /// Starts to serve, and records the limits in force and the keys that seal, if not recorded yet.
    ///
    /// # Errors
    /// The failure of such a commit.
    pub fn start(parts: Dependencies) -> Result<Self, Failure> {
        let authority = Self::begin(parts, true)?;
        authority.record_start()?;
        Ok(authority)
    }

    /// The same of a node that follows another one: it decides nothing and records nothing before
    /// [`Authority::lead`].
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn follow(parts: Dependencies) -> Result<Self, Failure> {
        let authority = Self::begin(parts, false)?;
        // They may be used at the node that leads, now and later.
        authority.live.uses().are_forgotten_before(Timestamp::MAX);
        Ok(authority)
    }

    /// Decides from now on, and records the limits in force and the keys that seal, if not recorded yet.
    ///
    /// # Errors
    /// The failure of such a commit.
    pub fn lead(&self) -> Result<(), Failure> {
        self.control(Turn::Lead).map_err(|why| Failure::StorageUnavailable { why })?;
        self.record_start()
    }

    /// Decides nothing more: what waits is refused with [`Failure::NotLeading`]. If the log still takes it, what is due
    /// is recorded first.
    ///
    /// # Errors
    /// The sequencer has ended.
    pub fn retire(&self) -> Result<(), String> {
        self.control(Turn::Retire)
    }

    /// Publishes what another machine has recorded. The log must hold it already.
    ///
    /// # Errors
    /// It does not follow from what is published.
    pub fn publish(&self, commits: Vec<Arc<StoredCommit>>) -> Result<(), String> {
        self.control(Turn::Follow(commits))
    }

    /// Whether it decides, or follows another one that does.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    fn control(&self, turn: Turn) -> Result<(), String> {
        let ended = || "the sequencer has ended".to_owned();
        let (control, told) = Control::new(turn);
        self.intake.control(control).map_err(|_| ended())?;
        told.recv().unwrap_or_else(|_| Err(ended()))
    }

    fn record_start(&self) -> Result<(), Failure> {
        self.submit_blocking(
            CommandRequest::System(SystemCommand::SetPolicy(self.policy.clone())),
            Context::of(Actor::AUTHORITY),
        )?;
        self.admit_keys()
    }

    fn begin(parts: Dependencies, leads: bool) -> Result<Self, Failure> {
        let leads = Arc::new(AtomicBool::new(leads));
        let (horizon, retention) = (parts.state.horizon, parts.retention);
        let live = Live::trimmed(parts.state, parts.uses_forgotten_before, &*retention.leaving);
        let live = Arc::new(live);
        let unavailable = |error: std::io::Error| Failure::StorageUnavailable { why: error.to_string() };
        let feed = Arc::new(Feed::new(Arc::clone(&parts.log)).map_err(unavailable)?);
        let intake = Arc::new(CommandQueue::new());
        let presence = Arc::new(PresentedTokens::default());
        let health = Arc::new(Health::default());
        let room = Arc::new(parts.room);
        let doubt = Arc::new(Doubt::default());
        let relay = Arc::new(Relay::default());
        let sequencer = Sequencer {
            intake: Arc::clone(&intake),
            log: Arc::clone(&parts.log),
            live: Arc::clone(&live),
            feed: Arc::clone(&feed),
            presence: Arc::clone(&presence),
            health: Arc::clone(&health),
            room: Arc::clone(&room),
            doubt: Arc::clone(&doubt),
            clock: Arc::clone(&parts.clock),
            entropy: Arc::clone(&parts.entropy),
            idempotency: parts.idempotency,
            texts: Arc::clone(&parts.secrets.texts),
            tokens: Arc::clone(&parts.secrets.tokens),
            observers: parts.observers,
            settling: pipeline::bulk_application::BulkApplication::default(),
            eviction: Eviction::new(retention, horizon),
            relay: Arc::clone(&relay),
            leads: Arc::clone(&leads),
        };
        let thread = std::thread::Builder::new()
            .name("tenure-sequencer".into())
            .spawn(move || sequencer.run())
            .map_err(unavailable)?;
        Ok(Self {
            intake,
            live,
            feed,
            log: parts.log,
            presence,
            health,
            room,
            doubt,
            storage: Storage::default(),
            clock: parts.clock,
            entropy: parts.entropy,
            secrets: parts.secrets,
            issuing: parts.issuing,
            past: parts.past,
            repeats: Repeats::new(),
            recalls: Recalls::new(),
            sweep: commands::sweep::Sweep::default(),
            key_uses: KeyUses::default(),
            relay,
            policy: parts.policy,
            leads,
            sequencer: Mutex::new(Some(thread)),
        })
    }

    /// Decides what waits already, records what is due, and ends. Further requests are refused.
    pub fn stop(&self) {
        self.intake.close();
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
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The events after a position: the past first, then each commit as it happens.
    pub fn subscribe(&self, after: Position) -> Cursor {
        self.feed.subscribe(after)
    }

    /// Wakes a reader when what it follows has happened.
    pub fn watch(&self, followed: Followed) -> Watcher {
        self.feed.watch(followed)
    }

    /// The feed of events, for those who pass them on.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The log, for readers.
    pub fn log(&self) -> &dyn EventLog {
        &*self.log
    }

    /// Whether it can write, and how it has been doing.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How the log lies on disk.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Fixes how many events a segment of the log holds, unless the number is recorded already; returns the recorded
    /// number.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub(crate) fn fix_segment_events(&self, events: u64) -> Result<u64, Failure> {
        let fixed = || self.live.system().system.segment_events;
        if fixed().is_none() {
            let ask = CommandRequest::System(SystemCommand::SegmentLog(events));
            self.submit_blocking(ask, Context::of(Actor::AUTHORITY))?;
        }
        Ok(fixed().unwrap_or(events))
    }

    /// The disk of the log, and what it has room for.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The damage that was found in the history; while there is any, nothing is granted.
    pub fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    /// That something may be granted at present.
    ///
    /// # Errors
    /// [`Failure::StorageUnavailable`] while a part of the history is damaged.
    pub fn may_grant(&self) -> Result<(), Failure> {
        self.doubt.fault().map_or(Ok(()), |why| Err(Failure::StorageUnavailable { why }))
    }

    /// How many requests wait for a decision.
    pub fn waiting(&self) -> usize {
        self.intake.waiting()
    }

    /// Where ids come from.
    pub fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    /// The keyed digests of what callers say.
    pub fn digests(&self) -> &Digests {
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

    /// The keys of texts about people.
    pub fn texts(&self) -> &SubjectKeys {
        &self.secrets.texts
    }

    /// Opens a text of a stream; `None` if it was erased.
    pub fn open_text(&self, stream: &Stream, field: &'static str, text: &SealedText) -> Option<String> {
        self.secrets.texts.open_text(stream, field, text)
    }

    fn put(
        &self,
        ask: CommandRequest,
        context: Context,
        carried: Option<Carried>,
        passage: Passage,
    ) -> Result<Waiting, Failure> {
        let (request, answer) = Request::of(ask, context, carried, passage);
        match self.intake.put(request) {
            Ok(()) => Ok(answer),
            Err(Rejected::Full) => Err(Failure::Overloaded),
            Err(Rejected::Closed) => {
                let why = self.health.stopped().unwrap_or_else(|| "the authority is stopping".into());
                Err(Failure::StorageUnavailable { why })
            }
        }
    }

    /// Reads the first answers of repeated requests.
    pub(crate) fn repeats(&self) -> &Gate {
        self.repeats.gate()
    }

    /// Reads sessions back that left memory.
    pub(crate) fn recalls(&self) -> &Gate {
        self.recalls.gate()
    }

    /// Asks, and waits for the answer. Dropping the future does not take the request back. A repeat is answered as the
    /// first request was, which had the effect.
    async fn submit(&self, ask: CommandRequest, context: Context) -> Result<Done, Failure> {
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
                let history = (Arc::clone(&self.log), Arc::clone(&self.past));
                let _reading = stage("read the first answer");
                self.repeats.answer(history, repeater, first).await
            }
            // Its subject is never at rest.
            CommandOutcome::Unread(_) => Err(Failure::Overloaded),
        }
    }

    /// A thread that drops the question without an answer has died with it: its outcome is unknown.
    async fn outcome(
        &self,
        ask: CommandRequest,
        context: Context,
        carried: Option<Carried>,
    ) -> Result<CommandOutcome, Failure> {
        let passage = Passage::begin();
        let answer = self.put(ask, context, carried, passage.clone())?.await;
        passage.tell();
        answer.unwrap_or(Err(Failure::OutcomeUnknown))
    }

    /// The same for callers outside of async. It may be called on a thread of a runtime too, as when a
    /// program opens its authority there; `blocking_recv` would panic.
    fn submit_blocking(&self, ask: CommandRequest, context: Context) -> Result<Done, Failure> {
        pollster::block_on(self.submit(ask, context))
    }

    /// Asks for what has its own rule for repeats, or none: the mark of an idempotent request is neither looked up nor
    /// recorded.
    async fn submit_unmarked(&self, ask: CommandRequest, context: Context) -> Result<Done, Failure> {
        self.submit(ask, Context { idempotency: None, ..context }).await
    }
}

impl NoticeContext for Authority {
    fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.live.subject(id)
    }

    fn subject_in_full(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.subject_in_full_now(id).ok()?
    }

    fn terms_of_left(&self, session: SessionId) -> Option<(Terms, Timestamp)> {
        Self::terms_of_left(self, session)
    }

    fn open_text(&self, stream: &Stream, field: &'static str, text: &SealedText) -> Option<String> {
        self.secrets.texts.open_text(stream, field, text)
    }

    /// Looks at every session until one is found: for rare notices.
    fn device_name(&self, digest: Digest16, owner: Option<&OwnerId>) -> Option<String> {
        let mut found = None;
        self.live.for_each_subject(|subject| {
            let owned_by = subject.profile().and_then(|profile| profile.owner_id.as_ref());
            if found.is_none() && owned_by == owner {
                let of_device = subject.sessions.iter().find(|known| known.device_digest() == Some(digest));
                let name = of_device.and_then(|session| session.device_name());
                let stream = Stream::Subject(subject.id.clone());
                found = name.and_then(|name| self.open_text(&stream, "device", name));
            }
        });
        found
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
