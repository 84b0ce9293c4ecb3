//! Places in the history as they are given out and come back: `7` in the first epoch, `2:7` in the second.
//!
//! A place that comes back is only believed when this history has it. Another history may have given out the same
//! position before the authority was restored, and to go on there would skip what was recorded instead.

use std::{fmt::Display, str::FromStr};

use tenure_core::{EpochPosition, Position, epoch};

use crate::http::{api::ApiContext, reply::problem::Problem};

/// A place with the epoch that it was given out in.
pub(crate) struct EpochStamped<P> {
    pub(crate) epoch: u32,
    pub(crate) place: P,
}

impl<P: FromStr> FromStr for EpochStamped<P> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, place) = epoch::parted(text).ok_or(())?;
        Ok(Self { epoch, place: place.parse().map_err(|_| ())? })
    }
}

impl ApiContext {
    /// A position as it is given out.
    pub(crate) fn named(&self, position: Position) -> EpochPosition {
        self.authority.live().system().system.epochs.named(position)
    }

    /// A position to go on from, as it is given out now. Any part of this history can be named in its present epoch.
    pub(crate) fn named_now(&self, position: Position) -> EpochPosition {
        EpochPosition { epoch: self.authority.live().system().system.epochs.current(), position }
    }

    /// The name of something at a position, as it is given out.
    pub(crate) fn named_at(&self, position: Position, name: impl Display) -> String {
        format!("{}{name}", epoch::prefix_of(self.named(position).epoch))
    }

    /// Judges a position from which a reader wants to go on. To be silent about one beyond the end would look as if
    /// nothing had happened, and so would it about one of a history that was lost.
    pub(crate) fn check_resumable(&self, given: EpochPosition) -> Result<(), Problem> {
        let end = self.authority.live().position();
        if given.position > end {
            return Err(Problem::beyond_end(end));
        }
        self.check_epoch(given)
    }

    /// Judges a position that may lie beyond the end.
    pub(crate) fn check_epoch(&self, given: EpochPosition) -> Result<(), Problem> {
        let system = self.authority.live().system();
        if system.system.epochs.have(given.epoch, given.position) {
            return Ok(());
        }
        let (end, epoch) = (self.authority.live().position(), system.system.epochs.current());
        Err(Problem::of_another_epoch(end, given.epoch, epoch))
    }
}
