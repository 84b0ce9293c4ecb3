//! Requests about the authority itself.

use crate::domain::{
    Event,
    command::SystemCommand,
    event::{CredentialRevoked, PolicyChanged, Role, TokensPresented},
    refusal::Refusal,
    system::System,
};

/// Decides a command against the authority's own state, by the same rules as [`decide`](super::decide).
pub fn decide_system(system: &System, command: &SystemCommand) -> Result<Vec<Event>, Refusal> {
    match command {
        SystemCommand::IssueCredential(event) => Ok(vec![Event::CredentialIssued(event.clone())]),
        SystemCommand::RevokeCredential(id) => {
            let credential = system.credentials.get(id).ok_or(Refusal::CredentialNotFound)?;
            if credential.revoked_at.is_some() {
                return Ok(vec![]);
            }
            // Without an admin key nobody could ever make another.
            if credential.role == Role::Admin && system.active_admins() == 1 {
                return Err(Refusal::LastAdmin);
            }
            Ok(vec![Event::CredentialRevoked(CredentialRevoked { credential_id: *id })])
        }
        SystemCommand::SetPolicy(policy) if system.policy.as_ref() == Some(policy) => Ok(vec![]),
        SystemCommand::SetPolicy(policy) => {
            Ok(vec![Event::PolicyChanged(PolicyChanged { policy: policy.clone() })])
        }
        SystemCommand::MarkPresented(marks) if marks.is_empty() => Ok(vec![]),
        SystemCommand::MarkPresented(marks) => {
            Ok(vec![Event::TokensPresented(TokensPresented { presented: marks.clone() })])
        }
    }
}
