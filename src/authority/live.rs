//! The published state: what every check and every answer reads. It holds only what is durable.
//!
//! The sequencer is its only writer, so readers never wait for a decision, only for the swap of a pointer.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::uses::Uses;
use crate::domain::{
    Position, Seconds, SessionId, SubjectId, Timestamp,
    session::SharedSession,
    state::State,
    subject::Subject,
    system::{Credential, System},
};

/// So many locks share the load of readers; a power of two.
const SHARDS: usize = 64;

/// The state of every stream, published.
pub struct Live {
    subjects: Shards<Arc<Subject>>,
    sessions: Shards<SharedSession>,
    system: ArcSwap<SystemView>,
    uses: Uses,
    position: watch::Sender<Position>,
    recorded_at: AtomicU64,
    /// In seconds. Only ever grows.
    longest_ttl: AtomicU32,
}

/// The authority's own state, with its keys findable by their hash.
#[derive(Debug, Default)]
pub struct SystemView {
    /// The state of the system stream.
    pub system: Arc<System>,
    by_hash: HashMap<[u8; 32], Arc<Credential>>,
}

impl SystemView {
    fn new(system: Arc<System>) -> Self {
        let usable = system.credentials.values().filter(|known| known.revoked_at.is_none());
        let by_hash = usable.map(|known| (known.key_hash, Arc::new(known.clone()))).collect();
        Self { system, by_hash }
    }

    /// The key of this hash, unless it was withdrawn.
    pub fn credential(&self, key_hash: &[u8; 32]) -> Option<Arc<Credential>> {
        self.by_hash.get(key_hash).cloned()
    }
}

impl Live {
    /// Publishes the state that a start has folded. Before that moment, if there is one, sessions may have been used
    /// without that being recorded.
    pub fn new(state: State, uses_forgotten_before: Option<Timestamp>) -> Self {
        let live = Self {
            subjects: Shards::new(),
            sessions: Shards::new(),
            system: ArcSwap::from_pointee(SystemView::new(Arc::new(state.system))),
            uses: Uses::new(uses_forgotten_before),
            position: watch::Sender::new(state.position),
            recorded_at: AtomicU64::new(0),
            longest_ttl: AtomicU32::new(0),
        };
        live.note_time(state.recorded_at);
        for subject in state.subjects.into_values() {
            live.publish_subject(Arc::new(subject));
        }
        live
    }

    /// The state as a whole, for a snapshot or a comparison. Only meaningful while nothing is published.
    pub fn capture(&self) -> State {
        let mut state = State {
            position: self.position(),
            recorded_at: self.recorded_at(),
            system: self.system.load().system.as_ref().clone(),
            ..State::default()
        };
        self.subjects.for_each(|subject| {
            for session in &subject.sessions {
                state.holders.insert(session.id, subject.id.clone());
            }
            state.subjects.insert(subject.id.clone(), subject.as_ref().clone());
        });
        state
    }

