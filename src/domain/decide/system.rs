//! Requests about the authority itself.

use crate::domain::{
    Event,
    bulk::Matched,
    command::{RevokeMatching, RotateKey, SystemCommand},
    event::{
        CredentialRevoked, KeyRotated, PolicyChanged, Role, SessionsRevoked, SessionsSeen, TokensPresented,
        Trigger, WebhookCreated, WebhookDeleted,
    },
    keys::{KeyId, KeyUse, ROTATION_PAUSE, Retire},
    observed::Observed,
    refusal::Refusal,
    system::System,
    time::{Seconds, Timestamp},
    webhook,
};

/// Decides a command against the authority's own state, by the same rules as [`decide`](super::decide).
pub fn decide_system(
    system: &System,
    command: &SystemCommand,
    observed: &Observed,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
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
        SystemCommand::AdmitKeys(keys) => Ok(admit_keys(system, keys)),
        SystemCommand::RotateKey(asked) => rotate_key(system, asked, observed.longest_ttl, at),
        SystemCommand::MarkSeen(marks) if marks.is_empty() => Ok(vec![]),
        SystemCommand::MarkSeen(marks) => Ok(vec![Event::SessionsSeen(SessionsSeen { seen: marks.clone() })]),
        SystemCommand::CreateWebhook(event) => create_webhook(system, event),
        SystemCommand::DeleteWebhook(asked) => {
            let known = system.webhooks.get(&asked.id);
            let known = known.filter(|webhook| webhook.is_visible_to(asked.owner.as_ref()));
            let webhook_id = known.ok_or(Refusal::WebhookNotFound)?.id();
            Ok(vec![Event::WebhookDeleted(WebhookDeleted { webhook_id })])
        }
        SystemCommand::RevokeMatching(_) if observed.matched.count == 0 => Ok(vec![]),
        SystemCommand::RevokeMatching(asked) => {
            Ok(vec![Event::SessionsRevoked(revoked(system, asked, &observed.matched))])
        }
    }
}

/// The selector says of its key when it sealed, as far as is known at this moment.
fn revoked(system: &System, asked: &RevokeMatching, matched: &Matched) -> SessionsRevoked {
    SessionsRevoked {
        device_digest: None,
        except_session_id: None,
        oldest: None,
        matched: matched.count,
        trigger: Trigger::Bulk,
        reason: Some(asked.reason.clone()),
        selector: Some(Box::new(asked.selector.clone().under(&system.keys))),
        owners: matched.owners(),
    }
}

fn admit_keys(system: &System, keys: &[(KeyUse, KeyId)]) -> Vec<Event> {
    let new = keys.iter().filter(|(which, _)| system.keys.active(*which).is_none());
    let admitted = new.map(|(which, key_id)| KeyRotated {
        which: *which,
        key_id: key_id.clone(),
        previous_key_id: None,
        retire: None,
        retire_at: None,
    });
    admitted.map(Event::KeyRotated).collect()
}

/// A rotation without an overlap is for an emergency, so nothing holds it up.
fn rotate_key(
    system: &System,
    asked: &RotateKey,
    longest_ttl: Seconds,
    at: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let retire_at = match asked.retire {
        Retire::Now => at,
        Retire::Overlap => {
            let earliest = system.keys.last_overlap(asked.which).map(|last| last.plus(ROTATION_PAUSE));
            if let Some(retry_at) = earliest.filter(|earliest| at < *earliest) {
                let left = retry_at.millis_since(at).unsigned_abs().div_ceil(1000);
                let wait = Seconds(u32::try_from(left).unwrap_or(u32::MAX));
                return Err(Refusal::RotationTooRecent { retry_at, wait });
            }
            at.plus(asked.overlap.unwrap_or(longest_ttl))
        }
    };
    Ok(vec![Event::KeyRotated(KeyRotated {
        which: asked.which,
        key_id: asked.key_id.clone(),
        previous_key_id: system.keys.active(asked.which).map(|key| key.id.clone()),
        retire: Some(asked.retire),
        retire_at: Some(retire_at),
    })])
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
