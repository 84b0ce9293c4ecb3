//! Sessions in the order of their creation, and who finds them: their owners, their devices, and how they stand. A page
//! of a list costs its size, whatever the list is of.
//!
//! It is of all sessions but those that a checkpoint lists, which ended long ago ([`ended`](super::ended)).
//!
//! A session is known here by its number in the order of creation, which takes four bytes. Where it began and whose it
//! is say which one it is: its id lies in its subject.

use std::collections::HashMap;

use tenure_core::{Digest16, OwnerId, Position, SessionId, SubjectId};

pub use super::session_stretch::EndMark;
use super::{
    session_stretch::{MarkBits, SessionStretch, as_number},
    sorted::SortedChunks,
};

/// Sessions skipped under one hold of the lock.
const PASSED_OVER: usize = 32_768;
/// Sessions of a device beyond which its owner's are not counted against them.
const COUNTED: usize = 4_096;

/// Sessions, oldest first, with the positions at which they began.
#[derive(Debug, Default)]
pub struct SessionList {
    stretches: Vec<SessionStretch>,
    /// The next one's number.
    next: u32,
    /// The numbers of each owner's sessions.
    owners: HashMap<OwnerId, SortedChunks<u32>>,
    /// A part of the digest of a device, and the number of a session of it. Two devices may share the part: a lookup
    /// compares the whole.
    devices: SortedChunks<(u32, u32)>,
    /// The last bulk revocation whose sessions may not all be marked.
    unmarked_bulk: Option<Position>,
    /// How many have a mark.
    ended: usize,
}

/// Which sessions are sought. What is given may be of others too, so it has to be looked at; none is missing.
#[derive(Clone, Debug, Default)]
pub struct SessionQuery {
    /// Those of this owner's subjects.
    pub owner: Option<OwnerId>,
    /// Those of this device.
    pub device: Option<Digest16>,
    /// How they are marked.
    pub marked: EndMark,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Where it began.
    pub began: Position,
    /// What else tells which it is.
    pub named_by: ListedBy,
}

/// What a list has of a session beside its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListedBy {
    /// Whose it is: it is in memory.
    Subject(SubjectId),
    /// Its id: a file lists it.
    Session(SessionId),
}

/// Some of the sought sessions, newest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SessionMatches {
    /// Which they are.
    pub found: Vec<ListedSession>,
    /// There may be more before this position; none at the end.
    pub next: Option<Position>,
}

impl SessionList {
    /// Adds the session that began at this position, which is behind all before.
    pub fn add(
        &mut self,
        position: Position,
        subject: &SubjectId,
        owner: Option<&OwnerId>,
        device: Option<Digest16>,
    ) {
        let number = self.next;
        self.next += 1;
        let is_added = self.stretches.last_mut().is_some_and(|last| last.add(position, subject));
        if !is_added {
            self.stretches.push(SessionStretch::begin(position, number, subject.clone()));
        }
        if let Some(owner) = owner {
            self.of_owner(owner).insert(number);
        }
        if let Some(device) = device {
            self.devices.insert((part_of(device), number));
        }
    }

    /// The sessions that began at these positions have another owner now.
    pub fn move_to(&mut self, began: &[Position], from: Option<&OwnerId>, to: Option<&OwnerId>) {
        let numbers: Vec<_> = began.iter().filter_map(|position| self.number_of(*position)).collect();
        if let Some(from) = from
            && let Some(own) = self.owners.get_mut(from)
        {
            for number in &numbers {
                own.remove(number);
            }
            if own.is_empty() {
                self.owners.remove(from);
            }
        }
        if let Some(to) = to {
            for number in numbers {
                self.of_owner(to).insert(number);
            }
        }
    }

    /// The session that began at this position was revoked; whether it is in this list.
    pub fn mark_revoked(&mut self, began: Position) -> bool {
        self.mark(began, |run| &mut run.revoked)
    }

    /// That the session that began at this position has expired is recorded.
    pub fn mark_expired(&mut self, began: Position) {
        self.mark(began, |run| &mut run.expired);
    }

