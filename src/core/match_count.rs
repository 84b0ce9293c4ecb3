//! How many sessions a selector meets, whose, and some of them. To count them is to look at every session there is
//! while a caller waits, so it is fast.

use std::{mem, ptr};

use hashbrown::HashMap;

use super::{
    bulk::{BulkRevocation, OwnerMatchCount, SessionSelector, end_of},
    id::{OwnerId, SessionId},
    session::Session,
    subject::Subject,
    time::Timestamp,
};

/// Maximum owners counted one by one; a commit has room for their names.
pub const OWNERS_COUNTED: usize = 200;
/// Maximum number of sessions named in a reply.
pub const SAMPLE: usize = 20;
/// Most subjects have at most this number of sessions.
const SESSIONS_EXPECTED: usize = 8;

/// Counts the sessions that match and are active at one moment, some subjects at a time.
///
/// A look at a subject or session is a wait for memory, and waits that do not depend on each other pass at the same
/// time. So it looks at all the subjects that it is given, then at where their sessions are, and then at these.
#[derive(Debug)]
pub struct MatchCounter<'a> {
    selector: &'a SessionSelector,
    /// Bulk revocations not yet settled in the subjects.
    unsettled: &'a [BulkRevocation],
    at: Timestamp,
    matched: MatchCount,
    /// The owner of the last sessions that matched, and how many they are: not in `matched` yet.
    owner: Option<OwnerId>,
    of_owner: u32,
}

impl<'a> MatchCounter<'a> {
    /// Has counted nothing yet.
    pub fn new(selector: &'a SessionSelector, unsettled: &'a [BulkRevocation], at: Timestamp) -> Self {
        Self { selector, unsettled, at, matched: MatchCount::default(), owner: None, of_owner: 0 }
    }

    /// Counts those of these subjects.
    pub fn add(&mut self, subjects: &[&Subject]) {
        let mut met: Vec<(&Subject, &Session)> = Vec::with_capacity(subjects.len() * SESSIONS_EXPECTED);
        for &subject in subjects.iter().filter(|subject| self.selector.concerns(subject)) {
            met.extend(subject.sessions.iter().map(|session| (subject, session)));
        }
        met.retain(|(subject, session)| self.meets(subject, session));
        for of_one in met.chunk_by(|(one, _), (other, _)| ptr::eq(*one, *other)) {
            self.count_owner(of_one[0].0, of_one.len());
        }
        for (_, session) in met {
            self.matched.name(session.id);
        }
    }

    /// All that it has counted.
    pub fn finish(mut self) -> MatchCount {
        self.end_owner();
        self.matched
    }

    fn meets(&self, subject: &Subject, session: &Session) -> bool {
        session.may_be_live(self.at)
            && self.selector.selects(session)
            && end_of(self.unsettled, subject, session).is_none()
    }

    /// Subjects of one owner often come one after the other, so it is not looked up each time.
    fn count_owner(&mut self, subject: &Subject, count: usize) {
        let owner = subject.profile().and_then(|profile| profile.owner_id.as_ref());
        if owner != self.owner.as_ref() {
            self.end_owner();
            self.owner = owner.cloned();
        }
        self.of_owner += u32::try_from(count).expect("a subject has fewer sessions than that");
    }

    fn end_owner(&mut self) {
        let count = mem::take(&mut self.of_owner);
        if count > 0 {
            self.matched.count += count;
            self.matched.count_owner(self.owner.as_ref(), count);
        }
    }
}

/// How many sessions match, whose, and some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchCount {
    /// How many sessions.
    pub count: u32,
    /// How many of each owner; `None` if there are more owners than are counted.
    owners: Option<HashMap<Option<OwnerId>, u32>>,
    /// Some of them, by id.
    sample: Vec<SessionId>,
}

impl Default for MatchCount {
    fn default() -> Self {
        Self { count: 0, owners: Some(HashMap::new()), sample: Vec::new() }
    }
}

impl MatchCount {
    /// Counts the sessions of a subject that match and are active at this moment, with these bulk revocations not
    /// yet settled in it.
    pub fn count(
        &mut self,
        selector: &SessionSelector,
        subject: &Subject,
        unsettled: &[BulkRevocation],
        at: Timestamp,
    ) {
        let mut counter = MatchCounter::new(selector, unsettled, at);
        counter.add(&[subject]);
        *self = mem::take(self).and(counter.finish());
    }

    /// Adds what was counted elsewhere.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        other.sample.into_iter().for_each(|id| self.name(id));
        match other.owners {
            Some(owners) => owners.iter().for_each(|(owner, count)| self.count_owner(owner.as_ref(), *count)),
            None => self.owners = None,
        }
        self
    }

    /// The ids of some of them, the earliest first.
    pub fn sample(&self) -> &[SessionId] {
        &self.sample
    }

    /// How many there are of each owner, by name; `None` if there are too many owners.
    pub fn owners(&self) -> Option<Vec<OwnerMatchCount>> {
        let mut owners: Vec<_> = self
            .owners
            .as_ref()?
            .iter()
            .map(|(owner_id, matched)| OwnerMatchCount { owner_id: owner_id.clone(), matched: *matched })
            .collect();
        owners.sort_by(|a, b| a.owner_id.cmp(&b.owner_id));
        Some(owners)
    }

    /// The smallest ids are kept: counting in any order names the same ones.
    fn name(&mut self, id: SessionId) {
        if self.sample.len() == SAMPLE && self.sample.last().is_some_and(|last| id > *last) {
            return;
        }
        let place = self.sample.partition_point(|known| *known < id);
        self.sample.insert(place, id);
        self.sample.truncate(SAMPLE);
    }

    fn count_owner(&mut self, owner: Option<&OwnerId>, count: u32) {
        let Some(owners) = &mut self.owners else { return };
        let owner = owner.cloned();
        *owners.entry(owner).or_default() += count;
        if owners.len() > OWNERS_COUNTED {
            self.owners = None;
        }
    }
}
