//! What a node that follows knows of the leader, and how old its own state may be.
//!
//! The leader says with its lease, several times in each term of it, how far the log had come at a moment of its clock.
//! To store it takes a majority of the broker's servers, so a server cut off from them cannot make an old state look
//! new. A node that has folded all of it knows everything that was acknowledged before that moment.

use std::time::{Duration, Instant};

use tenure_core::Timestamp;
use tenure_protocol::clock::{stopwatch, wall_time};

use super::{LeaseClaim, lease::LeasePulse, read_end::ReadEnd};

/// What a node that follows knows.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// Who leads; `None` while no node does.
    pub leader: Option<LeaseClaim>,
    /// What it said last.
    pulse: Option<LeasePulse>,
    /// The newest moment of which everything is known.
    fresh: Option<FreshMoment>,
    /// Milliseconds, at least, by which a leader's clock was ahead of this node's.
    ahead: i64,
    /// The leadership of the last frame here.
    pub term: u64,
}

/// A moment of which everything is known.
#[derive(Clone, Copy, Debug)]
struct FreshMoment {
    /// By the leader's clock.
    at: Timestamp,
    /// How long ago that was when it was noted.
    age: Duration,
    noted: Instant,
}

impl ClusterView {
    /// Notes what the holder of the lease says; whether this node has less than that.
    pub(super) fn note(&mut self, claim: &LeaseClaim, pulse: Option<LeasePulse>) -> bool {
        if self.leader.as_ref() != Some(claim) {
            self.leader = Some(claim.clone());
        }
        let Some(pulse) = pulse else { return false };
        if self.pulse.is_some_and(|known| known.at == pulse.at) {
            return false;
        }
        self.ahead = self.ahead.max(pulse.at.as_millis() - wall_time().as_millis());
        self.pulse = Some(pulse);
        true
    }

    /// This node has folded up to here.
    pub(super) fn reached(&mut self, end: &ReadEnd) {
        self.term = end.term;
        let Some(pulse) = self.pulse else { return };
        // A leader that was deposed may not know it yet.
        if pulse.term < end.term || pulse.sequence > end.sequence {
            return;
        }
        if self.fresh.is_none_or(|fresh| fresh.at < pulse.at) {
            let (at, noted) = (pulse.at, stopwatch());
            self.fresh = Some(FreshMoment { at, age: self.age_of(at), noted });
        }
    }

    fn age_of(&self, at: Timestamp) -> Duration {
        let millis = wall_time().as_millis() - at.as_millis() + self.ahead;
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// How old this node's state may be, by both clocks of the machine; `None` while nothing is known.
    pub fn staleness(&self) -> Option<Duration> {
        let fresh = self.fresh?;
        Some((fresh.age + fresh.noted.elapsed()).max(self.age_of(fresh.at)))
    }

    /// Whether everything is known that was acknowledged before this moment of this node's clock.
    pub fn knows_all_before(&self, moment: Timestamp) -> bool {
        self.fresh.is_some_and(|fresh| fresh.at.as_millis() > moment.as_millis() + self.ahead)
    }

    /// What the clock of a test showed the leader.
    pub fn clock(&self) -> Option<Timestamp> {
        self.pulse?.clock
    }

    /// The last event that the leader has announced.
    pub fn told(&self) -> Option<u64> {
        self.pulse.map(|pulse| pulse.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> LeaseClaim {
        LeaseClaim { node: "one".into(), start: "1".into(), address: "http://one".into() }
    }

    fn says(sight: &mut ClusterView, at: Timestamp, sequence: u64) {
        sight.note(&claim(), Some(LeasePulse { at, sequence, position: sequence, term: 1, clock: None }));
    }

    fn end(sequence: u64, term: u64) -> ReadEnd {
        ReadEnd { sequence, term, ..ReadEnd::new() }
    }

    #[test]
    fn a_state_is_as_old_as_the_last_word_of_the_leader_that_is_folded() {
        let (mut sight, now) = (ClusterView::default(), wall_time());
        assert!(sight.staleness().is_none());
        says(&mut sight, now.plus_millis(-5_000), 3);
        sight.reached(&end(3, 1));
        let stale = sight.staleness().unwrap();
        assert!(stale >= Duration::from_secs(5) && stale < Duration::from_secs(9), "{stale:?}");
        // What is not folded yet makes nothing fresh, nor does a leader that another one follows.
        says(&mut sight, now, 4);
        sight.reached(&end(3, 1));
        sight.reached(&end(4, 2));
        assert!(sight.staleness().unwrap() >= Duration::from_secs(5));
        sight.reached(&end(4, 1));
        assert!(sight.staleness().unwrap() < Duration::from_secs(4));
        assert!(sight.knows_all_before(now.plus_millis(-1)) && !sight.knows_all_before(now));
    }

    #[test]
    fn a_leader_whose_clock_is_ahead_makes_nothing_look_younger() {
        let (mut sight, now) = (ClusterView::default(), wall_time());
        says(&mut sight, now.plus_millis(60_000), 1);
        sight.reached(&end(1, 1));
        says(&mut sight, now.plus_millis(50_000), 1);
        assert!(!sight.knows_all_before(now.plus_millis(1)));
        let later = ClusterView { fresh: None, ..sight.clone() };
        assert!(later.age_of(now.plus_millis(50_000)) >= Duration::from_secs(9));
    }
}
