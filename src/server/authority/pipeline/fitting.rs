//! What is decided while the disk is nearly full: what ends something, and what takes no room.

use super::{
    batch::Batch,
    request::{CommandRequest, Request},
    room::For,
    sequencer::Sequencer,
};
use crate::authority::state::idempotency::KnownRequest;
use tenure_core::Timestamp;

impl Sequencer {
    /// Whether a request may take what room there is. One that had its effect before takes none, and neither does one
    /// that would record nothing, such as a renewal that is repeated because its reply was lost.
    pub(super) fn fits(&self, staging: &Batch<'_>, request: &Request, room: For) -> bool {
        let at = staging.moment(self.clock.now());
        let is_known = |mark| staging.look_up(&self.idempotency, mark, at) != KnownRequest::No;
        // A suspension ends something, and another one on top of it does not.
        let is_suspended = |id| staging.subject(id).suspension_at(at).is_some();
        let adds_nothing = request.ask.suspends().is_some_and(is_suspended);
        let needs = if adds_nothing { For::All } else { request.ask.needs() };
        needs <= room
            || request.context.idempotency.is_some_and(is_known)
            || self.records_nothing(staging, &request.ask, at)
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
}
