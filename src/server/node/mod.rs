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
mod disk;
mod epoch;
mod head_check;
mod head_exchange;
mod history_client;
mod history_fetch;
pub(crate) mod history_files;
mod history_mending;
mod jobs;
mod joining;
mod key_binding;
mod key_mirror;
mod membership;
mod memory_horizon;
mod no_keys;
mod node_mac;
mod offline_keys;
mod opening;
mod options;
mod peers;
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

use crate::authority::{Authority, BegunEpoch};
use crate::checkpoint::{ListingCheckpoint, TrustedCheckpoints};
use crate::notify::webhooks::{WebhookSource, Webhooks};
use crate::personal_data::SubjectKeys;
use crate::projections::{Projections, session_list::SessionList};
use crate::tokens::TokenKeyring;
use parking_lot::Mutex;
use tenure_audit::{Evidence, LiveCheck, live_check};
use tenure_core::{Position, eviction::EvictionHorizon, state::AuthorityState};
use tenure_log::SegmentedLog;
use tenure_protocol::clock::TestClock;
use tenure_threads::worker::WorkerThread;

pub(crate) use self::certificates::PeerCertificate;
pub use self::certificates::{CertificateFiles, NodeCertificates, OwnCertificateFiles, OwnValidity};
pub use self::cluster::{MembershipView, NodeRole, SharedLog};
pub use self::cluster_options::ClusterOptions;
use self::{
    checkpoint_scrub::CheckpointScrub,
    checkpointer::ListEnded,
    cluster::ClusterParticipation,
    opening::{
        NodeClock, StartedAuthority, open_any_log, open_keys, refuse_unfinished_restore, start_authority,
        start_heads,
    },
    peers::PeerExchange,
    sealer::ReleaseMemory,
};
pub use self::{
    epoch::EpochRequest,
    offline_keys::{IssuedKey, issue_credential},
    options::NodeOptions,
    start_error::StartError,
};

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
        refuse_unfinished_restore(&options)?;
        let opened = open_any_log(&options)?;
        let clock = NodeClock::of(&options, &opened.folded.state);
        let keys = open_keys(&options, &opened, &clock)?;
        let heads = start_heads(&options, &opened, &keys, &clock)?;
        let started = start_authority(&options, opened, keys, heads, &clock)?;
        Self::begin_to_work(options, started, clock.test).map_err(StartError::Thread)
    }

    /// Starts all that works beside the sequencer.
    fn begin_to_work(
        options: NodeOptions,
        started: StartedAuthority,
        test_clock: Option<Arc<TestClock>>,
    ) -> io::Result<Self> {
        let StartedAuthority { authority, begun, first_key, keeper, projections, indexed, .. } = started;
        let StartedAuthority { log, files, shared, known, shared_keys, .. } = started;
        let NodeOptions { data, webhooks, scrub_rate, .. } = options;
        let webhooks = Webhooks::new(Arc::clone(&authority) as Arc<dyn WebhookSource>, &data, webhooks);
        let published = Arc::new(state_view::StateView(Arc::clone(&authority)));
        let check = LiveCheck::start(log, published, live_check::SLICE)?;
        let evidence = Arc::new(Evidence { keeper, check });
        // Under a test clock, what is due is done when the clock is moved.
        let jobs = test_clock.is_none().then(|| jobs::start(Arc::clone(&authority))).transpose()?;
        projections.begin_folds_at(Arc::clone(&known) as _);
        let let_go = letting_go(&projections, &evidence, Arc::clone(&files), indexed);
        let memory = (&known, (listing_ended(&projections, &known), let_go));
        let background = tend_segments(&files, &authority, &evidence, memory, &data, scrub_rate)?;
        let part = shared.map(|joined| take_part(joined, &authority, shared_keys, test_clock.clone()));
        let (shared, membership) = part.transpose()?.unzip();
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

    /// How many sessions have not ended.
    pub fn open_sessions(&self) -> usize {
        self.projections.sessions(SessionList::open)
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
                snapshot::save_at_end(&self.data, self.authority.log(), self.authority.live().capture());
            }
            tell_uses(&self.data, &self.authority);
        }
    }
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

/// What is done when the files of the log tell of more of the history: more sessions may leave memory.
fn letting_go(
    projections: &Arc<Projections>,
    evidence: &Arc<Evidence>,
    log: Arc<dyn SegmentedLog>,
    indexed: Arc<Mutex<EvictionHorizon>>,
) -> ReleaseMemory {
    let (projections, evidence) = (Arc::clone(projections), Arc::clone(evidence));
    Box::new(move |until| {
        projections.let_go(until);
        evidence.keeper.heads().nodes().let_go(until);
        memory_horizon::tell(&indexed, &*log, until);
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

/// Last of all: what it says must hold.
fn tell_uses(data: &Path, authority: &Authority) {
    let Ok(before) = authority.uses_forgotten_before() else { return };
    if let Err(error) = clean_shutdown::write(data, authority.live().position(), before) {
        tracing::warn!(%error, "the next start takes this stop for a crash: idle sessions live a little longer");
    }
}
