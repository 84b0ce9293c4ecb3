//! The newest fold of everything, kept for the next page of the same list: then a page of the past costs a look at the
//! sessions, and a list at a later position only the events in between.
//!
//! One fold is kept. It is given up after a while without a request for it, or when a request needs an earlier one:
//! apart from it there are no more in memory than there are threads that fold.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tenure_core::{Position, state::AuthorityState};
use tenure_protocol::clock::stopwatch;
use tokio::time::sleep;

/// A reader of pages asks for the next one within this time.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A place for one fold.
#[derive(Clone, Default)]
pub(super) struct FoldCache(Arc<Mutex<FoldSlot>>);

#[derive(Default)]
struct FoldSlot {
    kept: Option<CachedFold>,
    /// Whether a task is waiting to give up the fold.
    is_watched: bool,
}

struct CachedFold {
    state: Arc<AuthorityState>,
    asked_at: Instant,
}

/// What there is to begin with.
pub(super) enum FoldStart {
    /// The fold of exactly this position.
    Whole(Arc<AuthorityState>),
    /// An earlier one, to fold on; or that of nothing.
    Earlier(Box<AuthorityState>),
}

impl FoldCache {
    /// Where the fold up to a position begins. What is of no use for it is given up before there is another one.
    pub(super) fn start(&self, position: Position) -> FoldStart {
        let mut place = self.0.lock();
        if let Some(kept) = place.kept.as_mut().filter(|kept| kept.state.position == position) {
            kept.asked_at = stopwatch();
            return FoldStart::Whole(Arc::clone(&kept.state));
        }
        let kept = place.kept.take();
        drop(place);
        let earlier = kept.filter(|kept| kept.state.position < position);
        // A reader may still hold it; a copy shares the sessions that do not change.
        FoldStart::Earlier(earlier.map(|kept| Arc::unwrap_or_clone(kept.state)).unwrap_or_default().into())
    }

    /// Keeps a fold instead of the one before.
    pub(super) fn keep(&self, state: &Arc<AuthorityState>) {
        let kept = CachedFold { state: Arc::clone(state), asked_at: stopwatch() };
        let before = self.0.lock().kept.replace(kept);
        // Dropping a large state takes time, so the lock is released first.
        drop(before);
    }

    /// Sees to it that what is kept is given up, on the runtime of the caller.
    pub(super) fn watch(&self) {
        let mut place = self.0.lock();
        if place.kept.is_some() && !place.is_watched {
            place.is_watched = true;
            tokio::spawn(self.clone().give_up());
        }
    }

    async fn give_up(self) {
        loop {
            let left = match self.left() {
                Ok(left) => left,
                Err(old) => {
                    // To drop it takes a while, and this thread answers checks.
                    drop(tokio::task::spawn_blocking(move || drop(old)));
                    return;
                }
            };
            sleep(left).await;
        }
    }

    /// How long the fold stays; after that time, the fold itself, and the watch ends.
    fn left(&self) -> Result<Duration, Option<Arc<AuthorityState>>> {
        let mut place = self.0.lock();
        let rested = place.kept.as_ref().map_or(TIMEOUT, |kept| kept.asked_at.elapsed());
        if rested < TIMEOUT {
            return Ok(TIMEOUT.saturating_sub(rested));
        }
        place.is_watched = false;
        Err(place.kept.take().map(|kept| kept.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(position: u64) -> Arc<AuthorityState> {
        Arc::new(AuthorityState { position: Position(position), ..AuthorityState::default() })
    }

    fn begins_at(start: &FoldStart) -> (bool, u64) {
        match start {
            FoldStart::Whole(state) => (true, state.position.0),
            FoldStart::Earlier(state) => (false, state.position.0),
        }
    }

    #[test]
    fn a_page_begins_with_the_fold_of_the_one_before_and_a_later_moment_with_it_too() {
        let place = FoldCache::default();
        assert_eq!(begins_at(&place.start(Position(5))), (false, 0));
        place.keep(&fold(5));
        for _ in 0..3 {
            assert_eq!(begins_at(&place.start(Position(5))), (true, 5));
        }
        assert_eq!(begins_at(&place.start(Position(9))), (false, 5));
        assert_eq!(begins_at(&place.start(Position(9))), (false, 0), "one state is not folded on twice");
        place.keep(&fold(9));
        assert_eq!(begins_at(&place.start(Position(8))), (false, 0));
        assert!(place.0.lock().kept.is_none(), "it was of no use, and there is room for one");
    }

    #[test]
    fn what_somebody_still_reads_is_copied_to_be_folded_on() {
        let (place, read) = (FoldCache::default(), fold(5));
        place.keep(&read);
        assert_eq!(begins_at(&place.start(Position(9))), (false, 5));
        assert_eq!(read.position, Position(5));
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_given_up() {
        let place = FoldCache::default();
        let long_ago = stopwatch().checked_sub(TIMEOUT).unwrap();
        place.0.lock().kept = Some(CachedFold { state: fold(5), asked_at: long_ago });
        place.watch();
        while place.0.lock().is_watched {
            tokio::task::yield_now().await;
        }
        assert!(place.0.lock().kept.is_none());
        place.keep(&fold(6));
        place.watch();
        tokio::task::yield_now().await;
        assert!(place.0.lock().kept.is_some(), "it was asked for just now");
    }
}