    fn mark(&mut self, began: Position, with: impl Fn(&mut SessionStretch) -> &mut MarkBits) -> bool {
        let Some((stretch, place)) = self.place_of(began) else { return false };
        let run = &mut self.stretches[stretch];
        self.ended += usize::from(!run.revoked.has(place) && !run.expired.has(place));
        with(run).set(place);
        true
    }

    /// The sessions that are marked as ended in the first stretch from a number on, each with whether it was revoked,
    /// and the number to go on with.
    pub(super) fn ended_from(&self, number: u32) -> Option<(u32, Vec<(Position, bool)>)> {
        let place = self.stretches.partition_point(|stretch| stretch.number < number);
        let stretch = self.stretches.get(place)?;
        let ended = stretch
            .places_marked(EndMark::Anyhow)
            .filter(|place| stretch.expired.has(*place) || stretch.revoked.has(*place));
        let ended = ended.filter_map(|place| Some((stretch.entry(place)?.0, stretch.revoked.has(place))));
        Some((stretch.number + 1, ended.collect()))
    }

    /// Takes sessions out that are still marked so. What finds them by owner and device is [swept](Self::sweep_devices)
    /// later on.
    pub(super) fn take_out(&mut self, ended: &[(Position, bool)]) {
        for (began, is_revoked) in ended.iter().rev() {
            if let Some((stretch, place)) = self.place_of(*began)
                && self.stretches[stretch].revoked.has(place) == *is_revoked
            {
                self.stretches[stretch].take_out(place);
                self.ended -= 1;
            }
        }
        if let Some((first, _)) = ended.first()
            && let Some(stretch) = self.stretch_at(*first)
        {
            self.stretches[stretch].shrink_to_fit();
        }
    }

    /// Gives back stretches in which nothing is left.
    pub(super) fn drop_empty(&mut self) {
        self.stretches.retain(|stretch| stretch.len() > 0);
        self.stretches.shrink_to(self.stretches.len() * 2);
    }

    /// The owners that sessions are found by.
    pub(super) fn owners(&self) -> Vec<OwnerId> {
        self.owners.keys().cloned().collect()
    }

    /// Forgets which sessions of an owner were taken out.
    pub(super) fn sweep_owner(&mut self, owner: &OwnerId) {
        let stretches = &self.stretches;
        if let Some(own) = self.owners.get_mut(owner) {
            let chunks = (0..own.chunks()).rev();
            chunks.for_each(|chunk| own.retain(chunk, |number| is_present(stretches, *number)));
            if own.is_empty() {
                self.owners.remove(owner);
            }
        }
    }

    /// In how many parts sessions are found by their devices.
    pub(super) fn device_parts(&self) -> usize {
        self.devices.chunks()
    }

    /// Forgets which sessions were taken out in one of them; parts behind it may move up.
    pub(super) fn sweep_devices(&mut self, part: usize) {
        let stretches = &self.stretches;
        self.devices.retain(part, |(_, number)| is_present(stretches, *number));
    }

    /// Sessions of any subjects were revoked by the event at this position; they are marked when looked up.
    pub fn note_bulk(&mut self, position: Position) {
        self.unmarked_bulk = Some(position);
    }

    /// The last bulk revocation whose sessions may not all be marked.
    pub fn unmarked_bulk(&self) -> Option<Position> {
        self.unmarked_bulk
    }

    /// All sessions that were ended by the bulk revocations up to this one are marked.
    pub fn bulk_is_marked(&mut self, position: Position) {
        self.unmarked_bulk = self.unmarked_bulk.filter(|bulk| *bulk > position);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.stretches.iter().map(SessionStretch::len).sum()
    }

