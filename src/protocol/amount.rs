//! Amounts: decimal numbers of any scale, exact. No floating point is near them.

use std::{fmt, str::FromStr};

use bigdecimal::BigDecimal;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Maximum number of digits of a caller's amount; a lone zero before the point is none. A sum may
/// have more.
pub const MAX_DIGITS: usize = 38;

/// A decimal number, never negative, in a unit that the caller chooses.
///
/// `1.50`, `1.5` and `1.500` are one amount; each is shown and recorded as it was given. A sum is in its shortest form.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(BigDecimal);

/// What is wrong with an invalid amount. Does not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be text with a decimal number of at most {MAX_DIGITS} digits, not negative, such as \"0\" or \"12.50\""
)]
pub struct InvalidAmount;

impl Amount {
    /// This amount and that one, exactly.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self((&self.0 + &other.0).normalized())
    }

    /// The amount of a text of any length: digits, and perhaps a point and more digits.
    fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_digits(whole) && is_digits(fraction) && (whole == "0" || !whole.starts_with('0'));
        // The scale of the text is kept, so that it is written as it was read.
        Some(Self(is_plain.then(|| text.parse().ok())??))
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let digits = text.strip_prefix("0.").unwrap_or(text).bytes().filter(u8::is_ascii_digit).count();
        if digits > MAX_DIGITS { Err(InvalidAmount) } else { Self::parse(text).ok_or(InvalidAmount) }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_plain_string())
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::id::parsed(deserializer)
    }
}

impl<C> Encode<C> for Amount {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.to_string())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Amount {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let text = d.str()?;
        let amount = Self::parse(text).filter(|amount| amount.to_string() == text);
        amount.ok_or_else(|| decode::Error::message("a plain decimal number is expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// A limit of "12.50" was read back as "12.5".
    #[test]
    fn an_amount_is_shown_as_it_was_given_and_compared_by_its_value() {
        for (given, same) in [
            ("0", "0.000"),
            ("0.000", "0"),
            ("1.50", "1.5"),
            ("100", "100.0"),
            ("100.00", "100"),
            ("0.10", "0.1"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
            ("0.00000000000000000000000000000000000001", "0.00000000000000000000000000000000000001"),
            ("0.00000000000000000000000000000000000000", "0"),
            ("10000000000000000000000000000000000000", "10000000000000000000000000000000000000"),
        ] {
            assert_eq!(amount(given).to_string(), given);
            assert_eq!(amount(given), amount(same));
            assert_eq!(amount(given).cmp(&amount(same)), std::cmp::Ordering::Equal);
        }
    }

    #[test]
    fn a_sum_is_in_its_shortest_form() {
        for (one, other, sum) in [("0", "12.50", "12.5"), ("0.50", "0.50", "1"), ("0.00", "0.0", "0")] {
            assert_eq!(amount(one).plus(&amount(other)).to_string(), sum);
        }
    }

    #[test]
    fn what_is_no_plain_decimal_number_is_refused() {
        for wrong in [
            "", ".", "1.", ".5", "-1", "-0", "+1", "1e3", "1E3", "0x1", "1_000", "1,5", "1.2.3", " 1", "1 ",
            "01", "00", "NaN", "inf", "\u{0661}",
        ] {
            assert_eq!(wrong.parse::<Amount>(), Err(InvalidAmount), "{wrong:?}");
        }
    }

    #[test]
    fn at_most_38_digits_are_accepted_and_a_lone_zero_is_none() {
        for right in ["9".repeat(38), format!("9.{}", "9".repeat(37)), format!("0.{}", "9".repeat(38))] {
            amount(&right);
        }
        for wrong in ["9".repeat(39), format!("9.{}", "0".repeat(38)), format!("0.{}", "9".repeat(39))] {
            assert_eq!(wrong.parse::<Amount>(), Err(InvalidAmount), "{wrong}");
        }
    }

    #[test]
    fn sums_are_exact_at_any_distance() {
        let tenth = amount("0.1");
        let sum = (0..10).fold(Amount::default(), |sum, _| sum.plus(&tenth));
        assert_eq!(sum, amount("1"));
        assert_eq!(sum.to_string(), "1");
        let (most, least) = (amount(&"9".repeat(38)), amount(&format!("0.{}1", "0".repeat(37))));
        assert_eq!(most.plus(&least).to_string(), format!("{}.{}1", "9".repeat(38), "0".repeat(37)));
        assert!(most.plus(&least) > most && least > Amount::default());
    }

    #[test]
    fn an_amount_of_any_length_is_read_back_as_it_was_written() {
        let long = amount(&"9".repeat(38)).plus(&amount("0.5"));
        for good in [Amount::default(), amount("0.1"), amount("12.50"), amount("0.00"), amount("100"), long] {
            let read = minicbor::decode::<Amount>(&minicbor::to_vec(&good).unwrap()).unwrap();
            assert_eq!((&read, read.to_string()), (&good, good.to_string()));
        }
        for bad in ["01", "-1", "1e2", ".5", "1.", ""] {
            assert!(minicbor::decode::<Amount>(&minicbor::to_vec(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
