//! When a notice that could not be delivered is tried again, and when it is given up.

use tenure_core::Seconds;

/// The waits between attempts, in seconds; the last one again and again.
const WAITS: [u32; 9] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 21_600];
/// A notice is given up when an attempt fails this many seconds after its turn came: three days.
pub(crate) const GIVE_UP_AFTER: Seconds = Seconds(259_200);
/// A receiver counts as down after this many failures in a row.
pub(crate) const DOWN: u32 = 8;
/// The longest wait before a failing receiver is tried again, in seconds.
const LONGEST_REST: u32 = 600;
/// The longest `Retry-After` of a receiver respected, in seconds.
const LONGEST_WISH: u32 = 3_600;

/// The wait after a number of failed attempts, in milliseconds: between 80 % and 100 % of its step, so that what failed
/// together does not come back together.
pub(crate) fn wait(failed: usize, jitter: u16, wish: Option<u32>) -> i64 {
    let step = WAITS[failed.saturating_sub(1).min(WAITS.len() - 1)];
    let jittered = i64::from(step) * (800 + i64::from(jitter) * 200 / i64::from(u16::MAX));
    jittered.max(i64::from(wish.unwrap_or(0).min(LONGEST_WISH)) * 1_000)
}

/// How long to leave a failing receiver alone after a number of failures in a row, in milliseconds.
pub(crate) fn rest(failures: u32) -> i64 {
    let step = WAITS[(failures.saturating_sub(DOWN) as usize).min(WAITS.len() - 1)];
    i64::from(step.min(LONGEST_REST)) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_six_hours_and_never_exceed_their_step() {
        for (index, step) in WAITS.into_iter().enumerate() {
            let step = i64::from(step) * 1_000;
            assert_eq!((wait(index + 1, 0, None), wait(index + 1, u16::MAX, None)), (step * 8 / 10, step));
        }
        assert_eq!(wait(100, u16::MAX, None), 21_600_000);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_within_reason() {
        assert_eq!(wait(1, 0, Some(60)), 60_000);
        assert_eq!(wait(9, u16::MAX, Some(60)), 21_600_000);
        assert_eq!(wait(1, 0, Some(u32::MAX)), 3_600_000);
    }

    #[test]
    fn a_receiver_that_is_down_is_asked_every_ten_minutes_at_last() {
        assert_eq!([8, 9, 10, 11, 12, 99].map(rest), [5_000, 30_000, 120_000, 600_000, 600_000, 600_000]);
    }
}
