//! Reads the segments of the log again, one after the other and for ever, at a bounded rate: disks forget, and what
//! is never read is missed only when it is needed.
//!
//! What was found to be damaged, here or by a reader, is looked at every second: while there is
//! any, the authority grants nothing, and once the file was put right it grants again.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::checkpoint_scrub::CheckpointScrub;
use crate::{authority::Authority, checkpoint::TrustedCheckpoints};
use tenure_log::{DamagedSegment, LogError, ScrubResult, SegmentedLog};
use tenure_protocol::clock::stopwatch;
use tenure_threads::{
    priority::stand_back,
    worker::{StopSignal, WorkerThread},
};

/// The pause between two rounds, in looks.
const REST: u32 = 10;
/// How often it is looked whether there is damage.
const LOOK: Duration = Duration::from_secs(1);
/// How often an unchanged damaged file is read again: the disk may read it correctly by then.
const AGAIN: Duration = Duration::from_mins(1);
/// What was damaged is read at this rate at least, in bytes a second.
const IN_HASTE: u64 = 64 << 20;

/// Begins to read, a number of bytes a second, until the returned value is dropped; with 0 nothing is read but what is
/// known to be damaged.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    log: Arc<dyn SegmentedLog>,
    authority: Arc<Authority>,
    checkpoints: CheckpointScrub,
    rate: u64,
) -> std::io::Result<WorkerThread> {
    WorkerThread::start("tenure-scrub", move |stop| {
        stand_back();
        let (looked, judged) = (Mutex::new(None), Mutex::default());
        let known = checkpoints.known();
        let scrubber = Scrubber { log, known, authority: Arc::clone(&authority), rate, stop, looked, judged };
        // Its panic is an alarm.
        authority.storage().scrubber().run(|| scrubber.run(checkpoints));
    })
}

struct Scrubber<'a> {
    log: Arc<dyn SegmentedLog>,
    known: Arc<TrustedCheckpoints>,
    authority: Arc<Authority>,
    rate: u64,
    stop: &'a StopSignal,
    /// When it was last looked whether there is damage.
    looked: Mutex<Option<Instant>>,
    /// What was damaged when it was last read again, and when that was.
    judged: Mutex<Vec<(DamagedSegment, Instant)>>,
}

impl Scrubber<'_> {
    fn run(&self, mut checkpoints: CheckpointScrub) {
        loop {
            if self.rate > 0 {
                if self.round().is_break() {
                    return;
                }
                checkpoints.round(&mut |bytes| self.pace(bytes));
                self.tell();
            }
            for _ in 0..REST {
                self.look();
                if self.stop.pause(LOOK).is_break() {
                    return;
                }
            }
        }
    }

    /// Reads every segment once. What is damaged is the log's alarm, until it is read and found to be sound.
    fn round(&self) -> ControlFlow<()> {
        for number in 0.. {
            self.authority.storage().scrubbed_up_to(number as u64);
            match self.log.scrub(number, &mut |bytes| self.pace(bytes)) {
                Ok(ScrubResult::Sound) | Err(LogError::Damaged { .. }) => {}
                Ok(ScrubResult::AtTheEnd) => break,
                Ok(ScrubResult::Stopped) => return ControlFlow::Break(()),
                Err(error) => {
                    tracing::warn!(%error, "a segment could not be read again; it is tried in the next round");
                    return ControlFlow::Continue(());
                }
            }
        }
        self.authority.storage().scrubbed();
        ControlFlow::Continue(())
    }

    /// Waits as long as a number of bytes should take; false at the end.
    fn pace(&self, bytes: u64) -> bool {
        let is_due = self.looked.lock().is_none_or(|looked| looked.elapsed() >= LOOK);
        if is_due {
            self.look();
        }
        self.wait(bytes, self.rate)
    }

    fn wait(&self, bytes: u64, rate: u64) -> bool {
        let nanos = bytes.saturating_mul(1_000_000_000) / rate;
        self.stop.pause(Duration::from_nanos(nanos)).is_continue()
    }

    /// Has the authority know what is damaged, and reads again what may have been put right.
    fn look(&self) {
        *self.looked.lock() = Some(stopwatch());
        self.tell();
        let damaged = self.log.doubted();
        self.judged.lock().retain(|(judged, _)| damaged.contains(judged));
        for segment in damaged {
            if self.is_due(segment) {
                self.judge(segment);
            }
        }
    }

    fn tell(&self) {
        let of_log = self.log.damage().into_iter();
        self.authority.log_damage().found(of_log.chain(self.known.findings()).collect());
    }

    /// Whether something may have changed since it was last read.
    fn is_due(&self, segment: DamagedSegment) -> bool {
        let judged = self.judged.lock();
        let last = judged.iter().find(|(judged, _)| *judged == segment);
        last.is_none_or(|(_, when)| when.elapsed() >= AGAIN)
    }

    fn judge(&self, segment: DamagedSegment) {
        let mut judged = self.judged.lock();
        judged.retain(|(judged, _)| *judged != segment);
        judged.push((segment, stopwatch()));
        drop(judged);
        let rate = self.rate.max(IN_HASTE);
        match self.log.scrub(segment.number, &mut |bytes| self.wait(bytes, rate)) {
            Ok(ScrubResult::Sound | ScrubResult::Stopped | ScrubResult::AtTheEnd)
            | Err(LogError::Damaged { .. }) => {}
            Err(error) => tracing::warn!(%error, "a damaged segment could not be read again"),
        }
        self.tell();
    }
}
