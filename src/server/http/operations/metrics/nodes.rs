//! How a node of several is doing. A single node always leads and lacks nothing.

use std::sync::atomic::Ordering;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::values::store;
use crate::http::nodes::ClusterNodes;
use tenure_core::Position;

/// Read from the door at each scrape.
#[derive(Default)]
pub(super) struct NodeMetrics {
    leads: Gauge,
    term: Gauge,
    lag: Gauge,
    nodes: Gauge,
    differ: Gauge,
    staleness: Gauge<f64, std::sync::atomic::AtomicU64>,
    forwarded: Counter,
    forward_unknown: Counter,
    stale: Counter,
    resent: Counter,
    unknown: Counter,
}

impl NodeMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("leads", "1 on the node that decides", own.leads.clone());
        registry.register("term", "The number of the leadership; 0 on a single node", own.term.clone());
        registry.register("lag", "Events of the leader that this node lacks", own.lag.clone());
        registry.register(
            "nodes",
            "Nodes that have said in the last 30 seconds that they are there",
            own.nodes.clone(),
        );
        registry.register(
            "nodes_differ",
            "Nodes whose history differs from a head that another one has signed",
            own.differ.clone(),
        );
        registry.register_with_unit(
            "staleness",
            "How old the state of this node may be; -1 while unknown",
            Unit::Seconds,
            own.staleness.clone(),
        );
        registry.register(
            "forwarded_requests",
            "Requests that were handed on to the leader and answered",
            own.forwarded.clone(),
        );
        registry.register(
            "forwarded_unknown",
            "Requests that were handed on and whose outcome is unknown",
            own.forward_unknown.clone(),
        );
        registry.register(
            "stale_refusals",
            "Requests that were refused because the state may have been too old, or no node led",
            own.stale.clone(),
        );
        registry.register(
            "log_resends",
            "Frames that were sent to the broker again, because it was not certain what had become of them",
            own.resent.clone(),
        );
        registry.register(
            "log_unknown",
            "Batches of which it was not certain in the end whether the broker has them",
            own.unknown.clone(),
        );
        own
    }

    pub(super) fn observe(&self, nodes: Option<&ClusterNodes>, position: Position) {
        let Some(nodes) = nodes else {
            self.leads.set(1);
            self.nodes.set(1);
            return;
        };
        let told = nodes.told(position);
        self.leads.set(i64::from(nodes.leads()));
        self.term.set(i64::try_from(told.term).unwrap_or(i64::MAX));
        self.lag.set(i64::try_from(told.lag).unwrap_or(i64::MAX));
        let seconds = told.staleness_ms.map(|millis| std::time::Duration::from_millis(millis).as_secs_f64());
        self.staleness.set(seconds.unwrap_or(-1.0));
        let (all, differ) = nodes.peers().unwrap_or_default();
        self.nodes.set(i64::try_from(all).unwrap_or(i64::MAX));
        self.differ.set(i64::try_from(differ).unwrap_or(i64::MAX));
        let counts = nodes.counts();
        store(&self.forwarded, counts.forwarded.load(Ordering::Relaxed));
        store(&self.forward_unknown, counts.unknown.load(Ordering::Relaxed));
        store(&self.stale, counts.stale.load(Ordering::Relaxed));
        let (resent, unknown) = nodes.log_troubles();
        store(&self.resent, resent);
        store(&self.unknown, unknown);
    }
}
