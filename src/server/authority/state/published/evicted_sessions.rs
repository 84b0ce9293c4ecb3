//! Ended sessions that leave memory, and what stays of them: whose they were, and the answers read back lately.
//!
//! Only the sequencer lets go, so no decision is under way meanwhile. What a reader does not find any more is read back
//! from the log ([`PublishedState::may_have_left`]).

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hashbrown::DefaultHashBuilder;
use parking_lot::{Mutex, RwLock};

use super::{EvictionObserver, PublishedState};
use tenure_core::{
    Position, Seconds, SessionId, SubjectId,
    event::EndTrigger,
    eviction::{EvictionHorizon, evict_from_subject},
    session::Session,
    subject::{SharedSession, Subject},
};

/// Maximum sessions remembered after they were read back.
const RECALLED: usize = 16_384;
/// How long each of them is remembered at least, so that its reader finds it.
const HELD: Duration = Duration::from_secs(5);
/// Maximum sessions that a bulk revocation still names after they left.
pub(crate) const NAMED: usize = 131_072;
/// No id was drawn later than this after its session began.
const DRAWN_BEFORE: Seconds = Seconds(86_400);

/// What is known of sessions that a start did not read, because they had ended long before.
#[derive(Clone, Debug, Default)]
pub struct LeftBefore {
    /// What is said here was so at this position.
    pub position: Position,
    /// The subjects that have some.
    pub subjects: Vec<SubjectId>,
    /// Those of them that have some with text about people.
    pub with_text: Vec<SubjectId>,
    /// Those that the latest bulk revocations ended, each with the position of the revocation.
    pub by_bulk: Vec<(Position, SessionId)>,
    /// The longest period of all of them.
    pub longest_ttl: Seconds,
    /// How many they are.
    pub count: u64,
}

/// What is known of sessions that left.
#[derive(Default)]
pub(super) struct EvictedSessions {
    horizon: RwLock<EvictionHorizon>,
    hasher: DefaultHashBuilder,
    /// The subjects that a session of has left, by a hash of their names.
    subjects: RwLock<HashSet<u64>>,
    /// What bulk revocations had ended.
    by_bulk: Mutex<EndedInBulk>,
    recalled: Mutex<RecallCache<SharedSession>>,
    count: AtomicU64,
}

/// The sessions that bulk revocations ended and that left, the latest revocations of them.
#[derive(Default)]
struct EndedInBulk {
    by_position: BTreeMap<Position, Vec<SessionId>>,
    count: usize,
    /// Of revocations up to here not all are known.
    forgotten: Position,
}

impl EndedInBulk {
    fn note(&mut self, position: Position, id: SessionId) {
        if position <= self.forgotten {
            return;
        }
        self.by_position.entry(position).or_default().push(id);
        self.count += 1;
        while self.count > NAMED
            && let Some((oldest, ids)) = self.by_position.pop_first()
        {
            self.count -= ids.len();
            self.forgotten = oldest;
        }
    }
}

/// Sessions that were read back, the one read first at the front.
struct RecallCache<S> {
    sessions: HashMap<SessionId, (S, Instant)>,
    order: VecDeque<(SessionId, Instant)>,
}

impl<S> Default for RecallCache<S> {
    fn default() -> Self {
        Self { sessions: HashMap::new(), order: VecDeque::new() }
    }
}

impl<S> RecallCache<S> {
    /// Whether there was room.
    fn put(&mut self, id: SessionId, session: S, now: Instant) -> bool {
        while self.order.len() >= RECALLED
            && let Some((oldest, put)) = self.order.front().copied()
        {
            if now.saturating_duration_since(put) < HELD {
                return false;
            }
            self.order.pop_front();
            if self.sessions.get(&oldest).is_some_and(|(_, last)| *last == put) {
                self.sessions.remove(&oldest);
            }
        }
        self.sessions.insert(id, (session, now));
        self.order.push_back((id, now));
        true
    }
}

impl EvictedSessions {
    pub(super) fn recalled(&self, id: SessionId) -> Option<SharedSession> {
        if !self.horizon.read().is_there() {
            return None;
        }
        self.recalled.lock().sessions.get(&id).map(|(session, _)| session.clone())
    }

    fn hash(&self, id: &SubjectId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// What a start did not read has left, too.
    pub(super) fn note_before(&self, left: &LeftBefore) {
        let hashes = left.subjects.iter().map(|id| self.hash(id));
        self.subjects.write().extend(hashes);
        self.count.fetch_add(left.count, Ordering::Relaxed);
        let mut known = self.by_bulk.lock();
        // The latest come first there: with the oldest first, what finds no room is what is forgotten.
        left.by_bulk.iter().rev().for_each(|(position, id)| known.note(*position, *id));
    }

    fn note(&self, subject: &SubjectId, left: &[Session]) {
        self.subjects.write().insert(self.hash(subject));
        self.count.fetch_add(left.len() as u64, Ordering::Relaxed);
        for session in left {
            if let Some(end) = session.revocation()
                && matches!(end.trigger, EndTrigger::Bulk | EndTrigger::Restore)
            {
                self.by_bulk.lock().note(end.position, session.id);
            }
        }
    }
}

impl PublishedState {
    /// Behind which ended sessions may have left.
    pub fn horizon(&self) -> EvictionHorizon {
        *self.left.horizon.read()
    }

