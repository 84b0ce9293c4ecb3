//! Whether what callers were told of one session can have happened one thing after another, each at a moment between
//! its question and its answer.
//!
//! `session` says what one thing does to a session and what may be told of it then. `search` looks for an order.

mod search;
mod seeded;
mod session;

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use tenure::clock::stopwatch;

pub(crate) use search::{Stuck, order};
pub(crate) use session::{Deed, No};

/// One request, and what its caller knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was asked, in microseconds.
    pub(crate) asked: u64,
    /// When it was answered; never for what may happen at any time, or not at all.
    pub(crate) answered: Option<u64>,
    pub(crate) deed: Deed,
}

/// All that was asked about one session, by several callers.
pub(crate) struct History {
    begun: Instant,
    entries: Mutex<Vec<Entry>>,
}

impl History {
    pub(crate) fn new() -> Self {
        Self { begun: stopwatch(), entries: Mutex::default() }
    }

    /// The moment at which something is asked.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap()
    }

    /// What was asked then is answered now.
    pub(crate) fn told(&self, asked: u64, deed: Deed) {
        let answered = Some(self.now());
        self.entries.lock().unwrap().push(Entry { asked, answered, deed });
    }

    /// The same of an answer that may be true of a moment so long before the question.
    pub(crate) fn told_of_before(&self, asked: u64, age: Duration, deed: Deed) {
        let age = u64::try_from(age.as_micros()).unwrap();
        self.told(asked.saturating_sub(age), deed);
    }

    /// Nobody knows what became of what was asked then.
    pub(crate) fn untold(&self, asked: u64, deed: Deed) {
        self.entries.lock().unwrap().push(Entry { asked, answered: None, deed });
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap().len()
    }

    /// An order in which all of it can have happened, or what has none.
    pub(crate) fn order(&self) -> Result<(), Stuck> {
        order(&self.entries.lock().unwrap())
    }
}
