//! Places for connections: who has one, and who gives way when they run out.
//!
//! An address counts the connections on which no good credential was shown yet; beyond its share a new one is closed.
//! When nine tenths are taken, connections that wait for nothing give way, those that have rested longest first, and a
//! slow head is given up sooner, as is a client that takes nothing of its answer, one that takes very long over it, and
//! one that sends a slow body and has shown no good credential. No other client is cut while it is being answered, unless
//! all hold too much memory: see `held`.

use std::{
    future::poll_fn,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

use tenure_protocol::clock::stopwatch;

use super::AdmissionLimits;

/// How long the head of a request may take when places run out.
const HURRIED_MILLIS: u64 = 2_000;
/// And how long a client may take nothing of its answer, or one without a good credential may be busy with a request.
const BLOCKED_MILLIS: u64 = 5_000;
/// And how long it may take over an answer, or a piece of one, of which it does take something.
const HELD_MILLIS: u64 = 30_000;
/// The time between two searches through all connections.
const SEARCH_MILLIS: u64 = 20;
/// How long to wait for a place before looking again.
const RECHECK: Duration = Duration::from_millis(50);

/// All places.
pub(crate) struct ConnectionPlaces {
    limits: AdmissionLimits,
    share: usize,
    begun: Instant,
    taken: AtomicUsize,
    occupied: Mutex<SeatTable>,
    freed: Notify,
    search: SearchPace,
    /// Bytes that are held for all clients, and how many may be.
    pub(super) held: AtomicUsize,
    most_held: usize,
    pub(super) memory_search: SearchPace,
    refused: AtomicU64,
    gave_way: AtomicU64,
}

/// When all connections were last looked through.
#[derive(Default)]
pub(super) struct SearchPace(AtomicU64);

#[derive(Default)]
struct SeatTable {
    next: u64,
    by_number: HashMap<u64, Arc<ConnectionSeat>>,
    /// Connections without a good credential, by address.
    unproven: HashMap<IpAddr, usize>,
}

/// What the connection in a place does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// It waits for the head of a request.
    Head,
    /// It waits for the next request.
    Idle,
    /// It is being answered.
    Answered,
    /// It takes nothing of its answer.
    Blocked,
}

/// The place of one connection.
pub(crate) struct ConnectionSeat {
    places: Arc<ConnectionPlaces>,
    /// Whose share it is of; `None` for connections without a share.
    counted: Option<IpAddr>,
    is_unproven: AtomicBool,
    /// Since when it stands how: milliseconds since the start, and the standing in the last two bits.
    standing: AtomicU64,
    /// Since when it has been answered, whether its client takes something or not: milliseconds since the start; 0 while
    /// it is not.
    busy_since: AtomicU64,
    gives_way: AtomicBool,
    /// Whether it is over, whatever it does.
    must_end: AtomicBool,
    /// Bytes that are held for its client, and since when: milliseconds since the start.
    held: AtomicUsize,
    held_since: AtomicU64,
    reader: AtomicWaker,
}

/// A taken place, until dropped.
pub(crate) struct OccupiedPlace {
    seat: Arc<ConnectionSeat>,
    number: u64,
}

