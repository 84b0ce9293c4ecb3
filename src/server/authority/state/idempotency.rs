//! Which requests had their effect: the recent keys, rebuilt from the log at startup.
//!
//! Session tokens and API keys have half of the room each, so that agents cannot push out the keys of those who manage
//! them. In a full half, the caller who holds most makes room: with its oldest key, if it is older than repeats of a
//! lost request ever are; otherwise its further requests are refused. All others go on.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
};

use tenure_core::{
    Actor, CredentialId, Digest16, Position, Seconds, SessionId, Timestamp,
    commit::{ActorKind, IdempotencyMark},
};
use tenure_log::{IdempotentCommit, StoredCommit};

/// A key younger than this makes no room.
const KEPT: Seconds = Seconds(60);

/// The idempotency keys that were used within the window. Only requests that appended something are here:
/// a request without effect has nothing that a repeat could do twice.
#[derive(Debug)]
pub struct IdempotencyTable {
    window: Seconds,
    of_sessions: KeyTable,
    of_keys: KeyTable,
}

/// A request that had its effect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdempotencyEntry {
    request: Digest16,
    first: Position,
    at: Timestamp,
    caller: KeyOwner,
}

/// Who used a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum KeyOwner {
    Session(SessionId),
    Key(CredentialId),
    /// The authority and its operator.
    Own,
}

impl KeyOwner {
    fn of(actor: &Actor) -> Self {
        let id = actor.id.as_deref().unwrap_or_default();
        match actor.kind {
            ActorKind::Session => id.parse().map_or(Self::Own, Self::Session),
            ActorKind::Credential => id.parse().map_or(Self::Own, Self::Key),
            ActorKind::Authority | ActorKind::Operator | ActorKind::Link => Self::Own,
        }
    }
}

impl IdempotencyEntry {
    /// What a commit says of the request behind it, if that had a key, and the key.
    pub(crate) fn of(stored: &StoredCommit) -> Option<(Digest16, Self)> {
        let IdempotencyMark { key, request } = stored.commit.idempotency?;
        let (first, at) = (stored.first, stored.commit.recorded_at);
        Some((key, Self { request, first, at, caller: KeyOwner::of(&stored.commit.actor) }))
    }

    /// What it is to another request under its key.
    pub(crate) fn judge(&self, other: IdempotencyMark) -> IdempotencyLookup {
        if self.request == other.request {
            IdempotencyLookup::Repeat(self.first)
        } else {
            IdempotencyLookup::Reused(self.first)
        }
    }
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdempotencyLookup {
    /// Nothing: it is new.
    No,
    /// It is a repeat of the request whose commit begins here.
    Repeat(Position),
    /// Its key was used for another request, whose commit begins here.
    Reused(Position),
}

impl IdempotencyTable {
    /// A table that remembers keys for `window`, and no more than `most`.
    pub fn new(window: Seconds, most: usize) -> Self {
        let half = || KeyTable::of((most / 2).max(1));
        Self { window, of_sessions: half(), of_keys: half() }
    }

    /// Remembers the key of a durable commit, if it has one.
    pub fn fold(&mut self, stored: &StoredCommit) {
        if let Some((key, entry)) = IdempotencyEntry::of(stored) {
            self.remember(key, entry);
        }
    }

    /// Remembers the key of a commit by what its header says.
    pub fn add(&mut self, commit: &IdempotentCommit) {
        let IdempotentCommit { first, recorded_at, actor, mark } = commit;
        let caller = KeyOwner::of(actor);
        let entry = IdempotencyEntry { request: mark.request, first: *first, at: *recorded_at, caller };
        self.remember(mark.key, entry);
    }

    /// From when on keys are remembered of a history that ends at this moment.
    pub fn since(&self, end: Timestamp) -> Timestamp {
        end.plus_millis(-1000 * i64::from(self.window.0))
    }

    fn remember(&mut self, key: Digest16, entry: IdempotencyEntry) {
        self.of_sessions.forget_over(self.window, entry.at);
        self.of_keys.forget_over(self.window, entry.at);
        self.half_mut(entry.caller).remember(key, entry);
    }

