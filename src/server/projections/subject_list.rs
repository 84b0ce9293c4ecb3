//! All registered subjects by name, and those of each owner.

use std::collections::HashMap;

use tenure_core::{OwnerId, SubjectId};

use super::sorted::SortedChunks;

/// The registered subjects, each under its owner.
#[derive(Debug, Default)]
pub struct SubjectList {
    all: SortedChunks<SubjectId>,
    owners: HashMap<Option<OwnerId>, SortedChunks<SubjectId>>,
}

/// Where a subject stood before it was put under its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormerOwner {
    /// There, or nowhere.
    NotElsewhere,
    /// Under another owner, or under none.
    Under(Option<OwnerId>),
}

impl SubjectList {
    /// Puts a subject under its owner of now; says where it stood before.
    pub fn place(&mut self, id: &SubjectId, owner: Option<&OwnerId>) -> FormerOwner {
        let owner = owner.cloned();
        if self.owners.get(&owner).is_some_and(|own| own.contains(id)) {
            return FormerOwner::NotElsewhere;
        }
        let before = if self.all.insert(id.clone()) { FormerOwner::NotElsewhere } else { self.take_out(id) };
        self.owners.entry(owner).or_default().insert(id.clone());
        before
    }

    /// A first owner is named often, and another one rarely: then all are asked.
    fn take_out(&mut self, id: &SubjectId) -> FormerOwner {
        if self.owners.get_mut(&None).is_some_and(|unowned| unowned.remove(id)) {
            return FormerOwner::Under(None);
        }
        let found = self.owners.iter_mut().find_map(|(owner, own)| own.remove(id).then(|| owner.clone()));
        if let Some(owner) = &found
            && self.owners.get(owner).is_some_and(SortedChunks::is_empty)
        {
            self.owners.remove(owner);
        }
        found.map_or(FormerOwner::NotElsewhere, FormerOwner::Under)
    }

    /// Up to `most` subjects behind this name, of one owner if one is given.
    pub fn after(&self, owner: Option<&OwnerId>, after: Option<&str>, most: usize) -> Vec<SubjectId> {
        let list = match owner {
            None => Some(&self.all),
            Some(owner) => self.owners.get(&Some(owner.clone())),
        };
        let is_before = |id: &SubjectId| after.is_some_and(|after| id.as_str() <= after);
        list.map(|list| list.from(is_before).take(most).cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &SubjectList, owner: Option<&str>, after: Option<&str>) -> Vec<String> {
        let owner = owner.map(|owner| owner.parse().unwrap());
        list.after(owner.as_ref(), after, 2).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_subject_stands_under_its_owner_of_now_and_among_all() {
        let (mut list, [a, b, c]) = (SubjectList::default(), ["a", "b", "c"].map(|id| id.parse().unwrap()));
        let [one, other]: [OwnerId; 2] = ["one", "other"].map(|owner| owner.parse().unwrap());
        assert_eq!(list.place(&c, Some(&one)), FormerOwner::NotElsewhere);
        assert_eq!(list.place(&a, None), FormerOwner::NotElsewhere);
        assert_eq!(list.place(&b, Some(&one)), FormerOwner::NotElsewhere);
        assert_eq!(list.place(&b, Some(&one)), FormerOwner::NotElsewhere, "it stands there already");
        assert_eq!(names(&list, None, None), ["a", "b"]);
        assert_eq!(names(&list, None, Some("b")), ["c"]);
        assert_eq!(names(&list, Some("one"), None), ["b", "c"]);
        assert_eq!(list.place(&a, Some(&one)), FormerOwner::Under(None));
        assert_eq!(list.place(&b, Some(&other)), FormerOwner::Under(Some(one.clone())));
        assert_eq!(names(&list, Some("one"), None), ["a", "c"]);
        assert_eq!(names(&list, Some("other"), None), ["b"]);
        assert_eq!(list.place(&b, None), FormerOwner::Under(Some(other)));
        assert!(names(&list, Some("other"), None).is_empty());
        assert_eq!(names(&list, None, None), ["a", "b"]);
    }
}