    /// A subject, its sessions as they were last used.
    pub fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.recorded_subject(id).map(|subject| self.uses.applied_to(subject))
    }

    /// A subject as the log has it: without the uses that are not recorded.
    pub fn recorded_subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.subjects.get(id)
    }

    /// Every subject, in no order.
    pub fn subjects(&self) -> Vec<Arc<Subject>> {
        let mut all = Vec::new();
        self.subjects.visit_parts(|subject| all.push(self.uses.applied_to(Arc::clone(subject))));
        all
    }

    /// Looks at every subject as the log has it, in no order. Whoever looks holds nobody up.
    pub fn for_each_subject(&self, visit: impl FnMut(&Arc<Subject>)) {
        self.subjects.visit_parts(visit);
    }

    /// A session, as it was last used.
    pub fn session(&self, id: SessionId) -> Option<SharedSession> {
        self.recorded_session(id).map(|session| self.uses.applied(session))
    }

    /// A session as the log has it: without the uses that are not recorded.
    pub fn recorded_session(&self, id: SessionId) -> Option<SharedSession> {
        self.sessions.get(&id)
    }

    /// Uses that the log may not hold yet.
    pub(super) const fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The authority's own state.
    pub fn system(&self) -> arc_swap::Guard<Arc<SystemView>> {
        self.system.load()
    }

    /// The last position that every answer reflects.
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Tells of every move of the position.
    pub fn positions(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// When the last event was recorded.
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_millis(self.recorded_at.load(Ordering::Acquire).cast_signed())
    }

    /// The longest period of all sessions that it has seen: how long a token that was ever sealed can work.
    pub fn longest_ttl(&self) -> Seconds {
        Seconds(self.longest_ttl.load(Ordering::Acquire))
    }

    pub(super) fn publish_subject(&self, subject: Arc<Subject>) {
        let before = self.subjects.get(&subject.id);
        let known = before.as_ref().map_or(&[][..], |before| &before.sessions[..]);
        for changed in changed_sessions(known, &subject.sessions) {
            self.longest_ttl.fetch_max(changed.terms.ttl.0, Ordering::AcqRel);
            self.sessions.put(changed.clone());
            self.uses.forget_ended(changed);
        }
        self.subjects.put(subject);
    }

    pub(super) fn publish_system(&self, system: Arc<System>) {
        self.system.store(Arc::new(SystemView::new(system)));
    }

    pub(super) fn publish_position(&self, position: Position, recorded_at: Timestamp) {
        self.note_time(recorded_at);
        self.position.send_replace(position);
    }

    fn note_time(&self, recorded_at: Timestamp) {
        self.recorded_at.store(recorded_at.as_millis().cast_unsigned(), Ordering::Release);
    }
}

/// The sessions of `after` that are not the very same ones in `before`. Both are ordered by id, and none is
/// ever taken out.
fn changed_sessions<'a>(
    before: &'a [SharedSession],
    after: &'a [SharedSession],
) -> impl Iterator<Item = &'a SharedSession> {
    let mut old = before.iter().peekable();
    after.iter().filter(move |session| match old.next_if(|old| old.id == session.id) {
        Some(old) => !SharedSession::ptr_eq(old, session),
        None => true,
    })
}

/// A thing that has its own name in it, so that a table need not keep the name a second time.
trait Named {
    type Id: std::hash::Hash + Eq;
    fn id(&self) -> &Self::Id;
}

impl Named for Arc<Subject> {
    type Id = SubjectId;
    fn id(&self) -> &SubjectId {
        &self.id
    }
}

impl Named for SharedSession {
    type Id = SessionId;
    fn id(&self) -> &SessionId {
        &self.id
    }
}

/// A hash table in shards, each under a lock of its own.
struct Shards<T> {
    hasher: DefaultHashBuilder,
    shards: Box<[RwLock<HashTable<T>>]>,
}

impl<T: Named + Clone> Shards<T> {
    fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(HashTable::new())).collect();
        Self { hasher: DefaultHashBuilder::default(), shards }
    }

    /// The shard is chosen by bits that the table inside does not use first.
    fn shard(&self, hash: u64) -> &RwLock<HashTable<T>> {
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    fn get(&self, id: &T::Id) -> Option<T> {
        let hash = self.hasher.hash_one(id);
        self.shard(hash).read().find(hash, |thing| thing.id() == id).cloned()
    }

    fn put(&self, thing: T) {
        let hash = self.hasher.hash_one(thing.id());
        let mut table = self.shard(hash).write();
        match table.find_mut(hash, |known| known.id() == thing.id()) {
            Some(known) => *known = thing,
            None => {
                table.insert_unique(hash, thing, |known| self.hasher.hash_one(known.id()));
            }
        }
    }

    /// Visits all, a shard at a time: what a shard holds is noted under its lock and looked at after.
    fn visit_parts(&self, mut visit: impl FnMut(&T)) {
        for shard in &self.shards {
            let noted: Vec<T> = shard.read().iter().cloned().collect();
            noted.iter().for_each(&mut visit);
        }
    }

    fn for_each(&self, mut visit: impl FnMut(&T)) {
        for shard in &self.shards {
            shard.read().iter().for_each(&mut visit);
        }
    }
}
