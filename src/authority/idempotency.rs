//! Which requests had their effect: the keys of the last while, rebuilt from the log at a start.

use std::collections::{HashMap, VecDeque};

use crate::{
    domain::{Digest16, Position, Seconds, Timestamp, record::Idempotency},
    log::StoredCommit,
};

/// The idempotency keys that were used within the window. Only requests that appended something are here:
/// a request without effect has nothing that a repeat could do twice.
#[derive(Debug)]
pub struct Table {
    window: Seconds,
    most: usize,
    entries: HashMap<Digest16, Entry>,
    oldest_first: VecDeque<(Timestamp, Digest16)>,
}

/// A request that had its effect.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    request: Digest16,
    first: Position,
    at: Timestamp,
}

impl Entry {
    /// What a commit says of the request behind it, if that had a key, and the key.
    pub(super) fn of(stored: &StoredCommit) -> Option<(Digest16, Self)> {
        let Idempotency { key, request } = stored.commit.idempotency?;
        Some((key, Self { request, first: stored.first, at: stored.commit.recorded_at }))
    }

    /// What it is to another request under its key.
    pub(super) fn judge(&self, other: Idempotency) -> Known {
        if self.request == other.request { Known::Repeat(self.first) } else { Known::Reused(self.first) }
    }
}

/// What the table says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: it is new.
    No,
    /// It is a repeat of the request whose commit begins here.
    Repeat(Position),
    /// Its key was used for another request, whose commit begins here.
    Reused(Position),
}

impl Table {
    /// A table that remembers keys for `window`, and no more than `most`.
    pub fn new(window: Seconds, most: usize) -> Self {
        Self { window, most, entries: HashMap::new(), oldest_first: VecDeque::new() }
    }

    /// Remembers the key of a commit that is durable, if it has one.
    pub fn fold(&mut self, stored: &StoredCommit) {
        if let Some((key, entry)) = Entry::of(stored) {
            self.remember(key, entry);
        }
    }

    fn remember(&mut self, key: Digest16, entry: Entry) {
        self.forget_before(entry.at);
        self.entries.insert(key, entry);
        self.oldest_first.push_back((entry.at, key));
    }

    pub(super) fn look_up(&self, mark: Idempotency, now: Timestamp) -> Known {
        match self.entries.get(&mark.key) {
            Some(entry) if !self.is_over(entry.at, now) => entry.judge(mark),
            Some(_) | None => Known::No,
        }
    }

    fn is_over(&self, at: Timestamp, now: Timestamp) -> bool {
        now >= at.plus(self.window)
    }

    fn forget_before(&mut self, now: Timestamp) {
        while let Some(&(at, key)) = self.oldest_first.front() {
            if !self.is_over(at, now) && self.entries.len() < self.most {
                return;
            }
            self.oldest_first.pop_front();
            // The key may have been used again since.
            if self.entries.get(&key).is_some_and(|entry| entry.at == at) {
                self.entries.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mark(key: u8, request: u8) -> Idempotency {
        Idempotency { key: digest(key), request: digest(request) }
    }

    const fn digest(byte: u8) -> Digest16 {
        Digest16::from_bytes([byte; 16])
    }

    const fn entry(request: u8, first: u64, seconds: i64) -> Entry {
        Entry { request: digest(request), first: Position(first), at: at(seconds) }
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_key_is_known_until_exactly_the_end_of_the_window() {
        let mut table = Table::new(Seconds(600), 10);
        table.remember(digest(1), entry(1, 7, 0));
        assert_eq!(table.look_up(mark(1, 1), Timestamp::from_millis(599_999)), Known::Repeat(Position(7)));
        assert_eq!(table.look_up(mark(1, 2), at(1)), Known::Reused(Position(7)));
        assert_eq!(table.look_up(mark(1, 1), at(600)), Known::No);
    }

    #[test]
    fn beyond_the_most_keys_the_oldest_is_forgotten() {
        let mut table = Table::new(Seconds(600), 2);
        for key in 1..=3 {
            table.remember(digest(key), entry(1, u64::from(key), i64::from(key)));
        }
        assert_eq!(table.look_up(mark(1, 1), at(3)), Known::No);
        assert_eq!(table.look_up(mark(2, 1), at(3)), Known::Repeat(Position(2)));
    }

    #[test]
    fn a_key_that_was_used_again_outlives_its_first_use() {
        let mut table = Table::new(Seconds(600), 10);
        table.remember(digest(1), entry(1, 1, 0));
        table.remember(digest(1), entry(2, 2, 700));
        table.remember(digest(2), entry(2, 3, 701));
        assert_eq!(table.look_up(mark(1, 2), at(702)), Known::Repeat(Position(2)));
    }
}
