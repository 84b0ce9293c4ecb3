//! Subjects with a long history as they were at some of their commits, or where a checkpoint stands: a question about
//! their past begins at the nearest one, and not at the first event.

use std::{collections::BTreeMap, convert::Infallible, fmt::Debug};

use parking_lot::Mutex;

use tenure_core::{
    Position, SessionId, SubjectId, Timestamp, scope::FoldScope, session::Session, state::AuthorityState,
    subject::Subject,
};

/// Commits of a subject from one mark to the next.
const STRIDE: usize = 500;
/// Maximum number of marks; the longest unused one makes room.
const KEPT: usize = 256;
/// Maximum bytes of all marks. A caller decides how much metadata its sessions have, so their number alone is no bound.
const BYTES: usize = 32 << 20;
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
        let scope = FoldScope::Subject(self.subject.id.clone());
        self.into_state_of(scope)
    }

    /// The same of some sessions alone.
    pub(super) fn into_state_of_some(mut self, only: &[SessionId]) -> AuthorityState {
        self.subject.sessions.retain(|session| only.contains(&session.id));
        let scope = FoldScope::Sessions(self.subject.id.clone(), only.into());
        self.into_state_of(scope)
    }

    fn into_state_of(self, scope: FoldScope) -> AuthorityState {
        let mut state = AuthorityState::of(scope);
        (state.position, state.recorded_at) = (self.position, self.recorded_at);
        if self.position > Position::ZERO {
            let id = &self.subject.id;
            state.holders.extend(self.subject.sessions.iter().map(|session| (session.id, id.clone())));
            state.subjects.insert(id.clone(), self.subject);
        }
        state
    }
}

/// Files that know what became of each subject up to some positions.
pub trait SubjectStates: Debug + Send + Sync {
    /// The last of these positions up to this one; 0 if there is none.
    fn position_up_to(&self, until: Position) -> Position;

    /// How many of them turned out not to be believed: what was folded from one before is not believed either.
    fn disproved(&self) -> u64;

    /// The subject there, unless it is up to `after`, or the file is not to be believed.
    fn subject_between(&self, id: &SubjectId, after: Position, until: Position) -> Option<FoldedSubject>;
}

#[derive(Debug, Default)]
struct MarkTable {
    /// By subject and position.
    marks: BTreeMap<(SubjectId, Position), KeptMark>,
    used: u64,
    bytes: usize,
    /// How many states were disproved before these were folded.
    trust: u64,
}

#[derive(Debug)]
struct KeptMark {
    folded: FoldedSubject,
    /// When it was used last.
    used: u64,
    bytes: usize,
}

impl MarkTable {
    /// Whether its marks are believed by somebody who knows that so many states were disproved. None is kept of those
    /// that were folded before the last one was.
    fn is_of(&mut self, trust: u64) -> bool {
        if trust > self.trust {
            *self = Self { trust, ..Self::default() };
        }
        trust == self.trust
    }

    fn remove(&mut self, key: &(SubjectId, Position)) {
        if let Some(mark) = self.marks.remove(key) {
            self.bytes -= mark.bytes;
        }
    }

    fn remove_longest_unused(&mut self) {
        let oldest = self.marks.iter().min_by_key(|(_, mark)| mark.used).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.remove(&key);
        }
    }
}

/// At least as many as a subject has of its own; what it shares with another mark counts for each.
fn bytes_of(subject: &Subject) -> usize {
    let mut counted = ByteCounter(size_of::<FoldedSubject>() + subject.sessions.len() * size_of::<Session>());
    minicbor::encode(subject, &mut counted).expect("counting does not fail");
    counted.0
}

struct ByteCounter(usize);

