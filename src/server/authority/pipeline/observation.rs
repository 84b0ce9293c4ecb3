//! What decisions about the authority itself need to know beyond its own state.

use super::batch::{Batch, MARKS_PER_COMMIT};
use tenure_core::{
    KeyUse, Timestamp, command::SystemCommand, event::SessionSelector, observed::Observation,
    token::LONGEST_ACCESS,
};

/// What a command about the authority itself needs of the state of all subjects.
pub(super) fn observed_by_system(batch: &Batch<'_>, command: &SystemCommand, at: Timestamp) -> Observation {
    match command {
        SystemCommand::RevokeMatching(asked) => {
            Observation { matched: batch.matching(&asked.selector, at), ..Observation::default() }
        }
        SystemCommand::RotateKey(asked) => {
            let longest_ttl = match asked.which {
                KeyUse::Session => batch.longest_ttl(),
                KeyUse::Access => LONGEST_ACCESS,
            };
            Observation { longest_ttl, ..Observation::default() }
        }
        SystemCommand::BeginEpoch(_) => Observation {
            matched: batch.matching(&SessionSelector::default(), at),
            longest_ttl: batch.longest_ttl(),
            ..Observation::default()
        },
        SystemCommand::IssueCredential(_)
        | SystemCommand::RevokeCredential(_)
        | SystemCommand::ConfirmCredential(_)
        | SystemCommand::SetPolicy(_)
        | SystemCommand::SegmentLog(_)
        | SystemCommand::AdmitKeys(_)
        | SystemCommand::MarkPresented(_)
        | SystemCommand::MarkSeen(_)
        | SystemCommand::CreateWebhook(_)
        | SystemCommand::DeleteWebhook(_) => Observation::default(),
    }
}

/// A request to record marks records those that still say something, and of uses what else is due with them.
pub(super) fn without_stale_marks(
    batch: &mut Batch<'_>,
    command: SystemCommand,
    at: Timestamp,
) -> SystemCommand {
    match command {
        SystemCommand::MarkSeen(asked) => {
            SystemCommand::MarkSeen(batch.due_uses(&asked, MARKS_PER_COMMIT, at))
        }
        SystemCommand::MarkPresented(marks) => SystemCommand::MarkPresented(batch.still_true(marks)),
        SystemCommand::IssueCredential(_)
        | SystemCommand::RevokeCredential(_)
        | SystemCommand::SetPolicy(_)
        | SystemCommand::SegmentLog(_)
        | SystemCommand::AdmitKeys(_)
        | SystemCommand::RotateKey(_)
        | SystemCommand::RevokeMatching(_)
        | SystemCommand::ConfirmCredential(_)
        | SystemCommand::BeginEpoch(_)
        | SystemCommand::CreateWebhook(_)
        | SystemCommand::DeleteWebhook(_) => command,
    }
}
