//! All sessions in the order of their creation.

use crate::domain::{Position, SessionId};

/// All sessions, oldest first, with the positions at which they began.
#[derive(Debug, Default)]
pub struct SessionList {
    created: Vec<(Position, SessionId)>,
}

impl SessionList {
    /// Adds the session that began at this position, which is behind all before.
    pub fn add(&mut self, position: Position, id: SessionId) {
        self.created.push((position, id));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.created.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty()
    }

    /// Up to `most` sessions that began before this position, newest first; all when it is none.
    pub fn newest_before(&self, before: Option<Position>, most: usize) -> Vec<(Position, SessionId)> {
        let end = match before {
            Some(before) => self.created.partition_point(|(position, _)| *position < before),
            None => self.created.len(),
        };
        self.created[..end].iter().rev().take(most).copied().collect()
    }
}
