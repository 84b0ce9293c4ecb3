//! What is decided while the disk is nearly full or a part of the history is damaged: what ends something, and what
//! takes no room and grants nothing.

use super::{
    batch::Batch,
    disk_room::RoomFor,
    request::{CommandError, CommandRequest, QueuedRequest},
    sequencer::Sequencer,
};
use crate::authority::state::idempotency::IdempotencyLookup;
use tenure_core::Timestamp;

impl Sequencer {
    /// Checks that a request may be decided now. One that had its effect before always may, and so may one that would
    /// record nothing, such as a renewal repeated because its reply was lost.
    ///
    /// # Errors
    /// [`CommandError::StorageUnavailable`] with the reason.
    pub(super) fn check_fits(
        &self,
        staging: &Batch<'_>,
        request: &QueuedRequest,
        room: RoomFor,
    ) -> Result<(), CommandError> {
        let is_doubted = self.doubt.is_there() && request.ask.grants();
        let lacks_room = room != RoomFor::All && needs(staging, &request.ask, self.moment(staging)) > room;
        if !(is_doubted || lacks_room) || self.has_no_effect(staging, request) {
            return Ok(());
        }
        let full = lacks_room.then(|| self.room.fault()).flatten();
        Err(CommandError::StorageUnavailable { why: full.or_else(|| self.doubt.fault()).unwrap_or_default() })
    }

    fn has_no_effect(&self, staging: &Batch<'_>, request: &QueuedRequest) -> bool {
        let at = self.moment(staging);
        let is_known = |mark| staging.look_up(&self.idempotency, mark, at) != IdempotencyLookup::No;
        request.context.idempotency.is_some_and(is_known) || self.records_nothing(staging, &request.ask, at)
    }

    /// Whether what is asked is granted and so already. A refusal may have a record, and rest on uses that have none yet.
    fn records_nothing(&self, staging: &Batch<'_>, ask: &CommandRequest, at: Timestamp) -> bool {
        match ask {
            CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _) => {
                let subject = staging.subject(id);
                let observed = self.observed(staging, &subject, command);
                staging.changes_nothing(&subject, command, &observed, at)
            }
            CommandRequest::System(_) | CommandRequest::Rotate(..) | CommandRequest::BeginEpoch(..) => false,
        }
    }

    fn moment(&self, staging: &Batch<'_>) -> Timestamp {
        staging.moment(self.clock.now())
    }
}

/// For what there must be room. A suspension ends something, and another one on top of it does not.
fn needs(staging: &Batch<'_>, ask: &CommandRequest, at: Timestamp) -> RoomFor {
    let is_suspended = |id| staging.subject(id).suspension_at(at).is_some();
    let adds_nothing = ask.suspends().is_some_and(is_suspended);
    if adds_nothing { RoomFor::All } else { ask.needs() }
}
