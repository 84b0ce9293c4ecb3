//! The disk under the log.

use std::{io, path::Path, sync::Arc};

use rustix::fs::statvfs;

use crate::authority::FreeSpace;

/// Asks the system each time what is free for a process without privileges: what it keeps for root is not counted on.
pub(super) fn free_space(data: &Path) -> FreeSpace {
    // A node of several has a copy instead of a log, and before the first start there is neither.
    let places = [data.join("log"), data.join("copy"), data.to_owned()];
    Arc::new(move || {
        let place = places.iter().find(|place| place.is_dir()).unwrap_or(&places[2]);
        let disk = statvfs(place).map_err(io::Error::from)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    })
}
