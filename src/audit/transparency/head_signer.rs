//! Signs heads when they are due: one thread that looks at the clock.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::heads::{HeadError, SignedHeads};
use tenure_core::{Seconds, Timestamp};
use tenure_protocol::clock::Clock;
use tenure_threads::{
    panics::PanicWatch,
    worker::{StopSignal, WorkerThread},
};

/// How often the thread looks; a head is signed early by up to this time rather than late.
const TICK: Duration = Duration::from_millis(50);

/// Sees to it that whatever is recorded is under a signed head before `audit.head_interval` is over.
pub struct HeadSigner {
    duty: Arc<SigningJob>,
    _worker: WorkerThread,
}

struct SigningJob {
    heads: Arc<SignedHeads>,
    clock: Arc<dyn Clock>,
    interval: Seconds,
    tried: Mutex<LastAttempt>,
    watch: PanicWatch,
}

/// The last attempt.
struct LastAttempt {
    at: Timestamp,
    /// What it met, so that a full disk is reported once.
    failure: Option<String>,
}

impl HeadSigner {
    /// Begins; the present counts as signed.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(heads: Arc<SignedHeads>, clock: Arc<dyn Clock>, interval: Seconds) -> std::io::Result<Self> {
        let tried = Mutex::new(LastAttempt { at: clock.now(), failure: None });
        let watch = PanicWatch::over("the thread that signs heads");
        let duty = Arc::new(SigningJob { heads, clock, interval, tried, watch });
        let kept = Arc::clone(&duty);
        let worker = WorkerThread::start("tenure-heads", move |stop| kept.watch.run(|| kept.run(stop)))?;
        Ok(Self { duty, _worker: worker })
    }

    /// The heads that it keeps.
    pub fn heads(&self) -> &SignedHeads {
        &self.duty.heads
    }

    /// Why due heads are not signed; `None` if they are.
    pub(crate) fn alarm(&self) -> Option<&str> {
        self.duty.watch.alarm()
    }

    /// Signs a head if one is due: for a caller that has just moved the clock.
    pub fn run_due(&self) {
        self.duty.sign_if_due();
    }
}

impl SigningJob {
    fn run(&self, stop: &StopSignal) {
        loop {
            self.sign_if_due();
            if stop.pause(TICK).is_break() {
                break;
            }
        }
    }

    fn sign_if_due(&self) {
        let mut tried = self.tried.lock();
        let now = self.clock.now();
        if self.heads.nodes().size() == self.heads.signed() || !self.is_due(tried.at, now) {
            return;
        }
        tried.at = now;
        let failure = self.heads.sign().err();
        report(&mut tried, failure.as_ref());
    }

    /// Also when the wall clock was set back since: heads do not wait until it catches up.
    fn is_due(&self, last: Timestamp, now: Timestamp) -> bool {
        let early = i64::try_from(TICK.as_millis()).unwrap_or(0);
        now < last || now.plus_millis(early) >= last.plus(self.interval)
    }
}

fn report(tried: &mut LastAttempt, failure: Option<&HeadError>) {
    let failure = failure.map(ToString::to_string);
    if failure != tried.failure {
        if let Some(error) = &failure {
            tracing::error!(%error, "no head could be signed; what is recorded is not affected");
        } else {
            tracing::info!("heads are signed again");
        }
    }
    tried.failure = failure;
}