    pub(crate) fn look_up(&self, mark: IdempotencyMark, now: Timestamp) -> IdempotencyLookup {
        let known = |half: &KeyTable| half.entries.get(&mark.key).copied();
        match known(&self.of_keys).or_else(|| known(&self.of_sessions)) {
            Some(entry) if now < entry.at.plus(self.window) => entry.judge(mark),
            Some(_) | None => IdempotencyLookup::No,
        }
    }

    /// Whether a further key of this caller finds room; or else when it does.
    pub(crate) fn room_for(&self, actor: &Actor, now: Timestamp) -> Result<(), Timestamp> {
        let caller = KeyOwner::of(actor);
        let half = match caller {
            KeyOwner::Session(_) => &self.of_sessions,
            KeyOwner::Key(_) | KeyOwner::Own => &self.of_keys,
        };
        half.room_for(caller, self.window, now)
    }

    /// How many keys were forgotten inside of the window to make room, since this was asked last.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.of_sessions.lost) + std::mem::take(&mut self.of_keys.lost)
    }

    const fn half_mut(&mut self, caller: KeyOwner) -> &mut KeyTable {
        match caller {
            KeyOwner::Session(_) => &mut self.of_sessions,
            KeyOwner::Key(_) | KeyOwner::Own => &mut self.of_keys,
        }
    }
}

/// The keys of one kind of caller.
#[derive(Debug)]
struct KeyTable {
    most: usize,
    entries: HashMap<Digest16, IdempotencyEntry>,
    oldest_first: VecDeque<(Timestamp, Digest16)>,
    by_caller: HashMap<KeyOwner, CallerKeys>,
    /// Who makes room: the last of them first.
    ranking: BTreeSet<EvictionRank>,
    lost: u64,
}

/// By how many keys a caller holds, and of those who hold as many, by how old its oldest is.
type EvictionRank = (usize, Reverse<Timestamp>, KeyOwner);

/// The keys of one caller, of which the oldest stands first. Another key that was used again, or is forgotten, may stand in the list and not count.
#[derive(Debug, Default)]
struct CallerKeys {
    count: usize,
    oldest_first: VecDeque<(Timestamp, Digest16)>,
}

impl CallerKeys {
    fn rank(&self, caller: KeyOwner) -> EvictionRank {
        let oldest = self.oldest_first.front().map_or(Timestamp::ZERO, |(at, _)| *at);
        (self.count, Reverse(oldest), caller)
    }
}

