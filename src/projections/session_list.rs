//! All sessions in the order of their creation.

use crate::domain::{Position, SessionId};

/// So many sessions stand in one stretch: few enough that the room of the last one, reserved at once, is nothing.
const STRETCH: usize = 1_024;

/// All sessions, oldest first, with the positions at which they began.
#[derive(Debug, Default)]
pub struct SessionList {
    stretches: Vec<Stretch>,
}

/// Neighbours in the list. A distance from the first of them takes half the room of a position.
#[derive(Debug)]
struct Stretch {
    first: Position,
    sessions: Vec<(u32, SessionId)>,
}

impl SessionList {
    /// Adds the session that began at this position, which is behind all before.
    pub fn add(&mut self, position: Position, id: SessionId) {
        let is_added = self.stretches.last_mut().is_some_and(|last| last.add(position, id));
        if !is_added {
            self.stretches.push(Stretch::begin(position, id));
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.stretches.iter().map(|stretch| stretch.sessions.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Up to `most` sessions that began before this position, newest first; all when it is none.
    pub fn newest_before(&self, before: Option<Position>, most: usize) -> Vec<(Position, SessionId)> {
        let end = before.map_or(self.stretches.len(), |before| {
            self.stretches.partition_point(|stretch| stretch.first < before)
        });
        let newest_first = self.stretches[..end].iter().rev().flat_map(|stretch| stretch.iter().rev());
        let is_beyond =
            |(position, _): &(Position, SessionId)| before.is_some_and(|before| *position >= before);
        newest_first.skip_while(is_beyond).take(most).collect()
    }
}

impl Stretch {
    fn begin(first: Position, id: SessionId) -> Self {
        let mut sessions = Vec::with_capacity(STRETCH);
        sessions.push((0, id));
        Self { first, sessions }
    }

    /// Whether there was room for it here.
    fn add(&mut self, position: Position, id: SessionId) -> bool {
        match u32::try_from(position.0 - self.first.0) {
            Ok(distance) if self.sessions.len() < STRETCH => {
                self.sessions.push((distance, id));
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = (Position, SessionId)> {
        self.sessions.iter().map(|(distance, id)| (self.first.plus(u64::from(*distance)), *id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions at all these positions; the last byte of an id counts them.
    fn list_of(positions: &[u64]) -> (SessionList, Vec<(Position, SessionId)>) {
        let mut list = SessionList::default();
        let sessions: Vec<_> = (0_u128..)
            .zip(positions)
            .map(|(count, position)| (Position(*position), SessionId::from_bytes(count.to_be_bytes())))
            .collect();
        for (position, id) in &sessions {
            list.add(*position, *id);
        }
        assert_eq!(list.len(), sessions.len());
        (list, sessions)
    }

    #[test]
    fn pages_follow_one_another_without_a_gap_over_the_ends_of_stretches() {
        let far = u64::from(u32::MAX) * 3;
        let positions: Vec<_> = (1..3_000).step_by(2).chain(far..far + 2_000).collect();
        let (list, mut sessions) = list_of(&positions);
        sessions.reverse();
        let mut seen = Vec::new();
        let mut before = None;
        loop {
            let page = list.newest_before(before, 97);
            let Some((end, _)) = page.last() else { break };
            before = Some(*end);
            seen.extend(page);
        }
        assert_eq!(seen, sessions);
    }

    #[test]
    fn a_page_begins_strictly_before_the_position_whether_or_not_a_session_began_there() {
        let (list, sessions) = list_of(&[2, 5, 9]);
        assert_eq!(list.newest_before(Some(Position(5)), 9), [sessions[0]]);
        assert_eq!(list.newest_before(Some(Position(6)), 1), [sessions[1]]);
        assert_eq!(list.newest_before(Some(Position(2)), 9), []);
    }

    #[test]
    fn the_empty_list_has_no_page() {
        let list = SessionList::default();
        assert!(list.is_empty());
        assert!(list.newest_before(None, 9).is_empty());
    }
}
