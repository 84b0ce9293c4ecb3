//! What a command takes from its surroundings: the time, randomness, whether colours are
//! wanted, the time zone, and where settings are.

use std::path::PathBuf;

use jiff::tz::TimeZone;

use tenure_core::Timestamp;
use tenure_protocol::clock::{Clock, SystemClock};
use tenure_protocol::entropy::{self, OsEntropy};

/// The local wall time: for words such as `3m ago`, never for a decision.
pub(crate) fn now() -> Timestamp {
    SystemClock::new().now()
}

/// Whether colours are wanted, where there is a terminal: see <https://no-color.org>.
pub(crate) fn wants_colors() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|terminal| terminal != "dumb")
}

/// 32 random hexadecimal digits: an idempotency key, or a part of a file's name.
pub(crate) fn unique() -> String {
    format!("{:032x}", u128::from_be_bytes(entropy::bytes(&OsEntropy)))
}

/// Whether moments are shown by the local clock: to a person. Elsewhere they are shown in UTC.
pub(crate) fn is_local() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdout())
}

/// The local time zone.
pub(crate) fn zone() -> TimeZone {
    TimeZone::system()
}

/// Where this user's settings are: `$XDG_CONFIG_HOME`, or `~/.config`.
pub(crate) fn config_home() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
}
