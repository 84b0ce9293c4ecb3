//! What a command takes from its surroundings: the time, randomness, whether colours are
//! wanted, the time zone, and where settings are.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::tz::TimeZone;

use tenure_core::Timestamp;
use tenure_protocol::clock::{Clock, SystemClock};
use tenure_protocol::entropy::{self, OsEntropy};

/// Names the server.
const URL: &str = "TENURE_URL";
/// Names the session file to the command of `tenure run`.
const SESSION_FILE: &str = "TENURE_SESSION_FILE";

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

/// Whether `--utc` was given.
static IN_UTC: AtomicBool = AtomicBool::new(false);

/// From now on the time zone is UTC, whatever the system's is.
pub(crate) fn use_utc() {
    IN_UTC.store(true, Ordering::Relaxed);
}

/// Whether moments are shown by the local clock: to a person. Elsewhere they are shown in UTC.
pub(crate) fn is_local() -> bool {
    !IN_UTC.load(Ordering::Relaxed) && std::io::IsTerminal::is_terminal(&std::io::stdout())
}

/// The time zone of moments that are typed or shown.
pub(crate) fn zone() -> TimeZone {
    if IN_UTC.load(Ordering::Relaxed) { TimeZone::UTC } else { TimeZone::system() }
}

/// The server that the environment names; empty where the variable is there and says nothing.
pub(crate) fn url() -> Option<String> {
    std::env::var_os(URL)?.into_string().ok()
}

/// The session file of the `tenure run` that this command is a part of.
pub(crate) fn session_file() -> Option<PathBuf> {
    std::env::var_os(SESSION_FILE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where this user's settings are: `$XDG_CONFIG_HOME`, or `~/.config`.
pub(crate) fn config_home() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))
}
