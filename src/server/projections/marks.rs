//! Subjects with a long history as they were at some of their commits: a question about their past begins at the nearest
//! one, and not at the first event.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use tenure_core::{
    Position, SubjectId, Timestamp, scope::FoldScope, state::AuthorityState, subject::Subject,
};

/// Commits of a subject from one mark to the next.
const STRIDE: usize = 500;
/// Maximum number of marks; the longest unused one makes room.
const KEPT: usize = 256;
/// A subject with more sessions is not kept: a mark holds a list of them.
const SESSIONS: usize = 1_000;

/// A subject as everything up to the end of a commit left it.
#[derive(Clone, Debug)]
pub struct FoldedSubject {
    /// Where that commit ends.
    pub position: Position,
    /// When the last commit was recorded that says something of the subject.
    pub recorded_at: Timestamp,
    /// What the commits say.
    pub subject: Subject,
}

impl FoldedSubject {
    /// Of one of which nothing is recorded yet.
    pub fn nothing(id: SubjectId) -> Self {
        Self { position: Position::ZERO, recorded_at: Timestamp::ZERO, subject: Subject::new(id) }
    }

    /// The state to which the commits behind can be added.
    pub fn into_state(self) -> AuthorityState {
        let mut state = AuthorityState::of(FoldScope::Subject(self.subject.id.clone()));
        (state.position, state.recorded_at) = (self.position, self.recorded_at);
        if self.position > Position::ZERO {
            let id = &self.subject.id;
            state.holders.extend(self.subject.sessions.iter().map(|session| (session.id, id.clone())));
            state.subjects.insert(id.clone(), self.subject);
        }
        state
    }
}

#[derive(Debug, Default)]
struct MarkTable {
    /// By subject and position; the number says when a mark was used last.
    marks: BTreeMap<(SubjectId, Position), (FoldedSubject, u64)>,
    used: u64,
}

/// The marks of all subjects.
#[derive(Debug)]
pub(super) struct FoldMarks {
    table: Mutex<MarkTable>,
    stride: usize,
}

impl Default for FoldMarks {
    fn default() -> Self {
        Self::every(STRIDE)
    }
}

impl FoldMarks {
    /// With this many commits from one mark to the next.
    pub(super) fn every(stride: usize) -> Self {
        Self { table: Mutex::default(), stride }
    }

    /// Whether a mark belongs behind the commit of this number, counted from the mark before.
    pub(super) const fn is_due(&self, number: usize) -> bool {
        number.is_multiple_of(self.stride)
    }

    /// The last mark of a subject up to a position.
    pub(super) fn nearest(&self, id: &SubjectId, until: Position) -> Option<FoldedSubject> {
        let mut table = self.table.lock();
        table.used += 1;
        let now = table.used;
        let range = (id.clone(), Position::ZERO)..=(id.clone(), until);
        let (_, (mark, used)) = table.marks.range_mut(range).next_back()?;
        *used = now;
        Some(mark.clone())
    }

    /// Keeps one more.
    pub(super) fn keep(&self, mark: FoldedSubject) {
        if mark.subject.sessions.len() > SESSIONS {
            return;
        }
        let mut table = self.table.lock();
        table.used += 1;
        let now = table.used;
        table.marks.insert((mark.subject.id.clone(), mark.position), (mark, now));
        if table.marks.len() > KEPT {
            let oldest = table.marks.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|key| table.marks.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> SubjectId {
        name.parse().unwrap()
    }

    fn mark(name: &str, position: u64) -> FoldedSubject {
        FoldedSubject { position: Position(position), ..FoldedSubject::nothing(id(name)) }
    }

    #[test]
    fn the_nearest_mark_is_of_the_subject_and_not_behind_the_position() {
        let marks = FoldMarks::default();
        for (name, position) in [("a", 10), ("a", 20), ("b", 15)] {
            marks.keep(mark(name, position));
        }
        let nearest = |name: &str, until| marks.nearest(&id(name), Position(until)).map(|it| it.position.0);
        assert_eq!(nearest("a", 9), None);
        assert_eq!(nearest("a", 10), Some(10));
        assert_eq!(nearest("a", 19), Some(10));
        assert_eq!(nearest("a", 1_000), Some(20));
        assert_eq!(nearest("b", 1_000), Some(15));
        assert_eq!(nearest("c", 1_000), None);
    }

    #[test]
    fn the_longest_unused_mark_makes_room() {
        let marks = FoldMarks::default();
        let kept = u64::try_from(KEPT).unwrap();
        for position in 1..=kept {
            marks.keep(mark("a", position));
        }
        let nearest = |until| marks.nearest(&id("a"), Position(until)).map(|it| it.position.0);
        assert_eq!(nearest(1), Some(1));
        marks.keep(mark("a", kept + 1));
        assert_eq!((nearest(1), nearest(2), nearest(kept + 1)), (Some(1), Some(1), Some(kept + 1)));
    }
}
