//! What is counted, in the `OpenMetrics` text format. Labels are codes, never ids or tokens.

pub(super) mod gates;
mod nodes;
mod process;
mod reading;
mod requests;
pub(super) mod shares;
mod storage;
mod upkeep;
mod values;

use std::time::Duration;

use axum::http::StatusCode;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Metric, Registry, Unit},
};

pub(crate) use self::requests::CounterTarget;
use self::{
    gates::GateMetrics, nodes::NodeMetrics, process::ProcessFigures, requests::RequestMetrics,
    shares::AdmissionMetrics, storage::StorageMetrics, upkeep::UpkeepMetrics, values::MetricLabels,
};
use crate::authority;

/// The counters of the API.
pub(crate) struct ApiMetrics {
    registry: Registry,
    requests: RequestMetrics,
    /// Open streams.
    subscribers: Gauge,
    answers: Family<MetricLabels, Counter>,
    /// The one of `answers` that almost every request counts.
    granted: Counter,
    wrong_credentials: Counter,
    live_tokens: Counter,
    lost_log_lines: Counter,
    /// Those of costly reads.
    costly: GateMetrics,
    observed: ScrapedMetrics,
    shared: AdmissionMetrics,
    storage: StorageMetrics,
    nodes: NodeMetrics,
    upkeep: UpkeepMetrics,
}

/// What is read from the authority at each scrape.
#[derive(Default)]
struct ScrapedMetrics {
    position: Gauge,
    sessions: Gauge,
    let_go: Counter,
    waiting: Gauge,
    commits: Counter,
    events: Family<MetricLabels, Counter>,
    disk_free: Gauge,
    expired: Counter,
    sweep_failures: Counter,
    ready: Gauge,
    deliveries: Family<MetricLabels, Counter>,
    failing: Gauge,
    pending: Gauge,
    parked: Gauge,
    oldest_pending: Gauge,
    webhook_store_fails: Gauge,
    signed: Gauge,
    head_failures: Counter,
    check_rounds: Counter,
    differences: Gauge,
    alarms: Gauge,
    storage_failures: Family<MetricLabels, Counter>,
    lost_keys: Counter,
}

