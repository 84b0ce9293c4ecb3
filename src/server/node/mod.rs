//! One authority on one data directory: what a server serves, and what a program embeds.
//!
//! A start reads the log once, behind the newest checkpoint or from the first event on. It checks every record on the
//! way and folds it into the state, the projections and the table of idempotency keys.

mod broker_wait;
mod certificates;
mod checkpoint_scrub;
mod checkpointer;
mod clean_shutdown;
pub mod cluster;
mod cluster_options;
mod credential;
mod disk;
mod epoch;
mod head_check;
mod head_exchange;
mod history_client;
mod history_fetch;
pub(crate) mod history_files;
mod history_mending;
mod jobs;
mod key_binding;
mod key_mirror;
mod membership;
mod no_keys;
mod node_mac;
mod options;
mod peers;
mod retention;
mod scrubber;
mod sealer;
mod secrets;
pub mod snapshot;
mod start_error;
mod startup_replay;
mod state_view;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::authority::{
    Authority, BatchObserver, BegunEpoch, Dependencies, DiskRoom, IdempotencyTable, NewEpoch, PublishedState,
    SubjectHistory,
};
use crate::checkpoint::{ListingCheckpoint, TrustedCheckpoints};
use crate::notify::webhooks::{WebhookSource, Webhooks};
use crate::personal_data::SubjectKeys;
use crate::projections::{Projections, history};
use crate::tokens::{KeyedDigests, TokenKeyring};
use parking_lot::Mutex;
use tenure_audit::{Evidence, HeadKey, HeadSigner, LiveCheck, MerkleIndex, SignedHeads, live_check};
use tenure_core::{Position, Timestamp, state::AuthorityState, trim::TrimHorizon};
use tenure_log::{EventLog, RecordHash, SegmentedLog, StoredCommit};
use tenure_protocol::clock::{Clock, SystemClock, TestClock};
use tenure_threads::worker::WorkerThread;

pub(crate) use self::certificates::PeerCertificate;
pub use self::certificates::{CertificateFiles, NodeCertificates, OwnCertificateFiles, OwnValidity};
pub use self::cluster::{MembershipView, NodeRole, SharedLog};
pub use self::cluster_options::ClusterOptions;
pub(crate) use self::epoch::UNFINISHED;
use self::{
    checkpoint_scrub::CheckpointScrub,
    checkpointer::ListEnded,
    cluster::ClusterParticipation,
    credential::{issue_first_key, look_at_first_key},
    epoch::begin_epoch,
    key_binding::KeyBinding,
    peers::PeerExchange,
    sealer::ReleaseMemory,
    secrets::{OpenedKeys, is_missing, open_secrets, remove_unfinished},
    snapshot::StateSnapshot,
    startup_replay::{StartupReads, StartupState, open_log},
};
pub use self::{
    credential::{IssuedKey, issue_credential},
    epoch::EpochRequest,
    options::NodeOptions,
    start_error::StartError,
};

/// Events since the last snapshot after which a start writes another one.
const EVENTS_PER_SNAPSHOT: u64 = 100_000;

/// An authority at work, with the projections that follow every batch.
pub struct Node {
    /// The one write path, and the checks.
    pub authority: Arc<Authority>,
    /// The answers that need more than one session.
    pub projections: Arc<Projections>,
    /// Signs the heads of the log, and compares the log with what is answered.
    pub evidence: Arc<Evidence>,
    /// The webhooks, once a server or [`Webhooks::start`] starts them.
    pub webhooks: Arc<Webhooks>,
    /// The clock, when time stands still.
    pub test_clock: Option<Arc<TestClock>>,
    /// Where the first admin key was written, when this start made it.
    pub first_key: Option<PathBuf>,
    /// The epoch that began at this start.
    pub begun: Option<BegunEpoch>,
    /// The log of several machines, if this node takes part in one.
    pub shared: Option<Arc<SharedLog>>,
    /// Takes part in it, and hears of the other nodes.
    membership: Option<(WorkerThread, WorkerThread)>,
    known: Arc<TrustedCheckpoints>,
    data: PathBuf,
    /// `None` under a test clock: what is due is done when the clock is moved.
    jobs: Option<WorkerThread>,
    /// What goes over the files of the log on this machine.
    background: (WorkerThread, WorkerThread),
}

