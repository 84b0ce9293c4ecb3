//! Lets go of sessions that ended long ago, a few subjects between two batches.
//!
//! It changes nothing that callers see: what left is read back from the log when it is needed. So it lets go only of
//! what stands in segments that have an index.

use std::sync::Arc;

use parking_lot::Mutex;

use tenure_core::{Seconds, SubjectId, Timestamp, eviction::EvictionHorizon, session::Session};

use crate::authority::state::published::{LeftBefore, PublishedState};

/// Subjects looked at between two batches: less than a batch takes.
const STRIDE: usize = 512;
/// All subjects are looked at again when the horizon moved by this part of the time for which ended sessions stay.
const PART: u32 = 16;

/// Is handed sessions that are about to leave memory, so that what is derived of them stays right.
pub type OnLeaving = Arc<dyn Fn(&[Session]) + Send + Sync>;

/// How sessions leave memory.
#[derive(Clone)]
pub struct MemoryRetention {
    /// How long an ended session stays, `retention.memory`.
    pub memory: Seconds,
    /// Up to where the log can be asked by key, and when its last event there was recorded.
    pub indexed: Arc<Mutex<EvictionHorizon>>,
    /// Is handed those that leave.
    pub leaving: OnLeaving,
    /// What the start did not read.
    pub left: LeftBefore,
}

impl MemoryRetention {
    /// Everything stays.
    pub fn forever() -> Self {
        Self {
            memory: Seconds(u32::MAX),
            indexed: Arc::default(),
            leaving: Arc::new(|_| ()),
            left: LeftBefore::default(),
        }
    }

    /// Behind which sessions may leave at this moment.
    pub fn horizon(&self, now: Timestamp) -> EvictionHorizon {
        let indexed = *self.indexed.lock();
        let ended = now.plus_millis(-i64::from(self.memory.0) * 1_000);
        EvictionHorizon { moment: indexed.moment.min(ended), ..indexed }
    }
}

/// A walk over all subjects, part by part.
pub(crate) struct EvictionWalk {
    retention: MemoryRetention,
    /// What the last walk, or the one under way, is about.
    walked: EvictionHorizon,
    next_part: usize,
    left: Vec<SubjectId>,
    is_under_way: bool,
}

impl EvictionWalk {
    /// Behind this horizon nothing is any more.
    pub(crate) fn new(retention: MemoryRetention, walked: EvictionHorizon) -> Self {
        Self { retention, walked, next_part: 0, left: vec![], is_under_way: false }
    }

    /// Whether it has something to go on with.
    pub(crate) const fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Goes on for a short while.
    pub(crate) fn go_on(&mut self, live: &PublishedState, now: Timestamp) {
        if !self.is_under_way && !self.begin(live, now) {
            return;
        }
        for _ in 0..STRIDE {
            while self.left.is_empty() {
                match live.part(self.next_part) {
                    Some(part) => self.left = part,
                    None => return self.end(),
                }
                self.next_part += 1;
            }
            let id = self.left.pop().expect("it is not empty");
            live.let_go(&id, &*self.retention.leaving);
        }
    }

    /// Begins another walk, if it is worth the work.
    fn begin(&mut self, live: &PublishedState, now: Timestamp) -> bool {
        let horizon = self.walked.and(self.retention.horizon(now));
        let step = self.retention.memory.0 / PART;
        let is_far = horizon.moment >= self.walked.moment.plus(Seconds(step.max(1)));
        self.is_under_way = horizon.is_there() && (horizon.position > self.walked.position || is_far);
        if self.is_under_way {
            self.walked = horizon;
            live.move_horizon(horizon);
        }
        self.is_under_way
    }

    fn end(&mut self) {
        (self.next_part, self.is_under_way) = (0, false);
    }
}
