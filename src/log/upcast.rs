//! Where an older version of an event is brought to today's shape. The log itself is never rewritten.
//!
//! When a kind gets another version:
//!
//! 1. keep the struct of the last one here, as it was, under a name such as `SessionsRevokedV1`;
//! 2. raise [`EventKind::version`];
//! 3. give the kind a function of its own below instead of `only_version_1`, which reads 1 into the old
//!    struct and makes today's of it, and reads 2 into today's;
//! 4. add a frozen sample for version 2 to `fixtures/events/`, and leave that of version 1 alone.

use minicbor::{Decode, Encode};

use super::codec::{DecodeError, exact};
use tenure_core::{
    Digest16, Event, EventKind, SealedText, SessionId, SubjectEvent, SystemEvent,
    event::{EndTrigger, OwnerMatchCount, SelectionRevoked, SessionSelector, SessionsRevoked},
};

/// The event that was written as this kind and version, in today's shape.
pub(super) fn read(kind: u8, version: u8, data: &[u8]) -> Result<Event, DecodeError> {
    let kind = EventKind::from_code(kind).ok_or(DecodeError::UnknownKind(kind))?;
    match kind {
        EventKind::SessionsRevoked => sessions_revoked(version, data),
        EventKind::SubjectRegistered => only_version_1(kind, version, data, SubjectEvent::SubjectRegistered),
        EventKind::SessionCreated => only_version_1(kind, version, data, SubjectEvent::SessionCreated),
        EventKind::SessionRenewed => only_version_1(kind, version, data, SubjectEvent::SessionRenewed),
        EventKind::RenewalRejected => only_version_1(kind, version, data, SubjectEvent::RenewalRejected),
        EventKind::SessionRevoked => only_version_1(kind, version, data, SubjectEvent::SessionRevoked),
        EventKind::SessionExpired => only_version_1(kind, version, data, SubjectEvent::SessionExpired),
        EventKind::SubjectErased => only_version_1(kind, version, data, SubjectEvent::SubjectErased),
        EventKind::SessionRefreshed => only_version_1(kind, version, data, SubjectEvent::SessionRefreshed),
        EventKind::UsageRecorded => only_version_1(kind, version, data, SubjectEvent::UsageRecorded),
        EventKind::SubjectSuspended => only_version_1(kind, version, data, SubjectEvent::SubjectSuspended),
        EventKind::SubjectResumed => only_version_1(kind, version, data, SubjectEvent::SubjectResumed),
        EventKind::SelectionRevoked => only_version_1(kind, version, data, SystemEvent::SelectionRevoked),
        EventKind::TokensPresented => only_version_1(kind, version, data, SystemEvent::TokensPresented),
        EventKind::SessionsSeen => only_version_1(kind, version, data, SystemEvent::SessionsSeen),
        EventKind::CredentialIssued => only_version_1(kind, version, data, SystemEvent::CredentialIssued),
        EventKind::CredentialRevoked => only_version_1(kind, version, data, SystemEvent::CredentialRevoked),
        EventKind::PolicyChanged => only_version_1(kind, version, data, SystemEvent::PolicyChanged),
        EventKind::KeyRotated => only_version_1(kind, version, data, SystemEvent::KeyRotated),
        EventKind::WebhookCreated => only_version_1(kind, version, data, SystemEvent::WebhookCreated),
        EventKind::WebhookDeleted => only_version_1(kind, version, data, SystemEvent::WebhookDeleted),
        EventKind::EpochBegan => only_version_1(kind, version, data, SystemEvent::EpochBegan),
        EventKind::CredentialConfirmed => {
            only_version_1(kind, version, data, SystemEvent::CredentialConfirmed)
        }
        EventKind::LogSegmented => only_version_1(kind, version, data, SystemEvent::LogSegmented),
    }
}

/// For a kind whose shape never changed.
fn only_version_1<'b, T, E>(
    kind: EventKind,
    version: u8,
    data: &'b [u8],
    event: fn(T) -> E,
) -> Result<Event, DecodeError>
where
    T: Decode<'b, ()> + Encode<()>,
    Event: From<E>,
{
    match version {
        1 => exact(data, kind.name()).map(event).map(Event::from),
        _ => Err(DecodeError::UnknownVersion { kind, version }),
    }
}

/// Version 1 was two kinds in one: with a selector, it was the end of a selection.
fn sessions_revoked(version: u8, data: &[u8]) -> Result<Event, DecodeError> {
    let kind = EventKind::SessionsRevoked;
    match version {
        1 => exact::<SessionsRevokedV1>(data, kind.name()).map(Event::from),
        2 => exact(data, kind.name()).map(SubjectEvent::SessionsRevoked).map(Event::from),
        _ => Err(DecodeError::UnknownVersion { kind, version }),
    }
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct SessionsRevokedV1 {
    #[n(0)]
    device_digest: Option<Digest16>,
    #[n(1)]
    except_session_id: Option<SessionId>,
    #[n(2)]
    oldest: Option<u32>,
    #[n(3)]
    matched: u32,
    #[n(4)]
    trigger: EndTrigger,
    #[n(5)]
    reason: Option<SealedText>,
    #[n(6)]
    selector: Option<Box<SessionSelector>>,
    #[n(7)]
    owners: Option<Vec<OwnerMatchCount>>,
}

impl From<SessionsRevokedV1> for Event {
    fn from(old: SessionsRevokedV1) -> Self {
        let SessionsRevokedV1 { device_digest, except_session_id, oldest, matched, trigger, reason, .. } =
            old;
        if let Some(selector) = old.selector {
            let event = SelectionRevoked { selector, matched, reason, owners: old.owners, cause: None };
            return SystemEvent::SelectionRevoked(event).into();
        }
        let event = SessionsRevoked { device_digest, except_session_id, oldest, matched, trigger, reason };
        SubjectEvent::SessionsRevoked(event).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_or_version_from_the_future_is_named() {
        assert_eq!(read(200, 1, &[]), Err(DecodeError::UnknownKind(200)));
        for kind in EventKind::ALL {
            let version = kind.version() + 1;
            let error = read(kind as u8, version, &[]).unwrap_err();
            assert_eq!(error, DecodeError::UnknownVersion { kind, version });
            assert!(error.to_string().contains(kind.name()), "{error}");
        }
    }
}
