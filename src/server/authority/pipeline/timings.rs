//! When a command passed what it has to pass, for the trace that it is part of.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use tenure_protocol::clock::stopwatch;

use crate::traces::{is_followed, note};

/// The moments of a command. Most commands are part of no trace, and have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandTimings(Option<Arc<StageTimes>>);

#[derive(Debug)]
struct StageTimes {
    queued: Instant,
    taken: OnceLock<Instant>,
    decided: OnceLock<Instant>,
    durable: OnceLock<Instant>,
}

impl CommandTimings {
    /// Of a command queued now by this task.
    pub(crate) fn begin() -> Self {
        let moments = || StageTimes {
            queued: stopwatch(),
            taken: OnceLock::new(),
            decided: OnceLock::new(),
            durable: OnceLock::new(),
        };
        Self(is_followed().then(|| Arc::new(moments())))
    }

    pub(super) fn taken(&self) {
        self.pass(|moments| &moments.taken);
    }

    pub(super) fn decided(&self) {
        self.pass(|moments| &moments.decided);
    }

    /// Durable and published, or refused together with its batch.
    pub(super) fn durable(&self) {
        self.pass(|moments| &moments.durable);
    }

    fn pass(&self, which: impl FnOnce(&StageTimes) -> &OnceLock<Instant>) {
        if let Some(moments) = &self.0 {
            which(moments).get_or_init(stopwatch);
        }
    }

    /// Reports the timings to the trace of the task that queued the command, once it has its answer.
    pub(crate) fn report(&self) {
        let Some(moments) = &self.0 else { return };
        let mut from = moments.queued;
        let passed = [
            ("sequencer.wait", moments.taken.get()),
            ("sequencer.decide", moments.decided.get()),
            ("log.append", moments.durable.get()),
            ("sequencer.answer", Some(&stopwatch())),
        ];
        for (name, until) in passed {
            let Some(until) = until else { continue };
            note(name, from, *until);
            from = *until;
        }
    }
}
