//! What is due from time to time, on a thread of its own.
//!
//! A job that fails is counted, said in the log, and done again the next time.

use std::{sync::Arc, time::Duration};

use tenure_threads::worker::WorkerThread;

use crate::authority::Authority;

/// How often it is looked for what is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to look after this authority, until what is given back is dropped. A panic is an alarm of its health.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(authority: Arc<Authority>) -> std::io::Result<WorkerThread> {
    WorkerThread::start("tenure-jobs", move |stop| {
        authority.health().jobs().run(|| {
            while stop.pause(INTERVAL).is_continue() {
                do_due(&authority);
            }
        });
    })
}

fn do_due(authority: &Authority) {
    authority.remove_retired_keys();
    authority.save_key_uses();
    let can_write =
        authority.leads() && authority.health().stopped().is_none() && authority.clock_fault().is_none();
    if can_write && authority.disk_room().fault().is_none() {
        // The sweep itself counts and reports a failure.
        drop(pollster::block_on(authority.sweep_due()));
    }
}
