//! Calls into sled, which panics where it meets bytes that it did not expect.
//!
//! A panic is no answer to a damaged file: the operator needs the file's name. So each call is caught, and
//! becomes an error like any other. What sled panicked about is in that error; the default hook, which
//! would print a backtrace to standard error besides, is kept quiet for these calls and for sled's own
//! threads.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
    thread,
};

thread_local! {
    static IN_SLED: Cell<bool> = const { Cell::new(false) };
}

/// What a call into sled came to, if not to a result.
#[derive(Debug)]
pub(super) enum Failure {
    /// It returned an error.
    Error(::sled::Error),
    /// It panicked, and said this.
    Panic(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(error) => write!(f, "the store says: {error}"),
            Self::Panic(message) => write!(f, "the store gave up: {message}"),
        }
    }
}

/// Runs `work`, which calls sled and nothing of ours that may panic.
///
/// Whatever `work` touched of sled may be broken after a panic: the log never writes through it again.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, ::sled::Error>) -> Result<T, Failure> {
    static QUIET: Once = Once::new();
    QUIET.call_once(quieten);
    let outer = IN_SLED.replace(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(work));
    IN_SLED.set(outer);
    match caught {
        Ok(result) => result.map_err(Failure::Error),
        Err(payload) => Err(Failure::Panic(message(payload.as_ref()))),
    }
}

fn quieten() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let of_sled = thread.name().is_some_and(|name| name.starts_with("sled-"));
        if IN_SLED.get() || of_sled {
            tracing::debug!(panic = %info, "the store panicked");
        } else {
            before(info);
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let failure = guarded::<()>(|| panic!("segment {} is torn", 7)).unwrap_err();
        assert_eq!(failure.to_string(), "the store gave up: segment 7 is torn");
    }
}
