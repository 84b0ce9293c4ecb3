//! Work beside what is measured.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::runtime::{Builder, Runtime};

use super::failed;
use crate::cli::failure::CommandError;

/// Work on a thread of its own, until it is stopped.
pub(super) struct BackgroundThread<T> {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<T, String>>,
}

impl<T: Send + 'static> BackgroundThread<T> {
    pub(super) fn start<F>(
        work: impl FnOnce(Arc<AtomicBool>) -> F + Send + 'static,
    ) -> Result<Self, CommandError>
    where
        F: Future<Output = Result<T, String>>,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("bench".into()).spawn(move || {
            let runtime: Runtime =
                Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
            runtime.block_on(work(told))
        });
        Ok(Self { stop, thread: thread.map_err(failed)? })
    }

    pub(super) fn stop(self) -> Result<T, CommandError> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| failed("a thread of the benchmark died"))?.map_err(failed)
    }
}
