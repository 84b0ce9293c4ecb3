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
        registry.register("segments", "Segments of the log: files that never change", own.segments.clone());
        registry.register("sealed_position", "The last position in a segment", own.sealed.clone());
        registry.register(
            "unsealed_ranges",
            "Ranges of the log that are full and in no segment yet",
            own.unsealed.clone(),
        );
        registry.register_with_unit(
            "log",
            "The log on disk, segments and stores together",
            Unit::Bytes,
            own.bytes.clone(),
        );
        registry.register(
            "sealing_failures",
            "Attempts to seal a range of the log that failed since the start",
            own.failures.clone(),
        );
        registry.register_with_unit(
            "scrub_age",
            "How long ago all segments had been read again, or the start",
            Unit::Seconds,
            own.scrub_age.clone(),
        );
        registry.register(
            "scrub_findings",
            "Segments that did not read as they were written; anything but 0 is an alarm",
            own.scrub_findings.clone(),
        );
        registry.register(
            "checkpoint_position",
            "The position of the newest checkpoint, behind which a start reads on; 0 for none",
            own.checkpoint.clone(),
        );
        registry.register_with_unit(
            "checkpoint_age",
            "How long ago a checkpoint was made, or the start",
            Unit::Seconds,
            own.checkpoint_age.clone(),
        );
        registry.register(
            "checkpoint_failures",
            "Attempts to make a checkpoint that failed since the start",
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
