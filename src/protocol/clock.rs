//! Time, as an argument: code that needs the time holds a [`Clock`].
//!
//! This is the only file that asks the operating system. Recorded time never goes back: that rule is the
//! sequencer's (`at = max(clock, last recorded)`), so a clock here may go back and harm nothing. A clock that
//! jumps *ahead* would end every session at once and poison recorded time; [`Clock::plausible`] notices it, and
//! that of an authority does not follow it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::Timestamp;

/// Counts on through suspension and cannot be set.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: ClockId = ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;

/// How far wall time may get ahead of the time since boot before it is called a jump.
const JUMP_MILLIS: i64 = 60_000;

/// After this time, a lead below [`JUMP_MILLIS`] is taken for the poor oscillator that it is. Otherwise many
/// small corrections by `ntpdate` would add up to an alarm after some days.
const DRIFT_MILLIS: i64 = 3_600_000;

/// What the machine says that the time is: for others who compare it with their own clocks. Nothing is decided by it.
pub fn wall_time() -> Timestamp {
    let millis = millis(clock_gettime(ClockId::Realtime));
    Timestamp::from_millis(millis).clamp(Timestamp::ZERO, Timestamp::MAX)
}

/// The same with all that the system's clock resolves: for traces, whose spans of several nodes are put in order by it.
pub fn precise_wall_time() -> SystemTime {
    let time = clock_gettime(ClockId::Realtime);
    let since_epoch =
        Duration::new(time.tv_sec.max(0).unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0));
    SystemTime::UNIX_EPOCH + since_epoch
}

/// Knows what time it is.
pub trait Clock: Send + Sync {
    /// The time now, between [`Timestamp::ZERO`] and [`Timestamp::MAX`].
    fn now(&self) -> Timestamp;

    /// Whether [`Clock::now`] can be believed.
    fn plausible(&self) -> Result<(), ClockJump> {
        Ok(())
    }

    /// An operator confirms the present time: from now on it counts as plausible.
    fn accept(&self) {}

    /// How long the machine runs, asleep or awake. It cannot be set, and never goes back: for how old something is
    /// that must not be taken for younger.
    fn since_boot(&self) -> Duration {
        let time = clock_gettime(SINCE_BOOT);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

/// Wall time got ahead of the time since boot: someone set the clock, or the machine stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wall clock jumped ahead by {} s against the time since boot", ahead.as_secs())]
pub struct ClockJump {
    /// By how much.
    pub ahead: Duration,
}

/// The clock of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    lead: Mutex<ClockLead>,
    /// The accepted lead, for readers who do not wait.
    accepted: AtomicI64,
    /// Whether it follows no jump.
    is_steady: bool,
}

impl SystemClock {
    /// Takes the present time for right.
    pub fn new() -> Self {
        let lead = ClockLead::accepted(ClockReading::take());
        Self { accepted: lead.accepted.into(), lead: Mutex::new(lead), is_steady: false }
    }

    /// The same for an authority: while wall time is not plausible, it goes on by that since boot, for what is merely
    /// looked at must not end for a clock that was set wrong. To be asked from time to time whether it is plausible.
    pub fn steady() -> Self {
        Self { is_steady: true, ..Self::new() }
    }

    fn settle(&self, lead: &ClockLead) {
        self.accepted.store(lead.accepted, Ordering::Release);
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        if !self.is_steady {
            return wall_time();
        }
        let millis = ClockReading::take().believed(self.accepted.load(Ordering::Acquire));
        Timestamp::from_millis(millis).clamp(Timestamp::ZERO, Timestamp::MAX)
    }

    fn plausible(&self) -> Result<(), ClockJump> {
        let mut lead = self.lead.lock();
        lead.judge(ClockReading::take()).inspect(|()| self.settle(&lead))
    }

    fn accept(&self) {
        let mut lead = self.lead.lock();
        *lead = ClockLead::accepted(ClockReading::take());
        self.settle(&lead);
    }
}

/// What the two clocks showed at one moment, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    wall: i64,
    boot: i64,
}

impl ClockReading {
    fn take() -> Self {
        Self { wall: millis(clock_gettime(ClockId::Realtime)), boot: millis(clock_gettime(SINCE_BOOT)) }
    }

