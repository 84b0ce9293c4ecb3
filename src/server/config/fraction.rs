//! A part of a whole.

use std::{fmt, str::FromStr};

const MILLION: u32 = 1_000_000;

/// A part of a whole, from a thousandth to all of it; in millionths, so that two are equal or are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction(u32);

impl Fraction {
    /// A fraction in millionths.
    pub(super) const fn millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// The part as a number; the whole is 1.
    pub fn of_one(self) -> f64 {
        f64::from(self.0) / f64::from(MILLION)
    }

    /// This part of `whole`, and at least one.
    pub fn of(self, whole: usize) -> usize {
        (whole.saturating_mul(self.0 as usize) / MILLION as usize).max(1)
    }
}

/// The text is not a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0.001 to 1")]
pub struct InvalidFraction;

impl FromStr for Fraction {
    type Err = InvalidFraction;

    fn from_str(text: &str) -> Result<Self, InvalidFraction> {
        let part: f64 = text.parse().map_err(|_| InvalidFraction)?;
        if !(0.001..=1.0).contains(&part) {
            return Err(InvalidFraction);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is from 1,000 to a million"
        )]
        let millionths = (part * f64::from(MILLION)).round() as u32;
        Ok(Self(millionths))
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.of_one())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_is_shown() {
        for text in ["0.001", "0.125", "0.25", "0.333333", "1"] {
            assert_eq!(text.parse::<Fraction>().unwrap().to_string(), text);
        }
        for wrong in ["0", "0.0009", "1.1", "-0.5", "NaN", "inf", "", "a half"] {
            assert_eq!(wrong.parse::<Fraction>(), Err(InvalidFraction), "{wrong}");
        }
        assert_eq!("0.125".parse::<Fraction>().unwrap().of(65_536), 8_192);
        assert_eq!("0.001".parse::<Fraction>().unwrap().of(10), 1);
    }
}
