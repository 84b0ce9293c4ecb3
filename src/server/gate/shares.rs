//! One caller's share of a gate: while no more than half of its places are taken, every caller is let in; beyond that
//! a caller who has its share gets no more, and the others still do.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use parking_lot::Mutex;

use super::WorkGate;

/// How many requests each caller has behind a gate, running or waiting.
pub(crate) struct CallerShares<K> {
    each: usize,
    whole: usize,
    taken: Mutex<ShareCounts<K>>,
}

struct ShareCounts<K> {
    all: usize,
    of_callers: HashMap<K, usize>,
    refused: u64,
}

/// A request in flight, counted until this is dropped.
pub(crate) struct ShareGuard<K: Hash + Eq> {
    shares: Arc<CallerShares<K>>,
    caller: K,
}

impl<K: Hash + Eq + Clone> CallerShares<K> {
    /// Shares of this gate's room; `each` is a caller's share when it runs short.
    pub(crate) fn of(gate: &WorkGate, each: usize) -> Arc<Self> {
        let taken = ShareCounts { all: 0, of_callers: HashMap::new(), refused: 0 };
        Arc::new(Self { each, whole: gate.room(), taken: Mutex::new(taken) })
    }

    /// What each caller has when more than half is taken.
    pub(crate) const fn each(&self) -> usize {
        self.each
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.taken.lock().refused
    }

    /// Lets a request of this caller in; `None` if the caller has its share, and more than half would be taken.
    pub(crate) fn take(self: &Arc<Self>, caller: K) -> Option<ShareGuard<K>> {
        let mut taken = self.taken.lock();
        let is_short = 2 * (taken.all + 1) > self.whole;
        if is_short && taken.of_callers.get(&caller).is_some_and(|own| *own >= self.each) {
            taken.refused += 1;
            return None;
        }
        taken.all += 1;
        *taken.of_callers.entry(caller.clone()).or_default() += 1;
        drop(taken);
        Some(ShareGuard { shares: Arc::clone(self), caller })
    }
}

impl<K: Hash + Eq> Drop for ShareGuard<K> {
    fn drop(&mut self) {
        let mut taken = self.shares.taken.lock();
        taken.all -= 1;
        if let Some(own) = taken.of_callers.get_mut(&self.caller) {
            *own -= 1;
            if *own == 0 {
                taken.of_callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_bites_only_while_more_than_half_is_taken() {
        let shares = CallerShares::of(&WorkGate::new("tested", 2, 8), 2);
        let mut own: Vec<_> = (0..10).map_while(|_| shares.take("one")).collect();
        assert_eq!(own.len(), 5, "half of all are anybody's");
        let others: Vec<_> = (0..10).map_while(|_| shares.take("another")).collect();
        assert_eq!((others.len(), shares.refused()), (2, 2));
        drop(others);
        assert!(shares.take("one").is_none());
        own.pop();
        assert!(shares.take("one").is_some(), "less is taken now");
        drop(own);
        let taken = shares.taken.lock();
        assert_eq!((taken.all, taken.of_callers.len()), (0, 0), "nothing is remembered");
    }
}
