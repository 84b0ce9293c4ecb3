//! Lengths of time as a story gives them: exact, because they decide.

use tenure_core::{Seconds, Timestamp};

/// `1d 2h 3m 4s`, without zero units; with milliseconds if there are any.
pub(super) fn lasting(millis: i64) -> String {
    let millis = millis.unsigned_abs();
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let units = [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m")];
    let mut parts: Vec<_> = units
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    match (seconds % 60, rest) {
        (0, 0) if !parts.is_empty() => {}
        (last, 0) => parts.push(format!("{last}s")),
        (last, rest) => parts.push(format!("{last}.{rest:03}s")),
    }
    parts.join(" ")
}

/// From one moment to a later one.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    lasting(to.millis_since(from))
}

/// A length in whole seconds.
pub(super) fn seconds(length: Seconds) -> String {
    lasting(i64::from(length.0) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_told_exactly() {
        for (millis, told) in
            [(0, "0s"), (1, "0.001s"), (60_000, "1m"), (93_784_000, "1d 2h 3m 4s"), (3_600_500, "1h 0.500s")]
        {
            assert_eq!(lasting(millis), told);
        }
    }
}