impl Node {
    /// Opens the data directory, or makes it, and starts to serve.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is repaired and nothing is dropped.
    pub fn open(options: NodeOptions) -> Result<Self, StartError> {
        let table = || IdempotencyTable::new(options.idempotency_window, options.idempotency_max);
        if !options.restoring && options.data.join(UNFINISHED).exists() {
            return Err(StartError::Unfinished { path: options.data.display().to_string() });
        }
        let OpenedLog { log, mut folded, files, shared } = open_any_log(&options, &table)?;
        let leads = shared.as_ref().is_none_or(|joined| joined.leads);
        let test_clock = options.test_clock.then(|| test_clock_for(&folded.state));
        let clock: Arc<dyn Clock> = match &test_clock {
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            None => Arc::new(SystemClock::new()),
        };
        let now = clock.now().max(folded.state.recorded_at);
        remove_unfinished(&options.data)?;
        let binding = KeyBinding::open(&options.data.join("keys"), record_at(&*log, Position(1)))?;
        let is_epoch_begun = options.begin_epoch.is_some();
        let holds_keys = options.begin_epoch.as_ref().is_some_and(|asked| asked.hold_credentials);
        let opened = open_secrets(&options.data, &folded, &binding, now, &*options.entropy, is_epoch_begun)?;
        let OpenedKeys { secrets, erased } = opened;
        let (keeper, new_epoch) = start_keeper(&options, &log, &folded, &binding, &clock, shared.as_ref())?;
        let room = DiskRoom::new(disk::free_space(&options.data), options.reserve);
        let (texts, digests_mark) = (Arc::clone(&secrets.texts), secrets.digests.mark());
        let projections = Arc::new(std::mem::take(&mut folded.projections));
        let retention = retention::retention(&options, &*files, &projections, &mut folded);
        let NodeOptions { data, policy, webhooks, issuing, entropy, scrub_rate, .. } = options;
        if folded.since_snapshot >= EVENTS_PER_SNAPSHOT {
            save_snapshot(&data, &*log, folded.state.clone());
        }
        let policy = policy.or_else(|| folded.state.system.policy.clone()).unwrap_or_default();
        let uses_forgotten_before = forgotten_before(&data, folded.state.position, now)?;
        let needs_key = leads && folded.state.system.credentials.is_empty();
        if !needs_key && leads {
            look_at_first_key(&data, &folded.state.system);
        }
        folded.state.horizon = folded.state.horizon.and(retention.horizon(now));
        let indexed = Arc::clone(&retention.indexed);
        let known = folded.known;
        let at_work = (Arc::clone(&texts), secrets.tokens.keyring().clone());
        let parts = Dependencies {
            log: Arc::clone(&log),
            disk_room: room,
            state: folded.state,
            idempotency: folded.idempotency,
            policy,
            clock,
            entropy,
            secrets,
            issuing,
            observers: vec![observer(Arc::clone(&projections), folded.nodes)],
            uses_forgotten_before,
            past: past(&log, &projections),
            retention,
        };
        let start = if leads { Authority::start } else { Authority::follow };
        let authority = start(parts).map_err(StartError::Record)?;
        let begun = new_epoch.map(|new| begin_epoch(&authority, new, &erased)).transpose()?;
        if leads && (binding.is_new() || begun.is_some()) {
            bind(&binding, &authority, &texts, digests_mark, &keeper);
        }
        authority.keep_key_uses_in(&data);
        let needs_key = needs_key || holds_keys;
        let first_key = needs_key.then(|| issue_first_key(&data, &authority)).transpose()?;
        let authority = Arc::new(authority);
        let webhooks = Webhooks::new(Arc::clone(&authority) as Arc<dyn WebhookSource>, &data, webhooks);
        let check =
            LiveCheck::start(log, Arc::new(state_view::StateView(Arc::clone(&authority))), live_check::SLICE)
                .map_err(StartError::Thread)?;
        let evidence = Arc::new(Evidence { keeper, check });
        let jobs = match test_clock {
            Some(_) => None,
            None => Some(jobs::start(Arc::clone(&authority)).map_err(StartError::Thread)?),
        };
        let let_go = letting_go(&projections, &evidence, Arc::clone(&files), indexed);
        let memory = (&known, (listing_ended(&projections, &known), let_go));
        let background = tend_segments(&files, &authority, &evidence, memory, &data, scrub_rate)
            .map_err(StartError::Thread)?;
        let (shared, membership) = shared
            .map(|joined| take_part(joined, &authority, at_work, test_clock.clone()))
            .transpose()
            .map_err(StartError::Thread)?
            .unzip();
        Ok(Self {
            authority,
            projections,
            evidence,
            webhooks,
            test_clock,
            first_key,
            begun,
            shared,
            membership,
            known,
            data,
            jobs,
            background,
        })
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Where a fold of everything may begin: at a checkpoint behind one position and not behind another.
    pub fn begun_folds(
        &self,
    ) -> impl Fn(Position, Position) -> Option<AuthorityState> + Send + Sync + 'static {
        let known = Arc::clone(&self.known);
        move |after, until| known.state_between(after, until)
    }

