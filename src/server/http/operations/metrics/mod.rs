//! What is counted, in the `OpenMetrics` text format. Labels are codes, never ids or tokens.

pub(super) mod costly;
pub(super) mod shares;

use std::sync::atomic::Ordering;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use self::{costly::Costly, shares::Shared};
use crate::http::api::Api;
use crate::notify::webhooks::{Health, Outcome};
use crate::telemetry;

type Labels = [(&'static str, &'static str); 1];

/// The counters of the API.
pub(crate) struct Metrics {
    registry: Registry,
    /// Open streams.
    subscribers: Gauge,
    answers: Family<Labels, Counter>,
    /// The one of `answers` that almost every request counts.
    granted: Counter,
    wrong_credentials: Counter,
    live_tokens: Counter,
    lost_log_lines: Counter,
    /// Those of costly reads.
    costly: Costly,
    observed: Observed,
    shared: Shared,
}

/// What is read off the authority whenever somebody looks.
#[derive(Default)]
struct Observed {
    position: Gauge,
    sessions: Gauge,
    waiting: Gauge,
    commits: Gauge,
    batches: Gauge,
    busy_millis: Gauge,
    disk_free: Gauge,
    expired: Gauge,
    sweep_failures: Gauge,
    ready: Gauge,
    deliveries: Family<Labels, Counter>,
    pending: Gauge,
    parked: Gauge,
    oldest_pending: Gauge,
    webhook_store_fails: Gauge,
    signed: Gauge,
    head_failures: Gauge,
    check_rounds: Gauge,
    differences: Gauge,
    alarms: Gauge,
    storage_failures: Family<Labels, Counter>,
    lost_keys: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tenure");
        let answers = Family::<Labels, Counter>::default();
        registry.register("answers", "Answered requests by code", answers.clone());
        let granted = answers.get_or_create(&[("code", "ok")]).clone();
        let wrong_credentials = Counter::default();
        registry.register(
            "wrong_credentials",
            "Requests with a malformed or unknown credential",
            wrong_credentials.clone(),
        );
        let live_tokens = Counter::default();
        registry.register("live_tokens", "Introspected tokens that were live", live_tokens.clone());
        let lost_log_lines = Counter::default();
        registry.register(
            "lost_log_lines",
            "Log lines that could not be written since the start",
            lost_log_lines.clone(),
        );
        let observed = Observed::default();
        registry.register("position", "The last position of the log", observed.position.clone());
        registry.register("sessions", "Sessions in memory, ended ones included", observed.sessions.clone());
        registry.register("waiting", "Commands that wait for a decision", observed.waiting.clone());
        registry.register("commits", "Commits since the start", observed.commits.clone());
        registry.register("batches", "Batches made durable since the start", observed.batches.clone());
        registry.register_with_unit(
            "writing",
            "Time spent on deciding and writing since the start",
            Unit::Other("milliseconds".into()),
            observed.busy_millis.clone(),
        );
        registry.register_with_unit(
            "disk_free",
            "Free on the disk of the log",
            Unit::Bytes,
            observed.disk_free.clone(),
        );
        registry.register(
            "expired_sessions",
            "Sessions found to have ended by themselves since the start",
            observed.expired.clone(),
        );
        registry.register(
            "sweep_failures",
            "Sweeps that failed since the start",
            observed.sweep_failures.clone(),
        );
        let subscribers = Gauge::default();
        registry.register(
            "subscribers",
            "Open streams of events, notices, ends and sessions",
            subscribers.clone(),
        );
        registry.register("ready", "1 when the authority can serve and write", observed.ready.clone());
        register_webhooks(&mut registry, &observed);
        registry.register(
            "signed_position",
            "The last position under a signed head",
            observed.signed.clone(),
        );
        registry.register(
            "head_failures",
            "Heads that could not be signed or kept since the start",
            observed.head_failures.clone(),
        );
        registry.register(
            "check_rounds",
            "How often all of the live state was compared with the log since the start",
            observed.check_rounds.clone(),
        );
        registry.register(
            "state_differences",
            "What the live state and the log say differently; anything but 0 is an alarm",
            observed.differences.clone(),
        );
        registry.register("alarms", "What /readyz lists for people to look into", observed.alarms.clone());
        registry.register(
            "storage_failures",
            "Writes of files beside the log that failed since the start, by file",
            observed.storage_failures.clone(),
        );
        registry.register(
            "lost_idempotency_keys",
            "Idempotency keys forgotten inside of their window to make room, since the start",
            observed.lost_keys.clone(),
        );
        let costly = Costly::registered(&mut registry);
        let shared = Shared::registered(&mut registry);
        Self {
            registry,
            subscribers,
            answers,
            granted,
            wrong_credentials,
            live_tokens,
            lost_log_lines,
            costly,
            observed,
            shared,
        }
    }

    pub(crate) fn granted(&self) {
        self.granted.inc();
    }

    pub(crate) fn refused(&self, code: &'static str) {
        self.answers.get_or_create(&[("code", code)]).inc();
    }

    pub(crate) fn wrong_credential(&self) {
        self.wrong_credentials.inc();
    }

    /// Somebody reads a stream, until what is given back is dropped.
    pub(crate) fn subscriber(&self) -> Subscriber {
        self.subscribers.inc();
        Subscriber(self.subscribers.clone())
    }

    /// So many sessions were looked at for a list.
    pub(crate) fn looked_at(&self, sessions: usize) {
        self.costly.looked_at(sessions);
    }

    pub(crate) fn token_live(&self) {
        self.live_tokens.inc();
    }

    /// All of them as text.
    pub(crate) fn text(&self, api: &Api, is_ready: bool, alarms: usize) -> String {
        let (authority, evidence) = (&api.authority, &api.evidence);
        let health = authority.health();
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.observed.position, authority.live().position().0);
        set(&self.observed.sessions, api.projections.sessions(|list| list.len() as u64));
        set(&self.observed.waiting, authority.waiting() as u64);
        set(&self.observed.commits, health.commits());
        set(&self.observed.batches, health.batches());
        set(&self.observed.busy_millis, u64::try_from(health.busy().as_millis()).unwrap_or(u64::MAX));
        set(&self.observed.disk_free, authority.room().free().unwrap_or(u64::MAX));
        self.observed.lost_keys.inner().store(health.keys_lost(), Ordering::Relaxed);
        let (expired, failures) = authority.sweeps();
        set(&self.observed.expired, expired);
        set(&self.observed.sweep_failures, failures);
        set(&self.observed.ready, u64::from(is_ready));
        self.observe_webhooks(&api.webhooks.health());
        set(&self.observed.signed, evidence.keeper.heads().signed());
        set(&self.observed.head_failures, evidence.keeper.heads().failures());
        set(&self.observed.check_rounds, evidence.check.rounds());
        set(&self.observed.differences, evidence.check.differences());
        set(&self.observed.alarms, alarms as u64);
        self.observe_storage(api);
        self.costly.observe(api);
        self.shared.observe(&api.admission);
        self.lost_log_lines.inner().store(telemetry::lost_lines(), Ordering::Relaxed);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to memory does not fail");
        text
    }

    fn observe_storage(&self, api: &Api) {
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

    fn observe_webhooks(&self, health: &Health) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        for ((name, _), count) in Outcome::ALL.iter().zip(health.outcomes) {
            let counter = self.observed.deliveries.get_or_create(&[("outcome", *name)]);
            counter.inner().store(count, Ordering::Relaxed);
        }
        set(&self.observed.pending, health.pending);
        set(&self.observed.parked, health.parked);
        set(&self.observed.oldest_pending, health.oldest_pending);
        set(&self.observed.webhook_store_fails, u64::from(health.store_fails));
    }
}

/// A counted reader of a stream.
pub(crate) struct Subscriber(Gauge);

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn register_webhooks(registry: &mut Registry, observed: &Observed) {
    let deliveries = observed.deliveries.clone();
    registry.register("webhook_deliveries", "Attempts to deliver to webhooks by outcome", deliveries);
    registry.register(
        "webhook_pending",
        "Notices that webhooks are yet to deliver",
        observed.pending.clone(),
    );
    registry.register("webhook_parked", "Notices that webhooks gave up", observed.parked.clone());
    registry.register_with_unit(
        "webhook_oldest_pending",
        "How long the oldest pending notice of a webhook has waited",
        Unit::Seconds,
        observed.oldest_pending.clone(),
    );
    registry.register(
        "webhook_store_fails",
        "1 when what webhooks have told cannot be saved",
        observed.webhook_store_fails.clone(),
    );
}

fn set(family: &Family<Labels, Gauge>, label: (&'static str, &'static str), value: usize) {
    family.get_or_create(&[label]).set(i64::try_from(value).unwrap_or(i64::MAX));
}

fn count(family: &Family<Labels, Counter>, label: (&'static str, &'static str), value: u64) {
    family.get_or_create(&[label]).inner().store(value, Ordering::Relaxed);
}
