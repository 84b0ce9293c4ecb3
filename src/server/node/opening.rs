//! The steps of a start, in their order: the log and the state it leads to, the clock, the keys, the signed heads, the
//! sequencer.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tenure_audit::{HeadKey, HeadSigner, MerkleIndex, SignedHeads};
use tenure_core::{Position, SubjectId, Timestamp, eviction::EvictionHorizon, state::AuthorityState};
use tenure_files::new_directory::UNFINISHED;
use tenure_log::{EventLog, SegmentedLog, StoredCommit};
use tenure_protocol::clock::{Clock, SystemClock, TestClock};

use super::{
    NodeOptions, StartError, clean_shutdown,
    cluster::ClusterParticipation,
    disk,
    epoch::{self, begin_epoch},
    joining::{JoinedNode, join},
    key_binding::KeyBinding,
    memory_horizon,
    offline_keys::{issue_first_key, look_at_first_key},
    secrets::{OpenedKeys, is_missing, open_secrets, remove_unfinished},
    snapshot::{record_at, save_at_end},
    startup_replay::{StartupReads, StartupState, open_log},
};
use crate::authority::{
    Authority, AuthorityKeys, BatchObserver, BegunEpoch, Dependencies, DiskRoom, IdempotencyTable,
    MemoryRetention, NewEpoch, PublishedState, SubjectHistory,
};
use crate::checkpoint::TrustedCheckpoints;
use crate::personal_data::SubjectKeys;
use crate::projections::{Projections, history};
use crate::tokens::{KeyedDigests, TokenKeyring};

/// Events since the last snapshot after which a start writes another one.
const EVENTS_PER_SNAPSHOT: u64 = 100_000;

/// A directory that a restore was filling belongs to that restore alone.
pub(super) fn refuse_unfinished_restore(options: &NodeOptions) -> Result<(), StartError> {
    if !options.restoring && options.data.join(UNFINISHED).exists() {
        return Err(StartError::Unfinished { path: options.data.display().to_string() });
    }
    Ok(())
}

/// A log that was opened, with the state it leads to.
pub(super) struct OpenedLog {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) folded: StartupState,
    /// The same log, by its files on this machine.
    files: Arc<dyn SegmentedLog>,
    /// This node's part in it, when several machines share it.
    shared: Option<ClusterParticipation>,
}

impl OpenedLog {
    /// Whether this node decides.
    fn leads(&self) -> bool {
        self.shared.as_ref().is_none_or(|joined| joined.leads)
    }
}

/// The log that the options name: this node's own, or the one that several machines share, once this node leads it.
pub(super) fn open_any_log(options: &NodeOptions) -> Result<OpenedLog, StartError> {
    let table = || IdempotencyTable::new(options.idempotency_window, options.idempotency_max);
    let Some(cluster) = &options.cluster else {
        let reads = StartupReads { verify: options.verify, memory: options.retention, by_snapshot: true };
        let (log, folded) = open_log(&options.data, options.segment_events, reads, &table)?;
        let files = Arc::new(log);
        return Ok(OpenedLog { log: Arc::clone(&files) as _, folded, files, shared: None });
    };
    let JoinedNode { part, folded } = join(options, cluster, &table)?;
    part.shared.gives_history(options.data.clone(), Arc::clone(&folded.known));
    let (log, files) = (Arc::clone(&part.shared) as _, part.shared.files());
    Ok(OpenedLog { log, folded, files, shared: Some(part) })
}

/// The time by which a node decides.
pub(super) struct NodeClock {
    clock: Arc<dyn Clock>,
    /// The same one, when time stands still.
    pub(super) test: Option<Arc<TestClock>>,
    /// When the node started, and never before the last recorded moment.
    started_at: Timestamp,
}

impl NodeClock {
    /// A test clock stands at the wall time or the last recorded time, whichever is later.
    pub(super) fn of(options: &NodeOptions, state: &AuthorityState) -> Self {
        let standing = || Arc::new(TestClock::new(SystemClock::new().now().max(state.recorded_at)));
        let test = options.test_clock.then(standing);
        let clock: Arc<dyn Clock> = match &test {
            Some(clock) => Arc::clone(clock) as _,
            None => Arc::new(SystemClock::steady()),
        };
        let behind = state.recorded_at.millis_since(clock.now());
        if behind > 0 {
            let recorded = state.recorded_at;
            tracing::warn!(behind_ms = behind, %recorded, "the clock is behind the last recorded moment: time stands still until then");
        }
        let started_at = clock.now().max(state.recorded_at);
        Self { clock, test, started_at }
    }
}

