//! The times of the spans of a trace: one look at the wall clock, and from there on the clock that never jumps, which
//! has the resolution that a stage needs.

use std::time::{Instant, SystemTime};

use tenure_protocol::clock::{precise_wall_time, stopwatch};

/// Translates moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallTimes {
    then: Instant,
    wall: SystemTime,
}

impl WallTimes {
    /// By the wall clock as it stands now.
    pub(super) fn now() -> Self {
        Self { then: stopwatch(), wall: precise_wall_time() }
    }

    /// The time of this moment, before or after.
    pub(super) fn at(self, moment: Instant) -> SystemTime {
        match moment.checked_duration_since(self.then) {
            Some(later) => self.wall + later,
            None => self.wall.checked_sub(self.then.duration_since(moment)).unwrap_or(self.wall),
        }
    }
}
