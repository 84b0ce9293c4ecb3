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

#[derive(Clone, Copy, Debug)]
struct Entry {
    request: Digest16,
    first: Position,
    at: Timestamp,
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

    /// Remembers the key of a recorded commit, if it has one.
    pub fn fold(&mut self, stored: &StoredCommit) {
        if let Some(idempotency) = stored.commit.idempotency {
            self.remember(idempotency, stored.first, stored.commit.recorded_at);
        }
    }

    pub(super) fn remember(&mut self, idempotency: Idempotency, first: Position, at: Timestamp) {
        self.forget_before(at);
        let entry = Entry { request: idempotency.request, first, at };
        self.entries.insert(idempotency.key, entry);
        self.oldest_first.push_back((at, idempotency.key));
    }

    /// Forgets the keys of commits that were decided and then not written: all behind the end of the log.
    pub(super) fn forget_after(&mut self, head: Position) {
        while let Some((_, key)) = self.oldest_first.back()
            && self.entries.get(key).is_some_and(|entry| entry.first > head)
        {
            self.entries.remove(key);
            self.oldest_first.pop_back();
        }
    }

    pub(super) fn look_up(&self, idempotency: Idempotency, now: Timestamp) -> Known {
        match self.entries.get(&idempotency.key) {
            Some(entry) if !self.is_over(entry.at, now) => {
                if entry.request == idempotency.request {
                    Known::Repeat(entry.first)
                } else {
                    Known::Reused(entry.first)
                }
            }
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
        Idempotency { key: Digest16::from_bytes([key; 16]), request: Digest16::from_bytes([request; 16]) }
    }

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_key_is_known_until_exactly_the_end_of_the_window() {
        let mut table = Table::new(Seconds(600), 10);
        table.remember(mark(1, 1), Position(7), at(0));
        assert_eq!(table.look_up(mark(1, 1), Timestamp::from_millis(599_999)), Known::Repeat(Position(7)));
        assert_eq!(table.look_up(mark(1, 2), at(1)), Known::Reused(Position(7)));
        assert_eq!(table.look_up(mark(1, 1), at(600)), Known::No);
    }

    #[test]
    fn beyond_the_most_keys_the_oldest_is_forgotten() {
        let mut table = Table::new(Seconds(600), 2);
        for key in 1..=3 {
            table.remember(mark(key, 1), Position(u64::from(key)), at(i64::from(key)));
        }
        assert_eq!(table.look_up(mark(1, 1), at(3)), Known::No);
        assert_eq!(table.look_up(mark(2, 1), at(3)), Known::Repeat(Position(2)));
    }

    #[test]
    fn a_key_of_a_commit_that_was_not_written_is_free_again() {
        let mut table = Table::new(Seconds(600), 10);
        for key in 1..=3 {
            table.remember(mark(key, 1), Position(u64::from(key)), at(0));
        }
        table.forget_after(Position(1));
        assert_eq!(table.look_up(mark(1, 1), at(1)), Known::Repeat(Position(1)));
        assert_eq!(table.look_up(mark(2, 1), at(1)), Known::No);
        assert_eq!(table.look_up(mark(3, 1), at(1)), Known::No);
    }

    #[test]
    fn a_key_that_was_used_again_outlives_its_first_use() {
        let mut table = Table::new(Seconds(600), 10);
        table.remember(mark(1, 1), Position(1), at(0));
        table.remember(mark(1, 2), Position(2), at(700));
        table.remember(mark(2, 2), Position(3), at(701));
        assert_eq!(table.look_up(mark(1, 2), at(702)), Known::Repeat(Position(2)));
    }
}
