//! Calls into sled, which panics where it meets bytes that it did not expect.
//!
//! A panic is no answer to a damaged file: the operator needs the file's name. So each call is caught, and
//! becomes an error like any other, with what sled panicked about in it. sled's own threads are kept quiet too.

use std::{panic, sync::Once, thread};

use rustix::io::Errno;

use tenure_threads::panics::caught;

/// What a call into sled came to, if not to a result.
#[derive(Debug)]
pub(crate) enum StoreFailure {
    /// It returned an error.
    Error(::sled::Error),
    /// It panicked, and said this.
    Panic(String),
}

impl StoreFailure {
    /// Whether only descriptors or memory were wanting, which others may give back.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Error(::sled::Error::Io(error)) => {
                let errno = Errno::from_io_error(error);
                errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
            }
            Self::Error(_) | Self::Panic(_) => false,
        }
    }
}

impl std::fmt::Display for StoreFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(error) => write!(f, "the store says: {error}"),
            Self::Panic(message) => write!(f, "the store gave up: {message}"),
        }
    }
}

/// Runs `work`, in which only sled may panic.
///
/// Whatever `work` touched of sled may be broken after a panic: the log never writes through it again.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, ::sled::Error>) -> Result<T, StoreFailure> {
    static QUIET: Once = Once::new();
    QUIET.call_once(quieten_threads);
    match caught(work) {
        Ok(result) => result.map_err(StoreFailure::Error),
        Err(message) => Err(StoreFailure::Panic(message)),
    }
}

fn quieten_threads() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name().is_some_and(|name| name.starts_with("sled-")) {
            tracing::debug!(panic = %info, "the store panicked");
        } else {
            before(info);
        }
    }));
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
