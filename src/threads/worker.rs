//! The one way to run a thread that works from time to time until it is stopped.
//!
//! A thread that waits for work instead, as that of a queue, ends when its queue is closed, and needs nothing of this.

use std::{io, ops::ControlFlow, sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::{Condvar, Mutex};

/// The end of a thread's work, said by others.
#[derive(Debug, Default)]
pub struct StopSignal {
    is_over: Mutex<bool>,
    said: Condvar,
}

impl StopSignal {
    /// Ends the work: the pause that it is in, and every one from now on.
    pub fn end(&self) {
        *self.is_over.lock() = true;
        self.said.notify_all();
    }

    /// Whether the work is to end.
    pub fn is_over(&self) -> bool {
        *self.is_over.lock()
    }

    /// Lets time pass, none included; breaks at the end of the work, at once.
    pub fn pause(&self, length: Duration) -> ControlFlow<()> {
        let mut is_over = self.is_over.lock();
        if !*is_over && length > Duration::ZERO {
            self.said.wait_for(&mut is_over, length);
        }
        if *is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A thread at work. Dropping it asks the thread to end and waits for it.
#[derive(Debug)]
pub struct WorkerThread {
    stop: Arc<StopSignal>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    /// Begins the work on a thread of this name. It looks at [`StopSignal::pause`] in between, and ends when that breaks.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(name: &str, work: impl FnOnce(&StopSignal) + Send + 'static) -> io::Result<Self> {
        Self::with(Arc::default(), name, work)
    }

    /// The same, where others than the owner of the worker end it too.
    ///
    /// # Errors
    /// As [`WorkerThread::start`].
    pub fn with(
        stop: Arc<StopSignal>,
        name: &str,
        work: impl FnOnce(&StopSignal) + Send + 'static,
    ) -> io::Result<Self> {
        let own = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&own))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.stop.end();
        if let Some(thread) = self.thread.take() {
            // A panic is the alarm of the watcher of this work.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_worker_that_is_dropped_ends_its_pause_and_is_waited_for() {
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let worker = WorkerThread::start("worker", move |stop| {
            while stop.pause(Duration::from_hours(1)).is_continue() {}
            ended.store(true, Ordering::SeqCst);
        });
        drop(worker.unwrap());
        assert!(has_ended.load(Ordering::SeqCst));
    }

    #[test]
    fn no_pause_lasts_after_the_end() {
        let stop = StopSignal::default();
        assert!(stop.pause(Duration::ZERO).is_continue());
        stop.end();
        assert!(stop.is_over());
        assert!(stop.pause(Duration::from_hours(1)).is_break());
    }

    #[test]
    fn a_worker_that_panicked_is_dropped_like_another() {
        drop(WorkerThread::start("worker", |_| panic!("out of order")).unwrap());
    }
}