impl KeyTable {
    fn of(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            oldest_first: VecDeque::new(),
            by_caller: HashMap::new(),
            ranking: BTreeSet::new(),
            lost: 0,
        }
    }

    fn remember(&mut self, key: Digest16, entry: IdempotencyEntry) {
        self.forget(key);
        self.entries.insert(key, entry);
        self.oldest_first.push_back((entry.at, key));
        let held = self.by_caller.entry(entry.caller).or_default();
        self.ranking.remove(&held.rank(entry.caller));
        held.oldest_first.push_back((entry.at, key));
        held.count += 1;
        self.ranking.insert(held.rank(entry.caller));
        self.make_room(entry.at);
    }

    /// Forgets the keys whose window is over.
    fn forget_over(&mut self, window: Seconds, now: Timestamp) {
        while let Some(&(at, key)) = self.oldest_first.front()
            && now >= at.plus(window)
        {
            self.oldest_first.pop_front();
            if self.entries.get(&key).is_some_and(|entry| entry.at == at) {
                self.forget(key);
            }
        }
    }

    fn make_room(&mut self, now: Timestamp) {
        while self.entries.len() > self.most
            && let Some((at, key)) = self.oldest_of_the_greatest()
            && now > at.plus(KEPT)
        {
            self.forget(key);
            self.lost += 1;
        }
        // What made room stands in the list until its window is over, and need not.
        if self.oldest_first.len() > 2 * self.most.max(self.entries.len()) {
            let entries = &self.entries;
            self.oldest_first.retain(|(at, key)| entries.get(key).is_some_and(|entry| entry.at == *at));
        }
    }

    /// The oldest key of the caller who holds most.
    fn oldest_of_the_greatest(&self) -> Option<(Timestamp, Digest16)> {
        let (.., caller) = self.ranking.last()?;
        self.by_caller.get(caller)?.oldest_first.front().copied()
    }

    fn forget(&mut self, key: Digest16) {
        let Some(IdempotencyEntry { caller, .. }) = self.entries.remove(&key) else { return };
        let Some(held) = self.by_caller.get_mut(&caller) else { return };
        self.ranking.remove(&held.rank(caller));
        held.count -= 1;
        while let Some((at, first)) = held.oldest_first.front()
            && self.entries.get(first).is_none_or(|entry| entry.at != *at)
        {
            held.oldest_first.pop_front();
        }
        if held.count == 0 {
            self.by_caller.remove(&caller);
        } else {
            self.ranking.insert(held.rank(caller));
        }
    }

    fn room_for(&self, caller: KeyOwner, window: Seconds, now: Timestamp) -> Result<(), Timestamp> {
        let is_over = |(at, _): &(Timestamp, Digest16)| now >= at.plus(window);
        if self.entries.len() < self.most || self.oldest_first.front().is_some_and(is_over) {
            return Ok(());
        }
        let Some((at, _)) = self.oldest_of_the_greatest() else { return Ok(()) };
        let makes_room_at = at.plus(KEPT).plus_millis(1);
        let own = self.by_caller.get(&caller).map_or(0, |held| held.count);
        let most = self.ranking.last().map_or(0, |(count, ..)| *count);
        // A caller who holds less goes on; what the half then has too much is made up for when there is something to forget.
        if now >= makes_room_at || own < most { Ok(()) } else { Err(makes_room_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: KeyOwner = KeyOwner::Key(CredentialId::from_bytes([1; 16]));
    const B: KeyOwner = KeyOwner::Key(CredentialId::from_bytes([2; 16]));
    const SESSION: KeyOwner = KeyOwner::Session(SessionId::from_bytes([3; 16]));

    const fn mark(key: u8, request: u8) -> IdempotencyMark {
        IdempotencyMark { key: digest(key), request: digest(request) }
    }

    const fn digest(byte: u8) -> Digest16 {
        Digest16::from_bytes([byte; 16])
    }

    const fn entry(request: u8, first: u64, seconds: i64) -> IdempotencyEntry {
        entry_of(A, request, first, seconds)
    }

    const fn entry_of(caller: KeyOwner, request: u8, first: u64, seconds: i64) -> IdempotencyEntry {
        IdempotencyEntry { request: digest(request), first: Position(first), at: at(seconds), caller }
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1000)
    }

    fn actor(caller: KeyOwner) -> Actor {
        match caller {
            KeyOwner::Session(id) => Actor { kind: ActorKind::Session, id: Some(id.to_string()) },
            KeyOwner::Key(id) => Actor { kind: ActorKind::Credential, id: Some(id.to_string()) },
            KeyOwner::Own => Actor::AUTHORITY,
        }
    }

    #[test]
    fn a_key_is_known_until_exactly_the_end_of_the_window() {
        let mut table = IdempotencyTable::new(Seconds(600), 10);
        table.remember(digest(1), entry(1, 7, 0));
        let last = at(599).plus_millis(999);
        assert_eq!(table.look_up(mark(1, 1), last), IdempotencyLookup::Repeat(Position(7)));
        assert_eq!(table.look_up(mark(1, 2), at(1)), IdempotencyLookup::Reused(Position(7)));
        assert_eq!(table.look_up(mark(1, 1), at(600)), IdempotencyLookup::No);
    }

    #[test]
    fn in_a_full_half_who_holds_most_loses_its_oldest_key_of_more_than_a_minute() {
        let mut table = IdempotencyTable::new(Seconds(600), 6);
        table.remember(digest(1), entry_of(B, 1, 1, 0));
        table.remember(digest(2), entry_of(A, 1, 2, 1));
        table.remember(digest(3), entry_of(A, 1, 3, 2));
        // It is full, and nothing of A, who holds most, is a minute old.
        assert_eq!(table.room_for(&actor(A), at(61)), Err(at(61).plus_millis(1)));
        assert_eq!(table.room_for(&actor(B), at(61)), Ok(()));
        table.remember(digest(4), entry_of(B, 1, 4, 50));
        assert!((1..=4).all(|key| table.look_up(mark(key, 1), at(50)) != IdempotencyLookup::No));
        assert_eq!(table.take_lost(), 0);
        assert_eq!(table.room_for(&actor(A), at(62)), Ok(()));
        table.remember(digest(5), entry_of(A, 1, 5, 62));
        let known: Vec<_> =
            (1..=5).filter(|key| table.look_up(mark(*key, 1), at(62)) != IdempotencyLookup::No).collect();
        // A was the greatest, then both were: each time the one who then held most gave its oldest that was old enough.
        assert_eq!((known, table.take_lost()), (vec![3, 4, 5], 2));
    }

    #[test]
    fn sessions_and_api_keys_make_no_room_for_each_other() {
        let one = |_| SESSION;
        let many = |key: u8| KeyOwner::Session(SessionId::from_bytes([key; 16]));
        // Each of many holds as much as the API key, whose own is the oldest.
        for session in [one as fn(u8) -> KeyOwner, many] {
            let mut table = IdempotencyTable::new(Seconds(600), 4);
            table.remember(digest(1), entry_of(A, 1, 1, 0));
            for (key, second) in (10..110).zip(100..) {
                table.remember(digest(key), entry_of(session(key), 1, u64::from(key), second));
            }
            assert_eq!(table.look_up(mark(1, 1), at(200)), IdempotencyLookup::Repeat(Position(1)));
            assert_eq!(table.room_for(&actor(A), at(200)), Ok(()));
            assert!(table.of_sessions.entries.len() <= 62, "{}", table.of_sessions.entries.len());
        }
    }

    /// Of many with one key each the newest had to make room, whose key is never a minute old: so none did, and those
    /// who had been there for long were refused.
    #[test]
    fn of_those_who_hold_as_many_the_one_with_the_oldest_key_makes_room() {
        let mut table = IdempotencyTable::new(Seconds(600), 8);
        let session = |number: u8| KeyOwner::Session(SessionId::from_bytes([number; 16]));
        for number in 1..=4 {
            table
                .remember(digest(number), entry_of(session(number), 1, u64::from(number), i64::from(number)));
        }
        for number in 5..=10 {
            table.remember(digest(number), entry_of(session(number), 1, u64::from(number), 200));
            assert!(table.of_sessions.entries.len() <= 6, "{number}");
        }
        let known = (1..=4).filter(|key| table.look_up(mark(*key, 1), at(200)) != IdempotencyLookup::No);
        assert_eq!((known.count(), table.take_lost()), (0, 4));
        assert_eq!(table.room_for(&actor(session(1)), at(200)), Ok(()));
        assert_eq!(table.room_for(&actor(session(5)), at(261)), Ok(()));
    }

    #[test]
    fn what_made_room_is_kept_nowhere() {
        let mut table = IdempotencyTable::new(Seconds(86_400), 4);
        for number in 0..20_000_u64 {
            let seconds = i64::try_from(number).unwrap() * 2;
            let key = Digest16::from_bytes([&number.to_be_bytes()[..], &[0; 8]].concat().try_into().unwrap());
            table.remember(key, entry(1, number, seconds));
        }
        let half = &table.of_keys;
        let held = (half.entries.len(), half.oldest_first.len(), half.by_caller[&A].oldest_first.len());
        assert!(held.0 <= 33 && held.1 <= 66 && held.2 <= 66, "{held:?}");
    }

    #[test]
    fn a_key_that_was_used_again_outlives_its_first_use() {
        let mut table = IdempotencyTable::new(Seconds(600), 10);
        table.remember(digest(1), entry(1, 1, 0));
        table.remember(digest(1), entry(2, 2, 500));
        table.remember(digest(2), entry(2, 3, 701));
        assert_eq!(table.look_up(mark(1, 2), at(702)), IdempotencyLookup::Repeat(Position(2)));
        assert_eq!((table.of_keys.entries.len(), table.of_keys.by_caller[&A].count), (2, 2));
        table.remember(digest(3), entry(2, 4, 1_400));
        assert_eq!((table.of_keys.entries.len(), table.of_keys.by_caller[&A].oldest_first.len()), (1, 1));
    }
}
