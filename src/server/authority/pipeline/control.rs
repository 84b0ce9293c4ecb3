//! What the sequencer is asked to do as one of several nodes, between two batches.

use std::sync::{
    Arc,
    mpsc::{self, Receiver, SyncSender},
};

use tenure_log::StoredCommit;

/// What comes between two batches.
pub(crate) struct ControlMessage {
    pub(super) turn: ControlAction,
    pub(super) done: SyncSender<Result<(), String>>,
}

/// What is to be done.
pub(crate) enum ControlAction {
    /// Publish these commits: the log holds them.
    Follow(Vec<Arc<StoredCommit>>),
    /// Decide from now on.
    Lead,
    /// Stop deciding; what is due is recorded before, if still possible.
    Retire,
}

impl ControlMessage {
    /// A turn, and the receiver of its outcome.
    pub(crate) fn new(turn: ControlAction) -> (Self, Receiver<Result<(), String>>) {
        let (done, told) = mpsc::sync_channel(1);
        (Self { turn, done }, told)
    }
}