    /// Decides what waits, records what is due, signs a head, writes a snapshot, and closes the log once no one
    /// reads it.
    pub fn stop(mut self) {
        drop(self.membership.take());
        drop(self.jobs);
        drop(self.background);
        // One that was asked for may be reading the log, which is to be closed.
        self.evidence.check.end();
        self.authority.stop();
        self.authority.save_key_uses();
        if self.authority.health().stopped().is_none()
            && let Err(error) = self.evidence.keeper.heads().close()
        {
            tracing::error!(%error, "no head could be signed at the stop; the next start signs one");
        }
        // The next leader need not wait for what is only this node's.
        if let Some(shared) = &self.shared {
            shared.release();
        }
        if self.authority.health().stopped().is_none() {
            // What may be wrong in memory must not be what a start begins with.
            if !self.known.suspects_memory() {
                save_snapshot(&self.data, self.authority.log(), self.authority.live().capture());
            }
            tell_uses(&self.data, &self.authority);
        }
    }
}

/// A log that was opened, with the state it leads to.
struct OpenedLog {
    log: Arc<dyn EventLog>,
    folded: StartupState,
    /// The same log, by its files on this machine.
    files: Arc<dyn SegmentedLog>,
    /// This node's part in it, when several machines share it.
    shared: Option<ClusterParticipation>,
}

