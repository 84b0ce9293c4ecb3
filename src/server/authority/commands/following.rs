//! What an authority does as one of several nodes: what it may merely not know yet, and what others have noted.

use super::super::{Authority, CommandError, CommandRequest, RequestContext};
use crate::tokens::{ApiKey, SessionToken};
use tenure_core::{
    Actor,
    command::SystemCommand,
    event::{PresentedToken, SessionSeen},
};

impl Authority {
    /// Whether this credential is none by what is known here, and may be a good one by what is recorded and not known
    /// here yet.
    pub(crate) fn may_come_to_know(&self, credential: &str) -> bool {
        if credential.starts_with(ApiKey::PREFIX) {
            return self.credential(credential).is_none();
        }
        if !credential.starts_with(SessionToken::PREFIX) {
            return false;
        }
        let tokens = &self.secrets.tokens;
        let Some(claims) = tokens.open(credential, || self.now()) else {
            return tokens.is_of_unknown_key(credential);
        };
        let Some(session) = self.live.session(claims.session) else { return true };
        claims.generation > session.generation()
    }

    /// Lets keys of tokens work that were recorded before they could be written here.
    pub(crate) fn catch_up_with_keys(&self) {
        self.secrets.tokens.keyring().catch_up(&self.live.system().system.keys, self.now());
    }

    /// Presented tokens and uses of sessions that the node that decides is to know of, up to `most` of each.
    pub(crate) fn noted(&self, most: usize) -> (Vec<PresentedToken>, Vec<SessionSeen>) {
        let due = self.live.uses().due_now(most);
        let seen = due.into_iter().filter_map(|id| self.live.uses().noted(id)).collect();
        (self.presented_tokens.pending(most), seen)
    }

    /// The leader has recorded these.
    pub(crate) fn are_recorded(&self, presented: &[PresentedToken], seen: &[SessionSeen]) {
        self.presented_tokens.recorded(presented);
        for seen in seen {
            let recorded = self.live.recorded_session(seen.session_id);
            self.live.uses().clear_told(*seen, recorded.as_deref());
        }
    }

    /// Notes what another node has noted, and records it.
    ///
    /// # Errors
    /// Why it could not be recorded; it stays noted here.
    pub(crate) async fn take_noted(
        &self,
        presented: Vec<PresentedToken>,
        seen: Vec<SessionSeen>,
    ) -> Result<(), CommandError> {
        let mut due = Vec::new();
        for seen in seen {
            if let Some(recorded) = self.live.recorded_session(seen.session_id) {
                self.live.uses().note(&recorded, seen.seen_at.min(self.now()));
                due.extend(self.live.uses().due(&recorded));
            }
        }
        for mark in &presented {
            let known = self.live.recorded_session(mark.session_id);
            if let Some(session) = known.filter(|session| session.generation() == mark.generation) {
                self.presented_tokens.note(&session);
            }
        }
        let commands = [
            (!due.is_empty()).then(|| SystemCommand::MarkSeen(due)),
            (!presented.is_empty()).then(|| SystemCommand::MarkPresented(presented)),
        ];
        for command in commands.into_iter().flatten() {
            self.submit(CommandRequest::System(command), RequestContext::of(Actor::AUTHORITY)).await?;
        }
        Ok(())
    }
}
