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
    refused: Counter,
    resent: Counter,
    unknown: Counter,
}

impl NodeMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("leads", "1 on the node that leads", own.leads.clone());
        registry.register("term", "Term of the current leadership; 0 on a single node", own.term.clone());
        registry.register("lag", "Events by which this node is behind the leader", own.lag.clone());
        registry.register("nodes", "Nodes heard from in the last 30 seconds", own.nodes.clone());
        registry.register(
            "nodes_differ",
            "Nodes whose history differs from a head signed by another node",
            own.differ.clone(),
        );
        registry.register_with_unit(
            "staleness",
            "Upper bound on the age of this node's state; -1 while unknown",
            Unit::Seconds,
            own.staleness.clone(),
        );
        registry.register(
            "forwarded_requests",
            "Requests forwarded to the leader and answered",
            own.forwarded.clone(),
        );
        registry.register(
            "forwarded_unknown",
            "Forwarded requests whose outcome is unknown",
            own.forward_unknown.clone(),
        );
        registry.register(
            "stale_refusals",
            "Requests refused because the state might have been too old, or no node led",
            own.stale.clone(),
        );
        registry.register(
            "refused_nodes",
            "Requests as of another node that were refused: without the cluster's secret, or a good certificate",
            own.refused.clone(),
        );
        registry.register(
            "log_resends",
            "Frames sent to the broker again because their outcome was uncertain",
            own.resent.clone(),
        );
        registry.register(
            "log_unknown",
            "Batches whose outcome at the broker remained unknown",
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
        store(&self.refused, counts.refused.load(Ordering::Relaxed));
        let (resent, unknown) = nodes.log_troubles();
        store(&self.resent, resent);
        store(&self.unknown, unknown);
    }
}
