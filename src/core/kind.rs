//! The kinds of events: their names in the API and their numbers in the log.
//!
//! A number is never given to another kind.

/// The kind of an event: its name in the API and its number in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// See [`SubjectRegistered`](super::event::SubjectRegistered).
    SubjectRegistered = 1,
    /// See [`SessionCreated`](super::event::SessionCreated).
    SessionCreated = 2,
    /// See [`SessionRenewed`](super::event::SessionRenewed).
    SessionRenewed = 3,
    /// See [`RenewalRejected`](super::event::RenewalRejected).
    RenewalRejected = 4,
    /// See [`SessionRevoked`](super::event::SessionRevoked).
    SessionRevoked = 5,
    /// See [`SessionsRevoked`](super::event::SessionsRevoked).
    SessionsRevoked = 6,
    /// See [`TokensPresented`](super::event::TokensPresented).
    TokensPresented = 7,
    /// See [`CredentialIssued`](super::event::CredentialIssued).
    CredentialIssued = 8,
    /// See [`CredentialRevoked`](super::event::CredentialRevoked).
    CredentialRevoked = 9,
    /// See [`PolicyChanged`](super::event::PolicyChanged).
    PolicyChanged = 10,
    /// See [`SessionExpired`](super::event::SessionExpired).
    SessionExpired = 11,
    /// See [`SubjectErased`](super::event::SubjectErased).
    SubjectErased = 12,
    /// See [`KeyRotated`](super::event::KeyRotated).
    KeyRotated = 14,
    /// See [`SessionRefreshed`](super::event::SessionRefreshed).
    SessionRefreshed = 15,
    /// See [`SessionsSeen`](super::event::SessionsSeen).
    SessionsSeen = 16,
    /// See [`UsageRecorded`](super::event::UsageRecorded).
    UsageRecorded = 17,
    /// See [`WebhookCreated`](super::event::WebhookCreated).
    WebhookCreated = 18,
    /// See [`WebhookDeleted`](super::event::WebhookDeleted).
    WebhookDeleted = 19,
    /// See [`SelectionRevoked`](super::event::SelectionRevoked).
    SelectionRevoked = 20,
    /// See [`SubjectSuspended`](super::event::SubjectSuspended).
    SubjectSuspended = 21,
    /// See [`SubjectResumed`](super::event::SubjectResumed).
    SubjectResumed = 22,
    /// See [`EpochBegan`](super::event::EpochBegan).
    EpochBegan = 24,
    /// See [`CredentialConfirmed`](super::event::CredentialConfirmed).
    CredentialConfirmed = 25,
    /// See [`LogSegmented`](super::event::LogSegmented).
    LogSegmented = 26,
}

