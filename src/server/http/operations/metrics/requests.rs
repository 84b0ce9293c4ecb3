//! Requests by route and class of status, and how long their answers took.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter},
    registry::{Registry, Unit},
};

use crate::counters::{Histogram, ShardedCounters};

/// What a request was for, as far as latencies are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OperationKind {
    Check,
    Create,
    Renew,
    Other,
}

impl OperationKind {
    const ALL: [(&str, Self); 4] =
        [("check", Self::Check), ("create", Self::Create), ("renew", Self::Renew), ("other", Self::Other)];

    fn of(method: &str, path: &str) -> Self {
        match (method, path) {
            ("POST", "/v1/introspect") => Self::Check,
            ("POST", "/v1/sessions") => Self::Create,
            ("PUT", "/v1/sessions/{sessionId}/renew") => Self::Renew,
            _ => Self::Other,
        }
    }
}

/// Whose place in the rows of counters it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CounterTarget {
    /// No route, or not with this method.
    None,
    /// The question of a proxy.
    ForwardAuth,
    /// A route of the table, by its number there.
    Route(usize),
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// As many rows as there can be, those beside the table included.
const ROWS: usize = 128;
/// The first row of the table.
const TABLE: usize = 2;

fn row(target: CounterTarget) -> usize {
    match target {
        CounterTarget::None => 0,
        CounterTarget::ForwardAuth => 1,
        CounterTarget::Route(number) => TABLE + number,
    }
}

/// What a row counts.
#[derive(Debug)]
struct CounterRow {
    method: &'static str,
    route: &'static str,
    operation: OperationKind,
}

#[derive(Debug)]
struct RequestCounts {
    /// Known once the routes are.
    rows: OnceLock<Vec<CounterRow>>,
    by_class: ShardedCounters,
    durations: [Histogram; OperationKind::ALL.len()],
}

/// The requests that were answered.
#[derive(Clone, Debug)]
pub(super) struct RequestMetrics(Arc<RequestCounts>);

impl RequestMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self(Arc::new(RequestCounts::new()));
        registry.register(
            "http_requests",
            "Answered requests by method, route and class of status",
            own.clone(),
        );
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to its answer, or to the first byte of a stream",
            Unit::Seconds,
            DurationMetrics(Arc::clone(&own.0)),
        );
        own
    }

    /// Says what the rows are, the first time.
    pub(super) fn name(
        &self,
        routes: impl ExactSizeIterator<Item = (&'static str, &'static str)>,
        forward_auth: &'static str,
    ) {
        assert!(TABLE + routes.len() <= ROWS, "there are more routes than rows to count them in");
        let beside = [("(none)", OperationKind::Other), (forward_auth, OperationKind::Check)];
        let beside = beside.map(|(route, operation)| CounterRow { method: "any", route, operation });
        let of_table = routes.map(|(method, route)| CounterRow {
            method,
            route,
            operation: OperationKind::of(method, route),
        });
        self.0.rows.get_or_init(|| beside.into_iter().chain(of_table).collect());
    }

    /// A request was answered.
    pub(super) fn answered(&self, target: CounterTarget, status: StatusCode, took: Duration) {
        let row = row(target);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1).min(CLASSES.len() - 1);
        self.0.by_class.add(row * CLASSES.len() + class, 1);
        let known = self.0.rows.get().and_then(|rows| rows.get(row));
        let operation = known.map_or(OperationKind::Other, |row| row.operation);
        self.0.durations[operation as usize].observe(took);
    }
}

impl RequestCounts {
    fn new() -> Self {
        let by_class = ShardedCounters::new(ROWS * CLASSES.len());
        Self { rows: OnceLock::new(), by_class, durations: Default::default() }
    }
}

impl EncodeMetric for RequestMetrics {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (index, CounterRow { method, route, .. }) in self.0.rows.get().into_iter().flatten().enumerate() {
            for (class, name) in CLASSES.iter().enumerate() {
                let total = self.0.by_class.total(index * CLASSES.len() + class);
                if total > 0 {
                    let labels = [("method", *method), ("route", *route), ("status", *name)];
                    let counter = ConstCounter::new(total);
                    counter.encode(encoder.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// The same requests, by the time that they took.
#[derive(Debug)]
struct DurationMetrics(Arc<RequestCounts>);

impl EncodeMetric for DurationMetrics {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, operation) in OperationKind::ALL {
            let labels = [("operation", name)];
            self.0.durations[operation as usize].encode_series(&mut encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
