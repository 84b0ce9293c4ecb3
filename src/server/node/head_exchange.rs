//! Signed heads between the nodes of a cluster: the one that leads publishes them, and each compares every one with its
//! own tree.
//!
//! A head covers all of the history before it, so nodes whose trees have the same root have the same history, however
//! each of them came by it: from the broker, from its copy, from files. A difference is never put right by itself: the
//! node that finds one says so, and nothing is granted until people have looked into it.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tenure_audit::{HeadComparison, HeadPublication, ProofFailure, SignedHead, SignedHeads};
use tenure_core::Timestamp;
use tenure_log::{
    LogError,
    jetstream::{BrokerError, HeadPut, HeadStream, PublishedHead},
};
use tenure_protocol::clock::{stopwatch, wall_time};

use super::cluster::{MembershipView, NodeRole, SharedLog};

/// How long to wait for a leader that lacks what a head covers: it may be about to learn that it leads no more.
const LEADER_PATIENCE: Duration = Duration::from_secs(20);

/// The heads of one node and those of the others.
pub(super) struct HeadExchange {
    stream: HeadStream,
    node: String,
    shared: Arc<SharedLog>,
    /// None before the node is open. The heads know of this exchange too.
    heads: OnceLock<Weak<SignedHeads>>,
    known: Mutex<KnownHeads>,
}

/// What was read of the stream.
#[derive(Default)]
struct KnownHeads {
    /// The last place that was read; none before the first look.
    read: Option<u64>,
    /// What is not compared yet, in order.
    waiting: VecDeque<WaitingHead>,
}

/// A head to compare.
struct WaitingHead {
    sequence: u64,
    node: String,
    head: SignedHead,
    /// When it was read.
    at: (Instant, Timestamp),
}

impl HeadExchange {
    pub(super) fn new(stream: HeadStream, node: String, shared: Arc<SharedLog>) -> Arc<Self> {
        Arc::new(Self { stream, node, shared, heads: OnceLock::new(), known: Mutex::default() })
    }

    /// From now on these heads are compared and, when this node leads, signed.
    pub(super) fn attach(&self, heads: &Arc<SignedHeads>) {
        drop(self.heads.set(Arc::downgrade(heads)));
    }

    fn heads(&self) -> Option<Arc<SignedHeads>> {
        self.heads.get()?.upgrade()
    }

    /// Reads what is new, and compares it as far as the tree here goes.
    pub(super) fn look(&self) -> Result<(), BrokerError> {
        let Some(heads) = self.heads() else { return Ok(()) };
        self.look_at(&heads, &mut self.known.lock())
    }

    /// Up to which place everything is compared.
    pub(super) fn compared(&self) -> u64 {
        let known = self.known.lock();
        known.waiting.front().map_or_else(|| known.read.unwrap_or(0), |waiting| waiting.sequence - 1)
    }

    fn look_at(&self, heads: &SignedHeads, known: &mut KnownHeads) -> Result<(), BrokerError> {
        self.read(heads, known)?;
        while let Some(waiting) = known.waiting.front() {
            // Before the tree is looked at, which only grows.
            let is_all_known = knows_all_before(&self.shared.view().borrow(), waiting.at);
            if !self.compare(heads, waiting, is_all_known) {
                break;
            }
            known.waiting.pop_front();
        }
        Ok(())
    }

    /// What is new. The newest head of all speaks for those before it.
    fn read(&self, heads: &SignedHeads, known: &mut KnownHeads) -> Result<(), BrokerError> {
        let found = match known.read {
            Some(read) => self.stream.since(read)?,
            None => self.stream.last()?.into_iter().collect(),
        };
        known.read = found.last().map(|head| head.sequence).or(known.read).or(Some(0));
        known.waiting.extend(found.into_iter().filter_map(|found| opened(heads, found)));
        Ok(())
    }

    /// Compares one; whether it is done.
    fn compare(&self, heads: &SignedHeads, waiting: &WaitingHead, is_all_known: bool) -> bool {
        let size = waiting.head.size;
        match heads.compare(&waiting.head) {
            Ok(HeadComparison::Same) => {
                if let Err(error) = heads.adopt(&waiting.head) {
                    tracing::warn!(%error, "a head of another node is not kept here");
                }
            }
            Ok(HeadComparison::Ahead) if is_all_known => self.differs(
                heads,
                waiting,
                &format!("the log ends at position {} here", heads.nodes().size()),
            ),
            Ok(HeadComparison::Ahead) => return false,
            Ok(HeadComparison::Differs) => {
                self.differs(
                    heads,
                    waiting,
                    &format!("one of the positions 1 to {size} holds another event here"),
                );
            }
            Err(ProofFailure::Log(LogError::Corrupt { position, why })) => {
                self.differs(
                    heads,
                    waiting,
                    &format!("what this node has at position {position} is damaged: {why}"),
                );
            }
            Err(error) => {
                tracing::warn!(%error, "a head of another node cannot be compared now");
                return false;
            }
        }
        true
    }

    fn differs(&self, heads: &SignedHeads, waiting: &WaitingHead, how: &str) {
        let said = format!(
            "the head of {} events that node {} has signed (message {} of the stream of heads) is not of the history of \
             node {}: {how}",
            waiting.head.size, waiting.node, waiting.sequence, self.node
        );
        heads.stop(&said);
        self.shared.finds_difference(&said);
    }
}

impl HeadPublication for HeadExchange {
    fn signs(&self) -> bool {
        self.heads.get().is_some() && !self.shared.differs() && self.shared.view().borrow().leads()
    }

    fn publish(&self, head: &SignedHead) -> Result<(), String> {
        let heads = self.heads().ok_or("the node is stopping")?;
        let mut known = self.known.lock();
        loop {
            self.look_at(&heads, &mut known).map_err(|error| error.to_string())?;
            if let Some(difference) = self.shared.difference() {
                return Err(difference);
            }
            if !known.waiting.is_empty() {
                return Err("another node has signed more than this one has".to_owned());
            }
            match self.stream.put(head.note(), &self.node, known.read.unwrap_or(0)) {
                HeadPut::Stored(sequence) => {
                    known.read = Some(sequence);
                    return Ok(());
                }
                HeadPut::Others if self.shared.view().borrow().leads() => {}
                HeadPut::Others => return Err("another node leads".to_owned()),
                HeadPut::Unknown(why) => return Err(why),
            }
        }
    }
}

/// A head that this log's key has signed. Anything else says nothing about the history.
fn opened(heads: &SignedHeads, found: PublishedHead) -> Option<WaitingHead> {
    let PublishedHead { sequence, node, note } = found;
    match SignedHead::open(&note, heads.verifier()) {
        Ok(head) => Some(WaitingHead { sequence, node, head, at: (stopwatch(), wall_time()) }),
        Err(error) => {
            tracing::error!(%error, sequence, node, "the stream of heads holds what is no head of this log");
            None
        }
    }
}

/// Whether this node has everything that was recorded before this moment.
fn knows_all_before(view: &MembershipView, (since, moment): (Instant, Timestamp)) -> bool {
    match &view.role {
        NodeRole::Leads(leadership) => {
            leadership.knows_all_before(since) && since.elapsed() >= LEADER_PATIENCE
        }
        NodeRole::Follows => view.sight.knows_all_before(since, moment),
        NodeRole::Over(_) => false,
    }
}
