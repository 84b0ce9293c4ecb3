//! What is due from time to time, on a thread of its own.
//!
//! A job that fails is counted, said in the log, and done again the next time.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::{Condvar, Mutex};

use crate::authority::Authority;

/// How often it is looked for what is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// The thread; it ends when this is dropped.
pub(super) struct Jobs {
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

/// Tells a thread that it is to end.
#[derive(Default)]
pub(super) struct Stopping {
    said: Mutex<bool>,
    heard: Condvar,
}

impl Stopping {
    /// Whether it may go on.
    pub(super) fn goes_on(&self) -> bool {
        !*self.said.lock()
    }

    /// Has it end.
    pub(super) fn stop(&self) {
        *self.said.lock() = true;
        self.heard.notify_one();
    }

    /// Waits for the next look; false when there is none.
    pub(super) fn wait(&self) -> bool {
        self.wait_for(INTERVAL)
    }

    /// Waits so long; false when there is nothing more to be done.
    pub(super) fn wait_for(&self, length: Duration) -> bool {
        let mut said = self.said.lock();
        if !*said {
            self.heard.wait_for(&mut said, length);
        }
        !*said
    }
}

impl Jobs {
    /// Begins to look after this authority.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(authority: Arc<Authority>) -> std::io::Result<Self> {
        let stopping = Arc::new(Stopping::default());
        let thread = std::thread::Builder::new().name("tenure-jobs".into()).spawn({
            let stopping = Arc::clone(&stopping);
            move || {
                authority.health().jobs().run(|| {
                    while stopping.wait() {
                        do_due(&authority);
                    }
                });
            }
        })?;
        Ok(Self { stopping, thread: Some(thread) })
    }
}

fn do_due(authority: &Authority) {
    authority.remove_retired_keys();
    authority.save_key_uses();
    let can_write = authority.health().stopped().is_none() && authority.clock_fault().is_none();
    if can_write && authority.room().fault().is_none() {
        // The sweep itself counts and reports a failure.
        drop(pollster::block_on(authority.sweep_due()));
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.stopping.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic is an alarm.
            drop(thread.join());
        }
    }
}