    /// How many are marked as neither revoked nor expired.
    pub fn open(&self) -> usize {
        self.len() - self.ended
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Up to `most` of the sought sessions and began before this position, newest first; from the newest on
    /// when it is none.
    pub fn stride(&self, sought: &SessionQuery, before: Option<Position>, most: usize) -> SessionMatches {
        let end = before.map_or(self.next, |before| self.number_before(before));
        let mut stride = SessionMatches::default();
        let Some((numbers, among)) = self.narrowed(sought, end) else { return stride };
        let mut stretch = self.stretches.last();
        for (passed, number) in numbers.enumerate() {
            if !stretch.is_some_and(|stretch| stretch.holds(number)) {
                stretch = stretch_of(&self.stretches, number);
            }
            let Some(stretch) = stretch else { continue };
            let place = (number - stretch.number) as usize;
            let is_sought = sought.marked.admits(stretch.expired.has(place), stretch.revoked.has(place))
                && among.has(number);
            if !is_sought && passed < PASSED_OVER {
                continue;
            }
            let Some((began, subject)) = stretch.entry(place) else { continue };
            if is_sought {
                stride.found.push(ListedSession { began, named_by: ListedBy::Subject(subject.clone()) });
            }
            if stride.found.len() == most || passed >= PASSED_OVER {
                stride.next = Some(began);
                break;
            }
        }
        stride
    }

    /// The numbers below `end` in the shortest of the lists that all are in that are sought, the highest first, and the
    /// list that they must be in as well. `None` if one of the lists is empty.
    fn narrowed<'l>(&'l self, sought: &SessionQuery, end: u32) -> Option<(NumbersBack<'l>, OtherList<'l>)> {
        let own = match &sought.owner {
            Some(owner) => Some(self.owners.get(owner)?),
            None => None,
        };
        let of_owner = |own: &'l SortedChunks<u32>| own.back_from(move |number| *number < end).copied();
        let of_device = |device| {
            let back = self.devices.back_from(move |known| *known < (device, end));
            back.take_while(move |(known, _)| *known == device).map(|(_, number)| *number)
        };
        Some(match (own, sought.device.map(part_of)) {
            (None, None) => (Box::new(self.all_before(end, sought.marked)), OtherList::None),
            (Some(own), None) => (Box::new(of_owner(own)), OtherList::None),
            (None, Some(device)) => (Box::new(of_device(device)), OtherList::None),
            (Some(own), Some(device)) if own.len() < self.count_of_device(device) => {
                (Box::new(of_owner(own)), OtherList::Device(&self.devices, device))
            }
            (Some(own), Some(device)) => (Box::new(of_device(device)), OtherList::Owner(own)),
        })
    }

    /// How many sessions a device has, if they are not many.
    fn count_of_device(&self, device: u32) -> usize {
        let known = self.devices.from(move |(known, _)| *known < device);
        known.take(COUNTED).take_while(|(known, _)| *known == device).count()
    }

    fn of_owner(&mut self, owner: &OwnerId) -> &mut SortedChunks<u32> {
        if !self.owners.contains_key(owner) {
            self.owners.insert(owner.clone(), SortedChunks::default());
        }
        self.owners.get_mut(owner).expect("it was put there")
    }

    /// Stretches without one that is marked so cost next to nothing.
    fn all_before(&self, end: u32, marked: EndMark) -> impl Iterator<Item = u32> {
        let behind = self.stretches.partition_point(|stretch| stretch.number < end);
        let numbers = move |stretch: &'_ SessionStretch| {
            let first = stretch.number;
            let places: Vec<_> = stretch.places_marked(marked).collect();
            places.into_iter().rev().map(move |place| first + as_number(place))
        };
        self.stretches[..behind].iter().rev().flat_map(numbers).skip_while(move |number| *number >= end)
    }

    /// The number of the first session that did not begin before this position.
    fn number_before(&self, position: Position) -> u32 {
        let behind = self.stretches.partition_point(|stretch| stretch.first < position);
        behind.checked_sub(1).map_or(0, |place| {
            let stretch = &self.stretches[place];
            stretch.number + as_number(stretch.place_before(position))
        })
    }

    fn stretch_at(&self, began: Position) -> Option<usize> {
        self.stretches.partition_point(|stretch| stretch.first <= began).checked_sub(1)
    }

    /// In which stretch, and at which place in it, the session stands that began at this position.
    fn place_of(&self, began: Position) -> Option<(usize, usize)> {
        let number = self.stretch_at(began)?;
        let stretch = &self.stretches[number];
        let place = stretch.place_before(began);
        stretch.entry(place).is_some_and(|(known, _)| known == began).then_some((number, place))
    }

    fn number_of(&self, began: Position) -> Option<u32> {
        let (stretch, place) = self.place_of(began)?;
        Some(self.stretches[stretch].number + as_number(place))
    }
}

