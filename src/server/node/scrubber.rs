//! Reads the segments of the log again, one after the other and for ever, at a bounded rate: disks forget, and what
//! nobody reads is missed only when it is needed.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use crate::authority::Authority;
use tenure_log::{LogError, Scrubbed, SledLog};
use tenure_threads::worker::{Stop, Worker};

/// The pause between two rounds.
const REST: Duration = Duration::from_secs(10);

/// Begins to read, so many bytes a second, until what is given back is dropped; with 0 nothing is read.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    log: Arc<SledLog>,
    authority: Arc<Authority>,
    rate: u64,
) -> std::io::Result<Option<Worker>> {
    let start = || {
        Worker::start("tenure-scrub", move |stop| {
            let scrubber = Scrubber { log, authority: Arc::clone(&authority), rate, stop };
            // Its panic is an alarm.
            authority.storage().scrubber().run(|| scrubber.run());
        })
    };
    (rate > 0).then(start).transpose()
}

struct Scrubber<'a> {
    log: Arc<SledLog>,
    authority: Arc<Authority>,
    rate: u64,
    stop: &'a Stop,
}

impl Scrubber<'_> {
    fn run(&self) {
        while self.round().is_continue() && self.stop.pause(REST).is_continue() {}
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
        self.stop.pause(Duration::from_nanos(nanos)).is_continue()
    }
}