impl serde::Serialize for EventKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl EventKind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 24] = [
        Self::SubjectRegistered,
        Self::SessionCreated,
        Self::SessionRenewed,
        Self::RenewalRejected,
        Self::SessionRevoked,
        Self::SessionsRevoked,
        Self::TokensPresented,
        Self::CredentialIssued,
        Self::CredentialRevoked,
        Self::PolicyChanged,
        Self::SessionExpired,
        Self::SubjectErased,
        Self::KeyRotated,
        Self::SessionRefreshed,
        Self::SessionsSeen,
        Self::UsageRecorded,
        Self::WebhookCreated,
        Self::WebhookDeleted,
        Self::SelectionRevoked,
        Self::SubjectSuspended,
        Self::SubjectResumed,
        Self::EpochBegan,
        Self::CredentialConfirmed,
        Self::LogSegmented,
    ];

    /// Its name, as in `kinds=` and in a recorded event.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubjectRegistered => "SubjectRegistered",
            Self::SessionCreated => "SessionCreated",
            Self::SessionRenewed => "SessionRenewed",
            Self::RenewalRejected => "RenewalRejected",
            Self::SessionRevoked => "SessionRevoked",
            // To readers both are the end of many sessions: of one subject's, or of a selection.
            Self::SessionsRevoked | Self::SelectionRevoked => "SessionsRevoked",
            Self::TokensPresented => "TokensPresented",
            Self::CredentialIssued => "CredentialIssued",
            Self::CredentialRevoked => "CredentialRevoked",
            Self::PolicyChanged => "PolicyChanged",
            Self::SessionExpired => "SessionExpired",
            Self::SubjectErased => "SubjectErased",
            Self::KeyRotated => "KeyRotated",
            Self::SessionRefreshed => "SessionRefreshed",
            Self::SessionsSeen => "SessionsSeen",
            Self::UsageRecorded => "UsageRecorded",
            Self::WebhookCreated => "WebhookCreated",
            Self::WebhookDeleted => "WebhookDeleted",
            Self::SubjectSuspended => "SubjectSuspended",
            Self::SubjectResumed => "SubjectResumed",
            Self::EpochBegan => "EpochBegan",
            Self::CredentialConfirmed => "CredentialConfirmed",
            Self::LogSegmented => "LogSegmented",
        }
    }

    /// Whether subscribers get notices of it.
    pub const fn is_notifiable(self) -> bool {
        match self {
            Self::SessionCreated
            | Self::SessionRenewed
            | Self::RenewalRejected
            | Self::SessionRevoked
            | Self::SessionsRevoked
            | Self::SelectionRevoked
            | Self::SessionExpired
            | Self::SubjectSuspended
            | Self::SubjectResumed => true,
            Self::SubjectRegistered
            | Self::TokensPresented
            | Self::CredentialIssued
            | Self::CredentialRevoked
            | Self::PolicyChanged
            | Self::SubjectErased
            | Self::KeyRotated
            | Self::SessionRefreshed
            | Self::SessionsSeen
            | Self::UsageRecorded
            | Self::WebhookCreated
            | Self::WebhookDeleted
            | Self::EpochBegan
            | Self::CredentialConfirmed
            | Self::LogSegmented => false,
        }
    }

    /// The version in which the kind is written today.
    pub const fn version(self) -> u8 {
        match self {
            Self::SessionsRevoked => 2,
            Self::SubjectRegistered
            | Self::SessionCreated
            | Self::SessionRenewed
            | Self::RenewalRejected
            | Self::SessionRevoked
            | Self::TokensPresented
            | Self::CredentialIssued
            | Self::CredentialRevoked
            | Self::PolicyChanged
            | Self::SessionExpired
            | Self::SubjectErased
            | Self::KeyRotated
            | Self::SessionRefreshed
            | Self::SessionsSeen
            | Self::UsageRecorded
            | Self::WebhookCreated
            | Self::WebhookDeleted
            | Self::SelectionRevoked
            | Self::SubjectSuspended
            | Self::SubjectResumed
            | Self::EpochBegan
            | Self::CredentialConfirmed
            | Self::LogSegmented => 1,
        }
    }

    /// Every name, in the order of the numbers; the two kinds that share one have it once.
    pub fn names() -> Vec<&'static str> {
        let kinds = Self::ALL.into_iter().filter(|kind| *kind != Self::SelectionRevoked);
        kinds.map(Self::name).collect()
    }

    /// The kinds of this name; empty for an unknown one.
    pub fn named(name: &str) -> Vec<Self> {
        Self::ALL.into_iter().filter(|kind| kind.name() == name).collect()
    }

    /// The kind of this number in the log.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Some of the kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindSet(u64);

impl KindSet {
    /// Every kind.
    pub const ALL: Self = Self::of(&EventKind::ALL);

    /// The kinds that make notices.
    pub const NOTIFIABLE: Self = {
        let mut told = 0;
        let mut rest: &[EventKind] = &EventKind::ALL;
        while let [kind, others @ ..] = rest {
            if kind.is_notifiable() {
                told |= Self::of(&[*kind]).0;
            }
            rest = others;
        }
        Self(told)
    };

    /// These kinds.
    pub const fn of(kinds: &[EventKind]) -> Self {
        let mut bits = 0;
        let mut rest = kinds;
        while let [kind, others @ ..] = rest {
            bits |= 1 << *kind as u8;
            rest = others;
        }
        Self(bits)
    }

    /// Whether a kind is one of them.
    pub const fn has(self, kind: EventKind) -> bool {
        self.meets(Self::of(&[kind]))
    }

    /// Whether one of them is one of the others.
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

impl FromIterator<EventKind> for KindSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | Self::of(&[kind]).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_kinds_that_were_put_into_it() {
        for kind in EventKind::ALL {
            let others: KindSet = EventKind::ALL.into_iter().filter(|other| *other != kind).collect();
            assert!(KindSet::of(&[kind]).has(kind) && KindSet::ALL.has(kind) && !others.has(kind));
            assert!(!KindSet::of(&[kind]).meets(others) && KindSet::ALL.meets(others));
        }
        assert!(!KindSet::default().meets(KindSet::ALL));
    }
}
