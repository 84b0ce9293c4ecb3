//! The limits under which sessions are granted. They are recorded, so that a replay knows which policy decided.

use std::ops::RangeInclusive;

use minicbor::{Decode, Encode};
use serde::Serialize;

use super::time::Seconds;
use tenure_protocol::session::SessionMode;

pub use tenure_protocol::limits::{OnLimit, OnReuse};

/// The shortest period of a session, in seconds; the longest is the policy's.
pub const SHORTEST_TTL: u32 = 300;
/// For how long after a renewal a veto may be expected, in seconds.
pub const REJECT_WINDOW: RangeInclusive<u32> = 300..=86_400;
/// After how long without use a session may end, in seconds.
pub const IDLE_TIMEOUT: RangeInclusive<u32> = 60..=86_400;

/// Settings of which the first is at most the second.
pub const AT_MOST: [(&str, &str); 3] = [
    ("session.ttl", "session.ttl_max"),
    ("session.ttl", "session.absolute_lifetime"),
    ("session.max_renewals", "session.max_renewals_max"),
];

/// The effective settings of `session.*`, `limits.*`, `renewal.*` and `subjects.*`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// `session.ttl`: the period of a session that asks for none.
    #[n(0)]
    pub ttl: Seconds,
    /// `session.ttl_max`: the longest period that a session may ask for.
    #[n(1)]
    pub ttl_max: Seconds,
    /// `session.max_renewals`: for a session that asks for no other number.
    #[n(2)]
    pub max_renewals: u32,
    /// `session.max_renewals_max`: the most that a session may ask for.
    #[n(3)]
    pub max_renewals_max: u32,
    /// `session.absolute_lifetime`: no session lives longer, however often it is renewed.
    #[n(4)]
    pub absolute_lifetime: Seconds,
    /// `session.renewal_reject_window`: how long after a renewal an owner's veto is expected.
    #[n(5)]
    pub renewal_reject_window: Seconds,
    /// `limits.per_subject`: active sessions of one subject.
    #[n(6)]
    pub per_subject: u32,
    /// `limits.per_device`: active sessions of one device of a subject.
    #[n(7)]
    pub per_device: u32,
    /// `limits.on_limit`.
    #[n(8)]
    pub on_limit: OnLimit,
    /// `limits.on_device_limit`.
    #[n(9)]
    pub on_device_limit: OnLimit,
    /// `subjects.auto_register`: whether a session for an unknown subject registers it.
    #[n(10)]
    pub auto_register: bool,
    /// `renewal.on_reuse`: of a session that asks for neither.
    #[n(11)]
    pub on_reuse: OnReuse,
    /// `session.idle_timeout`: of a session that asks for none.
    #[n(12)]
    pub idle_timeout: Option<Seconds>,
    /// `sliding.enabled`: whether sliding sessions are refreshed.
    #[cbor(n(13), with = "unless_off", has_nil)]
    pub sliding_enabled: bool,
    /// `renewal.reuse_grace`: the time after a renewal in which the replaced token contests nothing.
    #[cbor(n(14), with = "unless_zero", has_nil)]
    pub reuse_grace: Seconds,
}

/// Before there was a grace there was none, so none is what a record without it says.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the derived code calls these, and gives their types"
)]
mod unless_zero {
    use minicbor::{Decoder, Encoder, decode::Error, encode as encoding};

    use super::Seconds;

    pub(super) fn encode<C, W: encoding::Write>(
        seconds: &Seconds,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        e.u32(seconds.0)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Seconds, Error> {
        d.u32().map(Seconds)
    }

    pub(super) const fn nil() -> Option<Seconds> {
        Some(Seconds(0))
    }

    pub(super) const fn is_nil(seconds: &Seconds) -> bool {
        seconds.0 == 0
    }
}

/// A switch turned on is recorded as before there was one.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the derived code calls these, and gives their types"
)]
mod unless_off {
    use minicbor::{Decoder, Encoder, decode::Error, encode as encoding};

    pub(super) fn encode<C, W: encoding::Write>(
        on: &bool,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        e.bool(*on)?.ok()
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<bool, Error> {
        d.bool()
    }

    pub(super) const fn nil() -> Option<bool> {
        Some(true)
    }

    pub(super) const fn is_nil(on: &bool) -> bool {
        *on
    }
}

/// The idle timeout of a sliding session that asks for no other.
const SLIDING_IDLE_TIMEOUT: Seconds = Seconds(1_800);

impl Policy {
    /// After how long without use a session of this mode ends that asks for no other time.
    pub fn usual_idle_timeout(&self, mode: SessionMode) -> Option<Seconds> {
        let unset = match mode {
            SessionMode::Fixed => None,
            SessionMode::Sliding => Some(SLIDING_IDLE_TIMEOUT),
        };
        self.idle_timeout.or(unset)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ttl: Seconds(86_400),
            ttl_max: Seconds(604_800),
            max_renewals: 30,
            max_renewals_max: 100,
            absolute_lifetime: Seconds(2_592_000),
            renewal_reject_window: Seconds(3_600),
            per_subject: 5,
            per_device: 10,
            on_limit: OnLimit::Reject,
            on_device_limit: OnLimit::EvictOldest,
            auto_register: false,
            on_reuse: OnReuse::Reject,
            idle_timeout: None,
            sliding_enabled: true,
            reuse_grace: Seconds(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an earlier version recorded must say what it meant: no grace. It must be written as it was read.
    #[test]
    fn a_policy_without_a_grace_is_one_of_no_grace() {
        let old = Policy { reuse_grace: Seconds(0), ..Policy::default() };
        let bytes = minicbor::to_vec(&old).unwrap();
        assert_eq!(minicbor::Decoder::new(&bytes).array().unwrap(), Some(12), "the last three are left out");
        assert_eq!(minicbor::decode::<Policy>(&bytes).unwrap(), old);
        let new = minicbor::to_vec(Policy::default()).unwrap();
        assert_eq!(minicbor::decode::<Policy>(&new).unwrap(), Policy::default());
    }
}
