//! Reads the segments of the log again, one after the other and for ever, at a bounded rate: disks forget, and what
//! nobody reads is missed only when it is needed.

use std::{ops::ControlFlow, sync::Arc, thread::JoinHandle, time::Duration};

use super::jobs::Stopping;
use crate::authority::Authority;
use tenure_log::{LogError, Scrubbed, SledLog};

/// The pause between two rounds.
const REST: Duration = Duration::from_secs(10);

/// The thread, if there is one; it ends when this is dropped.
pub(super) struct Scrubber {
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

impl Scrubber {
    /// Begins to read, so many bytes a second; with 0 nothing is read.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(log: Arc<SledLog>, authority: Arc<Authority>, rate: u64) -> std::io::Result<Self> {
        let stopping = Arc::new(Stopping::default());
        let work = Work { log, authority, rate, stopping: Arc::clone(&stopping) };
        let spawn = || {
            std::thread::Builder::new().name("tenure-scrub".into()).spawn(move || {
                let authority = Arc::clone(&work.authority);
                authority.storage().scrubber().run(|| work.run());
            })
        };
        let thread = (rate > 0).then(spawn).transpose()?;
        Ok(Self { stopping, thread })
    }
}

impl Drop for Scrubber {
    fn drop(&mut self) {
        self.stopping.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic is an alarm.
            drop(thread.join());
        }
    }
}

struct Work {
    log: Arc<SledLog>,
    authority: Arc<Authority>,
    rate: u64,
    stopping: Arc<Stopping>,
}

impl Work {
    fn run(&self) {
        while self.round().is_continue() && self.stopping.wait_for(REST) {}
    }

    /// Reads every segment once. What is damaged is the log's alarm, until it is read and found to be sound.
    fn round(&self) -> ControlFlow<()> {
        for number in 0.. {
            match self.log.scrub(number, &mut |bytes| self.pace(bytes)) {
                Ok(Scrubbed::Sound) | Err(LogError::Damaged { .. }) => {}
                Ok(Scrubbed::AtTheEnd) => break,
                Ok(Scrubbed::Stopped) => return ControlFlow::Break(()),
                Err(error) => {
                    tracing::warn!(%error, "a segment could not be read again; it is tried in the next round");
                    return ControlFlow::Continue(());
                }
            }
        }
        self.authority.storage().scrubbed();
        ControlFlow::Continue(())
    }

    /// Waits as long as so many bytes are to take; false at the end.
    fn pace(&self, bytes: u64) -> bool {
        let nanos = bytes.saturating_mul(1_000_000_000) / self.rate;
        self.stopping.wait_for(Duration::from_nanos(nanos))
    }
}
