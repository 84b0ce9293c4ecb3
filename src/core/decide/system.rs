//! Requests about the authority itself.

use crate::{
    SystemEvent,
    bulk::MatchCount,
    command::{BeginEpoch, RevokeMatching, RotateKey, SystemCommand},
    event::{
        CredentialConfirmed, CredentialIssued, CredentialRevoked, EndTrigger, EpochBegan, KeyRotated,
        LogSegmented, PolicyChanged, Role, SelectionRevoked, SessionsSeen, TokensPresented, WebhookCreated,
        WebhookDeleted,
    },
    keys::{KeyId, KeyUse, ROTATION_PAUSE, RetireMode},
    observed::Observation,
    refusal::{FieldError, Refusal},
    system::SystemState,
    time::{Seconds, Timestamp},
    webhook::{self, Webhook},
};

/// Decides a command against the authority's own state, by the same rules as [`decide`](super::decide).
pub fn decide_system(
    system: &SystemState,
    command: &SystemCommand,
    observed: &Observation,
    at: Timestamp,
) -> Result<Vec<SystemEvent>, Refusal> {
    match command {
        SystemCommand::IssueCredential(event) => issue_credential(system, event),
        SystemCommand::RevokeCredential(id) => {
            let credential = system.credentials.get(id).ok_or(Refusal::CredentialNotFound)?;
            if credential.revoked_at.is_some() {
                return Ok(vec![]);
            }
            // Without an admin key no one could ever make another.
            if credential.is_lasting_admin() && system.lasting_admins() == 1 {
                return Err(Refusal::LastAdmin { caused_by: system.admins_changed() });
            }
            Ok(vec![SystemEvent::CredentialRevoked(CredentialRevoked { credential_id: *id })])
        }
        SystemCommand::SetPolicy(policy) if system.policy.as_ref() == Some(policy) => Ok(vec![]),
        SystemCommand::SetPolicy(policy) => {
            Ok(vec![SystemEvent::PolicyChanged(PolicyChanged { policy: policy.clone() })])
        }
        SystemCommand::MarkPresented(marks) if marks.is_empty() => Ok(vec![]),
        SystemCommand::MarkPresented(marks) => {
            Ok(vec![SystemEvent::TokensPresented(TokensPresented { presented: marks.clone() })])
        }
        SystemCommand::AdmitKeys(keys) => Ok(admit_keys(system, keys)),
        SystemCommand::RotateKey(asked) => rotate_key(system, asked, observed.longest_ttl, at),
        SystemCommand::MarkSeen(marks) if marks.is_empty() => Ok(vec![]),
        SystemCommand::MarkSeen(marks) => {
            Ok(vec![SystemEvent::SessionsSeen(SessionsSeen { seen: marks.clone() })])
        }
        SystemCommand::CreateWebhook(event) => create_webhook(system, event),
        SystemCommand::DeleteWebhook(asked) => {
            let known = system.webhooks.get(&asked.id);
            let known = known.filter(|webhook| webhook.is_visible_to(asked.owner.as_ref()));
            let webhook_id = known.ok_or(Refusal::WebhookNotFound)?.id();
            Ok(vec![SystemEvent::WebhookDeleted(WebhookDeleted { webhook_id })])
        }
        SystemCommand::ConfirmCredential(id) => {
            let credential = system.credentials.get(id).ok_or(Refusal::CredentialNotFound)?;
            let confirmed = SystemEvent::CredentialConfirmed(CredentialConfirmed { credential_id: *id });
            Ok(credential.held_since.map(|_| confirmed).into_iter().collect())
        }
        SystemCommand::SegmentLog(_) if system.segment_events.is_some() => Ok(vec![]),
        SystemCommand::SegmentLog(events) => {
            Ok(vec![SystemEvent::LogSegmented(LogSegmented { segment_events: *events })])
        }
        SystemCommand::BeginEpoch(asked) => Ok(begin_epoch(system, asked, observed, at)),
        SystemCommand::RevokeMatching(_) if observed.matched.count == 0 => Ok(vec![]),
        SystemCommand::RevokeMatching(asked) => {
            Ok(vec![SystemEvent::SelectionRevoked(revoked(system, asked, &observed.matched))])
        }
    }
}

/// If every admin key had an end, no one could make another one after it.
fn issue_credential(system: &SystemState, event: &CredentialIssued) -> Result<Vec<SystemEvent>, Refusal> {
    if event.role == Role::Admin && event.expires_in.is_some() && system.lasting_admins() == 0 {
        let why = "is for an admin key only beside one that has no end";
        return Err(Refusal::Invalid(vec![FieldError::new("expiresIn", why)]));
    }
    Ok(vec![SystemEvent::CredentialIssued(event.clone())])
}

