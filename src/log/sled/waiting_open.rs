//! Opens a store whose lock may be held for a moment longer than its owner: by sled's own threads, which end after it was
//! dropped, or by a process that was just begun and has the files open until its program runs.

use std::{thread, time::Duration};

use super::catch_panic::{StoreFailure, guarded};

const TRIES: u32 = 100;
const REST: Duration = Duration::from_millis(20);

/// Opens it, and waits for its lock.
pub(crate) fn open_waiting(config: &::sled::Config) -> Result<::sled::Db, StoreFailure> {
    let mut tries = 0;
    loop {
        match guarded(|| config.open()) {
            Err(failure) if is_locked(&failure) && tries < TRIES => {
                tries += 1;
                thread::park_timeout(REST);
            }
            result => return result,
        }
    }
}

/// Whether another one has it open.
pub(super) fn is_locked(failure: &StoreFailure) -> bool {
    match failure {
        StoreFailure::Error(::sled::Error::Io(error)) => error.to_string().contains("could not acquire lock"),
        StoreFailure::Error(_) | StoreFailure::Panic(_) => false,
    }
}
