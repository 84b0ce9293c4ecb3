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
    /// What it said last, and when this node heard it.
    pulse: Option<(LeasePulse, Instant)>,
    /// The newest moment of which everything is known.
    fresh: Option<FreshMoment>,
    ahead: ClockLead,
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
    /// When the leader's word of it was heard.
    heard: Instant,
}

/// By how many milliseconds, at least, the clock of a leader was ahead of this node's lately. Of clocks that were set
/// right since, nothing is left after twice that time; otherwise one jump would make this node old for ever.
#[derive(Clone, Copy, Debug, Default)]
struct ClockLead {
    lately: i64,
    before: i64,
    since: Option<Instant>,
}

/// Long enough for many words of the leader, one of which was on its way for a moment only.
const LATELY: Duration = Duration::from_secs(30);

impl ClockLead {
    fn note(&mut self, millis: i64, now: Instant) {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) < LATELY) {
            self.lately = self.lately.max(millis);
        } else {
            *self = Self { lately: millis, before: self.lately, since: Some(now) };
        }
    }

    fn millis(self) -> i64 {
        self.lately.max(self.before).max(0)
    }
}

impl ClusterView {
    /// Notes what the holder of the lease says; whether this node has less than that.
    pub(super) fn note(&mut self, claim: &LeaseClaim, pulse: Option<LeasePulse>) -> bool {
        if self.leader.as_ref() != Some(claim) {
            self.leader = Some(claim.clone());
        }
        let Some(pulse) = pulse else { return false };
        if self.pulse.is_some_and(|(known, _)| known.at == pulse.at) {
            return false;
        }
        let heard = stopwatch();
        self.ahead.note(pulse.at.as_millis() - wall_time().as_millis(), heard);
        self.pulse = Some((pulse, heard));
        true
    }

    /// This node has folded up to here.
    pub(super) fn reached(&mut self, end: &ReadEnd) {
        self.term = end.term;
        let Some((pulse, heard)) = self.pulse else { return };
        // A leader that was deposed may not know it yet.
        if pulse.term < end.term || pulse.sequence > end.sequence {
            return;
        }
        // A later word with an earlier time is of a clock that was set back, or of another leader's.
        if self.fresh.is_none_or(|fresh| fresh.at != pulse.at) {
            let (at, noted) = (pulse.at, stopwatch());
            self.fresh = Some(FreshMoment { at, age: self.age_of(at), noted, heard });
        }
    }

    fn age_of(&self, at: Timestamp) -> Duration {
        let millis = wall_time().as_millis() - at.as_millis() + self.ahead.millis();
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// How old this node's state may be, by both clocks of the machine; `None` while nothing is known.
    pub fn staleness(&self) -> Option<Duration> {
        let fresh = self.fresh?;
        Some((fresh.age + fresh.noted.elapsed()).max(self.age_of(fresh.at)))
    }

    /// Whether everything is known that was acknowledged before this moment, which this node's clock showed at this
    /// instant. What was heard before says nothing of it, whatever the clock shows since.
    pub fn knows_all_before(&self, instant: Instant, moment: Timestamp) -> bool {
        let is_later = |fresh: FreshMoment| fresh.at.as_millis() > moment.as_millis() + self.ahead.millis();
        self.fresh.is_some_and(|fresh| fresh.heard > instant && is_later(fresh))
    }

    /// What the clock of a test showed the leader.
    pub fn clock(&self) -> Option<Timestamp> {
        self.pulse?.0.clock
    }

    /// The last event that the leader has announced.
    pub fn told(&self) -> Option<u64> {
        self.pulse.map(|(pulse, _)| pulse.position)
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
        let (mut sight, now, begun) = (ClusterView::default(), wall_time(), stopwatch());
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
        let knows = |moment| sight.knows_all_before(begun, moment);
        assert!(knows(now.plus_millis(-1)) && !knows(now));
    }

    #[test]
    fn a_leader_whose_clock_is_ahead_makes_nothing_look_younger() {
        let (mut sight, now, begun) = (ClusterView::default(), wall_time(), stopwatch());
        says(&mut sight, now.plus_millis(60_000), 1);
        sight.reached(&end(1, 1));
        says(&mut sight, now.plus_millis(50_000), 1);
        assert!(!sight.knows_all_before(begun, now.plus_millis(1)));
        let later = ClusterView { fresh: None, ..sight.clone() };
        assert!(later.age_of(now.plus_millis(50_000)) >= Duration::from_secs(9));
    }

    /// A node whose clock was behind for a moment, or whose leader's was ahead, answered nothing any more.
    #[test]
    fn a_clock_that_was_set_right_counts_no_more_after_a_while() {
        let (mut sight, now, begun) = (ClusterView::default(), wall_time(), stopwatch());
        says(&mut sight, now.plus_millis(60_000), 1);
        sight.reached(&end(1, 1));
        // Meanwhile the leader says what is so, again and again.
        for part in 1..=2 {
            sight.ahead.note(-1, begun + LATELY * part + Duration::from_secs(1));
        }
        says(&mut sight, now, 1);
        sight.reached(&end(1, 1));
        assert!(sight.staleness().unwrap() < Duration::from_secs(5));
        assert!(!sight.knows_all_before(begun, now.plus_millis(30_000)), "that is yet to come");
    }

    /// A clock that is set back makes no old word of the leader a new one.
    #[test]
    fn what_was_heard_before_a_question_says_nothing_of_it() {
        let (mut sight, now) = (ClusterView::default(), wall_time());
        says(&mut sight, now, 1);
        sight.reached(&end(1, 1));
        assert!(!sight.knows_all_before(stopwatch(), now.plus_millis(-20_000)));
    }
}
