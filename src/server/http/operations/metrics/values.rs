//! How values read elsewhere become values of metrics.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

/// One label of a metric, with its value.
pub(super) type MetricLabels = [(&'static str, &'static str); 1];

/// Sets a counter.
pub(super) fn store(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

/// Sets the gauge with this label.
pub(super) fn set(family: &Family<MetricLabels, Gauge>, label: (&'static str, &'static str), value: usize) {
    family.get_or_create(&[label]).set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Sets the counter with this label.
pub(super) fn count(family: &Family<MetricLabels, Counter>, label: (&'static str, &'static str), value: u64) {
    store(&family.get_or_create(&[label]), value);
}