impl ConnectionPlaces {
    pub(super) fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self {
            share: limits.shares.connections_per_address.of(limits.places),
            most_held: limits.buffers,
            limits,
            begun: stopwatch(),
            taken: AtomicUsize::new(0),
            occupied: Mutex::default(),
            freed: Notify::new(),
            search: SearchPace::default(),
            held: AtomicUsize::new(0),
            memory_search: SearchPace::default(),
            refused: AtomicU64::new(0),
            gave_way: AtomicU64::new(0),
        })
    }

    /// Gives a connection from this address a place; `None` if the address has used up its share.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<OccupiedPlace> {
        let counted = self.counted(peer);
        let mut seats = self.occupied.lock();
        if let Some(address) = counted {
            let own = seats.unproven.entry(address).or_default();
            if *own >= self.share && 2 * (self.taken() + 1) > self.limits.places {
                self.refused.fetch_add(1, Relaxed);
                return None;
            }
            *own += 1;
        }
        let seat = Arc::new(ConnectionSeat {
            places: Arc::clone(self),
            counted,
            is_unproven: AtomicBool::new(true),
            standing: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            gives_way: AtomicBool::new(false),
            must_end: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            held_since: AtomicU64::new(0),
            reader: AtomicWaker::new(),
        });
        seat.stands(ConnectionState::Head, stopwatch());
        let number = seats.next;
        seats.next += 1;
        seats.by_number.insert(number, Arc::clone(&seat));
        self.taken.fetch_add(1, Relaxed);
        drop(seats);
        self.make_room();
        Some(OccupiedPlace { seat, number })
    }

    /// Waits until there is a place.
    pub(crate) async fn room(&self) {
        while self.taken() >= self.limits.places {
            self.make_room();
            // Whichever it is: a place was freed, or it is time to look again.
            drop(timeout(RECHECK, self.freed.notified()).await);
        }
    }

    /// The address that counts; those of proxies and of this host have no share.
    fn counted(&self, peer: IpAddr) -> Option<IpAddr> {
        let is_exempt = self.limits.trusted_proxies.contains(peer) || self.is_exempt(peer);
        (!is_exempt).then(|| network(peer))
    }

    /// Whether callers from this address have no shares.
    pub(crate) fn is_exempt(&self, address: IpAddr) -> bool {
        !self.limits.limit_loopback && address.to_canonical().is_loopback()
    }

    /// Whether places run out.
    fn is_crowded(&self) -> bool {
        10 * self.taken() > 9 * self.limits.places
    }

    /// Lets some connections give way when places run out: enough of those that rest for a while to be quiet.
    fn make_room(&self) {
        let now = self.millis(stopwatch());
        if !self.is_crowded() || !self.search.is_due(now) {
            return;
        }
        let wanted = self.taken().saturating_sub(self.limits.places * 22 / 25).max(1);
        let mut resting = self.seats(|seat| {
            if seat.is_overlong(now) {
                seat.end();
            }
            match seat.standing() {
                (ConnectionState::Idle, since) => return Some(since),
                (ConnectionState::Head, since) if now >= since + HURRIED_MILLIS => self.give_way(seat),
                (ConnectionState::Blocked, since) if now >= since + BLOCKED_MILLIS => self.give_way(seat),
                (ConnectionState::Head | ConnectionState::Answered | ConnectionState::Blocked, _) => {}
            }
            None
        });
        if resting.len() > wanted {
            resting.select_nth_unstable_by_key(wanted, |(since, _)| *since);
        }
        resting.iter().take(wanted).for_each(|(_, seat)| self.give_way(seat));
    }

    /// The connections of which this is told, with what is told.
    pub(super) fn seats<T>(
        &self,
        told: impl Fn(&ConnectionSeat) -> Option<T>,
    ) -> Vec<(T, Arc<ConnectionSeat>)> {
        let seats = self.occupied.lock();
        let found = seats.by_number.values().filter_map(|seat| Some((told(seat)?, Arc::clone(seat))));
        found.collect()
    }

    fn give_way(&self, seat: &ConnectionSeat) {
        if !seat.gives_way.swap(true, Relaxed) {
            self.gave_way.fetch_add(1, Relaxed);
            seat.reader.wake();
        }
    }

    /// How many bytes may be held for all clients together.
    pub(crate) const fn most_held(&self) -> usize {
        self.most_held
    }

    pub(super) fn millis(&self, moment: Instant) -> u64 {
        u64::try_from(moment.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX >> 2)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// How many there are.
    pub(crate) const fn whole(&self) -> usize {
        self.limits.places
    }

    /// How many connections gave way since the start.
    pub(crate) fn gave_way(&self) -> u64 {
        self.gave_way.load(Relaxed)
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}

impl SearchPace {
    /// Whether it is time for another search, which begins now: to look through all of them costs a millisecond where
    /// there are many.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let last = self.0.load(Relaxed);
        let is_time = last == 0 || now >= last + SEARCH_MILLIS;
        is_time && self.0.compare_exchange(last, now.max(1), Relaxed, Relaxed).is_ok()
    }
}

impl SeatTable {
    fn uncount(&mut self, address: IpAddr) {
        if let Some(own) = self.unproven.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                self.unproven.remove(&address);
            }
        }
    }
}

impl ConnectionSeat {
    /// Whether no good credential was shown on the connection yet.
    pub(crate) fn is_unproven(&self) -> bool {
        self.is_unproven.load(Relaxed)
    }

