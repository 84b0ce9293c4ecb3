//! Signs heads when they are due: one thread that looks at the clock.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::heads::{HeadError, Heads};
use tenure_core::{Seconds, Timestamp};
use tenure_log::panics::Watch;
use tenure_protocol::clock::Clock;

/// So often the thread looks; a head is signed this much early rather than late.
const TICK: Duration = Duration::from_millis(50);

/// Sees to it that whatever is recorded is under a signed head before `audit.head_interval` is over.
pub struct HeadSigner {
    duty: Arc<Duty>,
    thread: Option<JoinHandle<()>>,
}

struct Duty {
    heads: Arc<Heads>,
    clock: Arc<dyn Clock>,
    interval: Seconds,
    tried: Mutex<LastAttempt>,
    is_over: Mutex<bool>,
    over: Condvar,
    watch: Watch,
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
    pub fn start(heads: Arc<Heads>, clock: Arc<dyn Clock>, interval: Seconds) -> std::io::Result<Self> {
        let tried = Mutex::new(LastAttempt { at: clock.now(), failure: None });
        let watch = Watch::over("the thread that signs heads");
        let (is_over, over) = (Mutex::new(false), Condvar::new());
        let duty = Duty { heads, clock, interval, tried, is_over, over, watch };
        let duty = Arc::new(duty);
        let kept = Arc::clone(&duty);
        let thread = std::thread::Builder::new()
            .name("tenure-heads".into())
            .spawn(move || kept.watch.run(|| kept.run()))?;
        Ok(Self { duty, thread: Some(thread) })
    }

    /// The heads that it keeps.
    pub fn heads(&self) -> &Heads {
        &self.duty.heads
    }

    /// Why no head is signed when it is due; none while it is.
    pub(crate) fn alarm(&self) -> Option<&str> {
        self.duty.watch.alarm()
    }

    /// Signs a head if one is due: for a caller that has just moved the clock.
    pub fn run_due(&self) {
        self.duty.sign_if_due();
    }
}

impl Drop for HeadSigner {
    fn drop(&mut self) {
        *self.duty.is_over.lock() = true;
        self.duty.over.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that died has reported it; there is nothing to be done.
            drop(thread.join());
        }
    }
}

impl Duty {
    fn run(&self) {
        let mut is_over = self.is_over.lock();
        while !*is_over {
            drop(is_over);
            self.sign_if_due();
            is_over = self.is_over.lock();
            if !*is_over {
                self.over.wait_for(&mut is_over, TICK);
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
        tell(&mut tried, failure.as_ref());
    }

    /// Also when the wall clock was set back since: heads do not wait until it catches up.
    fn is_due(&self, last: Timestamp, now: Timestamp) -> bool {
        let early = i64::try_from(TICK.as_millis()).unwrap_or(0);
        now < last || now.plus_millis(early) >= last.plus(self.interval)
    }
}

fn tell(tried: &mut LastAttempt, failure: Option<&HeadError>) {
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
