//! Durations, sorted into buckets.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

use super::ShardedCounters;

/// The upper bounds of the buckets, in microseconds. With the bucket above them and the sum they fill a line of counters.
const BOUNDS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];
const SUM: usize = BOUNDS.len() + 1;

/// How long something took, each time. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Arc<ShardedCounters>);

impl Default for Histogram {
    fn default() -> Self {
        Self(Arc::new(ShardedCounters::new(SUM + 1)))
    }
}

impl Histogram {
    /// Records one duration.
    pub(crate) fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.add(BOUNDS.partition_point(|bound| *bound < micros), 1);
        // Five centuries of nanoseconds fit.
        self.0.add(SUM, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How often.
    pub(crate) fn count(&self) -> u64 {
        (0..SUM).map(|bucket| self.0.total(bucket)).sum()
    }

    /// Writes it as one series of a histogram, in seconds.
    pub(crate) fn encode_series(&self, encoder: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let buckets: Vec<(f64, u64)> = BOUNDS
            .iter()
            .map(|micros| Duration::from_micros(*micros).as_secs_f64())
            .chain([f64::INFINITY])
            .enumerate()
            .map(|(index, bound)| (bound, self.0.total(index)))
            .collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.0.total(SUM)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_series(&mut encoder)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    #[test]
    fn a_duration_counts_in_its_bucket_and_in_all_above() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut registry = Registry::default();
        registry.register("took", "Times", histogram);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE took histogram",
            "took_sum 9.000201",
            "took_count 4",
            r#"took_bucket{le="0.0001"} 2"#,
            r#"took_bucket{le="0.00025"} 3"#,
            r#"took_bucket{le="5.0"} 3"#,
            r#"took_bucket{le="+Inf"} 4"#,
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is not in {text}");
        }
    }
}
