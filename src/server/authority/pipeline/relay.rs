//! Hands the answers of a batch to their callers.
//!
//! To wake a task from a thread outside its runtime costs a lock, and often a system call, for each task. A task of
//! the runtime wakes its neighbours for next to nothing. So if the callers' runtime is known, the sequencer wakes one
//! task per batch, and that task wakes the callers.

use std::sync::OnceLock;

use tokio::{runtime::Handle, sync::oneshot};

use super::request::{CommandOutcome, Failure};

/// A caller's channel, and the answer for it.
pub(crate) type Answer = (oneshot::Sender<Result<CommandOutcome, Failure>>, Result<CommandOutcome, Failure>);

/// The way back to the callers.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    runtime: OnceLock<Handle>,
}

/// Answers on their way. They are sent when they are dropped, so none is lost with a stopping runtime.
struct Answers(Vec<Answer>);

impl Drop for Answers {
    fn drop(&mut self) {
        // A caller that has gone away needs no answer; what it asked is done all the same.
        self.0.drain(..).for_each(|(reply, outcome)| drop(reply.send(outcome)));
    }
}

impl Relay {
    /// Most callers are tasks of this runtime, whose workers run all the time. Only the first call sets it.
    pub(crate) fn by_way_of(&self, runtime: Handle) {
        drop(self.runtime.set(runtime));
    }

    /// Sends all; says how many they are.
    pub(crate) fn send(&self, answers: Vec<Answer>) -> usize {
        let count = answers.len();
        let answers = Answers(answers);
        if let Some(runtime) = self.runtime.get().filter(|_| count > 1) {
            runtime.spawn(async move { drop(answers) });
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Receiver = oneshot::Receiver<Result<CommandOutcome, Failure>>;

    fn answers(count: usize) -> (Vec<Answer>, Vec<Receiver>) {
        let pairs = (0..count).map(|_| oneshot::channel());
        pairs.map(|(reply, waiting)| ((reply, Err(Failure::Overloaded)), waiting)).unzip()
    }

    fn all_are_told(waiting: Vec<Receiver>) -> bool {
        waiting.into_iter().all(|waiting| waiting.blocking_recv().is_ok())
    }

    #[test]
    fn each_caller_is_told_with_a_runtime_and_without_one() {
        let relay = Relay::default();
        let (sent, waiting) = answers(3);
        assert_eq!(relay.send(sent), 3);
        assert!(all_are_told(waiting));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        relay.by_way_of(runtime.handle().clone());
        for count in [1, 3] {
            let (sent, waiting) = answers(count);
            assert_eq!(relay.send(sent), count);
            assert!(all_are_told(waiting));
        }
    }

    #[test]
    fn a_runtime_that_has_stopped_loses_no_answer() {
        let relay = Relay::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        relay.by_way_of(runtime.handle().clone());
        drop(runtime);
        let (sent, waiting) = answers(3);
        relay.send(sent);
        assert!(all_are_told(waiting));
    }
}