    /// A good credential was shown: from now on the connection does not count for its address.
    pub(crate) fn prove(&self) {
        self.prove_in(&mut self.places.occupied.lock());
    }

    fn prove_in(&self, seats: &mut SeatTable) {
        if self.is_unproven.swap(false, Relaxed)
            && let Some(address) = self.counted
        {
            seats.uncount(address);
        }
    }

    /// Notes what the connection does, and since when. One that has begun to do something gives way no more.
    pub(crate) fn stands(&self, standing: ConnectionState, since: Instant) {
        let since = self.places.millis(since);
        self.standing.store((since << 2) | standing as u64, Relaxed);
        match standing {
            ConnectionState::Head | ConnectionState::Idle => self.busy_since.store(0, Relaxed),
            ConnectionState::Answered | ConnectionState::Blocked => {
                if self.busy_since.load(Relaxed) == 0 {
                    self.busy_since.store(since.max(1), Relaxed);
                }
            }
        }
        self.gives_way.store(false, Relaxed);
    }

    /// Whether its client takes longer than others can wait for when places run out: for its request or its answer as a
    /// stranger, or for what is held for it.
    fn is_overlong(&self, now: u64) -> bool {
        let busy_since = self.busy_since.load(Relaxed);
        let is_busy = self.is_unproven() && busy_since > 0 && now >= busy_since + BLOCKED_MILLIS;
        is_busy || self.held() > 0 && now >= self.held_since() + HELD_MILLIS
    }

    fn standing(&self) -> (ConnectionState, u64) {
        let noted = self.standing.load(Relaxed);
        let standing = match noted & 3 {
            0 => ConnectionState::Head,
            1 => ConnectionState::Idle,
            2 => ConnectionState::Answered,
            _ => ConnectionState::Blocked,
        };
        (standing, noted >> 2)
    }

    /// Whether the connection has to give way as it stands.
    pub(crate) fn gives_way(&self) -> bool {
        self.gives_way.load(Relaxed)
    }

    /// Whether the connection is over, whatever it does.
    pub(crate) fn must_end(&self) -> bool {
        self.must_end.load(Relaxed)
    }

    /// Ends the connection.
    pub(super) fn end(&self) {
        if !self.must_end.swap(true, Relaxed) {
            self.places.gave_way.fetch_add(1, Relaxed);
            self.reader.wake();
        }
    }

    /// Counts more bytes that are held for its client.
    pub(super) fn hold(&self, count: usize) {
        self.held.fetch_add(count, Relaxed);
        self.places.held.fetch_add(count, Relaxed);
        self.places.make_memory();
    }

    /// Notes that what is held from now on is another request or answer, or another piece of one.
    pub(super) fn holds_anew(&self) {
        self.held_since.store(self.places.millis(stopwatch()), Relaxed);
    }

    pub(super) fn release(&self, count: usize) {
        self.held.fetch_sub(count, Relaxed);
        self.places.held.fetch_sub(count, Relaxed);
    }

    /// How many bytes are held for its client.
    pub(super) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// Since when something is held for its client.
    pub(super) fn held_since(&self) -> u64 {
        self.held_since.load(Relaxed)
    }

    /// Waits until the connection has to give way as it stands, or is over.
    pub(crate) async fn given_up(&self) {
        poll_fn(|context| {
            self.register(context.waker());
            if self.gives_way() || self.must_end() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// How long a head may take to come, of what it has when there is room.
    pub(crate) fn patience(&self, usual: Duration) -> Duration {
        if self.places.is_crowded() { usual.min(Duration::from_millis(HURRIED_MILLIS)) } else { usual }
    }

    /// A task waiting on the connection is woken when the connection is to end.
    pub(crate) fn register(&self, waker: &Waker) {
        self.reader.register(waker);
    }
}

impl OccupiedPlace {
    /// The place.
    pub(crate) const fn seat(&self) -> &Arc<ConnectionSeat> {
        &self.seat
    }
}

impl Drop for OccupiedPlace {
    fn drop(&mut self) {
        let places = &self.seat.places;
        let mut seats = places.occupied.lock();
        self.seat.prove_in(&mut seats);
        seats.by_number.remove(&self.number);
        places.taken.fetch_sub(1, Relaxed);
        drop(seats);
        places.freed.notify_one();
    }
}

/// One client has a whole /64 of IPv6 addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}
