//! What a node of a cluster has that a single one lacks: the log that all share, its role, and what it knows of the others.
//!
//! A follower folds the log as it comes and has the keys as the leader left them with the broker, so it answers checks
//! and reads, and taking the lead builds nothing (`membership`).

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tenure_files::key_files::write_private;
use tenure_log::{
    AppendOutcome, EncodedCommit, EventLog, IndexedHistory, JetStreamLog, LogError, LogHead, SealedFile,
    SegmentedLog, StoredBytes, StoredCommit,
    jetstream::{
        BrokerError, ClusterMember, ClusterView, FrameReader, KeyHolder, Leadership, NodeRecord, NodeRegistry,
    },
};
use tenure_protocol::entropy::{self, Entropy};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{
    broker_wait::hex, certificates::NodeCertificates, cluster_options::ClusterOptions,
    head_exchange::HeadExchange, history_files::HistoryFiles, key_mirror::KeyMirror, no_keys::NoKeys,
    node_mac::NodeMac,
};
use crate::checkpoint::TrustedCheckpoints;
use crate::notify::webhooks::{SharedProgress, WebhookProgress};
use crate::personal_data::SubjectKeys;
use crate::tokens::TokenKeyring;
use tenure_core::Position;

/// Under which name it is kept how far webhooks have come.
const WEBHOOKS: &str = "webhooks";

/// Writes a new secret for all nodes of a cluster.
///
/// # Errors
/// The disk does not take it, or there is one already.
pub fn make_secret(path: &Path, entropy: &dyn Entropy) -> Result<(), String> {
    if path.exists() {
        return Err(format!("{} is there already", path.display()));
    }
    let secret = Zeroizing::new(hex(&entropy::bytes::<32>(entropy)));
    write_private(path, &secret).map_err(|error| error.to_string())
}

/// A node's part in a log of several machines.
pub(super) struct ClusterParticipation {
    pub(super) shared: Arc<SharedLog>,
    pub(super) member: ClusterMember,
    /// Whether it leads already.
    pub(super) leads: bool,
    /// The heads of the others.
    pub(super) exchange: Arc<HeadExchange>,
    /// Which others there are.
    pub(super) registry: NodeRegistry,
    /// The history as the broker has it.
    pub(super) frames: FrameReader,
    /// The name of this node.
    pub(super) node: String,
}

/// The log that several nodes share, written to only when the keys that its events need are with the broker too.
pub struct SharedLog {
    log: Arc<JetStreamLog>,
    /// The name of this node.
    node: String,
    /// What one leader leaves to the next.
    kept: NodeRegistry,
    /// All erasures up to this position are done in what the broker has, as far as this node knows.
    erased_at_broker: Arc<AtomicU64>,
    mirror: Mutex<KeyMirror>,
    view: watch::Sender<MembershipView>,
    mac: NodeMac,
    /// Where this node is reached.
    address: String,
    certificates: Arc<NodeCertificates>,
    /// Whether this node is to give the lead away.
    given_away: AtomicBool,
    /// Whether it does so now: nothing is begun then.
    holding: AtomicBool,
    /// Requests under way that this node may decide.
    deciding: AtomicUsize,
    /// How the history of this node differs from a head that another one has signed.
    difference: RwLock<Option<String>>,
    /// Which nodes there are, as of the last look; none before it.
    peers: RwLock<Option<Vec<NodeRecord>>>,
    /// Which nodes hold keys, as of the last look; none before it.
    key_holders: RwLock<Option<Vec<KeyHolder>>>,
    /// What a node that joins may have.
    history: OnceLock<HistoryFiles>,
}

/// What this node is, and what it knows of the others.
#[derive(Clone, Debug)]
pub struct MembershipView {
    /// Leader or follower.
    pub role: NodeRole,
    /// What a follower knows.
    pub sight: ClusterView,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum NodeRole {
    /// It leads, until it loses the lead.
    Leads(Arc<Leadership>),
    /// Another node leads, or none.
    Follows,
    /// It cannot go on.
    Over(String),
}

impl MembershipView {
    pub(super) fn of(member: &ClusterMember) -> Self {
        let leadership = member.log().leadership();
        let role = leadership.map_or(NodeRole::Follows, NodeRole::Leads);
        Self { role, sight: member.sight().clone() }
    }

    /// Whether this node leads.
    pub fn leads(&self) -> bool {
        matches!(&self.role, NodeRole::Leads(leadership) if leadership.lost().is_none())
    }

