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
        batch: &Batch<'_>,
        request: &QueuedRequest,
        room: RoomFor,
    ) -> Result<(), CommandError> {
        let is_doubted = self.log_damage.is_there() && request.ask.grants();
        let lacks_room = room != RoomFor::All && needs(batch, &request.ask, self.moment(batch)) > room;
        if !(is_doubted || lacks_room) || self.has_no_effect(batch, request) {
            return Ok(());
        }
        let full = lacks_room.then(|| self.disk_room.fault()).flatten();
        Err(CommandError::StorageUnavailable {
            why: full.or_else(|| self.log_damage.fault()).unwrap_or_default(),
        })
    }

    fn has_no_effect(&self, batch: &Batch<'_>, request: &QueuedRequest) -> bool {
        let at = self.moment(batch);
        let is_known = |mark| batch.look_up(&self.idempotency, mark, at) != IdempotencyLookup::No;
        request.context.idempotency.is_some_and(is_known) || self.records_nothing(batch, &request.ask, at)
    }

    /// Whether what is asked is granted and so already. A refusal may have a record, and rest on uses that have none yet.
    fn records_nothing(&self, batch: &Batch<'_>, ask: &CommandRequest, at: Timestamp) -> bool {
        match ask {
            CommandRequest::Subject(id, command) | CommandRequest::Sealed(id, command, _) => {
                let subject = batch.subject(id);
                let observed = self.observed(batch, &subject, command);
                batch.changes_nothing(&subject, command, &observed, at)
            }
            CommandRequest::System(_) | CommandRequest::Rotate(..) | CommandRequest::BeginEpoch(..) => false,
        }
    }

    fn moment(&self, batch: &Batch<'_>) -> Timestamp {
        batch.moment(self.clock.now())
    }
}

/// For what there must be room. A suspension ends something, and another one on top of it does not.
fn needs(batch: &Batch<'_>, ask: &CommandRequest, at: Timestamp) -> RoomFor {
    let is_suspended = |id| batch.subject(id).suspension_at(at).is_some();
    let adds_nothing = ask.suspends().is_some_and(is_suspended);
    if adds_nothing { RoomFor::All } else { ask.needs() }
}
