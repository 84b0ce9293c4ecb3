//! Sessions that ended long ago are listed by a file, and memory lists the others.
//!
//! What was said since of a session that the file lists, and could put it into another list, is noted by subject: until
//! the next such file, the sessions of such a subject are looked at for every list.

use std::{cmp::Reverse, collections::HashMap, fmt::Debug, sync::Arc};

use super::{
    Projections,
    session_list::{EndMark, ListedBy, ListedSession, SessionList, SessionMatches, SessionQuery},
};
use tenure_core::{Position, SessionId, SubjectId};

/// What lists sessions that had ended long before some position.
pub trait EndedListing: Debug + Send + Sync {
    /// It says what was so there.
    fn position(&self) -> Position;

    /// Up to about `most` of the sought sessions that began before this position, newest first.
    ///
    /// # Errors
    /// See [`ListingError`].
    fn stride(
        &self,
        sought: &SessionQuery,
        before: Option<Position>,
        most: usize,
    ) -> Result<SessionMatches, ListingError>;

    /// All of a subject.
    ///
    /// # Errors
    /// See [`ListingError`].
    fn of_subject(&self, id: &SubjectId) -> Result<Vec<(Position, SessionId)>, ListingError>;

    /// Those of these sessions that it lists, each as revoked or as expired.
    ///
    /// # Errors
    /// See [`ListingError`].
    fn listed_among(&self, ended: &[(Position, bool)]) -> Result<Vec<(Position, bool)>, ListingError>;
}

/// A file that lists ended sessions cannot be read, or is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListingError(pub String);

/// What lists have of sessions that are not in memory.
#[derive(Debug, Default)]
pub(super) struct EndedSessions {
    listing: Option<Arc<dyn EndedListing>>,
    /// The last beginning of all that it lists.
    latest: Position,
    /// Subjects whose sessions may be listed otherwise than there, and by which event.
    changed: HashMap<SubjectId, Position>,
}

impl EndedSessions {
    pub(super) fn note_change(&mut self, id: &SubjectId, position: Position) {
        self.changed.insert(id.clone(), position);
    }
}

impl Projections {
    /// From now on this lists the sessions that ended long before it, and memory lets go of them.
    ///
    /// # Errors
    /// It cannot be read. Then lists are as complete as before.
    pub fn list_ended_by(&self, listing: &Arc<dyn EndedListing>) -> Result<(), ListingError> {
        if self.begin_listing(listing)? { self.take_out_listed(&**listing) } else { Ok(()) }
    }

    /// The same where memory has none of them. False if a later one lists them.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn begin_listing(&self, listing: &Arc<dyn EndedListing>) -> Result<bool, ListingError> {
        let all = listing.stride(&SessionQuery::default(), None, 1)?;
        let latest = all.found.first().map_or(Position::ZERO, |found| found.began);
        let position = listing.position();
        let mut ended = self.ended.write();
        if ended.listing.as_ref().is_some_and(|before| before.position() > position) {
            return Ok(false);
        }
        (ended.listing, ended.latest) = (Some(Arc::clone(listing)), latest);
        ended.changed.retain(|_, changed| *changed > position);
        Ok(true)
    }

    /// Sessions of these subjects may be listed otherwise than there, since these events.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn note_changes(
        &self,
        listing: &Arc<dyn EndedListing>,
        changed: HashMap<SubjectId, Position>,
    ) -> Result<(), ListingError> {
        for (id, position) in changed {
            if !listing.of_subject(&id)?.is_empty() {
                self.ended.write().note_change(&id, position);
            }
        }
        Ok(())
    }

    /// Memory lets go of what is listed just so there: a stretch at a time, so that no caller waits.
    fn take_out_listed(&self, listing: &dyn EndedListing) -> Result<(), ListingError> {
        let mut number = 0;
        while let Some((next, ended)) = self.sessions(|list| list.ended_from(number)) {
            let listed = listing.listed_among(&ended)?;
            if !listed.is_empty() {
                self.sessions.write().take_out(&listed);
            }
            number = next;
        }
        self.sessions.write().drop_empty();
        for owner in self.sessions(SessionList::owners) {
            self.sessions.write().sweep_owner(&owner);
        }
        for part in (0..self.sessions(SessionList::device_parts)).rev() {
            self.sessions.write().sweep_devices(part);
        }
        Ok(())
    }

    /// Every sought session that began behind this position is in memory.
    pub fn listed_in_memory_behind(&self, sought: &SessionQuery) -> Position {
        let ended = self.ended.read();
        if ended.listing.is_none() || sought.marked == EndMark::Open {
            return Position::ZERO;
        }
        if ended.changed.is_empty() { ended.latest } else { Position(u64::MAX) }
    }

    /// Up to about `most` of the sought sessions that began before this position, newest first, those included that
    /// ended long ago. Waits for the disk.
    ///
    /// # Errors
    /// What lists some of them cannot be read.
    pub fn all_sessions(
        &self,
        sought: &SessionQuery,
        before: Option<Position>,
        most: usize,
    ) -> Result<SessionMatches, ListingError> {
        // What memory lets go of meanwhile is in the listing asked behind it.
        let mut parts = vec![self.sessions(|list| list.stride(sought, before, most))];
        let (listing, changed) = {
            let ended = self.ended.read();
            (ended.listing.clone(), ended.changed.keys().cloned().collect::<Vec<_>>())
        };
        if let Some(listing) = listing.filter(|_| sought.marked != EndMark::Open) {
            parts.push(listing.stride(sought, before, most)?);
            for id in &changed {
                let mut own = listing.of_subject(id)?;
                own.retain(|(began, _)| before.is_none_or(|before| *began < before));
                own.sort_unstable_by_key(|(began, _)| Reverse(*began));
                own.truncate(most);
                parts.push(SessionMatches::some(own, most));
            }
        }
        Ok(SessionMatches::joined(parts))
    }
}

impl SessionMatches {
    /// Found where no more than `most` were asked for.
    pub(crate) fn some(found: Vec<(Position, SessionId)>, most: usize) -> Self {
        let next = found.last().filter(|_| found.len() >= most).map(|(began, _)| *began);
        let listed = |(began, id)| ListedSession { began, named_by: ListedBy::Session(id) };
        Self { found: found.into_iter().map(listed).collect(), next }
    }

    /// What all parts have up to where the first of them ends, newest first.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let next = parts.iter().filter_map(|part| part.next).max();
        let mut found: Vec<_> = parts.into_iter().flat_map(|part| part.found).collect();
        found.retain(|listed| next.is_none_or(|next| listed.began >= next));
        found.sort_by_key(|listed| Reverse(listed.began));
        found.dedup_by_key(|listed| listed.began);
        Self { found, next }
    }
}