/// The selector says of its key when it sealed, as far as is known at this moment.
fn revoked(system: &SystemState, asked: &RevokeMatching, matched: &MatchCount) -> SelectionRevoked {
    SelectionRevoked {
        selector: Box::new(asked.selector.clone().under(&system.keys)),
        matched: matched.count,
        reason: Some(asked.reason.clone()),
        owners: matched.owners(),
        cause: None,
    }
}

/// Session keys that sealed before may still explain why a token is invalid: every session that they could renew ends
/// here. Access tokens are judged by others, so the keys that signed them are over at once.
fn begin_epoch(
    system: &SystemState,
    asked: &BeginEpoch,
    observed: &Observation,
    at: Timestamp,
) -> Vec<SystemEvent> {
    let began = EpochBegan {
        epoch: asked.epoch,
        from: asked.from,
        reason: asked.reason.clone(),
        previous_name: asked.previous_name.clone(),
        previous_head: asked.previous_head.clone(),
        credentials_held: asked.hold_credentials,
    };
    let ended = SelectionRevoked {
        selector: Box::default(),
        matched: observed.matched.count,
        reason: None,
        owners: observed.matched.owners(),
        cause: Some(EndTrigger::Restore),
    };
    let rotated = asked.keys.iter().map(|(which, key_id)| {
        let previous = system.keys.active(*which);
        let (retire, retire_at) = match which {
            KeyUse::Session => (RetireMode::Overlap, at.plus(observed.longest_ttl)),
            KeyUse::Access => (RetireMode::Now, at),
        };
        KeyRotated {
            which: *which,
            key_id: key_id.clone(),
            previous_key_id: previous.map(|key| key.id.clone()),
            retire: previous.map(|_| retire),
            retire_at: previous.map(|_| retire_at),
        }
    });
    let first = [SystemEvent::EpochBegan(began), SystemEvent::SelectionRevoked(ended)];
    first.into_iter().chain(rotated.map(SystemEvent::KeyRotated)).collect()
}

fn admit_keys(system: &SystemState, keys: &[(KeyUse, KeyId)]) -> Vec<SystemEvent> {
    let new = keys.iter().filter(|(which, _)| system.keys.active(*which).is_none());
    let admitted = new.map(|(which, key_id)| KeyRotated {
        which: *which,
        key_id: key_id.clone(),
        previous_key_id: None,
        retire: None,
        retire_at: None,
    });
    admitted.map(SystemEvent::KeyRotated).collect()
}

/// A rotation without an overlap is for an emergency, so nothing holds it up.
fn rotate_key(
    system: &SystemState,
    asked: &RotateKey,
    longest_ttl: Seconds,
    at: Timestamp,
) -> Result<Vec<SystemEvent>, Refusal> {
    let retire_at = match asked.retire {
        RetireMode::Now => at,
        RetireMode::Overlap => {
            let last = system.keys.last_overlap(asked.which);
            let earliest = last.map(|last| (last.created_at.plus(ROTATION_PAUSE), last.since));
            if let Some((retry_at, caused_by)) = earliest.filter(|(earliest, _)| at < *earliest) {
                let left = retry_at.millis_since(at).unsigned_abs().div_ceil(1000);
                let wait = Seconds(u32::try_from(left).unwrap_or(u32::MAX));
                return Err(Refusal::RotationTooRecent { retry_at, wait, caused_by });
            }
            at.plus(asked.overlap.unwrap_or(longest_ttl))
        }
    };
    Ok(vec![SystemEvent::KeyRotated(KeyRotated {
        which: asked.which,
        key_id: asked.key_id.clone(),
        previous_key_id: system.keys.active(asked.which).map(|key| key.id.clone()),
        retire: Some(asked.retire),
        retire_at: Some(retire_at),
    })])
}

fn create_webhook(system: &SystemState, asked: &WebhookCreated) -> Result<Vec<SystemEvent>, Refusal> {
    let all = system.webhooks.values();
    check_room(all.clone(), webhook::MOST)?;
    if asked.owner_id.is_some() {
        let of_owner = all.filter(|known| known.asked.owner_id == asked.owner_id);
        check_room(of_owner, webhook::MOST_PER_OWNER)?;
    }
    Ok(vec![SystemEvent::WebhookCreated(asked.clone())])
}

fn check_room<'a>(known: impl Iterator<Item = &'a Webhook>, most: usize) -> Result<(), Refusal> {
    let known: Vec<_> = known.map(|webhook| webhook.created).collect();
    match known.iter().max() {
        Some(newest) if known.len() >= most => {
            Err(Refusal::WebhookLimitExceeded { most, caused_by: *newest })
        }
        Some(_) | None => Ok(()),
    }
}
