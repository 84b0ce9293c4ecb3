//! Full ranges of the log that no segment holds: a few wait for a signed head, and many are an alarm.

use tenure_core::Position;
use tenure_log::StorageFigures;

/// Ranges that may wait before an alarm is raised.
const MOST: u64 = 4;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct StorageBacklog {
    /// How large the log was at the first look.
    pub(super) bytes_at_start: Option<u64>,
    waiting: Option<String>,
}

impl StorageBacklog {
    /// Takes a look; a head is signed up to this position.
    pub(super) fn observe(&mut self, figures: &StorageFigures, signed: Position) {
        self.bytes_at_start.get_or_insert(figures.bytes);
        let waiting = figures.oldest.filter(|_| figures.unsealed > MOST).map(|(oldest, _)| {
            let why = if oldest > signed { ": no signed head covers the first of them" } else { "" };
            let ranges = figures.unsealed;
            format!("{ranges} full ranges of the log are in no segment, the first one up to position {oldest}{why}")
        });
        if waiting.is_some() && self.waiting.is_none() {
            let why = waiting.as_deref().unwrap_or_default();
            tracing::warn!(why, "the log is read whole at a start as far as it is in no segment");
        }
        self.waiting = waiting;
    }

    /// What an operator must look into.
    pub(super) fn alarm(&self) -> Option<String> {
        self.waiting.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::Timestamp;

    fn alarm(unsealed: u64, signed: u64) -> Option<String> {
        let mut backlog = StorageBacklog::default();
        let oldest = Some((Position(1_000), Timestamp::ZERO));
        backlog.observe(&StorageFigures { unsealed, oldest, ..StorageFigures::default() }, Position(signed));
        backlog.alarm()
    }

    #[test]
    fn a_fifth_range_that_waits_is_an_alarm_and_says_what_is_missing() {
        assert_eq!(alarm(4, 0), None);
        let without_head = alarm(5, 999).unwrap_or_default();
        assert!(
            without_head.starts_with("5 full ranges") && without_head.ends_with("covers the first of them")
        );
        assert!(alarm(5, 1_000).unwrap_or_default().ends_with("up to position 1000"));
    }
}
