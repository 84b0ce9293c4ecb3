//! What the sequencer does on behalf of a cluster: it publishes what another machine has recorded, and begins and
//! stops deciding. It alone publishes, no matter which node decides.

use std::sync::{Arc, atomic::Ordering};

use super::{
    batch::Batch,
    control::{ControlAction, ControlMessage},
    key_destruction::destroy_keys,
    sequencer::Sequencer,
};
use tenure_core::{Event, SystemEvent};
use tenure_log::StoredCommit;

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
            self.bulk_application.make_room(&self.live);
        }
        let live = Arc::clone(&self.live);
        let mut batch = Batch::new(&live, commits.len());
        for stored in commits {
            if stored.first != batch.next() {
                return Err(format!("{} follows, and {} is next", stored.first, batch.next()));
            }
            batch.follow(stored).map_err(|illegal| illegal.to_string())?;
        }
        let (_, published) = batch.finish();
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
                self.presented_tokens.recorded(&marks.presented);
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
