//! Panics of one part, kept from ending the others.
//!
//! A part that panics is broken, and says so: its panic becomes an error or the part's alarm, and the authority goes
//! on without it. Nothing here makes a broken part work again.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{Once, OnceLock},
};

use futures_util::FutureExt;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, whose panics are reported by the caller: the default hook writes nothing about them to stderr.
///
/// # Errors
/// The message of a panic. What `work` touched may be broken, and must not be used again.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(quieten);
    let outer = IS_QUIET.replace(true);
    let caught = panic::catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(outer);
    caught.map_err(|payload| message(payload.as_ref()))
}

fn quieten() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if IS_QUIET.get() {
            tracing::debug!(panic = %info, "a part panicked");
        } else {
            before(info);
        }
    }));
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// Whether a part, which works on a thread or in a task of its own, still does.
#[derive(Debug)]
pub struct PanicWatch {
    part: &'static str,
    died: OnceLock<String>,
}

impl PanicWatch {
    /// Of a part with this name.
    pub const fn over(part: &'static str) -> Self {
        Self { part, died: OnceLock::new() }
    }

    /// Runs the part. Its panic ends it, and is its alarm.
    pub fn run(&self, work: impl FnOnce()) {
        if let Err(message) = caught(work) {
            self.raise(&message);
        }
    }

    /// The same for an asynchronous task.
    pub async fn run_task(&self, work: impl Future<Output = ()>) {
        if let Err(payload) = AssertUnwindSafe(work).catch_unwind().await {
            self.raise(&message(payload.as_ref()));
        }
    }

    /// Why the part has stopped working; `None` if it still works.
    pub fn alarm(&self) -> Option<&str> {
        self.died.get().map(String::as_str)
    }

    /// The part has died of this, or a piece of it has.
    pub fn raise(&self, message: &str) {
        let part = self.part;
        tracing::error!(
            part,
            panic = message,
            "a part has died; the rest goes on without it until a restart"
        );
        // The first panic is the cause of any other.
        drop(self.died.set(format!("{part} has died, and everything else goes on; restart the authority")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught::<()>(|| panic!("page {} is torn", 7)), Err("page 7 is torn".to_owned()));
    }

    #[test]
    fn a_part_that_panics_is_an_alarm_and_no_more() {
        let (thread, task) = (PanicWatch::over("the sweep"), PanicWatch::over("a webhook"));
        thread.run(|| ());
        assert_eq!(thread.alarm(), None);
        thread.run(|| panic!("out of order"));
        pollster::block_on(task.run_task(async { panic!("out of order") }));
        assert!(thread.alarm().unwrap().starts_with("the sweep has died"));
        assert!(task.alarm().unwrap().starts_with("a webhook has died"));
    }
}