    /// From now on sessions up to there may leave.
    pub(crate) fn move_horizon(&self, horizon: EvictionHorizon) {
        let mut known = self.left.horizon.write();
        *known = known.and(horizon);
    }

    /// Whether a session of this subject has left; also of one of another subject, by a rare chance.
    pub fn has_left(&self, subject: &SubjectId) -> bool {
        self.left.subjects.read().contains(&self.left.hash(subject))
    }

    /// Whether a session not found may be one that left: its id says when it was drawn.
    pub fn may_have_left(&self, id: SessionId) -> bool {
        let horizon = self.horizon();
        let drawn = i64::try_from(u128::from_be_bytes(*id.as_bytes()) >> 80).unwrap_or(i64::MAX);
        horizon.is_there() && drawn <= horizon.moment.plus(DRAWN_BEFORE).as_millis()
    }

    /// How many sessions are in memory, and how many have left since the start.
    pub fn session_counts(&self) -> (usize, u64) {
        (self.sessions.len(), self.left.count.load(Ordering::Relaxed))
    }

    /// The sessions that left of those that a bulk revocation had ended; `None` if they are not all known any more.
    pub(crate) fn left_by(&self, bulk: Position) -> Option<Vec<SessionId>> {
        let known = self.left.by_bulk.lock();
        let ids = || known.by_position.get(&bulk).cloned().unwrap_or_default();
        (bulk > known.forgotten || bulk > self.horizon().position).then(ids)
    }

    /// Remembers a session that was read back for a while; false if there are too many of them.
    pub(crate) fn recall(&self, session: &Session, now: Instant) -> bool {
        self.left.recalled.lock().put(session.id, session.clone().into(), now)
    }

    /// What was read back of this session may not be so any more.
    pub(crate) fn forget_recalled(&self, id: SessionId) {
        self.left.recalled.lock().sessions.remove(&id);
    }

    /// Lets go of the sessions of a subject that are behind the horizon, from both tables. They are handed over before.
    pub(crate) fn let_go(&self, id: &SubjectId, leaving: EvictionObserver<'_>) {
        let horizon = self.horizon();
        let Some(subject) = self.subjects.get(id) else { return };
        if !subject.sessions.iter().any(|session| horizon.is_past(session)) {
            return;
        }
        let mut trimmed = subject.as_ref().clone();
        let left = evict_from_subject(&mut trimmed, horizon);
        leaving(&left);
        self.left.note(id, &left);
        let ids = || left.iter().map(|session| session.id);
        self.subjects.put(Arc::new(trimmed), |number| self.sessions.remove(ids(), number));
        let mut recalled = self.left.recalled.lock();
        ids().for_each(|id| drop(recalled.sessions.remove(&id)));
    }

    /// A subject of the state of a start, without what is behind the horizon.
    pub(super) fn without_those_behind(
        &self,
        mut subject: Subject,
        leaving: EvictionObserver<'_>,
    ) -> Subject {
        let left = evict_from_subject(&mut subject, self.horizon());
        if !left.is_empty() {
            for session in &left {
                self.longest_ttl.fetch_max(session.terms.ttl.0, Ordering::AcqRel);
            }
            leaving(&left);
            self.left.note(&subject.id, &left);
        }
        subject
    }
}

#[cfg(test)]
mod tests {
    use tenure_protocol::clock::stopwatch;

    use super::*;

    /// The reader of a session must find it, or be asked to retry: never that there is none.
    #[test]
    fn what_was_read_back_stays_for_a_while_and_what_finds_no_room_is_refused() {
        let id = |number: usize| SessionId::from_bytes((number as u128).to_be_bytes());
        let (mut recalled, begun) = (RecallCache::default(), stopwatch());
        assert!((0..RECALLED).all(|number| recalled.put(id(number), (), begun)));
        assert!(!recalled.put(id(RECALLED), (), begun + HELD / 2));
        assert!((0..RECALLED).all(|number| recalled.sessions.contains_key(&id(number))));
        assert!(recalled.put(id(RECALLED), (), begun + HELD));
        assert_eq!(recalled.sessions.len(), RECALLED);
    }

    #[test]
    fn of_the_bulk_revocations_whose_sessions_left_the_latest_are_named() {
        let mut ended = EndedInBulk::default();
        for number in 0..=NAMED as u64 {
            ended.note(Position(1 + number / 1_000), SessionId::from_bytes([7; 16]));
        }
        assert_eq!((ended.forgotten, ended.count), (Position(1), NAMED + 1 - 1_000));
        ended.note(Position(1), SessionId::from_bytes([8; 16]));
        assert!(!ended.by_position.contains_key(&Position(1)));
    }
}
