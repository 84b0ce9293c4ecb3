//! Which tokens of new generations were presented, as long as the log does not say so.
//!
//! Once a token of the new generation was presented, its holder has it, so a repeat of the renewal with the
//! earlier token is not the holder's: the lost-reply rule ends there. The marks are recorded in batches
//! ([`SystemCommand::MarkPresented`](tenure_core::command::SystemCommand)), so a crash may forget those of
//! the last seconds; that only leaves a lost reply answerable for a little longer.

use hashbrown::{HashMap, hash_map::Entry};

use parking_lot::Mutex;

use tenure_core::{Generation, SessionId, event::PresentedToken, session::Session};

/// Unrecorded marks.
#[derive(Default)]
pub(crate) struct PresentedTokens {
    marks: Mutex<HashMap<SessionId, Generation>>,
}

impl PresentedTokens {
    /// Notes that a token of the session's current generation was presented.
    pub(crate) fn note(&self, session: &Session) {
        if session.awaits_presentation() {
            self.mark(session.id, session.generation());
        }
    }

    /// The session may have been read before its latest renewal, which another mark may already cover.
    fn mark(&self, id: SessionId, generation: Generation) {
        let mut marks = self.marks.lock();
        let latest = marks.entry(id).or_insert(generation);
        *latest = generation.max(*latest);
    }

    /// Whether a token of this generation was presented.
    pub(crate) fn has_seen(&self, id: SessionId, generation: Generation) -> bool {
        self.marks.lock().get(&id) == Some(&generation)
    }

    /// Up to `most` marks, to be recorded. They stay here until [`PresentedTokens::recorded`] takes them.
    pub(crate) fn pending(&self, most: usize) -> Vec<PresentedToken> {
        let marks = self.marks.lock();
        let mut pending: Vec<_> = marks
            .iter()
            .take(most)
            .map(|(&session_id, &generation)| PresentedToken { session_id, generation })
            .collect();
        pending.sort_by_key(|mark| mark.session_id);
        pending
    }

    /// Forgets what was presented before these renewals. Many sessions are renewed right after they have shown their
    /// token, and their marks would say nothing any more when they are due to be recorded.
    pub(crate) fn overtaken(&self, renewed: impl Iterator<Item = (SessionId, Generation)>) {
        let mut renewed = renewed.peekable();
        if renewed.peek().is_none() {
            return;
        }
        let mut marks = self.marks.lock();
        for (id, generation) in renewed {
            if let Entry::Occupied(mark) = marks.entry(id)
                && *mark.get() < generation
            {
                mark.remove();
            }
        }
    }

    /// Forgets marks that the log holds now, or that the next renewal has overtaken.
    pub(crate) fn recorded(&self, marks: &[PresentedToken]) {
        let mut pending = self.marks.lock();
        for mark in marks {
            if pending.get(&mark.session_id) == Some(&mark.generation) {
                pending.remove(&mark.session_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_comes_late_takes_no_later_one_away() {
        let (presented_tokens, id) = (PresentedTokens::default(), SessionId::from_bytes([7; 16]));
        for generation in [2, 3, 2].map(Generation) {
            presented_tokens.mark(id, generation);
        }
        assert!(presented_tokens.has_seen(id, Generation(3)));
    }

    #[test]
    fn a_renewal_takes_earlier_marks_away_and_no_other() {
        let presented_tokens = PresentedTokens::default();
        let [renewed, shown_since, other] = [1, 2, 3].map(|byte| SessionId::from_bytes([byte; 16]));
        for (id, generation) in [(renewed, 4), (shown_since, 5), (other, 1)] {
            presented_tokens.mark(id, Generation(generation));
        }
        presented_tokens.overtaken([renewed, shown_since].map(|id| (id, Generation(5))).into_iter());
        let left = presented_tokens.pending(9);
        assert_eq!(left.iter().map(|mark| mark.session_id).collect::<Vec<_>>(), [shown_since, other]);
    }
}