    const fn lead(self) -> i64 {
        self.wall.saturating_sub(self.boot)
    }

    /// What the time is, where this lead was accepted last.
    const fn believed(self, accepted: i64) -> i64 {
        let is_jump = self.lead().saturating_sub(accepted) > JUMP_MILLIS;
        if is_jump { self.boot.saturating_add(accepted) } else { self.wall }
    }
}

/// How far wall time was ahead of the time since boot when it was last accepted.
///
/// It only grows: after a jump back, the jump forward that corrects it raises no alarm, for the time that it
/// returns to was already lived through.
#[derive(Debug)]
struct ClockLead {
    accepted: i64,
    at_boot: i64,
}

impl ClockLead {
    const fn accepted(reading: ClockReading) -> Self {
        Self { accepted: reading.lead(), at_boot: reading.boot }
    }

    fn judge(&mut self, reading: ClockReading) -> Result<(), ClockJump> {
        let gained = reading.lead().saturating_sub(self.accepted);
        if gained > JUMP_MILLIS {
            return Err(ClockJump { ahead: Duration::from_millis(gained.unsigned_abs()) });
        }
        if gained > 0 && reading.boot.saturating_sub(self.at_boot) >= DRIFT_MILLIS {
            *self = Self::accepted(reading);
        }
        Ok(())
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1000).saturating_add(time.tv_nsec / 1_000_000)
}

/// A clock that stands still until it is moved, for tests and `--test-clock`.
#[derive(Debug)]
pub struct TestClock {
    millis: AtomicI64,
}

/// Why a [`TestClock`] does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// Recorded time never goes back, so this clock does not either.
    #[error("the clock does not go back: it is {now}")]
    Backwards {
        /// What it shows.
        now: Timestamp,
    },
    /// No time is written beyond [`Timestamp::MAX`].
    #[error("the clock ends at {}", Timestamp::MAX)]
    BeyondEnd,
}

impl TestClock {
    /// Stands at `start`.
    pub const fn new(start: Timestamp) -> Self {
        Self { millis: AtomicI64::new(start.as_millis()) }
    }

    /// Moves forward by this number of seconds and returns the new time. On an error the clock stays where it stood.
    pub fn advance(&self, seconds: u64) -> Result<Timestamp, ClockError> {
        let by = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1000));
        let by = by.ok_or(ClockError::BeyondEnd)?;
        self.shift(|now| Ok(now.plus_millis(by)))
    }

    /// Moves to `to`, which must not be in its past; returns it. On an error it stands where it stood.
    pub fn set(&self, to: Timestamp) -> Result<Timestamp, ClockError> {
        self.shift(|now| if to < now { Err(ClockError::Backwards { now }) } else { Ok(to) })
    }

    fn shift(
        &self,
        to: impl Fn(Timestamp) -> Result<Timestamp, ClockError>,
    ) -> Result<Timestamp, ClockError> {
        let mut now = self.now();
        loop {
            let next = to(now)?;
            if next > Timestamp::MAX {
                return Err(ClockError::BeyondEnd);
            }
            let (old, new) = (now.as_millis(), next.as_millis());
            match self.millis.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Ok(next),
                Err(moved) => now = Timestamp::from_millis(moved),
            }
        }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.now().as_millis().unsigned_abs())
    }
}

/// A start to measure real time from: timeouts, rate limits, durations in the metrics. Never for what is
/// recorded.
#[expect(clippy::disallowed_methods, reason = "the one place that starts a stopwatch")]
pub fn stopwatch() -> Instant {
    Instant::now()
}

