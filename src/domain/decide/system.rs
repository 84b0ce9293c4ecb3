//! Requests about the authority itself.

use crate::domain::{
    Event,
    command::SystemCommand,
    event::{
        CredentialRevoked, PolicyChanged, Role, SessionsSeen, TokensPresented, WebhookCreated, WebhookDeleted,
    },
    refusal::Refusal,
    system::System,
    webhook,
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
        SystemCommand::MarkSeen(marks) if marks.is_empty() => Ok(vec![]),
        SystemCommand::MarkSeen(marks) => Ok(vec![Event::SessionsSeen(SessionsSeen { seen: marks.clone() })]),
        SystemCommand::CreateWebhook(event) => create_webhook(system, event),
        SystemCommand::DeleteWebhook(asked) => {
            let known = system.webhooks.get(&asked.id);
            let known = known.filter(|webhook| webhook.is_visible_to(asked.owner.as_ref()));
            let webhook_id = known.ok_or(Refusal::WebhookNotFound)?.id();
            Ok(vec![Event::WebhookDeleted(WebhookDeleted { webhook_id })])
        }
    }
}

fn create_webhook(system: &System, asked: &WebhookCreated) -> Result<Vec<Event>, Refusal> {
    if system.webhooks.len() >= webhook::MOST {
        return Err(Refusal::WebhookLimitExceeded { most: webhook::MOST });
    }
    let of_owner = system.webhooks.values().filter(|known| known.asked.owner_id == asked.owner_id);
    if asked.owner_id.is_some() && of_owner.count() >= webhook::MOST_PER_OWNER {
        return Err(Refusal::WebhookLimitExceeded { most: webhook::MOST_PER_OWNER });
    }
    Ok(vec![Event::WebhookCreated(asked.clone())])
}
