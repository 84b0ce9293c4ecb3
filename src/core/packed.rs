//! Moments and positions in six bytes each, with little alignment: they are kept for every session.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{id::Position, time::Timestamp};

/// Why something is none that a history can have.
pub(super) const NO_POSITION: &str = "no log reaches its position";
pub(super) const NO_TIME: &str = "its moments cannot be written";

/// A whole number below 2^48, the lowest part first.
#[derive(Clone, Copy, PartialEq, Eq)]
struct SixBytes([u16; 3]);

impl SixBytes {
    fn of(number: u64) -> Option<Self> {
        let part = |at: u32| u16::try_from(number >> at & 0xffff).ok();
        (number >> 48 == 0).then_some(())?;
        Some(Self([part(0)?, part(16)?, part(32)?]))
    }

    #[inline]
    const fn number(self) -> u64 {
        let [low, middle, high] = self.0;
        low as u64 | (middle as u64) << 16 | (high as u64) << 32
    }
}

/// A moment from 1970 on, for longer than RFC 3339 can write one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedTime(SixBytes);

impl PackedTime {
    pub(super) const ZERO: Self = Self(SixBytes([0; 3]));

    /// `None` of a moment that no clock shows.
    pub(super) fn of(moment: Timestamp) -> Option<Self> {
        u64::try_from(moment.as_millis()).ok().and_then(SixBytes::of).map(Self)
    }

    #[inline]
    pub(super) const fn moment(self) -> Timestamp {
        Timestamp::from_millis(self.0.number().cast_signed())
    }
}

/// A position that a log can reach.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PackedPosition(SixBytes);

impl PackedPosition {
    pub(super) const ZERO: Self = Self(SixBytes([0; 3]));

    /// `None` of a position that no log reaches.
    pub(super) fn of(position: Position) -> Option<Self> {
        SixBytes::of(position.0).map(Self)
    }

    #[inline]
    pub(super) const fn position(self) -> Position {
        Position(self.0.number())
    }
}

impl fmt::Debug for PackedTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.moment().fmt(f)
    }
}

impl fmt::Debug for PackedPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.position().fmt(f)
    }
}

impl<C> Encode<C> for PackedTime {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.moment().encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for PackedTime {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let moment = Timestamp::decode(d, ctx)?;
        Self::of(moment).ok_or_else(|| decode::Error::message("a moment lies outside of all calendars"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_comes_back_and_what_does_not_is_refused() {
        let last = 1_u64 << 48;
        for number in [0, 1, 255, 256, 1 << 40, last - 1] {
            assert_eq!(
                PackedPosition::of(Position(number)).map(PackedPosition::position),
                Some(Position(number))
            );
            let moment = Timestamp::from_millis(number.cast_signed());
            assert_eq!(PackedTime::of(moment).map(PackedTime::moment), Some(moment));
        }
        assert_eq!(PackedPosition::of(Position(last)), None);
        for wrong in [last.cast_signed(), -1, i64::MAX, i64::MIN] {
            assert_eq!(PackedTime::of(Timestamp::from_millis(wrong)), None);
        }
        assert!(PackedTime::of(Timestamp::MAX).is_some());
    }
}
