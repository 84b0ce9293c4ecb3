//! What the sequencer does on behalf of a cluster: it publishes what another machine has recorded, and begins and
//! stops deciding. It alone publishes, no matter which node decides.

use std::sync::{Arc, atomic::Ordering};

use super::{
    batch::Batch,
    control::{ControlAction, ControlMessage},
    key_destruction::destroy_keys,
    recalled_sessions::RecalledSessions,
    sequencer::Sequencer,
};
use tenure_core::{
    Event, StreamId, SubjectEvent, SubjectId, SystemEvent, session::Session, subject::Subject,
};
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
                // Whether there is room is for the node to say that leads.
                self.health.found_room(None);
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
            if let StreamId::Subject(id) = &stored.commit.stream {
                self.put_back_those_named(&mut batch, id, stored);
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

    /// A commit may be about sessions that left memory: the node that decided it had read them back, for lists are made
    /// of the state that it led to. So this one reads them back, too.
    fn put_back_those_named(&self, batch: &mut Batch<'_>, id: &SubjectId, stored: &StoredCommit) {
        if !self.live.horizon().is_there() || !self.live.has_left(id) {
            return;
        }
        let subject = batch.subject(id);
        let events = &stored.commit.events;
        let of_all = events.iter().any(|event| is_of_all(&subject, event));
        if !of_all && !events.iter().any(|event| is_about_one_that_left(&subject, event)) {
            return;
        }
        match (self.past)(id, self.live.position()) {
            Ok(mut whole) => {
                let is_named =
                    |session: &Session| events.iter().any(|event| event.session_id() == Some(session.id));
                whole.sessions.retain(|session| of_all || is_named(session));
                let left = RecalledSessions { version: whole.version(), sessions: whole.sessions };
                batch.takes_at_hand(RecalledSessions::put_all_into(Some(left), subject));
            }
            // The state is right without them.
            Err(why) => {
                let named = events.iter().filter_map(Event::session_id);
                named.for_each(|id| self.live.forget_recalled(id));
                tracing::warn!(
                    why,
                    position = %stored.first,
                    "sessions that ended long ago cannot be read back: until the next start some of them may be in \
                     lists where they were before"
                );
            }
        }
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

fn is_about_one_that_left(subject: &Subject, event: &Event) -> bool {
    match event {
        Event::Subject(SubjectEvent::SessionCreated(_)) | Event::System(_) => false,
        Event::Subject(event) => event.session_id().is_some_and(|id| subject.session(id).is_none()),
    }
}

/// Whether all sessions of the subject go to another owner.
fn is_of_all(subject: &Subject, event: &Event) -> bool {
    let Event::Subject(SubjectEvent::SubjectRegistered(registered)) = event else { return false };
    subject.profile().is_some_and(|known| known.owner_id != registered.profile.owner_id)
}

fn ends_many(stored: &StoredCommit) -> bool {
    let mut events = stored.commit.events.iter();
    events.any(|event| {
        matches!(event, Event::System(SystemEvent::SelectionRevoked(_) | SystemEvent::EpochBegan(_)))
    })
}
