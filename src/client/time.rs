//! What time it is at the authority, and how to wait for a moment there.

use std::{
    fmt,
    pin::Pin,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use crate::{
    clock::{Clock, SystemClock},
    domain::Timestamp,
};

/// The clocks are taken to agree up to so much: a `Date` has whole seconds, and a reply takes its time.
const AGREE_MILLIS: i64 = 2_000;
/// So long is slept at a time: a machine that was suspended, or whose clock was set, finds out soon.
const NAP: Duration = Duration::from_secs(10);

/// Knows what time it is at the authority. Whoever tests with a clock that stands still has one of their own.
pub trait Time: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when `at` has come.
    fn until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// A reply that has just arrived carries this date.
    fn heard(&self, _date: Timestamp) {}
}

/// The machine's clock, set right by what the authority's replies say.
#[derive(Debug, Default)]
pub struct ServerTime {
    machine: SystemClock,
    /// By how much the authority is ahead, in milliseconds; 0 when the clocks agree.
    ahead: AtomicI64,
}

impl ServerTime {
    /// Takes the machine's clock for right until a reply says otherwise.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Time for ServerTime {
    fn now(&self) -> Timestamp {
        self.machine.now().plus_millis(self.ahead.load(Ordering::Relaxed))
    }

    fn until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            loop {
                let left = u64::try_from(at.millis_since(self.now())).unwrap_or(0);
                if left == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left).min(NAP)).await;
            }
        })
    }

    fn heard(&self, date: Timestamp) {
        self.ahead.store(lead(date, self.machine.now()), Ordering::Relaxed);
    }
}

/// By how much the authority is ahead. Its date is cut to the second, half of which is lost on average.
fn lead(date: Timestamp, local: Timestamp) -> i64 {
    let lead = date.plus_millis(500).millis_since(local);
    if lead.abs() <= AGREE_MILLIS { 0 } else { lead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_nearly_agree_are_left_alone_and_others_follow_the_authority() {
        let date = Timestamp::parse("2026-11-21T01:35:00Z").unwrap();
        assert_eq!(lead(date, date.plus_millis(2_400)), 0);
        assert_eq!(lead(date, date.plus_millis(-1_000)), 0);
        assert_eq!(lead(date, date.plus_millis(-60_000)), 60_500);
        assert_eq!(lead(date, date.plus_millis(60_000)), -59_500);
    }

    #[tokio::test]
    async fn a_moment_of_the_authority_comes_when_its_clock_says_so() {
        let time = ServerTime::new();
        let in_an_hour = time.now().plus_millis(3_600_000);
        time.heard(in_an_hour.plus_millis(1_000));
        assert!(time.now() >= in_an_hour);
        tokio::time::timeout(Duration::from_secs(5), time.until(in_an_hour)).await.unwrap();
    }
}
