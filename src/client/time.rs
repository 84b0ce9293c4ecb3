//! What time it is at the authority, and how to wait for a moment there.

use std::{fmt, pin::Pin, time::Duration};

use parking_lot::Mutex;

use tenure_protocol::Timestamp;
use tenure_protocol::clock::{Clock, SystemClock};

/// The clocks count as equal up to this difference: a reply takes its time.
const AGREE_MILLIS: i64 = 2_000;
/// The longest sleep at a time: a machine that was suspended notices soon.
const NAP: Duration = Duration::from_secs(10);

/// Knows what time it is at the authority. Tests with a clock that stands still bring their own.
pub trait AuthorityTime: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when `at` has come.
    fn until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// A reply that has just arrived says that it is this time there.
    fn note_server_time(&self, _then: Timestamp) {}
}

/// What the authority's last reply said, counted on by the time since the machine was started: asleep or awake, and
/// whatever its clock is set to. Before the first reply the machine's clock is believed.
#[derive(Debug, Default)]
pub struct ServerTime<C = SystemClock> {
    machine: C,
    heard: Mutex<Option<ServerReading>>,
}

/// A moment there, and how long the machine had run here.
#[derive(Clone, Copy, Debug)]
struct ServerReading {
    then: Timestamp,
    since_boot: Duration,
}

impl ServerTime {
    /// Takes the machine's clock for right until a reply says otherwise.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<C: Clock> ServerTime<C> {
    /// The same with a clock of one's own.
    pub fn by(machine: C) -> Self {
        Self { machine, heard: Mutex::default() }
    }
}

impl<C: Clock + fmt::Debug> AuthorityTime for ServerTime<C> {
    fn now(&self) -> Timestamp {
        let heard = *self.heard.lock();
        heard.map_or_else(|| self.machine.now(), |heard| heard.now(self.machine.since_boot()))
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

    fn note_server_time(&self, then: Timestamp) {
        let (local, since_boot) = (self.machine.now(), self.machine.since_boot());
        let then = local.plus_millis(lead(then, local));
        let mut heard = self.heard.lock();
        // Replies overtake each other; time there does not go back.
        let latest = heard.map_or(then, |earlier| then.max(earlier.now(since_boot)));
        *heard = Some(ServerReading { then: latest, since_boot });
    }
}

impl ServerReading {
    fn now(self, since_boot: Duration) -> Timestamp {
        let passed = since_boot.saturating_sub(self.since_boot).as_millis();
        self.then.plus_millis(i64::try_from(passed).unwrap_or(i64::MAX))
    }
}

/// By how much the authority is ahead.
fn lead(then: Timestamp, local: Timestamp) -> i64 {
    let lead = then.millis_since(local);
    if lead.abs() <= AGREE_MILLIS { 0 } else { lead }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[test]
    fn clocks_that_nearly_agree_are_left_alone_and_others_follow_the_authority() {
        let date = Timestamp::parse("2026-11-21T01:35:00Z").unwrap();
        assert_eq!(lead(date, date.plus_millis(1_900)), 0);
        assert_eq!(lead(date, date.plus_millis(-1_900)), 0);
        assert_eq!(lead(date, date.plus_millis(-60_000)), 60_000);
        assert_eq!(lead(date, date.plus_millis(60_000)), -60_000);
    }

    /// A reply that came late, or a cache's, would have set the clock back.
    #[test]
    fn time_there_does_not_go_back() {
        let time = ServerTime::by(TestHost::default());
        let then = Timestamp::from_millis(3_600_000);
        time.note_server_time(then);
        time.note_server_time(Timestamp::from_millis(1_800_000));
        assert_eq!(time.now(), then);
    }

    /// A host whose wall clock can be set.
    #[derive(Debug, Default)]
    struct TestHost {
        wall: AtomicI64,
        awake: AtomicI64,
    }

    impl TestHost {
        fn set(&self, wall: i64) {
            self.wall.store(wall, Ordering::Relaxed);
        }

        fn pass(&self, millis: i64) {
            self.wall.fetch_add(millis, Ordering::Relaxed);
            self.awake.fetch_add(millis, Ordering::Relaxed);
        }
    }

    impl Clock for TestHost {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.wall.load(Ordering::Relaxed))
        }

        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.awake.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    /// The host's clock was set back by an hour while a holder slept, and the holder woke an hour late.
    #[test]
    fn a_host_whose_clock_is_set_still_knows_what_time_it_is_there() {
        let date = Timestamp::parse("2026-11-21T01:35:00Z").unwrap();
        for ahead in [0, 60_000] {
            let time = ServerTime::by(TestHost::default());
            time.machine.set(date.as_millis() + ahead);
            time.note_server_time(date);
            let then = time.now();
            for set_to in [-3_600_000, 3_600_000] {
                time.machine.set(date.as_millis() + set_to);
                time.machine.pass(1_000);
            }
            assert_eq!(time.now(), then.plus_millis(2_000));
        }
    }

    #[test]
    fn before_any_reply_the_hosts_clock_is_believed() {
        let time = ServerTime::by(TestHost::default());
        time.machine.set(7);
        assert_eq!(time.now(), Timestamp::from_millis(7));
    }

    #[tokio::test]
    async fn a_moment_of_the_authority_comes_when_its_clock_says_so() {
        let time = ServerTime::new();
        let in_an_hour = time.now().plus_millis(3_600_000);
        time.note_server_time(in_an_hour.plus_millis(1_000));
        assert!(time.now() >= in_an_hour);
        tokio::time::timeout(Duration::from_secs(5), time.until(in_an_hour)).await.unwrap();
    }
}
