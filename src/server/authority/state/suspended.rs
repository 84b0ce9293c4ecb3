//! The suspended subjects, as they are published: a check of a token need not look up its subject for that.
//! Mostly there are none, and then it is one load of a number.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::RwLock;

use tenure_core::{SubjectId, Timestamp, subject::Subject, suspension::SubjectSuspension};

/// The recorded suspensions, until lifted, also those that have ended by themselves.
#[derive(Debug, Default)]
pub(crate) struct SuspendedSubjects {
    count: AtomicUsize,
    suspensions: RwLock<SuspensionIndex>,
}

#[derive(Debug, Default)]
struct SuspensionIndex {
    by_subject: HashMap<SubjectId, SubjectSuspension>,
    /// Which ends by itself when.
    ends: BTreeSet<(Timestamp, SubjectId)>,
}

impl SuspendedSubjects {
    /// Publishes what a subject says of itself.
    pub(crate) fn publish(&self, subject: &Subject) {
        if subject.suspension().is_none() && self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut suspensions = self.suspensions.write();
        suspensions.put(&subject.id, subject.suspension());
        self.count.store(suspensions.by_subject.len(), Ordering::Release);
    }

    /// The suspension of a subject; it may have ended by itself.
    pub(crate) fn of(&self, id: &SubjectId) -> Option<SubjectSuspension> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.suspensions.read().by_subject.get(id).cloned()
    }

    /// The subjects whose suspensions have ended by themselves, which is not recorded yet.
    pub(crate) fn ended(&self, now: Timestamp) -> Vec<SubjectId> {
        let suspensions = self.suspensions.read();
        let ended = suspensions.ends.iter().take_while(|(end, _)| *end <= now);
        ended.map(|(_, subject)| subject.clone()).collect()
    }
}

impl SuspensionIndex {
    fn put(&mut self, id: &SubjectId, suspension: Option<&SubjectSuspension>) {
        let before = match suspension {
            Some(suspension) => self.by_subject.insert(id.clone(), suspension.clone()),
            None => self.by_subject.remove(id),
        };
        if let Some(end) = before.and_then(|before| before.until) {
            self.ends.remove(&(end, id.clone()));
        }
        if let Some(end) = suspension.and_then(|suspension| suspension.until) {
            self.ends.insert((end, id.clone()));
        }
    }
}
