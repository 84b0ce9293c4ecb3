//! A new epoch: what a restore does to a history that may lack events.

use crate::tokens::NewKey;
use tenure_core::{
    Actor, Event, KeyUse, Position, StreamId, SubjectId, SystemEvent,
    command::{BeginEpoch, Command, EraseSubject},
    commit::ActorKind,
};

use crate::authority::{
    Authority,
    pipeline::request::{CommandError, CommandRequest, RequestContext},
};

/// What a new epoch is to be called, and what came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    /// Its number.
    pub epoch: u32,
    /// Why it begins.
    pub reason: String,
    /// The name under which the log signed its heads.
    pub previous_name: String,
    /// The head at the fork, signed under that name.
    pub previous_head: Option<String>,
    /// Whether API keys are held until they are confirmed.
    pub hold_credentials: bool,
}

/// What the beginning of an epoch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BegunEpoch {
    /// How many sessions ended.
    pub ended: u32,
    /// The last event of its commit.
    pub position: Position,
}

impl Authority {
    /// Begins another epoch: ends every session, rotates both keys and holds API keys, in one commit.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub fn begin_epoch(&self, new: NewEpoch) -> Result<BegunEpoch, CommandError> {
        let keys = KeyUse::ALL.map(|(_, which)| (which, NewKey::draw(which, &*self.entropy)));
        let command = BeginEpoch {
            epoch: new.epoch,
            from: self.live.position(),
            reason: new.reason,
            previous_name: new.previous_name,
            previous_head: new.previous_head,
            hold_credentials: new.hold_credentials,
            keys: keys.each_ref().map(|(which, key)| (*which, key.id().clone())),
        };
        let ask = CommandRequest::BeginEpoch(Box::new(command), keys.map(|(_, key)| key));
        let operator = Actor { kind: ActorKind::Operator, id: None };
        let done = self.submit_blocking(ask, RequestContext::of(operator))?;
        let commit = done.commit.expect("the beginning of an epoch is recorded");
        let ended = commit.commit.events.iter().find_map(|event| {
            if let Event::System(SystemEvent::SelectionRevoked(revoked)) = event {
                Some(revoked.matched)
            } else {
                None
            }
        });
        Ok(BegunEpoch { ended: ended.unwrap_or(0), position: commit.last() })
    }

    /// Records that the text about these subjects is erased, whose keys the history that was lost had destroyed.
    ///
    /// # Errors
    /// Why it could not be recorded.
    pub fn erase_again(&self, subjects: &[SubjectId]) -> Result<(), CommandError> {
        for id in subjects {
            let reason = self.seal_own("reason", "it was erased in the history that was lost")?;
            // A subject without a key counts as erased already; the event destroys this one.
            self.key_for(&StreamId::Subject(id.clone()))?;
            let ask = CommandRequest::Subject(id.clone(), Command::EraseSubject(EraseSubject { reason }));
            self.submit_blocking(ask, RequestContext::of(Actor::AUTHORITY))?;
        }
        Ok(())
    }
}
