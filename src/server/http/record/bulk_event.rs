//! A bulk revocation as an owner reads it.
//!
//! The events of the authority itself are not for owners. But this one is part of the story of each session that it
//! ended, so the owner of such a session reads it, without the counts and names of others. What its selector
//! says applies to the owner's own sessions, so that may be read; see `docs/events.md`.

use serde_json::{Map, Value};

use tenure_core::{Event, OwnerId, SystemEvent, bulk::OwnerMatchCount, event::SelectionRevoked};

/// The event, if it is a bulk revocation.
pub(crate) const fn bulk(event: &Event) -> Option<&SelectionRevoked> {
    match event {
        Event::System(SystemEvent::SelectionRevoked(revoked)) => Some(revoked),
        Event::System(_) | Event::Subject(_) => None,
    }
}

/// Whether it ended sessions of this owner's subjects, as they were its then. When there were too many owners to be
/// counted, it is for each: so are the notices.
pub(crate) fn concerned(event: &SelectionRevoked, owner: &OwnerId) -> bool {
    let is_own = |of: &OwnerMatchCount| of.owner_id.as_ref() == Some(owner);
    event.owners.as_ref().is_none_or(|owners| owners.iter().any(is_own))
}

/// Leaves of the event's members what concerns this owner: `matched` is how many were its own then, null when that was
/// not counted, and `owners` names no other.
pub(crate) fn confine(members: &mut Map<String, Value>, owner: &OwnerId) {
    let is_own = |of: &Value| of["ownerId"] == owner.as_str();
    let mut matched = Value::Null;
    if let Some(owners) = members.get_mut("owners").and_then(Value::as_array_mut) {
        owners.retain(is_own);
        matched = owners.first().map_or(Value::Null, |own| own["matched"].clone());
    }
    members.insert("matched".into(), matched);
    let selected = members.get_mut("selector").and_then(|selector| selector.get_mut("ownerId"));
    if let Some(other) = selected.filter(|selected| **selected != owner.as_str()) {
        *other = Value::Null;
    }
}
