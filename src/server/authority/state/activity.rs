//! When sessions with an `idleTimeout` were last used, as long as the log does not say so.
//!
//! A use is noted here and visible at once to every check. It is recorded when it lies a tenth of the idle time behind
//! the last recorded one, and before any decision that it makes a difference to; so decisions follow from the log
//! alone. A crash forgets less than that tenth: what was open when this process began counts as used up to a tenth
//! later than recorded.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use tenure_core::{
    SessionId, Timestamp,
    event::SessionSeen,
    session::Session,
    subject::{SharedSession, Subject},
};

/// Locks that share the load of checks; a power of two.
const SHARDS: usize = 64;

/// Uses that the log may not hold yet.
pub(crate) struct ActivityTracker {
    noted: Box<[RwLock<HashMap<SessionId, AtomicI64>>]>,
    due: Mutex<BTreeSet<SessionId>>,
    /// Before this moment sessions may have been used without a record of it, and without a note.
    forgotten_before: RwLock<Option<Timestamp>>,
}

impl ActivityTracker {
    pub(crate) fn new(forgotten_before: Option<Timestamp>) -> Self {
        let noted = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { noted, due: Mutex::default(), forgotten_before: RwLock::new(forgotten_before) }
    }

    pub(crate) fn forgotten_before(&self) -> Option<Timestamp> {
        *self.forgotten_before.read()
    }

    /// Before this moment sessions may have been used at another node, unknown to this one.
    pub(crate) fn are_forgotten_before(&self, moment: Timestamp) {
        *self.forgotten_before.write() = Some(moment);
    }

    /// The last bytes of an id are drawn by chance.
    fn shard(&self, id: SessionId) -> &RwLock<HashMap<SessionId, AtomicI64>> {
        &self.noted[usize::from(id.as_bytes()[15]) % SHARDS]
    }

    fn noted_at(&self, id: SessionId) -> Option<Timestamp> {
        let shard = self.shard(id).read();
        shard.get(&id).map(|noted| Timestamp::from_millis(noted.load(Ordering::Acquire)))
    }

    /// The latest noted use of a session.
    pub(crate) fn noted(&self, id: SessionId) -> Option<SessionSeen> {
        Some(SessionSeen { session_id: id, seen_at: self.noted_at(id)? })
    }

    /// Notes a use of a session, given as it is recorded.
    pub(crate) fn note(&self, recorded: &Session, now: Timestamp) {
        if !recorded.can_be_seen() {
            return;
        }
        let id = recorded.id;
        let before = {
            let shard = self.shard(id).read();
            shard.get(&id).map(|noted| noted.fetch_max(now.as_millis(), Ordering::AcqRel))
        };
        if before.is_none() {
            let mut shard = self.shard(id).write();
            let noted = shard.entry(id).or_insert(AtomicI64::new(now.as_millis()));
            noted.fetch_max(now.as_millis(), Ordering::AcqRel);
        }
        let is_news = before.is_none_or(|before| before < now.as_millis());
        if recorded.is_worth_recording(now) || is_news && self.is_elsewhere() {
            self.due.lock().insert(id);
        }
    }

    /// Whether another node decides: it is told of every use, for it alone says when a session was used last.
    fn is_elsewhere(&self) -> bool {
        self.forgotten_before() == Some(Timestamp::MAX)
    }

    /// The last use of a session after the one in `recorded`; `None` if unknown.
    pub(crate) fn later_than(&self, recorded: &Session) -> Option<Timestamp> {
        if !recorded.can_be_seen() {
            return None;
        }
        let excused = self.forgotten_before().zip(recorded.latest_unrecorded_use()).map(|(a, b)| a.min(b));
        self.noted_at(recorded.id).max(excused).filter(|at| Some(*at) > recorded.last_seen_at())
    }

    /// A session as checks see it, made of what is recorded.
    pub(crate) fn applied(&self, recorded: SharedSession) -> SharedSession {
        match self.later_than(&recorded) {
            Some(at) => recorded.seen_unrecorded(at).into(),
            None => recorded,
        }
    }

    /// The same of a subject's sessions.
    pub(crate) fn applied_to(&self, recorded: Arc<Subject>) -> Arc<Subject> {
        if recorded.sessions.iter().all(|session| self.later_than(session).is_none()) {
            return recorded;
        }
        let mut subject = recorded.as_ref().clone();
        for session in &mut subject.sessions {
            if let Some(at) = self.later_than(session) {
                *session = session.seen_unrecorded(at);
            }
        }
        subject.into()
    }

    /// The use of this session, if it is to be recorded.
    pub(crate) fn due(&self, recorded: &Session) -> Option<SessionSeen> {
        self.noted(recorded.id).filter(|noted| recorded.is_worth_recording(noted.seen_at))
    }

    /// Up to `most` sessions whose uses are to be recorded.
    pub(crate) fn due_now(&self, most: usize) -> Vec<SessionId> {
        self.due.lock().iter().take(most).copied().collect()
    }

    /// Up to `most` sessions whose uses are to be recorded, in addition to these.
    pub(crate) fn due_besides(&self, others: &BTreeSet<SessionId>, most: usize) -> Vec<SessionId> {
        self.due.lock().iter().filter(|id| !others.contains(id)).take(most).copied().collect()
    }

    /// What was due of this session, given as it is recorded now, is recorded, or says nothing any more. A use that came
    /// in between may be due again.
    pub(crate) fn clear_due(&self, id: SessionId, recorded: Option<&Session>) {
        // The lock is held while it is looked at, or a use noted meanwhile would be due and forgotten.
        let mut due = self.due.lock();
        if recorded.and_then(|recorded| self.due(recorded)).is_none() {
            due.remove(&id);
        }
    }

    /// The node that decides knows of this use of a session, given as it is recorded now. A later one is to be told too.
    pub(crate) fn clear_told(&self, told: SessionSeen, recorded: Option<&Session>) {
        let mut due = self.due.lock();
        let is_later = self.noted_at(told.session_id) > Some(told.seen_at);
        if !is_later && recorded.and_then(|recorded| self.due(recorded)).is_none() {
            due.remove(&told.session_id);
        }
    }

    /// All sessions of which a use is noted, in their order.
    pub(crate) fn all(&self) -> Vec<SessionId> {
        let mut all = Vec::new();
        for shard in &self.noted {
            all.extend(shard.read().keys());
        }
        all.sort_unstable();
        all
    }

    /// Forgets a session of which no use says anything any more.
    pub(crate) fn forget_ended(&self, recorded: &Session) {
        if recorded.terms.idle_timeout.is_some() && !recorded.can_be_seen() {
            self.shard(recorded.id).write().remove(&recorded.id);
            self.due.lock().remove(&recorded.id);
        }
    }
}
