//! The parts that a session is put together from.

use std::num::NonZeroU32;

use minicbor::{Decode, Encode};

use super::{
    event::{EndTrigger, RejectionCode, SessionDevice},
    id::{Digest16, Position},
    text::SealedText,
    time::Timestamp,
};

/// How long after the start of a period its holder should renew: milliseconds, never 0. It takes a quarter of
/// the room that a moment takes, and no session has a period that it could not measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RenewAfter(#[n(0)] NonZeroU32);

impl RenewAfter {
    /// From the start of a period to a moment in it; `None` if the moment lies outside.
    pub fn between(start: Timestamp, moment: Timestamp) -> Option<Self> {
        u32::try_from(moment.millis_since(start)).ok().and_then(NonZeroU32::new).map(Self)
    }

    pub(super) const fn millis(self) -> u32 {
        self.0.get()
    }
}

/// What is known of a session's device. The rules need the digest alone; the name can be erased.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KnownDevice {
    /// A keyed digest of the name.
    #[n(0)]
    pub digest: Digest16,
    /// The name; `None` once erased.
    #[n(1)]
    pub name: Option<SealedText>,
}

impl From<SessionDevice> for KnownDevice {
    fn from(device: SessionDevice) -> Self {
        Self { digest: device.digest, name: Some(device.name) }
    }
}

/// How a session was ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionRevocation {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// By which event.
    #[n(1)]
    pub position: Position,
    /// What ended it.
    #[n(2)]
    pub trigger: EndTrigger,
    /// Why, as given by the caller who revoked it.
    #[n(3)]
    pub reason: Option<SealedText>,
}

/// A set of [`RejectionCode`]s in one byte: there is room for eight, and a ninth needs a wider version of this field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RefusedCodes(#[n(0)] u8);

impl RefusedCodes {
    /// Whether the code is in the set.
    pub const fn contains(self, code: RejectionCode) -> bool {
        self.0 & (1 << code as u8) != 0
    }

    /// The set and this code.
    #[must_use]
    pub const fn with(self, code: RejectionCode) -> Self {
        Self(self.0 | (1 << code as u8))
    }
}

/// What is recorded of a session at most once, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct OneTimeFlags(#[n(0)] u8);

/// A thing recorded of a session at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTimeFact {
    /// That its end is near.
    ExpiringSoon = 1,
    /// That it ended by itself.
    Expired = 2,
    /// That two holders contest it. No renewal takes that back.
    Contested = 4,
}

impl OneTimeFlags {
    /// Whether it was.
    pub const fn contains(self, once: OneTimeFact) -> bool {
        self.0 & once as u8 != 0
    }

    /// From now on it was.
    #[must_use]
    pub const fn with(self, once: OneTimeFact) -> Self {
        Self(self.0 | once as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moment_of_a_renewal_is_measured_from_the_start_of_its_period() {
        let start = Timestamp::from_millis(1_000);
        assert_eq!(RenewAfter::between(start, start), None);
        assert_eq!(RenewAfter::between(start, Timestamp::from_millis(999)), None);
        assert!(RenewAfter::between(start, Timestamp::from_millis(604_800_000)).is_some());
    }
}
