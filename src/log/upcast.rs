//! Where an older version of an event is brought to today's shape. The log itself is never rewritten.
//!
//! Today every kind has one version. When a kind gets a second one:
//!
//! 1. keep the struct of version 1 here, as it was, under the name `SessionCreatedV1`;
//! 2. raise [`EventKind::version`];
//! 3. give the kind a function of its own below instead of `only_version_1`, which reads 1 into the old
//!    struct and makes today's of it, and reads 2 into today's;
//! 4. add a frozen sample for version 2 to `fixtures/events/`, and leave that of version 1 alone.

use minicbor::{Decode, Encode};

use super::codec::{DecodeError, exact};
use crate::domain::{Event, EventKind};

/// The event that was written as this kind and version, in today's shape.
pub(super) fn read(kind: u8, version: u8, data: &[u8]) -> Result<Event, DecodeError> {
    let kind = EventKind::from_code(kind).ok_or(DecodeError::UnknownKind(kind))?;
    match kind {
        EventKind::SubjectRegistered => only_version_1(kind, version, data, Event::SubjectRegistered),
        EventKind::SessionCreated => only_version_1(kind, version, data, Event::SessionCreated),
        EventKind::SessionRenewed => only_version_1(kind, version, data, Event::SessionRenewed),
        EventKind::RenewalRejected => only_version_1(kind, version, data, Event::RenewalRejected),
        EventKind::SessionRevoked => only_version_1(kind, version, data, Event::SessionRevoked),
        EventKind::SessionsRevoked => only_version_1(kind, version, data, Event::SessionsRevoked),
        EventKind::TokensPresented => only_version_1(kind, version, data, Event::TokensPresented),
        EventKind::CredentialIssued => only_version_1(kind, version, data, Event::CredentialIssued),
        EventKind::CredentialRevoked => only_version_1(kind, version, data, Event::CredentialRevoked),
        EventKind::PolicyChanged => only_version_1(kind, version, data, Event::PolicyChanged),
        EventKind::KeyRotated => only_version_1(kind, version, data, Event::KeyRotated),
        EventKind::WebhookCreated => only_version_1(kind, version, data, Event::WebhookCreated),
        EventKind::WebhookDeleted => only_version_1(kind, version, data, Event::WebhookDeleted),
        EventKind::SessionExpired => only_version_1(kind, version, data, Event::SessionExpired),
        EventKind::SubjectErased => only_version_1(kind, version, data, Event::SubjectErased),
        EventKind::SessionRefreshed => only_version_1(kind, version, data, Event::SessionRefreshed),
        EventKind::SessionsSeen => only_version_1(kind, version, data, Event::SessionsSeen),
        EventKind::UsageRecorded => only_version_1(kind, version, data, Event::UsageRecorded),
    }
}

/// For a kind whose shape never changed.
fn only_version_1<'b, T>(
    kind: EventKind,
    version: u8,
    data: &'b [u8],
    event: fn(T) -> Event,
) -> Result<Event, DecodeError>
where
    T: Decode<'b, ()> + Encode<()>,
{
    match version {
        1 => exact(data, kind.name()).map(event),
        _ => Err(DecodeError::UnknownVersion { kind, version }),
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