/// The keys of a data directory, and which log they are bound to.
pub(super) struct BoundKeys {
    binding: KeyBinding,
    secrets: AuthorityKeys,
    /// See [`OpenedKeys::erased`].
    erased: Vec<SubjectId>,
}

/// Opens the keys, if they are those that the log speaks of.
pub(super) fn open_keys(
    options: &NodeOptions,
    opened: &OpenedLog,
    clock: &NodeClock,
) -> Result<BoundKeys, StartError> {
    let NodeOptions { data, entropy, begin_epoch, .. } = options;
    remove_unfinished(data)?;
    let binding = KeyBinding::open(&data.join("keys"), record_at(&*opened.log, Position(1)))?;
    let is_epoch_begun = begin_epoch.is_some();
    let keys = open_secrets(data, &opened.folded, &binding, clock.started_at, &**entropy, is_epoch_begun)?;
    let OpenedKeys { secrets, erased } = keys;
    Ok(BoundKeys { binding, secrets, erased })
}

/// What signs the heads of the log, and the epoch that is to begin.
pub(super) struct StartedHeads {
    keeper: HeadSigner,
    new_epoch: Option<NewEpoch>,
}

/// Compares the log with the heads that it has signed, and signs on.
pub(super) fn start_heads(
    options: &NodeOptions,
    opened: &OpenedLog,
    keys: &BoundKeys,
    clock: &NodeClock,
) -> Result<StartedHeads, StartError> {
    let OpenedLog { log, folded, shared, .. } = opened;
    let directory = options.data.join("keys");
    let (key, is_new) = open_head_key(options, &directory, &keys.binding)?;
    let renamed = epoch::renamed(options, &directory, key, &folded.state.system.epochs, &folded.nodes)?;
    let (log, nodes, further) = (Arc::clone(log), Arc::clone(&folded.nodes), options.head_file.clone());
    let (key, lineage) = (renamed.key, renamed.lineage);
    let heads = Arc::new(match shared {
        None => {
            let must_be_kept = nodes.size() > 0 && !is_new && options.begin_epoch.is_none();
            SignedHeads::open_after(&options.data, further, must_be_kept, key, &lineage, log, nodes)?
        }
        // What is lost here is with the other nodes.
        Some(part) => {
            let others = Arc::clone(&part.exchange) as _;
            SignedHeads::open_shared(&options.data, further, key, &lineage, log, nodes, others)?
        }
    });
    if let Some(part) = shared {
        part.exchange.attach(&heads);
    }
    let keeper = HeadSigner::start(heads, Arc::clone(&clock.clock), options.head_interval);
    Ok(StartedHeads { keeper: keeper.map_err(StartError::Thread)?, new_epoch: renamed.new })
}

/// The key that signs heads, and whether it was made now.
fn open_head_key(
    options: &NodeOptions,
    keys: &Path,
    binding: &KeyBinding,
) -> Result<(HeadKey, bool), StartError> {
    let path = keys.join(HeadKey::FILE);
    let is_new = is_missing(&path);
    if is_new && SignedHeads::is_kept_in(&options.data) {
        return Err(StartError::KeysMissing { path: path.display().to_string() });
    }
    let key = HeadKey::open(keys, &*options.entropy)?;
    binding.check(HeadKey::FILE, Some(&key.verifier().to_string()))?;
    Ok((key, is_new))
}

/// An authority that decides, and what stands around it.
pub(super) struct StartedAuthority {
    pub(super) authority: Arc<Authority>,
    pub(super) begun: Option<BegunEpoch>,
    pub(super) first_key: Option<PathBuf>,
    pub(super) keeper: HeadSigner,
    pub(super) projections: Arc<Projections>,
    /// Up to where the files of the log can be asked.
    pub(super) indexed: Arc<Mutex<EvictionHorizon>>,
    pub(super) log: Arc<dyn EventLog>,
    /// The same log, by its files on this machine.
    pub(super) files: Arc<dyn SegmentedLog>,
    /// This node's part in it, when several machines share it.
    pub(super) shared: Option<ClusterParticipation>,
    /// The checkpoints that there are.
    pub(super) known: Arc<TrustedCheckpoints>,
    /// The keys that nodes share.
    pub(super) shared_keys: (Arc<SubjectKeys>, TokenKeyring),
}

