//! Subjects by name, and the subject of each session.
//!
//! A session lies in its subject, and the table of sessions has the number of that subject, which is half as long as a
//! pointer and stays when the subject is replaced.

use std::{
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, available_parallelism},
};

use hashbrown::{DefaultHashBuilder, HashTable};
use parking_lot::RwLock;

use super::shards::{SHARDS, shard_of, spread};
use tenure_core::{
    SessionId, SubjectId,
    subject::{SharedSession, Subject},
};

/// How many threads share a walk over everything that a caller waits for.
const MOST_THREADS: usize = 4;
/// How many subjects such a walk handles in one go; they fit in the cache meanwhile.
const AT_A_TIME: usize = 128;

/// What a subject is known by here: its place in its part of the table, and the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubjectNumber(u32);

/// Every subject, in parts under a lock each. None is ever taken out.
pub(super) struct SubjectTable {
    hasher: DefaultHashBuilder,
    shards: Box<[RwLock<SubjectShard>]>,
}

#[derive(Default)]
struct SubjectShard {
    by_name: HashTable<u32>,
    subjects: Vec<Arc<Subject>>,
}

impl SubjectShard {
    fn place(&self, hash: u64, id: &SubjectId) -> Option<usize> {
        let place = self.by_name.find(hash, |place| self.subjects[*place as usize].id == *id)?;
        Some(*place as usize)
    }

    /// It grows by an eighth: half of what a vector reserves by itself would be unused.
    fn add(&mut self, hasher: &DefaultHashBuilder, hash: u64, subject: Arc<Subject>) -> usize {
        if self.subjects.len() == self.subjects.capacity() {
            self.subjects.reserve_exact(self.subjects.len() / 8 + 4);
        }
        let place = self.subjects.len();
        self.subjects.push(subject);
        let known = &self.subjects;
        let number = u32::try_from(place).expect("a part has fewer subjects than that");
        self.by_name.insert_unique(hash, number, |place| hasher.hash_one(&known[*place as usize].id));
        place
    }
}

impl SubjectTable {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { hasher: DefaultHashBuilder::default(), shards }
    }

    pub(super) fn get(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        let hash = self.hasher.hash_one(id);
        let shard = self.shards[shard_of(hash)].read();
        shard.place(hash, id).map(|place| Arc::clone(&shard.subjects[place]))
    }

    /// Replaces a subject, or adds it. What `index` does with its number is done before anybody sees it.
    pub(super) fn put(&self, subject: Arc<Subject>, index: impl FnOnce(SubjectNumber)) {
        let hash = self.hasher.hash_one(&subject.id);
        let number = shard_of(hash);
        let mut shard = self.shards[number].write();
        let known = shard.place(hash, &subject.id);
        let (place, replaced) = match known {
            Some(place) => (place, Some(std::mem::replace(&mut shard.subjects[place], subject))),
            None => (shard.add(&self.hasher, hash, subject), None),
        };
        let number = u32::try_from(place * SHARDS + number).expect("there are fewer subjects than that");
        index(SubjectNumber(number));
        drop(shard);
        drop(replaced);
    }

    fn numbered(&self, number: SubjectNumber) -> Option<Arc<Subject>> {
        let (place, shard) = (number.0 as usize / SHARDS, number.0 as usize % SHARDS);
        self.shards[shard].read().subjects.get(place).cloned()
    }

    /// Visits all, a part at a time: what a part holds is noted under its lock and looked at after.
    pub(super) fn visit_parts(&self, mut visit: impl FnMut(&Arc<Subject>)) {
        for shard in &self.shards {
            let noted = shard.read().subjects.clone();
            noted.iter().for_each(&mut visit);
        }
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(&Arc<Subject>)) {
        for shard in &self.shards {
            shard.read().subjects.iter().for_each(&mut visit);
        }
    }

    /// The names of what one part holds.
    pub(super) fn part(&self, number: usize) -> Option<Vec<SubjectId>> {
        let shard = self.shards.get(number)?;
        Some(shard.read().subjects.iter().map(|subject| subject.id.clone()).collect())
    }

    /// Folds all subjects, some at a time, in this thread and some others; one sum per thread. A delayed thread takes
    /// fewer parts, and an unavailable one takes none.
    pub(super) fn fold_parts<S: Send>(
        &self,
        begin: &(impl Fn() -> S + Sync),
        add: &(impl Fn(&mut S, &[Arc<Subject>]) + Sync),
    ) -> Vec<S> {
        let threads = available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
        let next = AtomicUsize::new(0);
        let sum = || {
            let mut sum = begin();
            while let Some(shard) = self.shards.get(next.fetch_add(1, Ordering::Relaxed)) {
                let shard = shard.read();
                shard.subjects.chunks(AT_A_TIME).for_each(|subjects| add(&mut sum, subjects));
            }
            sum
        };
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, sum).ok();
            let others: Vec<_> = (1..threads).filter_map(spawn).collect();
            let own = sum();
            let others = others.into_iter().map(|thread| thread.join().expect("counting does not fail"));
            others.chain([own]).collect()
        })
    }
}

/// A part of the hash of a session's id, and the subject that holds it. Two ids may have the part in common.
#[derive(Clone, Copy, PartialEq, Eq)]
struct IndexedSession {
    hash: u32,
    subject: SubjectNumber,
}

/// Whose each session is, in parts under a lock each. No lock of a subject is waited for under one of these.
pub(super) struct SessionIndex {
    hasher: DefaultHashBuilder,
    shards: Box<[RwLock<HashTable<IndexedSession>>]>,
}

impl SessionIndex {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { hasher: DefaultHashBuilder::default(), shards }
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<IndexedSession>> {
        &self.shards[shard_of(hash)]
    }

    /// A session that its subject holds; it is not here yet.
    pub(super) fn add(&self, id: SessionId, subject: SubjectNumber) {
        let hash = self.hasher.hash_one(id);
        let one = IndexedSession { hash: kept(hash), subject };
        self.shard(hash).write().insert_unique(spread(one.hash), one, |known| spread(known.hash));
    }

    /// The session as its subject holds it, and the subject.
    pub(super) fn find(&self, id: SessionId, subjects: &SubjectTable) -> Option<SharedSession> {
        let hash = self.hasher.hash_one(id);
        let part = kept(hash);
        let shard = self.shard(hash);
        let first = shard.read().find(spread(part), |one| one.hash == part)?.subject;
        let held_by = |number| subjects.numbered(number).and_then(|holder| SharedSession::of(holder, id));
        held_by(first).or_else(|| {
            // Another session has the same part of its hash.
            let alike: Vec<SubjectNumber> = {
                let shard = shard.read();
                shard.iter_hash(spread(part)).filter(|one| one.hash == part).map(|one| one.subject).collect()
            };
            alike.into_iter().find_map(held_by)
        })
    }

    /// Sessions of this subject that left it.
    pub(super) fn remove(&self, ids: impl Iterator<Item = SessionId>, subject: SubjectNumber) {
        for id in ids {
            let hash = self.hasher.hash_one(id);
            let one = IndexedSession { hash: kept(hash), subject };
            let mut shard = self.shard(hash).write();
            if let Ok(known) = shard.find_entry(spread(one.hash), |known| *known == one) {
                known.remove();
            }
            // Room is given back when little of it is needed any more.
            if shard.capacity() > 64 && shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit(|known| spread(known.hash));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }
}

/// The part is chosen by the other half.
fn kept(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).expect("it is half as long")
}