/// The log that the options name: this node's own, or the one that several machines share, once this node leads it.
fn open_any_log(
    options: &NodeOptions,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<OpenedLog, StartError> {
    let Some(cluster) = &options.cluster else {
        let reads = StartupReads { verify: options.verify, memory: options.retention, by_snapshot: true };
        let (log, folded) = open_log(&options.data, options.segment_events, reads, table)?;
        let files = Arc::new(log);
        return Ok(OpenedLog { log: Arc::clone(&files) as _, folded, files, shared: None });
    };
    let cluster::JoinedNode { part, folded } = cluster::join(options, cluster, table)?;
    part.shared.gives_history(options.data.clone(), Arc::clone(&folded.known));
    let (log, files) = (Arc::clone(&part.shared) as _, part.shared.files());
    Ok(OpenedLog { log, folded, files, shared: Some(part) })
}

/// Takes part in a log of several machines for as long as the node runs.
fn take_part(
    part: ClusterParticipation,
    authority: &Arc<Authority>,
    (texts, keyring): (Arc<SubjectKeys>, TokenKeyring),
    clock: Option<Arc<TestClock>>,
) -> io::Result<(Arc<SharedLog>, (WorkerThread, WorkerThread))> {
    let ClusterParticipation { shared, member, exchange, registry, frames, node, .. } = part;
    shared.attach(texts, keyring.clone());
    let membership = membership::start(member, Arc::clone(&shared), Arc::clone(authority), clock)?;
    let (own, authority) = (Arc::clone(&shared), Arc::clone(authority));
    let peers = PeerExchange { registry, frames, exchange, node, shared: own, authority, keyring }.start()?;
    Ok((shared, (membership, peers)))
}

/// Begins what goes over the files of a log for as long as the node runs.
fn tend_segments(
    files: &Arc<dyn SegmentedLog>,
    authority: &Arc<Authority>,
    evidence: &Arc<Evidence>,
    (known, memory): (&Arc<TrustedCheckpoints>, (ListEnded, ReleaseMemory)),
    data: &Path,
    scrub_rate: u64,
) -> std::io::Result<(WorkerThread, WorkerThread)> {
    let checkpoints = CheckpointScrub::new(Arc::clone(files), Arc::clone(known), data);
    let (log, known) = (Arc::clone(files), Arc::clone(known));
    let sealer = sealer::start(log, Arc::clone(authority), Arc::clone(evidence), known, data, memory)?;
    let scrubber = scrubber::start(Arc::clone(files), Arc::clone(authority), checkpoints, scrub_rate)?;
    Ok((sealer, scrubber))
}

/// What projections and the tree hear of every batch.
fn observer(projections: Arc<Projections>, nodes: Arc<MerkleIndex>) -> BatchObserver {
    Arc::new(move |live: &PublishedState, commits: &[Arc<StoredCommit>]| {
        for stored in commits {
            projections.fold(stored, live);
            nodes.fold(stored);
        }
    })
}

/// What is done when the files of the log tell of more of the history: more sessions may leave memory.
fn letting_go(
    projections: &Arc<Projections>,
    evidence: &Arc<Evidence>,
    log: Arc<dyn SegmentedLog>,
    indexed: Arc<Mutex<TrimHorizon>>,
) -> ReleaseMemory {
    let (projections, evidence) = (Arc::clone(projections), Arc::clone(evidence));
    Box::new(move |until| {
        projections.let_go(until);
        evidence.keeper.heads().nodes().let_go(until);
        retention::tell(&indexed, &*log, until);
    })
}

/// What is done when there is another checkpoint.
fn listing_ended(projections: &Arc<Projections>, known: &Arc<TrustedCheckpoints>) -> ListEnded {
    let (projections, known) = (Arc::clone(projections), Arc::clone(known));
    Box::new(move |checkpoint| {
        let (checkpoint, known) = (Arc::clone(checkpoint), Arc::clone(&known));
        projections.list_ended_by(&(Arc::new(ListingCheckpoint { checkpoint, known }) as _))
    })
}

/// What subjects were, as the log has it.
fn past(log: &Arc<dyn EventLog>, projections: &Arc<Projections>) -> SubjectHistory {
    let (log, projections) = (Arc::clone(log), Arc::clone(projections));
    Arc::new(move |id, position| {
        history::subject_at(&*log, &projections, id, position).map_err(|error| error.to_string())
    })
}

/// Last of all: what it says must hold.
fn tell_uses(data: &Path, authority: &Authority) {
    let Ok(before) = authority.uses_forgotten_before() else { return };
    if let Err(error) = clean_shutdown::write(data, authority.live().position(), before) {
        tracing::warn!(%error, "the next start takes this stop for a crash: idle sessions live a little longer");
    }
}

/// Compares the log with the heads that it has signed, and signs on.
fn start_keeper(
    options: &NodeOptions,
    log: &Arc<dyn EventLog>,
    folded: &StartupState,
    binding: &KeyBinding,
    clock: &Arc<dyn Clock>,
    shared: Option<&ClusterParticipation>,
) -> Result<(HeadSigner, Option<NewEpoch>), StartError> {
    let keys = options.data.join("keys");
    let path = keys.join(HeadKey::FILE);
    if is_missing(&path) && SignedHeads::is_kept_in(&options.data) {
        return Err(StartError::KeysMissing { path: path.display().to_string() });
    }
    // What is lost here is with the other nodes.
    let must_be_kept = folded.nodes.size() > 0
        && !is_missing(&path)
        && options.begin_epoch.is_none()
        && options.cluster.is_none();
    let key = HeadKey::open(&keys, &*options.entropy)?;
    binding.check(HeadKey::FILE, Some(&key.verifier().to_string()))?;
    let renamed = epoch::renamed(options, &keys, key, &folded.state.system.epochs, &folded.nodes)?;
    let (log, nodes, further) = (Arc::clone(log), Arc::clone(&folded.nodes), options.head_file.clone());
    let (key, lineage) = (renamed.key, renamed.lineage);
    let heads = Arc::new(match shared {
        None => SignedHeads::open_after(&options.data, further, must_be_kept, key, &lineage, log, nodes)?,
        Some(part) => {
            let others = Arc::clone(&part.exchange) as _;
            SignedHeads::open_shared(&options.data, further, key, &lineage, log, nodes, others)?
        }
    });
    if let Some(part) = shared {
        part.exchange.attach(&heads);
    }
    let keeper = HeadSigner::start(heads, Arc::clone(clock), options.head_interval);
    Ok((keeper.map_err(StartError::Thread)?, renamed.new))
}

/// Writes down which keys go with this log, once it has its first event. What the disk does not take now it may take at
/// the next start.
fn bind(
    binding: &KeyBinding,
    authority: &Authority,
    texts: &SubjectKeys,
    digests: String,
    keeper: &HeadSigner,
) {
    let bound = texts.mark_made(authority.entropy()).map_err(|error| error.to_string()).and_then(|texts| {
        let head = keeper.heads().verifier().to_string();
        let marks = [(KeyedDigests::FILE, digests), (SubjectKeys::FILE, texts), (HeadKey::FILE, head)];
        let first = record_at(authority.log(), Position(1));
        binding.bind(first, &marks).map_err(|error| error.to_string())
    });
    if let Err(error) = bound {
        tracing::warn!(error, "the keys are not bound to this log yet; the next start tries again");
    }
}

/// Before when a crash may have forgotten uses.
fn forgotten_before(data: &Path, end: Position, now: Timestamp) -> Result<Option<Timestamp>, StartError> {
    clean_shutdown::forgotten_before(data, end, now)
        .map_err(|source| StartError::Io { path: clean_shutdown::path(data).display().to_string(), source })
}

/// Time stands still at the wall time or the last recorded time, whichever is later.
fn test_clock_for(state: &AuthorityState) -> Arc<TestClock> {
    Arc::new(TestClock::new(SystemClock::new().now().max(state.recorded_at)))
}

fn save_snapshot(data: &Path, log: &dyn EventLog, state: AuthorityState) {
    let Some(record) = record_at(log, state.position) else { return };
    if let Err(error) = snapshot::save(data, &StateSnapshot { state, record }) {
        tracing::warn!(%error, "the snapshot could not be written; the next start folds the log instead");
    }
}

fn record_at(log: &dyn EventLog, position: Position) -> Option<RecordHash> {
    let stored = history::commit_at(log, position).ok()??;
    stored.record_hashes.get(usize::try_from(position.0 - stored.first.0).ok()?).copied()
}
