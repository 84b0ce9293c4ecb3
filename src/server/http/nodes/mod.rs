//! Several nodes behind one API: which of them answers a request, and how fresh its answer is.
//!
//! The one that leads answers everything. One that follows answers checks and reads from its own state
//! (`node_router`), unless it is too old, and hands everything else on to the leader (`forward`). What it only lacks yet
//! it never calls false: it waits for it, or says that it does not know.

mod erasures;
mod forward;
pub(super) mod freshness;
pub(super) mod handover;
mod history;
pub(super) mod node_router;
pub(super) mod own_answers;
mod recall;
pub(super) mod reported_uses;
mod signed_request;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use tenure_core::{Position, Timestamp};
use tenure_log::jetstream::{Leadership, NodeRecord};
use tenure_protocol::clock::{stopwatch, wall_time};
use tokio::{sync::watch, time::timeout};
use utoipa::ToSchema;

use super::{
    only_leader::ask_the_leader,
    reply::problem::{Problem, ProblemCode},
};
use crate::authority::Authority;
use crate::node::{MembershipView, NodeRole, OwnValidity, SharedLog};

/// How long a request waits for a position to arrive here.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a request waits until a node knows that it leads no more, once something speaks for it.
const STEPPING_DOWN: Duration = Duration::from_millis(500);
/// How long a node waits to fold what it has forwarded.
const OWN_PATIENCE: Duration = Duration::from_secs(1);

/// Clocks of nodes are apart by no more than this.
const CLOCKS: Duration = Duration::from_secs(5);

/// This node among the others.
pub(crate) struct ClusterNodes {
    shared: Arc<SharedLog>,
    view: watch::Receiver<MembershipView>,
    /// `cluster.max_staleness`
    most: Duration,
    /// `cluster.forward`
    forwards: bool,
    /// The last position that a forwarded answer named.
    passed_on: AtomicU64,
    /// Why the leader took nothing from this node the last time.
    turned_away: Mutex<Option<String>>,
    /// When it was last said that another node is refused here.
    refused_at: Mutex<Option<Instant>>,
    counts: ForwardCounts,
}

/// What has happened since the start.
#[derive(Default)]
pub(crate) struct ForwardCounts {
    pub(crate) forwarded: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) stale: AtomicU64,
    /// Requests that another node has sent, or said to have sent, and that were not taken as such.
    pub(crate) refused: AtomicU64,
}

/// What a node says about itself and the others.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeView {
    /// `leader` or `follower`.
    pub(crate) role: &'static str,
    /// Where the leader is reached; null while none is known.
    pub(crate) leader: Option<String>,
    /// The number of the leadership.
    pub(crate) term: u64,
    /// Events that this node is behind what the leader has published.
    pub(crate) lag: u64,
    /// How old the state of this node may be, in milliseconds; null while it cannot tell.
    pub(crate) staleness_ms: Option<u64>,
    /// Which nodes there are, this one among them.
    pub(crate) nodes: Vec<PeerView>,
}

/// What a node has said of itself, some seconds ago at most.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeerView {
    /// Where it is reached.
    address: String,
    /// `leader` or `follower`.
    role: &'static str,
    /// The position that it had reached.
    position: u64,
    /// How old its state may have been, in milliseconds; null if it did not know.
    staleness_ms: Option<u64>,
    /// Its version.
    version: String,
    /// Whether its history differs from a head that another node has signed.
    differs: bool,
}

impl PeerView {
    fn of(record: NodeRecord) -> Self {
        Self {
            address: record.address,
            role: role(record.leads),
            position: record.position,
            staleness_ms: record.staleness_ms,
            version: record.version,
            differs: record.difference.is_some(),
        }
    }
}

const fn role(leads: bool) -> &'static str {
    if leads { "leader" } else { "follower" }
}

impl ClusterNodes {
    /// This node among the others of its log.
    pub(crate) fn new(shared: Arc<SharedLog>, most: Duration, forwards: bool) -> Arc<Self> {
        let view = shared.view();
        Arc::new(Self {
            shared,
            view,
            most,
            forwards,
            passed_on: AtomicU64::new(0),
            turned_away: Mutex::new(None),
            refused_at: Mutex::new(None),
            counts: ForwardCounts::default(),
        })
    }

    pub(crate) fn counts(&self) -> &ForwardCounts {
        &self.counts
    }

    /// Frames that were sent again, and batches of which it was not certain in the end.
    pub(crate) fn log_troubles(&self) -> (u64, u64) {
        (self.shared.resent(), self.shared.unknown())
    }

    pub(crate) fn leads(&self) -> bool {
        self.view.borrow().leads()
    }

    /// How old the state is that an open stream tells of; `None` where it must tell nothing any more.
    pub(in crate::http) fn staleness_of_streams(&self) -> Option<Duration> {
        let is_right = self.leads() || !self.shared.differs();
        self.staleness().filter(|_| is_right && !matches!(self.view.borrow().role, NodeRole::Over(_)))
    }

    /// Whether this node may merely not know yet what was recorded by this moment.
    pub(super) fn may_lack(&self, at: Timestamp, now: Timestamp) -> bool {
        let within = i64::try_from((self.most + CLOCKS).as_millis()).unwrap_or(i64::MAX);
        !self.leads() && at.plus_millis(within) > now
    }

