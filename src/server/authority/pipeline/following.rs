//! What the sequencer does on behalf of a cluster: it publishes what another machine has recorded, and begins and
//! stops deciding. It alone publishes, no matter which node decides.

use std::sync::{
    Arc,
    atomic::Ordering,
    mpsc::{self, Receiver, SyncSender},
};

use super::{batch::Batch, key_destruction::destroy_keys, sequencer::Sequencer};
use tenure_core::{Event, SystemEvent};
use tenure_log::StoredCommit;

/// What comes between two batches.
pub(crate) struct ControlMessage {
    turn: ControlAction,
    done: SyncSender<Result<(), String>>,
}

/// What is to be done.
pub(crate) enum ControlAction {
    /// Publish these commits: the log holds them.
    Follow(Vec<Arc<StoredCommit>>),
    /// Decide from now on.
    Lead,
    /// Stop deciding; what is due is recorded before, if that is still possible.
    Retire,
}

impl ControlMessage {
    /// A turn, and the receiver of its outcome.
    pub(crate) fn new(turn: ControlAction) -> (Self, Receiver<Result<(), String>>) {
        let (done, told) = mpsc::sync_channel(1);
        (Self { turn, done }, told)
    }
}

impl Sequencer {
    /// Does it, and says so. No request is answered by it.
    pub(super) fn obey(&mut self, control: ControlMessage) -> usize {
        let done = match control.turn {
            ControlAction::Follow(commits) => self.follow(&commits),
            ControlAction::Lead => {
                self.live.uses().are_forgotten_before(self.clock.now().max(self.live.recorded_at()));
                self.leads.store(true, Ordering::Release);
                Ok(())
            }
            ControlAction::Retire => {
                if self.log.stopped().is_none() {
                    self.record_all();
                }
                self.leads.store(false, Ordering::Release);
                // From here on sessions may be used at the node that leads.
                self.live.uses().are_forgotten_before(tenure_core::Timestamp::MAX);
                Ok(())
            }
        };
        drop(control.done.send(done));
        0
    }

    fn follow(&mut self, commits: &[Arc<StoredCommit>]) -> Result<(), String> {
        if commits.iter().any(|stored| ends_many(stored)) {
            self.settling.make_room(&self.live);
        }
        let live = Arc::clone(&self.live);
        let mut staging = Batch::new(&live, commits.len());
        for stored in commits {
            if stored.first != staging.next() {
                return Err(format!("{} follows, and {} is next", stored.first, staging.next()));
            }
            staging.follow(stored).map_err(|illegal| illegal.to_string())?;
        }
        let (_, published) = staging.finish();
        let destroyed = destroy_keys(&self.texts, &published.commits);
        self.publish(&published);
        for stored in commits {
            self.forget_marks(stored);
        }
        destroyed.map_err(|error| error.to_string())
    }

    /// Presented tokens that the log already records need not be sent to the leader.
    fn forget_marks(&self, stored: &StoredCommit) {
        for event in &stored.commit.events {
            if let Event::System(SystemEvent::TokensPresented(marks)) = event {
                self.presence.recorded(&marks.presented);
            }
        }
    }
}

fn ends_many(stored: &StoredCommit) -> bool {
    let mut events = stored.commit.events.iter();
    events.any(|event| {
        matches!(event, Event::System(SystemEvent::SelectionRevoked(_) | SystemEvent::EpochBegan(_)))
    })
}