    /// The number of the leadership, as this node knows it.
    pub fn term(&self) -> u64 {
        match &self.role {
            NodeRole::Leads(leadership) => leadership.term().unwrap_or(0),
            NodeRole::Follows | NodeRole::Over(_) => self.sight.term,
        }
    }

    /// How old this node's state may be; `None` while nothing is known.
    pub fn staleness(&self) -> Option<Duration> {
        match &self.role {
            NodeRole::Leads(leadership) => Some(leadership.behind_for()),
            NodeRole::Follows => self.sight.staleness(),
            NodeRole::Over(_) => None,
        }
    }
}

impl SharedLog {
    pub(super) fn of(
        member: &ClusterMember,
        mirror: KeyMirror,
        (node, mac, kept): (String, NodeMac, NodeRegistry),
        cluster: &ClusterOptions,
    ) -> Self {
        Self {
            log: Arc::clone(member.log()),
            node,
            kept,
            erased_at_broker: mirror.erased_through(),
            mirror: Mutex::new(mirror),
            view: watch::Sender::new(MembershipView::of(member)),
            mac,
            address: cluster.address.clone(),
            certificates: Arc::clone(&cluster.certificates),
            given_away: AtomicBool::new(false),
            holding: AtomicBool::new(false),
            deciding: AtomicUsize::new(0),
            difference: RwLock::new(None),
            peers: RwLock::new(None),
            key_holders: RwLock::new(None),
            history: OnceLock::new(),
        }
    }

    /// The files of the log on this machine.
    pub(super) fn files(&self) -> Arc<dyn SegmentedLog> {
        Arc::clone(&self.log) as _
    }

    /// From now on other nodes may have the files of the history below this directory.
    pub(super) fn gives_history(&self, data: PathBuf, known: Arc<TrustedCheckpoints>) {
        drop(self.history.set(HistoryFiles::of(data, Arc::clone(&self.log), known)));
    }

    /// Puts the file of another node in the place of a damaged segment, if it is the same one.
    pub(super) fn mend(&self, number: usize, file: &Path) -> Result<(), String> {
        self.log.mend(number, file)
    }

    /// Makes a damaged segment again, in this file, and puts it in its place if it is the same one.
    pub(super) fn rebuild(
        &self,
        number: usize,
        frames: &FrameReader,
        file: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        self.log.rebuild(number, frames, file, go_on)
    }

    /// What a node that joins may have.
    pub(crate) fn history(&self) -> Option<&HistoryFiles> {
        self.history.get()
    }

    /// What this node is now, and what it knows; reports each change.
    pub fn view(&self) -> watch::Receiver<MembershipView> {
        self.view.subscribe()
    }

    /// Proves to other nodes that a node asks.
    pub(crate) const fn mac(&self) -> &NodeMac {
        &self.mac
    }

    /// How often a frame was sent again since the start, because it was not certain what had become of it.
    pub(crate) fn resent(&self) -> u64 {
        self.log.resent()
    }

    /// Batches since the start of which it was not certain in the end.
    pub(crate) fn unknown(&self) -> u64 {
        self.log.unknown()
    }

    /// Where this node is reached.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What this node shows to others, and judges them by.
    pub const fn certificates(&self) -> &Arc<NodeCertificates> {
        &self.certificates
    }

    /// Has this node give the lead to another one; it follows then. Until another one leads, nothing is begun here.
    pub fn give_away(&self) {
        if self.log.leadership().is_some() {
            self.holding.store(true, Ordering::Release);
            self.given_away.store(true, Ordering::Release);
        }
    }

    /// The requests under way that this node may decide: it gives the lead away once they are done.
    pub(crate) const fn deciding(&self) -> &AtomicUsize {
        &self.deciding
    }

    /// Whether nothing is begun here now, because the lead is being given away.
    pub fn is_holding(&self) -> bool {
        self.holding.load(Ordering::Acquire)
    }

    pub(super) fn is_given_away(&self) -> bool {
        self.given_away.swap(false, Ordering::AcqRel)
    }

    pub(super) fn show(&self, view: MembershipView) {
        let is_settled = view.leads() || view.sight.leader.is_some();
        self.view.send_replace(view);
        if is_settled && !self.given_away.load(Ordering::Acquire) {
            self.holding.store(false, Ordering::Release);
        }
    }

    /// How the history of this node differs from that of another one; none as far as is known.
    pub fn difference(&self) -> Option<String> {
        self.difference.read().clone()
    }

    /// Whether there is such a difference.
    pub fn differs(&self) -> bool {
        self.difference.read().is_some()
    }