impl minicbor::encode::Write for ByteCounter {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 += bytes.len();
        Ok(())
    }
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

    /// From this number of commits on a fold is long: it looks for a place further on to begin at.
    pub(super) const fn long_fold(&self) -> usize {
        self.stride * 2
    }

    /// The last mark of a subject up to a position.
    pub(super) fn nearest(&self, id: &SubjectId, until: Position, trust: u64) -> Option<FoldedSubject> {
        let mut table = self.table.lock();
        if !table.is_of(trust) {
            return None;
        }
        table.used += 1;
        let now = table.used;
        let range = (id.clone(), Position::ZERO)..=(id.clone(), until);
        let (_, mark) = table.marks.range_mut(range).next_back()?;
        mark.used = now;
        Some(mark.folded.clone())
    }

    /// Keeps one more.
    pub(super) fn keep(&self, folded: FoldedSubject, trust: u64) {
        if folded.subject.sessions.len() > SESSIONS {
            return;
        }
        let (key, bytes) = ((folded.subject.id.clone(), folded.position), bytes_of(&folded.subject));
        let mut table = self.table.lock();
        if !table.is_of(trust) {
            return;
        }
        table.remove(&key);
        table.used += 1;
        let mark = KeptMark { folded, used: table.used, bytes };
        table.marks.insert(key, mark);
        table.bytes += bytes;
        while table.marks.len() > KEPT || table.bytes > BYTES {
            table.remove_longest_unused();
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::{
        Actor, Commit, CommitId, Event, SealedText, Seconds, SessionId, SessionMode, StreamId, SubjectEvent,
        event::{SessionCreated, SessionTerms, SubjectProfile, SubjectRegistered},
    };

    use super::*;

    const TERMS: SessionTerms = SessionTerms {
        ttl: Seconds(60),
        max_renewals: 1,
        absolute_lifetime: Seconds(120),
        renewal_reject_window: Seconds(60),
        idle_timeout: None,
        mode: SessionMode::Fixed,
        on_reuse: None,
        purpose: None,
    };

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
            marks.keep(mark(name, position), 0);
        }
        let nearest =
            |name: &str, until| marks.nearest(&id(name), Position(until), 0).map(|it| it.position.0);
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
            marks.keep(mark("a", position), 0);
        }
        let nearest = |until| marks.nearest(&id("a"), Position(until), 0).map(|it| it.position.0);
        assert_eq!(nearest(1), Some(1));
        marks.keep(mark("a", kept + 1), 0);
        assert_eq!((nearest(1), nearest(2), nearest(kept + 1)), (Some(1), Some(1), Some(kept + 1)));
    }

    /// They may have been folded from a state that was disproved meanwhile.
    #[test]
    fn marks_go_when_a_state_is_disproved() {
        let marks = FoldMarks::default();
        let nearest = |trust| marks.nearest(&id("a"), Position(99), trust).map(|it| it.position.0);
        marks.keep(mark("a", 10), 0);
        assert_eq!(nearest(0), Some(10));
        assert_eq!(nearest(1), None);
        // Folds that began before still end.
        marks.keep(mark("a", 20), 0);
        assert_eq!((nearest(0), nearest(1)), (None, None));
        marks.keep(mark("a", 30), 1);
        assert_eq!((nearest(0), nearest(1)), (None, Some(30)));
    }

    /// A subject whose sessions have metadata.
    fn heavy(position: u64, sessions: u64, metadata: usize) -> FoldedSubject {
        let mut state = AuthorityState::of(FoldScope::Subject(id("a")));
        let created = (0..sessions).map(|number| {
            Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
                session_id: SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes()),
                terms: TERMS,
                expires_at: Timestamp::from_millis(60_000),
                renew_at: None,
                device: None,
                scopes: vec![],
                metadata: Some(SealedText::from_bytes(vec![7; metadata])),
                constraints: None,
            }))
        });
        let registered = SubjectRegistered { profile: SubjectProfile::default() };
        let registered = Event::Subject(SubjectEvent::SubjectRegistered(registered));
        let commit = Commit {
            id: CommitId::from_bytes([0; 16]),
            stream: StreamId::Subject(id("a")),
            expected: Position::ZERO,
            recorded_at: Timestamp::ZERO,
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: [registered].into_iter().chain(created).collect(),
        };
        state.apply(&commit).unwrap();
        let subject = state.subjects.remove(&id("a")).unwrap();
        FoldedSubject { position: Position(position), recorded_at: Timestamp::ZERO, subject }
    }

    /// 256 marks of 1,000 sessions with 4 KB of metadata each were a gigabyte.
    #[test]
    fn marks_of_large_subjects_are_bounded_in_bytes() {
        let marks = FoldMarks::default();
        let one = heavy(1, SESSIONS as u64, 4_096);
        for position in 1..=20 {
            marks.keep(FoldedSubject { position: Position(position), ..one.clone() }, 0);
            // Kept again it counts once.
            marks.keep(FoldedSubject { position: Position(position), ..one.clone() }, 0);
        }
        let table = marks.table.lock();
        let (held, last) = (table.marks.len(), table.marks.keys().map(|(_, position)| position.0).max());
        assert!((1..=8).contains(&held), "{held} marks of 4 MB");
        assert_eq!(last, Some(20));
        assert_eq!(table.bytes, held * bytes_of(&one.subject));
        assert!((SESSIONS * 4_096..SESSIONS * 5_000).contains(&bytes_of(&one.subject)));
    }
}