/// Numbers of sessions, the highest first.
type NumbersBack<'l> = Box<dyn Iterator<Item = u32> + 'l>;

/// What sessions found in one list must be in as well.
enum OtherList<'l> {
    None,
    Owner(&'l SortedChunks<u32>),
    Device(&'l SortedChunks<(u32, u32)>, u32),
}

impl OtherList<'_> {
    fn has(&self, number: u32) -> bool {
        match self {
            Self::None => true,
            Self::Owner(own) => own.contains(&number),
            Self::Device(devices, device) => devices.contains(&(*device, number)),
        }
    }
}

fn stretch_of(stretches: &[SessionStretch], number: u32) -> Option<&SessionStretch> {
    let behind = stretches.partition_point(|stretch| stretch.number <= number);
    stretches.get(behind.checked_sub(1)?).filter(|stretch| stretch.holds(number))
}

fn is_present(stretches: &[SessionStretch], number: u32) -> bool {
    stretch_of(stretches, number)
        .is_some_and(|stretch| stretch.present.has((number - stretch.number) as usize))
}

/// Enough of a digest to find a device by.
fn part_of(device: Digest16) -> u32 {
    let [a, b, c, d, ..] = *device.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions at all these positions, each of a subject of its own.
    fn list_of(positions: &[u64]) -> (SessionList, Vec<(Position, SubjectId)>) {
        let mut list = SessionList::default();
        let sessions: Vec<_> =
            positions.iter().map(|position| (Position(*position), subject(*position))).collect();
        for (position, subject) in &sessions {
            list.add(*position, subject, None, None);
        }
        assert_eq!(list.len(), sessions.len());
        (list, sessions)
    }

    fn subject(number: u64) -> SubjectId {
        format!("agent-{number}").parse().unwrap()
    }

    fn listed((began, subject): (Position, SubjectId)) -> ListedSession {
        ListedSession { began, named_by: ListedBy::Subject(subject) }
    }

    /// All that match, read in pages of this size.
    fn walked(list: &SessionList, sought: &SessionQuery, most: usize) -> Vec<(Position, SubjectId)> {
        let (mut seen, mut before) = (Vec::new(), None);
        loop {
            let stride = list.stride(sought, before, most);
            assert!(stride.found.len() <= most);
            seen.extend(stride.found.into_iter().map(|found| match found.named_by {
                ListedBy::Subject(subject) => (found.began, subject),
                ListedBy::Session(id) => panic!("{id} is not in memory"),
            }));
            let Some(next) = stride.next else { return seen };
            before = Some(next);
        }
    }

    #[test]
    fn pages_follow_one_another_without_a_gap_over_the_ends_of_stretches() {
        let far = u64::from(u32::MAX) * 3;
        let positions: Vec<_> = (1..3_000).step_by(2).chain(far..far + 2_000).collect();
        let (list, mut sessions) = list_of(&positions);
        sessions.reverse();
        for most in [1, 97, 5_000] {
            assert_eq!(walked(&list, &SessionQuery::default(), most), sessions);
        }
    }

    #[test]
    fn a_page_begins_strictly_before_the_position_whether_or_not_a_session_began_there() {
        let (list, sessions) = list_of(&[2, 5, 9]);
        let newest = |before: u64, most| list.stride(&SessionQuery::default(), Some(Position(before)), most);
        assert_eq!(newest(5, 9), SessionMatches { found: vec![listed(sessions[0].clone())], next: None });
        assert_eq!(
            newest(6, 1),
            SessionMatches { found: vec![listed(sessions[1].clone())], next: Some(Position(5)) }
        );
        assert_eq!(newest(2, 9), SessionMatches::default());
        assert_eq!(newest(1, 9), SessionMatches::default());
    }

    #[test]
    fn the_empty_list_has_no_page() {
        let list = SessionList::default();
        assert!(list.is_empty());
        assert_eq!(list.stride(&SessionQuery::default(), None, 9), SessionMatches::default());
    }

    #[test]
    fn what_is_far_apart_is_found_though_much_is_passed_over() {
        let positions: Vec<_> = (1..=100_000).collect();
        let (mut list, sessions) = list_of(&positions);
        list.mark_revoked(Position(3));
        list.mark_revoked(Position(99_999));
        list.mark_expired(Position(4));
        list.mark_expired(Position(3));
        list.mark_expired(Position(200_000));
        assert_eq!(list.open(), 100_000 - 3, "a session with two marks has ended once");
        let of = |marked| walked(&list, &SessionQuery { marked, ..SessionQuery::default() }, 50);
        assert_eq!(of(EndMark::Revoked), [sessions[99_998].clone(), sessions[2].clone()]);
        assert_eq!(of(EndMark::Expired), [sessions[3].clone()]);
        assert_eq!(of(EndMark::Open).len(), 100_000 - 3);
        assert_eq!(of(EndMark::NotRevoked).len(), 100_000 - 2);
        assert_eq!(of(EndMark::Anyhow).len(), 100_000);
    }

    #[test]
    fn owners_and_devices_find_theirs_and_sessions_go_with_their_subjects() {
        let (mut list, [one, other]) =
            (SessionList::default(), ["one", "other"].map(|id| id.parse().unwrap()));
        let device = |byte: u8| Some(Digest16::from_bytes([byte; 16]));
        for number in 0..3_000_u64 {
            let owner = [Some(&one), Some(&other), None][(number % 3) as usize];
            let device = device((number % 7) as u8).filter(|_| number > 100);
            list.add(Position(number * 2 + 1), &subject(number), owner, device);
        }
        let of = |list: &SessionList, owner: Option<&OwnerId>, device| {
            let sought = SessionQuery { owner: owner.cloned(), device, ..SessionQuery::default() };
            let found = walked(list, &sought, 9);
            assert!(found.is_sorted_by(|a, b| a.0 > b.0));
            found.len()
        };
        assert_eq!(of(&list, Some(&one), None), 1_000);
        assert_eq!(of(&list, None, device(3)), (101..3_000).filter(|number| number % 7 == 3).count());
        assert_eq!(of(&list, Some(&one), device(9)), 0);
        assert_eq!(of(&list, Some(&"nobody".parse().unwrap()), device(3)), 0);
        let of_both =
            |owner: u64, of: u64| (101..3_000).filter(move |n| n % 3 == owner && n % 7 == of).count();
        assert_eq!(of(&list, Some(&one), device(3)), of_both(0, 3));
        assert_eq!(of(&list, Some(&other), device(3)), of_both(1, 3));

        let began = [Position(1), Position(7), Position(9_999_999)];
        list.move_to(&began, Some(&one), Some(&other));
        list.move_to(&began, Some(&one), Some(&other));
        assert_eq!((of(&list, Some(&one), None), of(&list, Some(&other), None)), (998, 1_002));
        list.move_to(&began, Some(&other), None);
        list.move_to(&[Position(5)], None, Some(&one));
        assert_eq!((of(&list, Some(&one), None), of(&list, Some(&other), None)), (999, 1_000));
    }

    #[test]
    fn a_later_bulk_revocation_is_unmarked_when_an_earlier_one_is_marked() {
        let mut list = SessionList::default();
        list.note_bulk(Position(5));
        list.bulk_is_marked(Position(5));
        assert_eq!(list.unmarked_bulk(), None);
        list.note_bulk(Position(7));
        list.bulk_is_marked(Position(5));
        assert_eq!(list.unmarked_bulk(), Some(Position(7)));
    }
}
