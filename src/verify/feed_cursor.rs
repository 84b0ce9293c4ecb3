//! Where the reading of the feed stands. Pure.
//!
//! An authority that was put back from a backup goes on in another way: what it revokes then stands at positions that
//! were read before. So from time to time, and after every silence, a reading *looks back*: it begins one revocation
//! before the end of the last one that did, and expects to find that very revocation there. Where it does not, all is
//! read again.

use super::responses::{FeedItem, FeedPage};
use tenure_protocol::{Position, Timestamp};

/// Where the reading of the feed stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FeedCursor {
    /// Everything up to it was read.
    end: Position,
    /// The last revocation of the last reading that looked back: where, and when it was recorded. Readings that do not
    /// look back leave it as it is, for they may have gone on in another history.
    last: Option<(Position, Timestamp)>,
}

impl FeedCursor {
    /// Where to begin.
    pub(super) const fn end(&self) -> Position {
        self.end
    }

    /// Where to begin to look back.
    pub(super) fn before_last(&self) -> Position {
        self.last.map_or(Position::ZERO, |(position, _)| Position(position.0.saturating_sub(1)))
    }

    /// Whether nothing was read yet.
    pub(super) fn is_new(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a page that begins before the last revocation is of the history that was read.
    pub(super) fn goes_on_with(&self, page: &FeedPage) -> bool {
        let place = |item: &FeedItem| (item.position, item.at);
        page.head >= self.end && (self.last.is_none() || page.items.first().map(place) == self.last)
    }

    /// Notes how far it came, and whether it had looked back.
    pub(super) fn note(&mut self, page: &FeedPage, looks_back: bool) {
        self.end = page.next_after;
        if let Some(last) = page.items.last().filter(|_| looks_back) {
            self.last = Some((last.position, last.at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(items: &[u64], head: u64) -> FeedPage {
        let item = |position: &u64| {
            let at = Timestamp::from_millis(i64::try_from(*position).unwrap());
            FeedItem { position: Position(*position), at, whom: vec![] }
        };
        let items = items.iter().map(item).collect();
        FeedPage { items, next_after: Position(head), epoch: 1, head: Position(head), now: Timestamp::ZERO }
    }

    #[test]
    fn a_reading_goes_on_at_its_end_or_one_revocation_before() {
        let mut reading = FeedCursor::default();
        assert!(reading.is_new() && reading.goes_on_with(&page(&[], 0)));
        assert_eq!((reading.before_last(), reading.end()), (Position::ZERO, Position::ZERO));
        reading.note(&page(&[3, 7], 9), true);
        assert_eq!((reading.before_last(), reading.end()), (Position(6), Position(9)));
        assert!(reading.goes_on_with(&page(&[7, 11], 12)) && reading.goes_on_with(&page(&[7], 9)));
        reading.note(&page(&[11], 20), false);
        assert_eq!((reading.before_last(), reading.end()), (Position(6), Position(20)));
        reading.note(&page(&[7, 11], 20), true);
        assert_eq!(reading.before_last(), Position(10));
    }

    #[test]
    fn a_history_that_was_put_back_is_noticed() {
        let mut reading = FeedCursor::default();
        reading.note(&page(&[3, 7], 9), true);
        let mut later = page(&[7], 9);
        later.items[0].at = Timestamp::from_millis(8);
        for other in [page(&[], 9), page(&[8], 9), page(&[7], 8), later] {
            assert!(!reading.goes_on_with(&other), "{other:?}");
        }
    }
}