/// Starts the sequencer on the state that the log leads to, and records what a start has to record.
pub(super) fn start_authority(
    options: &NodeOptions,
    opened: OpenedLog,
    keys: BoundKeys,
    heads: StartedHeads,
    clock: &NodeClock,
) -> Result<StartedAuthority, StartError> {
    let leads = opened.leads();
    let OpenedLog { log, mut folded, files, shared } = opened;
    let BoundKeys { binding, secrets, erased } = keys;
    let StartedHeads { keeper, new_epoch } = heads;
    let projections = Arc::new(std::mem::take(&mut folded.projections));
    let retention = memory_horizon::retention(options, &*files, &projections, &mut folded);
    if folded.since_snapshot >= EVENTS_PER_SNAPSHOT {
        save_at_end(&options.data, &*log, folded.state.clone());
    }
    let is_first_start = leads && folded.state.system.credentials.is_empty();
    if leads && !is_first_start {
        look_at_first_key(&options.data, &folded.state.system);
    }
    let (indexed, known) = (Arc::clone(&retention.indexed), Arc::clone(&folded.known));
    let shared_keys = (Arc::clone(&secrets.texts), secrets.tokens.keyring().clone());
    let digests_mark = secrets.digests.mark();
    let memory = (&projections, retention);
    let parts = dependencies(options, &log, folded, secrets, memory, clock)?;
    let start = if leads { Authority::start } else { Authority::follow };
    let authority = start(parts).map_err(StartError::Record)?;
    let begun = new_epoch.map(|new| begin_epoch(&authority, new, &erased)).transpose()?;
    if leads && (binding.is_new() || begun.is_some()) {
        bind(&binding, &authority, &shared_keys.0, digests_mark, &keeper);
    }
    authority.keep_key_uses_in(&options.data);
    let holds_keys = options.begin_epoch.as_ref().is_some_and(|asked| asked.hold_credentials);
    let needs_key = is_first_start || holds_keys;
    let first_key = needs_key.then(|| issue_first_key(&options.data, &authority)).transpose()?;
    let authority = Arc::new(authority);
    Ok(StartedAuthority {
        authority,
        begun,
        first_key,
        keeper,
        projections,
        indexed,
        log,
        files,
        shared,
        known,
        shared_keys,
    })
}

/// All that an authority stands on.
fn dependencies(
    options: &NodeOptions,
    log: &Arc<dyn EventLog>,
    folded: StartupState,
    secrets: AuthorityKeys,
    (projections, retention): (&Arc<Projections>, MemoryRetention),
    clock: &NodeClock,
) -> Result<Dependencies, StartError> {
    let NodeOptions { data, policy, issuing, entropy, reserve, .. } = options;
    let StartupState { mut state, idempotency, nodes, .. } = folded;
    let policy = policy.clone().or_else(|| state.system.policy.clone()).unwrap_or_default();
    let uses_forgotten_before = forgotten_before(data, state.position, clock.started_at)?;
    state.horizon = state.horizon.and(retention.horizon(clock.started_at));
    Ok(Dependencies {
        log: Arc::clone(log),
        disk_room: DiskRoom::new(disk::free_space(data), *reserve),
        state,
        idempotency,
        policy,
        clock: Arc::clone(&clock.clock),
        entropy: Arc::clone(entropy),
        secrets,
        issuing: issuing.clone(),
        observers: vec![observer(Arc::clone(projections), nodes)],
        uses_forgotten_before,
        past: past(log, projections),
        retention,
    })
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

/// What subjects were, as the log has it.
fn past(log: &Arc<dyn EventLog>, projections: &Arc<Projections>) -> SubjectHistory {
    let (log, projections) = (Arc::clone(log), Arc::clone(projections));
    Arc::new(move |id, position| {
        history::subject_at(&*log, &projections, id, position).map_err(|error| error.to_string())
    })
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
