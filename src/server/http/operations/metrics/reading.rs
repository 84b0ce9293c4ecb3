//! What the counters and gauges say now, read off the service whenever they are asked for.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use prometheus_client::{encoding::text::encode, metrics::gauge::Gauge};

use super::{
    ApiMetrics,
    values::{count, store},
};
use crate::authority;
use crate::http::api::ApiContext;
use crate::notify::webhooks::{DeliveryOutcome, WebhookTotals};
use crate::telemetry;
use tenure_core::EventKind;

impl ApiMetrics {
    /// All of them as text.
    pub(crate) fn text(&self, api: &ApiContext, is_ready: bool, alarms: usize) -> String {
        let (authority, evidence) = (&api.authority, &api.evidence);
        let health = authority.health();
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.observed.position, authority.live().position().0);
        let (sessions, left) = authority.live().session_counts();
        set(&self.observed.sessions, sessions as u64);
        store(&self.observed.let_go, left);
        set(&self.observed.waiting, authority.waiting() as u64);
        store(&self.observed.commits, health.commits());
        self.observe_events(health);
        set(&self.observed.disk_free, authority.disk_room().free().unwrap_or(u64::MAX));
        store(&self.observed.lost_keys, health.keys_lost());
        let (expired, failures) = authority.sweeps();
        store(&self.observed.expired, expired);
        store(&self.observed.sweep_failures, failures);
        set(&self.observed.ready, u64::from(is_ready));
        self.observe_webhooks(&api.webhooks.health());
        set(&self.observed.signed, evidence.keeper.heads().signed());
        store(&self.observed.head_failures, evidence.keeper.heads().failures());
        store(&self.observed.check_rounds, evidence.check.rounds());
        set(&self.observed.differences, evidence.check.differences());
        set(&self.observed.alarms, alarms as u64);
        self.observe_storage(api);
        self.costly
            .observe(&api.costly, [authority.repeats(), authority.recalls(), api.webhooks.past_gate()]);
        self.shared.observe(&api.admission);
        self.storage.observe(authority);
        self.nodes.observe(api.nodes().map(|nodes| &**nodes), authority.live().position());
        self.upkeep.observe(authority, &api.backups);
        self.lost_log_lines.inner().store(telemetry::lost_lines(), Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }

    /// To readers, some kinds have one name.
    fn observe_events(&self, health: &authority::SequencerHealth) {
        let mut by_name = BTreeMap::new();
        for kind in EventKind::ALL {
            *by_name.entry(kind.name()).or_insert(0) += health.events(kind);
        }
        for (name, total) in by_name {
            count(&self.observed.events, ("kind", name), total);
        }
    }

    fn observe_storage(&self, api: &ApiContext) {
        let of_webhooks = api.webhooks.destinations().writes();
        let writes = api.authority.key_writes().into_iter().chain([of_webhooks]);
        let of_keys = writes.map(|writes| (writes.name(), writes.failures()));
        let heads = ("head.note", api.evidence.keeper.heads().failures());
        let store = ("webhooks.redb", api.webhooks.health().store_failures);
        for (file, count) in of_keys.chain([heads, store]) {
            self.observed
                .storage_failures
                .get_or_create(&[("file", file)])
                .inner()
                .store(count, Ordering::Relaxed);
        }
    }

    fn observe_webhooks(&self, health: &WebhookTotals) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        for ((name, _), count) in DeliveryOutcome::ALL.iter().zip(health.outcomes) {
            let counter = self.observed.deliveries.get_or_create(&[("outcome", *name)]);
            counter.inner().store(count, Ordering::Relaxed);
        }
        set(&self.observed.failing, health.failing);
        set(&self.observed.pending, health.pending);
        set(&self.observed.parked, health.parked);
        set(&self.observed.oldest_pending, health.oldest_pending);
        set(&self.observed.webhook_store_fails, u64::from(health.store_fails));
    }
}
