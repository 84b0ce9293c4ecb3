//! The disk under the log.

use std::{io, path::Path, sync::Arc};

use rustix::fs::statvfs;

use crate::authority::FreeSpace;

/// Asks the system each time what is free for a process without privileges: what it keeps for root is not counted on.
pub(super) fn free_space(data: &Path) -> FreeSpace {
    let log = data.join("log");
    Arc::new(move || {
        let disk = statvfs(&log).map_err(io::Error::from)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    })
}
