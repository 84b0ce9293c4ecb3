//! What people look after: how the log grows, what waits to be sealed, how far a scrub is, when a backup was made.

use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};

use crate::authority::Authority;
use crate::backup::BackupMaker;

/// Read at each scrape.
#[derive(Default)]
pub(super) struct UpkeepMetrics {
    log_at_start: Gauge,
    unsealed_age: Gauge,
    sealing_needs: Gauge,
    scrubbed_segments: Gauge,
    backup_at: Gauge,
    backup_position: Gauge,
}

impl UpkeepMetrics {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let own = Self::default();
        registry.register_with_unit(
            "log_at_start",
            "Size of the log on disk when the process started",
            Unit::Bytes,
            own.log_at_start.clone(),
        );
        registry.register_with_unit(
            "unsealed_age",
            "Time since the oldest unsealed range was full; 0 if there is none",
            Unit::Seconds,
            own.unsealed_age.clone(),
        );
        registry.register_with_unit(
            "sealing_needs",
            "Estimated disk space needed before the oldest store can be removed",
            Unit::Bytes,
            own.sealing_needs.clone(),
        );
        registry.register(
            "scrubbed_segments",
            "Segments read by the current scrub",
            own.scrubbed_segments.clone(),
        );
        registry.register_with_unit(
            "backup_timestamp",
            "When the last backup was completed, in seconds of Unix time; 0 if there is none",
            Unit::Seconds,
            own.backup_at.clone(),
        );
        registry.register(
            "backup_position",
            "Last position in the last backup; 0 if there is none",
            own.backup_position.clone(),
        );
        own
    }

    pub(super) fn observe(&self, authority: &Authority, backups: &BackupMaker) {
        let (storage, now) = (authority.storage(), authority.now());
        let figures = storage.figures();
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.log_at_start, storage.bytes_at_start());
        set(&self.unsealed_age, figures.oldest.map_or(0, |(_, full)| now.seconds_since(full)));
        set(&self.sealing_needs, figures.needs);
        set(&self.scrubbed_segments, storage.scrubbed_segments());
        let last = backups.last();
        self.backup_at.set(last.map_or(0, |last| last.at.as_millis() / 1_000));
        set(&self.backup_position, last.map_or(0, |last| last.position));
    }
}
