//! Writes what bulk revocations said into the sessions that they ended, a few subjects between two batches.
//!
//! It changes nothing visible: [`PublishedState`] shows every session as if it were done. What is not done yet is
//! looked at with every look at a session, so it must not become much.

use tenure_core::{Position, SubjectId};

use crate::authority::state::published::PublishedState;

/// Subjects handled between two batches: about a millisecond, less than a batch takes.
const STRIDE: usize = 512;
/// Maximum unsettled bulk revocations; one more waits until they are settled.
const MOST: usize = 8;

/// A walk over all subjects, part by part.
#[derive(Default)]
pub(crate) struct BulkApplication {
    /// The last bulk revocation that the walk is about.
    up_to: Position,
    next_part: usize,
    left: Vec<SubjectId>,
}

impl BulkApplication {
    /// Goes on for a short while.
    pub(crate) fn go_on(&mut self, live: &PublishedState) {
        let bulks = live.unsettled_bulks();
        let Some(last) = bulks.last() else { return };
        if self.next_part == 0 && self.left.is_empty() {
            self.up_to = last.position;
        }
        for _ in 0..STRIDE {
            while self.left.is_empty() {
                match live.part(self.next_part) {
                    Some(part) => self.left = part,
                    None => return self.end(live),
                }
                self.next_part += 1;
            }
            let id = self.left.pop().expect("it is not empty");
            live.settle(&id, &bulks);
        }
    }

    /// Settles until there is room for one more.
    pub(crate) fn make_room(&mut self, live: &PublishedState) {
        while live.unsettled_bulks().len() >= MOST {
            self.go_on(live);
        }
    }

    /// Every subject that there was when the walk began was looked at, and no later one is concerned.
    fn end(&mut self, live: &PublishedState) {
        live.settled_up_to(self.up_to);
        *self = Self::default();
    }
}
