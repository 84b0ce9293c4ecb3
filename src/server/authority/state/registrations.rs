//! What was registered of subjects before it changed lately, whether they were suspended included: a repeated request
//! about a subject is answered as the first was, without a fold of all that ever happened to it.

use std::collections::VecDeque;

use hashbrown::HashMap;
use parking_lot::RwLock;

use tenure_core::{Position, SubjectId, subject::SubjectRegistration};

/// Maximum changes remembered: what is forgotten is read from the log.
const REMEMBERED: usize = 4_096;

/// A change of what is registered of a subject.
#[derive(Clone, Debug)]
pub(crate) struct RegistrationChange {
    /// Whose.
    pub(crate) subject: SubjectId,
    /// Where the commit of the change begins.
    pub(crate) position: Position,
    /// What was registered before.
    pub(crate) before: SubjectRegistration,
}

/// The latest changes.
#[derive(Debug)]
pub(crate) struct RecentRegistrations(RwLock<LatestChanges>);

#[derive(Debug)]
struct LatestChanges {
    /// Of changes up to here not all are known.
    after: Position,
    by_subject: HashMap<SubjectId, VecDeque<RegistrationChange>>,
    /// Whose changes they are, in their order.
    order: VecDeque<SubjectId>,
}

impl RecentRegistrations {
    /// Knows those after this position, as they are noted.
    pub(crate) fn after(position: Position) -> Self {
        let (by_subject, order) = (HashMap::new(), VecDeque::new());
        Self(RwLock::new(LatestChanges { after: position, by_subject, order }))
    }

    /// Notes changes, in their order, before anybody sees what they made.
    pub(crate) fn note(&self, changes: &[RegistrationChange]) {
        if changes.is_empty() {
            return;
        }
        let mut known = self.0.write();
        for change in changes {
            known.note(change.clone());
        }
    }

    /// What was registered of a subject right after this position, with what is registered now, which was read before
    /// this is asked; `None` if what changed since is not known.
    pub(crate) fn at(
        &self,
        id: &SubjectId,
        position: Position,
        now: &SubjectRegistration,
    ) -> Option<SubjectRegistration> {
        let known = self.0.read();
        if position < known.after {
            return None;
        }
        let changes = known.by_subject.get(id).into_iter().flatten();
        let next = changes.into_iter().find(|change| change.position > position);
        Some(next.map_or_else(|| now.clone(), |change| change.before.clone()))
    }
}

impl LatestChanges {
    fn note(&mut self, change: RegistrationChange) {
        if self.order.len() >= REMEMBERED {
            self.forget_oldest();
        }
        self.order.push_back(change.subject.clone());
        self.by_subject.entry(change.subject.clone()).or_default().push_back(change);
    }

    fn forget_oldest(&mut self) {
        let Some(subject) = self.order.pop_front() else { return };
        let Some(changes) = self.by_subject.get_mut(&subject) else { return };
        if let Some(oldest) = changes.pop_front() {
            self.after = oldest.position;
        }
        if changes.is_empty() {
            self.by_subject.remove(&subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::{Timestamp, event::SubjectProfile, subject::ProfileAndSuspension};

    /// A registration, which differs from others by when it was made.
    fn registered(at: u64) -> SubjectRegistration {
        let standing = ProfileAndSuspension { profile: SubjectProfile::default(), suspension: None };
        let moment = Timestamp::from_millis(at.cast_signed());
        SubjectRegistration {
            standing: standing.into(),
            created_at: moment,
            updated_at: moment,
            created: Position(at),
        }
    }

    fn change(subject: &SubjectId, position: u64) -> RegistrationChange {
        RegistrationChange {
            subject: subject.clone(),
            position: Position(position),
            before: registered(position - 1),
        }
    }

    #[test]
    fn what_was_registered_is_told_between_any_two_changes_that_are_remembered() {
        let (one, other): (SubjectId, SubjectId) = ("one".parse().unwrap(), "other".parse().unwrap());
        let known = RecentRegistrations::after(Position(10));
        known.note(&[change(&one, 20), change(&other, 25), change(&one, 30)]);
        let at = |position| known.at(&one, Position(position), &registered(100)).map(|then| then.created.0);
        assert_eq!(at(9), None, "what happened before the start is in the log");
        assert_eq!([10, 19, 20, 29, 30, 40].map(at), [19, 19, 29, 29, 100, 100].map(Some));
    }

    #[test]
    fn the_latest_changes_are_remembered_and_those_before_are_not_guessed() {
        let one: SubjectId = "one".parse().unwrap();
        let known = RecentRegistrations::after(Position::ZERO);
        for position in 1..=REMEMBERED as u64 + 5 {
            let whose = if position == 3 { "another".parse().unwrap() } else { one.clone() };
            known.note(&[change(&whose, position)]);
        }
        let at = |position| known.at(&one, Position(position), &registered(1)).map(|then| then.created.0);
        assert_eq!((at(4), at(5), at(6)), (None, Some(5), Some(6)));
        let inner = known.0.read();
        assert_eq!((inner.order.len(), inner.by_subject.len()), (REMEMBERED, 1));
    }
}
