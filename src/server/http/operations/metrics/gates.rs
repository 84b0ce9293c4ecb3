//! What is counted of costly reads.

use std::sync::atomic::Ordering;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::values::{MetricLabels, count, set};
use crate::gate::{GateLoad, WorkGate};
use crate::http::request::costly_reads;

/// The load of every gate, read on request.
#[derive(Default)]
pub(super) struct GateMetrics {
    running: Family<MetricLabels, Gauge>,
    waiting: Family<MetricLabels, Gauge>,
    refused: Family<MetricLabels, Counter>,
    done: Family<MetricLabels, Counter>,
    abandoned: Family<MetricLabels, Counter>,
    shared: Family<MetricLabels, Counter>,
    beyond_shares: Counter,
    folded: Counter,
    looked_at: Counter,
}

impl GateMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("costly_running", "Costly requests in progress", own.running.clone());
        registry.register("costly_waiting", "Costly requests in the queue", own.waiting.clone());
        registry.register(
            "costly_refused",
            "Costly requests refused because the queue was full",
            own.refused.clone(),
        );
        registry.register("costly_done", "Costly requests completed", own.done.clone());
        registry.register(
            "costly_abandoned",
            "Costly requests abandoned because their callers had gone",
            own.abandoned.clone(),
        );
        registry.register(
            "costly_shared",
            "Costly requests answered together with an identical one",
            own.shared.clone(),
        );
        registry.register(
            "costly_beyond_share",
            "Costly requests refused because their callers were at their shares",
            own.beyond_shares.clone(),
        );
        registry.register(
            "costly_folded_events",
            "Events folded for lists of the past over all subjects",
            own.folded.clone(),
        );
        registry.register(
            "listed_sessions_looked_at",
            "Sessions examined for lists of current sessions",
            own.looked_at.clone(),
        );
        own
    }

    /// Counts the sessions examined for a list.
    pub(super) fn looked_at(&self, sessions: usize) {
        self.looked_at.inc_by(sessions as u64);
    }

    pub(super) fn observe(&self, reads: &costly_reads::CostlyReads, others: [&WorkGate; 3]) {
        reads.gates().into_iter().chain(others).for_each(|gate| self.observe_gate(gate));
        self.folded.inner().store(reads.folded(), Ordering::Relaxed);
        self.beyond_shares.inner().store(reads.beyond_shares(), Ordering::Relaxed);
    }

    fn observe_gate(&self, gate: &WorkGate) {
        let label = ("gate", gate.name());
        let GateLoad { running, waiting, refused, done, abandoned, shared } = gate.load();
        set(&self.running, label, running);
        set(&self.waiting, label, waiting);
        count(&self.refused, label, refused);
        count(&self.done, label, done);
        count(&self.abandoned, label, abandoned);
        count(&self.shared, label, shared);
    }
}
