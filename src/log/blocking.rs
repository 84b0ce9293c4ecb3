//! Reading a log waits for the disk, and the reader may be a task among others.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does what waits for the disk without holding up the other tasks of this thread.
///
/// Only a runtime of several threads can move its tasks elsewhere; anywhere else it is simply done.
pub fn waiting_for_disk<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}