impl ApiMetrics {
    pub(crate) fn new(health: &authority::SequencerHealth) -> Self {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(ProcessFigures));
        let registry = whole.sub_registry_with_prefix("tenure");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Version of the running server", version);
        let requests = RequestMetrics::registered(registry);
        let answers: Family<MetricLabels, Counter> =
            registered(registry, "answers", "Answered requests by code");
        let granted = answers.get_or_create(&[("code", "ok")]).clone();
        let wrong_credentials =
            registered(registry, "wrong_credentials", "Requests with a malformed or unknown credential");
        let live_tokens = registered(registry, "live_tokens", "Introspected tokens that were active");
        let lost_log_lines = registered(registry, "lost_log_lines", "Log lines that could not be written");
        let observed = ScrapedMetrics::default();
        register_state(registry, &observed);
        register_writing(registry, &observed, health);
        register_disk_and_ends(registry, &observed);
        let subscribers =
            registered(registry, "subscribers", "Open streams of events, notices, ends and sessions");
        registry.register("ready", "1 when the authority can serve and write", observed.ready.clone());
        register_webhooks(registry, &observed);
        register_alarms(registry, &observed);
        Self {
            costly: GateMetrics::registered(registry),
            shared: AdmissionMetrics::registered(registry),
            storage: StorageMetrics::registered(registry),
            nodes: NodeMetrics::registered(registry),
            upkeep: UpkeepMetrics::registered(registry),
            registry: whole,
            requests,
            subscribers,
            answers,
            granted,
            wrong_credentials,
            live_tokens,
            lost_log_lines,
            observed,
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

    /// Says which routes are counted, each by its method and path, the first time.
    pub(crate) fn name(
        &self,
        routes: impl ExactSizeIterator<Item = (&'static str, &'static str)>,
        forward_auth: &'static str,
    ) {
        self.requests.name(routes, forward_auth);
    }

    /// A request was answered.
    pub(crate) fn answered(&self, target: CounterTarget, status: StatusCode, took: Duration) {
        self.requests.answered(target, status, took);
    }

    /// Counts a reader of a stream, until the returned value is dropped.
    pub(crate) fn subscriber(&self) -> SubscriberCount {
        self.subscribers.inc();
        SubscriberCount(self.subscribers.clone())
    }

    /// Counts the sessions examined for a list.
    pub(crate) fn looked_at(&self, sessions: usize) {
        self.costly.looked_at(sessions);
    }

    pub(crate) fn token_live(&self) {
        self.live_tokens.inc();
    }
}

/// A counted reader of a stream.
pub(crate) struct SubscriberCount(Gauge);

impl Drop for SubscriberCount {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn registered<M: Metric + Default + Clone>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn register_state(registry: &mut Registry, observed: &ScrapedMetrics) {
    registry.register("position", "Last position of the log", observed.position.clone());
    registry.register("sessions", "Sessions in memory, ended ones included", observed.sessions.clone());
    registry.register(
        "let_go_sessions",
        "Ended sessions removed from memory since the start",
        observed.let_go.clone(),
    );
    registry.register("waiting", "Commands waiting for a decision", observed.waiting.clone());
}

fn register_disk_and_ends(registry: &mut Registry, observed: &ScrapedMetrics) {
    registry.register_with_unit(
        "disk_free",
        "Free space on the disk of the log",
        Unit::Bytes,
        observed.disk_free.clone(),
    );
    registry.register("expired_sessions", "Expired sessions recorded by the sweep", observed.expired.clone());
    registry.register("sweep_failures", "Sweeps that failed", observed.sweep_failures.clone());
}

fn register_alarms(registry: &mut Registry, observed: &ScrapedMetrics) {
    registry.register("signed_position", "Last position covered by a signed head", observed.signed.clone());
    registry.register(
        "head_failures",
        "Heads that could not be signed or stored",
        observed.head_failures.clone(),
    );
    registry.register(
        "check_rounds",
        "Complete comparisons of the live state with the log",
        observed.check_rounds.clone(),
    );
    registry.register(
        "state_differences",
        "Differences found between the live state and the log; anything but 0 is an alarm",
        observed.differences.clone(),
    );
    registry.register("alarms", "Alarms listed by /readyz", observed.alarms.clone());
    registry.register(
        "storage_failures",
        "Failed writes of files other than the log, by file",
        observed.storage_failures.clone(),
    );
    registry.register(
        "lost_idempotency_keys",
        "Idempotency keys forgotten within their window to make room",
        observed.lost_keys.clone(),
    );
}

fn register_writing(registry: &mut Registry, observed: &ScrapedMetrics, health: &authority::SequencerHealth) {
    registry.register("commits", "Commits made durable", observed.commits.clone());
    registry.register("events", "Events made durable, by kind", observed.events.clone());
    registry.register_with_unit(
        "batch_duration",
        "Time to decide a batch of commands and make it durable",
        Unit::Seconds,
        health.batch_durations().clone(),
    );
    registry.register_with_unit(
        "log_append_duration",
        "Time to write a batch to the log and sync it",
        Unit::Seconds,
        health.append_durations().clone(),
    );
}

fn register_webhooks(registry: &mut Registry, observed: &ScrapedMetrics) {
    let deliveries = observed.deliveries.clone();
    registry.register("webhook_deliveries", "Webhook delivery attempts by outcome", deliveries);
    registry.register("webhook_failing", "Webhooks whose last attempt failed", observed.failing.clone());
    registry.register(
        "webhook_pending",
        "Notices waiting for delivery to webhooks",
        observed.pending.clone(),
    );
    registry.register("webhook_parked", "Notices given up by webhooks", observed.parked.clone());
    registry.register_with_unit(
        "webhook_oldest_pending",
        "Age of the oldest pending webhook notice",
        Unit::Seconds,
        observed.oldest_pending.clone(),
    );
    registry.register(
        "webhook_store_fails",
        "1 if the delivery state of webhooks cannot be saved",
        observed.webhook_store_fails.clone(),
    );
}
