//! Hands the answers of a batch to their callers.
//!
//! To wake a task from a thread outside its runtime costs a lock, and often a system call, for each task. A task of
//! the runtime wakes its neighbours for next to nothing. So if the callers' runtime is known, the sequencer wakes one
//! task per batch, and that task wakes the callers, a few at a time: woken all at once, hundreds of them would stand
//! in the workers' queues before everything that comes in meanwhile. Ends are not among them: the sequencer wakes
//! their callers itself, before it does anything else.

use std::sync::OnceLock;

use tokio::{runtime::Handle, task::yield_now};

use super::request::{CommandError, CommandOutcome, WaitingCaller};

/// A caller, and the answer for it.
pub(crate) type PendingReply = (WaitingCaller, Result<CommandOutcome, CommandError>);

/// Callers that the sequencer itself wakes before the others, each at the price of a lock.
const FIRST: usize = 16;
/// Callers woken at once; the next ones when the workers have looked at the sockets again.
const AT_ONCE: usize = 32;

/// The way back to the callers.
#[derive(Debug, Default)]
pub(crate) struct ReplyRelay {
    runtime: OnceLock<Handle>,
}

/// Answers on their way. They are sent when they are dropped, so none is lost with a stopping runtime.
struct ReplyBatch(Vec<PendingReply>);

impl ReplyBatch {
    /// Sends this number of them, or all.
    fn send(&mut self, most: usize) {
        let count = most.min(self.0.len());
        self.0.drain(..count).for_each(answer);
    }

    async fn send_in_turn(mut self) {
        self.send(AT_ONCE);
        while !self.0.is_empty() {
            yield_now().await;
            self.send(AT_ONCE);
        }
    }
}

impl Drop for ReplyBatch {
    fn drop(&mut self) {
        self.send(usize::MAX);
    }
}

/// A caller that has gone away needs no answer; what it asked is done all the same.
fn answer((caller, outcome): PendingReply) {
    drop(caller.reply.send(outcome));
}

impl ReplyRelay {
    /// Most callers are tasks of this runtime, whose workers run all the time. Only the first call sets it.
    pub(crate) fn by_way_of(&self, runtime: Handle) {
        drop(self.runtime.set(runtime));
    }

    /// Sends all; says how many they are.
    pub(crate) fn send(&self, mut answers: Vec<PendingReply>) -> usize {
        let count = answers.len();
        let mut first = 0;
        let goes_first = |(caller, _): &mut PendingReply| {
            first += usize::from(caller.goes_first);
            caller.goes_first && first <= FIRST
        };
        answers.extract_if(.., goes_first).for_each(answer);
        let answers = ReplyBatch(answers);
        if let Some(runtime) = self.runtime.get().filter(|_| answers.0.len() > 1) {
            runtime.spawn(answers.send_in_turn());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    use crate::authority::pipeline::timings::CommandTimings;

    type Receiver = oneshot::Receiver<Result<CommandOutcome, CommandError>>;

    fn answers(count: usize) -> (Vec<PendingReply>, Vec<Receiver>) {
        let pairs = (0..count).map(|number| (number % 2 == 0, oneshot::channel()));
        pairs
            .map(|(goes_first, (reply, waiting))| {
                (
                    (
                        WaitingCaller { reply, goes_first, passage: CommandTimings::default() },
                        Err(CommandError::Overloaded),
                    ),
                    waiting,
                )
            })
            .unzip()
    }

    fn all_are_told(waiting: Vec<Receiver>) -> bool {
        waiting.into_iter().all(|waiting| waiting.blocking_recv().is_ok())
    }

    #[test]
    fn each_caller_is_told_with_a_runtime_and_without_one() {
        let relay = ReplyRelay::default();
        let (sent, waiting) = answers(3);
        assert_eq!(relay.send(sent), 3);
        assert!(all_are_told(waiting));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        relay.by_way_of(runtime.handle().clone());
        for count in [1, 3, 300] {
            let (sent, waiting) = answers(count);
            assert_eq!(relay.send(sent), count);
            assert!(all_are_told(waiting));
        }
    }

    #[test]
    fn a_runtime_that_has_stopped_loses_no_answer() {
        let relay = ReplyRelay::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        relay.by_way_of(runtime.handle().clone());
        drop(runtime);
        let (sent, waiting) = answers(100);
        relay.send(sent);
        assert!(all_are_told(waiting));
    }

    /// A batch of hundreds woke them all at once, and the one whose session was to end stood among them.
    #[test]
    fn who_goes_first_is_woken_before_the_others_and_those_a_few_at_a_time() {
        let relay = ReplyRelay::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        relay.by_way_of(runtime.handle().clone());
        let (sent, waiting) = answers(4 * AT_ONCE);
        relay.send(sent);
        let told = |waiting: &[Receiver]| waiting.iter().filter(|waiting| !waiting.is_empty()).count();
        assert_eq!(told(&waiting), FIRST, "the runtime has not run yet");
        runtime.block_on(yield_now());
        assert_eq!(told(&waiting), FIRST + AT_ONCE);
        runtime.block_on(async {
            for _ in 0..4 * AT_ONCE {
                yield_now().await;
            }
        });
        assert!(all_are_told(waiting));
    }
}