    /// What is said about this node.
    pub(crate) fn told(&self, position: Position) -> NodeView {
        let view = self.view.borrow();
        let leads = view.leads();
        let leader = if leads {
            Some(self.shared.address().to_owned())
        } else {
            view.sight.leader.as_ref().map(|claim| claim.address.clone())
        };
        NodeView {
            role: role(leads),
            leader,
            term: view.term(),
            lag: if leads { 0 } else { view.sight.told().unwrap_or(0).saturating_sub(position.0) },
            staleness_ms: view.staleness().map(in_millis),
            nodes: self.shared.peers().unwrap_or_default().into_iter().map(PeerView::of).collect(),
        }
    }

    /// How many nodes there are, and how many of them say that histories differ; none before it is known.
    pub(crate) fn peers(&self) -> Option<(usize, usize)> {
        let peers = self.shared.peers()?;
        Some((peers.len(), peers.iter().filter(|peer| peer.difference.is_some()).count()))
    }

    /// What other nodes have found and how they take this one, for people.
    pub(crate) fn alarms(&self) -> Vec<String> {
        let turned_away = self.turned_away.lock().clone().filter(|_| !self.leads());
        let turned_away = turned_away.map(|why| format!("the leader takes nothing from this node: {why}"));
        let own = self.shared.certificates().own_validity().filter(|own| *own != OwnValidity::Good);
        let own = own.map(|own| format!("the certificate that this node shows to others: {}", own.name()));
        let others = self.shared.peers().unwrap_or_default().into_iter();
        let others = others.filter(|peer| peer.address != self.shared.address());
        let others = others.filter_map(|peer| Some(format!("{} says: {}", peer.address, peer.difference?)));
        others.chain(turned_away).chain(own).collect()
    }

    /// How old the state of an answer given now may be; `None` where it is more than allowed.
    pub(in crate::http) fn staleness(&self) -> Option<Duration> {
        self.view.borrow().staleness().filter(|stale| *stale <= self.most)
    }

    /// Notes a position that a forwarded answer named, and waits a moment until this node has it too.
    async fn pass_on(&self, authority: &Authority, position: u64) {
        self.passed_on.fetch_max(position, Ordering::AcqRel);
        if !self.has_its_own(authority).await {
            tracing::debug!(position, "what was passed on is not here yet");
        }
    }

    /// Waits a moment until this node has all that it has passed on; whether it has.
    async fn has_its_own(&self, authority: &Authority) -> bool {
        let wanted = self.passed_on.load(Ordering::Acquire);
        if authority.live().position().0 >= wanted {
            return true;
        }
        let mut positions = authority.live().positions();
        let reached = positions.wait_for(|position| position.0 >= wanted);
        timeout(OWN_PATIENCE, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// Waits until `is_here`, or until this node knows all that was acknowledged before this call; that is certain at
    /// once on the one that leads. An error where neither comes in time.
    pub(super) async fn wait_for(&self, is_here: impl Fn() -> bool) -> Result<(), Problem> {
        let (asked, mut view) = ((stopwatch(), wall_time()), self.view.clone());
        let settled = async {
            while !is_here() && !knows(&view.borrow_and_update(), asked) {
                // Positions move more often than the view does.
                if timeout(Duration::from_millis(20), view.changed()).await.is_ok_and(|told| told.is_err()) {
                    return false;
                }
            }
            true
        };
        if timeout(PATIENCE, settled).await.unwrap_or(false) {
            Ok(())
        } else {
            Err(ProblemCode::Stale.into())
        }
    }

    /// Waits until it is certain that this node's state is the newest, or was after `asked`. If it is not, another node
    /// may be to answer.
    ///
    /// # Errors
    /// It does not become certain in time, or another node leads.
    pub(super) async fn confirm(&self, asked: Instant) -> Result<(), Problem> {
        if self.leads_so_that(asked, Leadership::knows_all_before).await {
            return Ok(());
        }
        ask_the_leader();
        Err(ProblemCode::Stale.into())
    }

    /// Waits until it is certain that this node led at this moment or later; whether it did.
    pub(super) async fn confirm_lead(&self, moment: Instant) -> bool {
        self.leads_so_that(moment, Leadership::was_certain_since).await
    }

    async fn leads_so_that(&self, asked: Instant, is_so: fn(&Leadership, Instant) -> bool) -> bool {
        while asked.elapsed() < PATIENCE {
            let leadership = match &self.view.borrow().role {
                NodeRole::Leads(leadership) => Arc::clone(leadership),
                NodeRole::Follows | NodeRole::Over(_) => return false,
            };
            if is_so(&leadership, asked) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    /// Waits a moment until this node knows that it leads no more; whether it knows.
    pub(super) async fn steps_down(&self) -> bool {
        let begun = stopwatch();
        while self.leads() && begun.elapsed() < STEPPING_DOWN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        !self.leads()
    }
}

/// Whether everything is known here that was acknowledged before this moment. A leader that slept may be one no more.
fn knows(view: &MembershipView, (asked, asked_at): (Instant, Timestamp)) -> bool {
    match &view.role {
        NodeRole::Leads(leadership) => leadership.knows_all_before(asked),
        NodeRole::Follows => view.sight.knows_all_before(asked, asked_at),
        NodeRole::Over(_) => false,
    }
}

fn in_millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
