//! Memory that connections hold for slow clients: a request that has not all come, an answer that was not all taken.
//!
//! Anyone may be slow, and each connection is let be for a while. What all of them hold together has a bound: beyond it,
//! connections that have held something for longest are ended, whatever they do, until there is room.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tenure_protocol::clock::stopwatch;

use super::places::{ConnectionPlaces, ConnectionSeat};

/// As much every connection costs anyway, and is not counted.
const UNCOUNTED: usize = 4 * 1024;

/// Bytes that are held for a client, until dropped.
pub(crate) struct HeldBytes {
    seat: Arc<ConnectionSeat>,
    count: usize,
}

impl HeldBytes {
    /// This number on this connection; `None` if it is too small to be counted.
    pub(crate) fn on(seat: &Arc<ConnectionSeat>, count: usize) -> Option<Self> {
        (count > UNCOUNTED).then(|| {
            seat.holds_anew();
            seat.hold(count);
            Self { seat: Arc::clone(seat), count }
        })
    }

    /// Sets their number.
    pub(crate) fn grow(&mut self, count: usize) {
        self.seat.hold(count.saturating_sub(self.count));
        self.count = self.count.max(count);
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.seat.release(self.count);
    }
}

impl ConnectionPlaces {
    /// Ends connections when all hold too much, enough of them that it does not happen again at once.
    pub(super) fn make_memory(&self) {
        if self.held() <= self.most_held() || !self.memory_search.is_due(self.millis(stopwatch())) {
            return;
        }
        let mut holding = self.seats(|seat| (seat.held() > 0 && !seat.must_end()).then(|| seat.held_since()));
        holding.sort_unstable_by_key(|(since, _)| *since);
        // Those that were ended before give theirs back by themselves.
        let all: usize = holding.iter().map(|(_, seat)| seat.held()).sum();
        let mut surplus = all.saturating_sub(self.most_held() / 8 * 7);
        for (_, seat) in holding {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(seat.held());
            seat.end();
        }
    }

    /// How many bytes are held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }
}