/// How long processors have worked for this process, all threads together: to measure by where others work too.
pub fn worked() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Lets real time pass on this thread. Never in an async task.
#[expect(clippy::disallowed_methods, reason = "the one place that waits for time alone")]
pub fn pause(length: Duration) {
    std::thread::sleep(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn start() -> Timestamp {
        Timestamp::parse("2026-11-21T01:35:00Z").unwrap()
    }

    /// Both clocks ran for `boot` milliseconds, and the wall clock was set ahead by `ahead` on the way.
    fn after(boot: i64, ahead: i64) -> ClockReading {
        ClockReading { wall: 1_800_000_000_000 + boot + ahead, boot: 5_000 + boot }
    }

    #[test]
    fn a_test_clock_stands_still_until_it_is_moved() {
        let clock = TestClock::new(start());
        assert_eq!(clock.now(), clock.now());
        assert_eq!(clock.advance(90), Ok(start().plus_millis(90_000)));
        assert_eq!(clock.now(), start().plus_millis(90_000));
    }

    #[test]
    fn a_test_clock_does_not_go_back() {
        let clock = TestClock::new(start());
        let earlier = start().plus_millis(-1);
        assert_eq!(clock.set(earlier), Err(ClockError::Backwards { now: start() }));
        assert_eq!(clock.set(start()), Ok(start()));
        assert_eq!(clock.now(), start());
    }

    #[test]
    fn a_test_clock_ends_with_the_last_moment_that_can_be_written() {
        let clock = TestClock::new(start());
        assert_eq!(clock.advance(u64::MAX), Err(ClockError::BeyondEnd));
        assert_eq!(clock.set(Timestamp::MAX.plus_millis(1)), Err(ClockError::BeyondEnd));
        assert_eq!(clock.now(), start());
        assert_eq!(clock.set(Timestamp::MAX), Ok(Timestamp::MAX));
        assert_eq!(clock.advance(1), Err(ClockError::BeyondEnd));
    }

    #[test]
    fn the_system_clock_believes_itself_at_first() {
        let clock = SystemClock::new();
        assert!(clock.now() > Timestamp::parse("2024-01-01T00:00:00Z").unwrap());
        assert_eq!(clock.plausible(), Ok(()));
    }

    #[test]
    fn a_step_of_a_minute_is_plausible_and_one_of_more_is_not() {
        let mut lead = ClockLead::accepted(after(0, 0));
        assert_eq!(lead.judge(after(10, 60_000)), Ok(()));
        assert_eq!(lead.judge(after(10, 60_001)), Err(ClockJump { ahead: Duration::from_millis(60_001) }));
    }

    #[test]
    fn suspension_is_no_jump() {
        let mut lead = ClockLead::accepted(after(0, 0));
        assert_eq!(lead.judge(after(100 * HOUR, 0)), Ok(()));
    }

    #[test]
    fn a_jump_is_reported_until_the_clock_is_put_right() {
        let mut lead = ClockLead::accepted(after(0, 0));
        assert!(lead.judge(after(HOUR, 2 * HOUR)).is_err());
        assert!(lead.judge(after(3 * HOUR, 2 * HOUR)).is_err());
        assert_eq!(lead.judge(after(3 * HOUR, 0)), Ok(()));
    }

    #[test]
    fn behind_a_jump_time_goes_on_by_that_since_boot() {
        let accepted = ClockLead::accepted(after(0, 0)).accepted;
        for (boot, ahead, expected) in
            [(10, 60_000, 60_010), (10, 60_001, 10), (HOUR, 2 * HOUR, HOUR), (HOUR, -5, HOUR - 5)]
        {
            let believed = after(boot, ahead).believed(accepted);
            assert_eq!(believed - 1_800_000_000_000, expected, "{boot} {ahead}");
        }
    }

    #[test]
    fn correcting_a_jump_back_is_no_jump() {
        let mut lead = ClockLead::accepted(after(0, 0));
        assert_eq!(lead.judge(after(2 * HOUR, -HOUR)), Ok(()));
        assert_eq!(lead.judge(after(4 * HOUR, 0)), Ok(()));
    }

    #[test]
    fn small_corrections_over_days_are_no_jump_but_small_steps_in_one_hour_are() {
        let mut lead = ClockLead::accepted(after(0, 0));
        for hour in 1..=72 {
            assert_eq!(lead.judge(after(hour * HOUR, hour * 2_000)), Ok(()));
        }
        let mut lead = ClockLead::accepted(after(0, 0));
        assert_eq!(lead.judge(after(1_000, 50_000)), Ok(()));
        assert!(lead.judge(after(2_000, 100_000)).is_err());
    }
}
