//! Requests in flight: from when their caller is known until they are answered. Most of them wait, for their body, for a
//! decision or for the disk; the bound is on how many wait at once.

use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use hashbrown::DefaultHashBuilder;

use crate::config::Fraction;

use super::{CallerShare, LimitReached, RequestClass, ShareOwner, SharedTotal};

/// Maximum requests in flight. Changes and reads fill four fifths of it, as many as the sequencer's queues hold:
/// beyond that they would be refused there.
const MOST: usize = 10_240;
/// Number of counters for callers: 16 bits. Two callers with the same counter, which no one can arrange, share one share.
const COUNTERS: usize = 1 << 16;

/// The whole, and who has what of it.
pub(crate) struct RequestsInFlight {
    whole: usize,
    /// What changes and reads may fill; the rest is kept for checks and ends.
    ordinary: usize,
    share: u32,
    by_class: [PaddedCounter; RequestClass::ALL.len()],
    by_caller: Box<[AtomicU32]>,
    hasher: DefaultHashBuilder,
    by_share: AtomicU64,
    beyond: AtomicU64,
}

/// A number with a cache line of its own: every request writes one of them.
#[derive(Default)]
#[repr(align(64))]
struct PaddedCounter(AtomicUsize);

/// A request in flight, until it is dropped.
pub(crate) struct FlightPermit<'a> {
    class: &'a AtomicUsize,
    caller: Option<&'a AtomicU32>,
}

impl Drop for FlightPermit<'_> {
    fn drop(&mut self) {
        self.class.fetch_sub(1, Relaxed);
        if let Some(caller) = self.caller {
            caller.fetch_sub(1, Relaxed);
        }
    }
}

impl RequestsInFlight {
    /// `places` is the number of connections, each of which has at most one request in flight.
    pub(super) fn new(places: usize, share: Fraction) -> Self {
        let whole = places.min(MOST);
        Self {
            whole,
            ordinary: whole * 4 / 5,
            share: u32::try_from(share.of(whole)).unwrap_or(u32::MAX),
            by_class: Default::default(),
            by_caller: (0..COUNTERS).map(|_| AtomicU32::new(0)).collect(),
            hasher: DefaultHashBuilder::default(),
            by_share: AtomicU64::new(0),
            beyond: AtomicU64::new(0),
        }
    }

    /// Lets a request in. An exempt caller is counted, and refused by the whole alone.
    pub(crate) fn begin(
        &self,
        class: RequestClass,
        who: Option<ShareOwner>,
        is_exempt: bool,
    ) -> Result<FlightPermit<'_>, LimitReached> {
        let class_taken = &self.by_class[class as usize].0;
        class_taken.fetch_add(1, Relaxed);
        // From here on it is dropped when it is refused, and thereby not counted.
        let mut flight = FlightPermit { class: class_taken, caller: None };
        if self.is_beyond(class) {
            self.beyond.fetch_add(1, Relaxed);
            return Err(LimitReached::Whole(SharedTotal::InFlight));
        }
        if let Some(who) = who {
            let caller = &self.by_caller[(self.hasher.hash_one(who) >> 48) as usize];
            let of_caller = caller.fetch_add(1, Relaxed) + 1;
            flight.caller = Some(caller);
            if of_caller > self.share && !is_exempt && self.is_half_taken() {
                self.by_share.fetch_add(1, Relaxed);
                return Err(LimitReached::Share(CallerShare::InFlight));
            }
        }
        Ok(flight)
    }

    fn is_beyond(&self, class: RequestClass) -> bool {
        let of = |class: RequestClass| self.taken(class);
        let ordinary = of(RequestClass::Change) + of(RequestClass::Read);
        let first = of(RequestClass::Check) + of(RequestClass::End);
        ordinary + first > self.whole || (!class.goes_first() && ordinary > self.ordinary)
    }

    /// Whether more than half of the whole is taken.
    pub(super) fn is_half_taken(&self) -> bool {
        2 * RequestClass::ALL.iter().map(|(_, class)| self.taken(*class)).sum::<usize>() > self.whole
    }

    /// How many of a class are in flight.
    pub(crate) fn taken(&self, class: RequestClass) -> usize {
        self.by_class[class as usize].0.load(Relaxed)
    }

    /// How many there may be.
    pub(crate) const fn whole(&self) -> usize {
        self.whole
    }

    pub(super) fn refused_by_share(&self) -> u64 {
        self.by_share.load(Relaxed)
    }

    pub(super) fn refused_beyond(&self) -> u64 {
        self.beyond.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::CredentialId;

    const A: Option<ShareOwner> = Some(ShareOwner::Key(CredentialId::from_bytes([1; 16])));
    const B: Option<ShareOwner> = Some(ShareOwner::Key(CredentialId::from_bytes([2; 16])));

    fn flights() -> RequestsInFlight {
        RequestsInFlight::new(100, "0.25".parse().unwrap())
    }

    fn taken(
        flights: &RequestsInFlight,
        class: RequestClass,
        who: Option<ShareOwner>,
        tries: usize,
    ) -> Vec<FlightPermit<'_>> {
        (0..tries).filter_map(|_| flights.begin(class, who, false).ok()).collect()
    }

    #[test]
    fn a_share_bites_only_while_more_than_half_is_taken() {
        let flights = flights();
        let mut of_a = taken(&flights, RequestClass::Change, A, 100);
        assert_eq!(of_a.len(), 50);
        assert_eq!(
            flights.begin(RequestClass::Check, A, false).err(),
            Some(LimitReached::Share(CallerShare::InFlight))
        );
        assert!(flights.begin(RequestClass::Change, A, true).is_ok(), "an exempt caller has no share");
        assert_eq!(taken(&flights, RequestClass::Change, B, 100).len(), 25);
        of_a.truncate(30);
        assert_eq!(taken(&flights, RequestClass::Change, A, 5).len(), 5, "there is room again");
        assert_eq!(flights.refused_by_share(), 126);
    }

    #[test]
    fn changes_and_reads_leave_a_part_for_checks_and_ends() {
        let flights = flights();
        let changes = taken(&flights, RequestClass::Change, None, 50);
        let reads = taken(&flights, RequestClass::Read, None, 50);
        assert_eq!(changes.len() + reads.len(), 80);
        assert_eq!(
            flights.begin(RequestClass::Change, A, false).err(),
            Some(LimitReached::Whole(SharedTotal::InFlight))
        );
        let checks = taken(&flights, RequestClass::Check, None, 15);
        let ends = taken(&flights, RequestClass::End, None, 15);
        assert_eq!((checks.len(), ends.len()), (15, 5));
        drop((changes, reads, checks, ends));
        assert!(RequestClass::ALL.iter().all(|(_, class)| flights.taken(*class) == 0));
    }
}
