//! How the log lies on disk.

use std::sync::atomic::Ordering;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::{Registry, Unit},
};

use crate::authority::Authority;

/// Read from the sealing thread at each scrape.
#[derive(Default)]
pub(super) struct StorageMetrics {
    segments: Gauge,
    sealed: Gauge,
    unsealed: Gauge,
    bytes: Gauge,
    failures: Counter,
    scrub_age: Gauge,
    scrub_findings: Gauge,
    checkpoint: Gauge,
    checkpoint_age: Gauge,
    checkpoint_failures: Counter,
}

impl StorageMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register("segments", "Segments of the log", own.segments.clone());
        registry.register("sealed_position", "Last position in a segment", own.sealed.clone());
        registry.register(
            "unsealed_ranges",
            "Full ranges of the log that are not in a segment yet",
            own.unsealed.clone(),
        );
        registry.register_with_unit(
            "log",
            "Size of the log on disk, segments and stores together",
            Unit::Bytes,
            own.bytes.clone(),
        );
        registry.register(
            "sealing_failures",
            "Failed attempts to seal a range of the log since the start",
            own.failures.clone(),
        );
        registry.register_with_unit(
            "scrub_age",
            "Time since the last complete scrub of the segments, or since the start",
            Unit::Seconds,
            own.scrub_age.clone(),
        );
        registry.register(
            "scrub_findings",
            "Damaged segments; anything but 0 is an alarm",
            own.scrub_findings.clone(),
        );
        registry.register(
            "checkpoint_position",
            "Position of the newest checkpoint; 0 if there is none",
            own.checkpoint.clone(),
        );
        registry.register_with_unit(
            "checkpoint_age",
            "Time since the last checkpoint was made, or since the start",
            Unit::Seconds,
            own.checkpoint_age.clone(),
        );
        registry.register(
            "checkpoint_failures",
            "Failed attempts to make a checkpoint since the start",
            own.checkpoint_failures.clone(),
        );
        own
    }

    pub(super) fn observe(&self, authority: &Authority) {
        let storage = authority.storage();
        let figures = storage.figures();
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.segments, figures.segments);
        set(&self.sealed, figures.sealed.0);
        set(&self.unsealed, figures.unsealed);
        set(&self.bytes, figures.bytes);
        set(&self.scrub_age, storage.scrub_age().as_secs());
        set(&self.scrub_findings, authority.log().damage().len() as u64);
        self.failures.inner().store(storage.failures(), Ordering::Relaxed);
        let checkpoints = storage.checkpoints();
        set(&self.checkpoint, checkpoints.position.0);
        set(&self.checkpoint_age, checkpoints.made.elapsed().as_secs());
        self.checkpoint_failures.inner().store(checkpoints.failures, Ordering::Relaxed);
    }
}
