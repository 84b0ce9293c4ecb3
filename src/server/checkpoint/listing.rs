//! A checkpoint lists the sessions that stand apart in it.

use std::sync::Arc;

use super::{
    Checkpoint, CheckpointError, TrustedCheckpoints,
    rows::{ROWS, RowEnd, RowFinder, RowRange},
};
use crate::projections::{
    ended::{EndedListing, ListingError},
    session_list::{EndMark, SessionMatches, SessionQuery},
};
use tenure_core::{Position, SessionId, SubjectId};

/// A checkpoint open for lists. If it does not read as it was written, it is not to be believed.
#[derive(Clone, Debug)]
pub struct ListingCheckpoint {
    /// Which one.
    pub checkpoint: Arc<Checkpoint>,
    /// Receives what is wrong with it.
    pub known: Arc<TrustedCheckpoints>,
}

impl ListingCheckpoint {
    fn read<T>(&self, read: Result<T, CheckpointError>) -> Result<T, ListingError> {
        read.map_err(|error| {
            let name = self.checkpoint.name();
            if matches!(error, CheckpointError::Damaged { .. }) && self.known.believes(name) {
                self.known.found_damaged(name, &error.about(name));
            }
            ListingError(error.to_string())
        })
    }
}

impl EndedListing for ListingCheckpoint {
    fn position(&self) -> Position {
        self.checkpoint.end().position
    }

    fn stride(
        &self,
        sought: &SessionQuery,
        before: Option<Position>,
        most: usize,
    ) -> Result<SessionMatches, ListingError> {
        self.read(self.checkpoint.listed(sought, before, most))
    }

    fn of_subject(&self, id: &SubjectId) -> Result<Vec<(Position, SessionId)>, ListingError> {
        let sessions = self.read(self.checkpoint.ended_of(id))?;
        Ok(sessions.iter().map(|session| (session.created(), session.id)).collect())
    }

    fn listed_among(&self, ended: &[(Position, bool)]) -> Result<Vec<(Position, bool)>, ListingError> {
        self.read(self.checkpoint.listed_among(ended))
    }
}

impl Checkpoint {
    fn listed(
        &self,
        sought: &SessionQuery,
        before: Option<Position>,
        most: usize,
    ) -> Result<SessionMatches, CheckpointError> {
        let ends: &[RowEnd] = match sought.marked {
            EndMark::Open => &[],
            EndMark::Anyhow => &[RowEnd::Expired, RowEnd::Revoked],
            EndMark::Revoked => &[RowEnd::Revoked],
            EndMark::Expired | EndMark::NotRevoked => &[RowEnd::Expired],
        };
        let parts: Result<_, _> = ends.iter().map(|end| self.listed_as(*end, sought, before, most)).collect();
        Ok(SessionMatches::joined(parts?))
    }

    /// Those of the sought sessions that ended so.
    fn listed_as(
        &self,
        end: RowEnd,
        sought: &SessionQuery,
        before: Option<Position>,
        most: usize,
    ) -> Result<SessionMatches, CheckpointError> {
        let of_owner = sought.owner.as_ref().map(|owner| RowRange::of_owner(owner, end));
        let of_device = sought.device.map(|device| RowRange::of_device(device, end));
        let (shorter, longer) = match (of_owner, of_device) {
            (Some(owner), Some(device)) => {
                if self.count_in(&owner)? < self.count_in(&device)? {
                    (owner, device)
                } else {
                    (device, owner)
                }
            }
            (range, None) | (None, range) => {
                let range = range.unwrap_or_else(|| RowRange::all(end));
                return Ok(SessionMatches::some(self.latest_in(&range, before, most)?, most));
            }
        };
        // Few of one list may be in the other, and neighbours are read together.
        let most = most.max(ROWS);
        let SessionMatches { found, next } =
            SessionMatches::some(self.latest_in(&shorter, before, most)?, most);
        let mut finder = RowFinder::new(self, longer);
        let mut of_both = Vec::new();
        for listed in found {
            if finder.has(listed.began)? {
                of_both.push(listed);
            }
        }
        Ok(SessionMatches { found: of_both, next })
    }

    fn listed_among(&self, ended: &[(Position, bool)]) -> Result<Vec<(Position, bool)>, CheckpointError> {
        let mut expired = RowFinder::new(self, RowRange::all(RowEnd::Expired));
        let mut revoked = RowFinder::new(self, RowRange::all(RowEnd::Revoked));
        let mut listed = Vec::new();
        for (began, is_revoked) in ended {
            let finder = if *is_revoked { &mut revoked } else { &mut expired };
            if finder.has(*began)? {
                listed.push((*began, *is_revoked));
            }
        }
        Ok(listed)
    }
}