    /// The first difference stands until a restart, which folds the log again.
    pub(super) fn finds_difference(&self, why: &str) {
        tracing::error!(
            why,
            "the history of this node is not that of another one: nothing is granted until that is looked into"
        );
        self.difference.write().get_or_insert_with(|| why.to_owned());
    }

    /// Which nodes there are, this one among them; none before it is known.
    pub fn peers(&self) -> Option<Vec<NodeRecord>> {
        self.peers.read().clone()
    }

    /// Which nodes hold keys, and how far each has destroyed them; none before it is known.
    pub(crate) fn key_holders(&self) -> Option<Vec<KeyHolder>> {
        self.key_holders.read().clone()
    }

    pub(super) fn know_peers(&self, peers: Vec<NodeRecord>, holders: Vec<KeyHolder>) {
        *self.peers.write() = Some(peers);
        *self.key_holders.write() = Some(holders);
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// All erasures up to this position are done in what the broker has, as far as this node knows. The one that leads
    /// learns it.
    pub(crate) fn erased_at_broker(&self) -> Position {
        Position(self.erased_at_broker.load(Ordering::Acquire))
    }

    /// Whether this node knows that there is no other one to take the lead.
    pub fn is_alone(&self) -> bool {
        let peers = self.peers.read();
        peers.as_ref().is_some_and(|peers| peers.iter().all(|peer| peer.address == self.address))
    }

    /// The keys of the open node.
    pub(super) fn attach(&self, texts: Arc<SubjectKeys>, keyring: TokenKeyring) {
        self.mirror.lock().attach(texts, keyring);
    }

    /// Takes over the leader's new keys.
    pub(super) fn pull_keys(&self) -> Result<(), NoKeys> {
        self.mirror.lock().pull()
    }

    /// Takes over all keys, and brings this node's own from now on, in this term.
    pub(super) fn lead_keys(&self, term: u64) -> Result<(), NoKeys> {
        let mut mirror = self.mirror.lock();
        mirror.pull()?;
        mirror.lead(term);
        Ok(())
    }

    /// Gives up all keys that are not with the broker.
    pub(super) fn begin_again_with_keys(&self) -> Result<(), NoKeys> {
        self.mirror.lock().begin_again()
    }

    /// Brings the last changes of keys to the broker.
    pub(super) fn bring_keys(&self) {
        if let Err(error) = self.mirror.lock().look_at_all() {
            tracing::warn!(%error, "the last changes of keys are not with the broker");
        }
    }

    /// Gives the lead back in order. This process writes nothing from here on.
    pub(super) fn release(&self) {
        if self.log.leadership().is_some_and(|leadership| leadership.lost().is_none()) {
            self.bring_keys();
        }
        self.log.release();
    }
}

impl SharedProgress for SharedLog {
    fn load(&self) -> Result<WebhookProgress, String> {
        let kept = self.kept.kept(WEBHOOKS).map_err(|error| error.to_string())?;
        kept.map_or_else(
            || Ok(WebhookProgress::default()),
            |kept| serde_json::from_slice(&kept).map_err(|error| error.to_string()),
        )
    }

    fn save(&self, progress: &WebhookProgress) -> Result<(), String> {
        let body = serde_json::to_vec(progress).expect("our own documents are always JSON");
        self.kept.keep(WEBHOOKS, body).map_err(|error| error.to_string())
    }
}

impl EventLog for SharedLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        if let Some(why) = self.log.stopped() {
            return Err(LogError::Deposed { why });
        }
        // A fact that needs a key must not be there without it.
        match self.mirror.lock().look_for_new() {
            Ok(()) => self.log.append(after, batch),
            Err(BrokerError::Led { term }) => {
                Err(LogError::Deposed { why: format!("another node leads, in term {term}") })
            }
            Err(error) => Err(LogError::Exhausted { why: format!("keys cannot be kept: {error}") }),
        }
    }

    fn head(&self) -> LogHead {
        self.log.head()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        self.log.read(after, max_events)
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        self.log.read_bytes(after, max_events)
    }

    fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        self.log.read_commits(positions)
    }

    fn indexed(&self) -> IndexedHistory {
        self.log.indexed()
    }

    fn damage(&self) -> Vec<String> {
        self.log.damage()
    }

    fn sealed_files(&self) -> Vec<SealedFile> {
        self.log.sealed_files()
    }

    fn stopped(&self) -> Option<String> {
        self.log.stopped()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn note_published(&self) {
        self.log.note_published();
    }
}

impl std::fmt::Debug for SharedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedLog({:?})", self.log)
    }
}
