//! What the sequencer records without being asked: presented tokens, ends of contested sessions, and uses. Each is
//! known in memory first, and stays there until it is recorded.

use std::sync::Arc;

use super::{
    batch::{Batch, MARKS_PER_COMMIT},
    batch_size::BATCH,
    disk_room::RoomFor,
    request::{CommandError, RequestContext},
    sequencer::Sequencer,
};
use crate::authority::state::activity::ActivityTracker;
use tenure_core::{
    Actor, Event, SessionId, SubjectEvent,
    command::{Command, EndContested, SystemCommand},
    event::PresentedToken,
};
use tenure_log::StoredCommit;
use tenure_protocol::clock::stopwatch;

/// Maximum commits of marks made durable together.
const MARK_COMMITS: usize = 32;

impl Sequencer {
    /// Records what is due by now.
    pub(super) fn record_due(&mut self) {
        self.record_marks();
        self.end_contested();
        self.record_uses(|uses| uses.due_now(MARKS_PER_COMMIT * MARK_COMMITS));
    }

    /// Records all that it knows and the log does not; whether that was possible.
    pub(super) fn record_all(&mut self) -> bool {
        self.record_marks();
        self.end_contested();
        self.record_uses(ActivityTracker::all)
    }

    /// Forgets marks that were overtaken by what these commits record.
    pub(super) fn forget_overtaken(&self, commits: &[Arc<StoredCommit>]) {
        let events = commits.iter().flat_map(|stored| &stored.commit.events);
        self.presented_tokens.overtaken(events.filter_map(|event| match event {
            Event::Subject(SubjectEvent::SessionRenewed(renewed)) => {
                Some((renewed.session_id, renewed.generation))
            }
            Event::Subject(_) | Event::System(_) => None,
        }));
    }

    /// Whether the authority may record its own notes now. They wait for room, because no caller asked for them.
    fn may_note(&self) -> bool {
        self.may_write().is_ok() && self.disk_room.check() == RoomFor::All
    }

    fn record_marks(&mut self) {
        loop {
            let pending = self.presented_tokens.pending(MARKS_PER_COMMIT * MARK_COMMITS);
            if pending.is_empty() || !self.may_note() || !self.record(&pending) {
                return;
            }
            self.presented_tokens.recorded(&pending);
        }
    }

    /// Ends contested sessions of which a token of the current generation was presented, one commit each.
    fn end_contested(&mut self) {
        let ids = self.live.contested().all();
        if ids.is_empty() || self.may_write().is_err() || self.disk_room.check() < RoomFor::Ends {
            return;
        }
        let live = Arc::clone(&self.live);
        for ids in ids.chunks(BATCH) {
            let mut batch = Batch::new(&live, ids.len());
            let all_decided = ids.iter().all(|id| self.end_if_contested(&mut batch, *id).is_ok());
            if !all_decided || self.commit(batch, stopwatch()).is_err() {
                return;
            }
        }
    }

    fn end_if_contested(&self, batch: &mut Batch<'_>, session_id: SessionId) -> Result<(), CommandError> {
        let Some(id) = self.live.subject_of(session_id) else { return Ok(()) };
        let (subject, at) = (batch.subject(&id), batch.moment(self.clock.now()));
        let command = Command::EndContested(EndContested { session_id, shown: None });
        let observed = self.observed(batch, &subject, &command);
        let stamp = self.stamp(at, RequestContext::of(Actor::AUTHORITY));
        let decided = batch.decide_subject(subject, &command, &observed, stamp);
        decided.map(drop).map_err(|fault| self.unwritable(&fault))
    }

    /// Records uses of sessions; whether that was possible.
    fn record_uses(&mut self, which: impl FnOnce(&ActivityTracker) -> Vec<SessionId>) -> bool {
        if !self.may_note() {
            return false;
        }
        let live = Arc::clone(&self.live);
        let uses = which(live.uses());
        uses.chunks(MARKS_PER_COMMIT * MARK_COMMITS).all(|uses| {
            let mut batch = Batch::new(&live, uses.len().div_ceil(MARKS_PER_COMMIT));
            let all_decided = uses.chunks(MARKS_PER_COMMIT).all(|uses| {
                let at = batch.moment(self.clock.now());
                let command = SystemCommand::MarkSeen(batch.uses_of(uses, at));
                self.decide_own(&mut batch, &command, at).is_ok()
            });
            all_decided && self.commit(batch, stopwatch()).is_ok()
        })
    }

    /// Records marks in as many commits as they need, made durable together.
    fn record(&mut self, marks: &[PresentedToken]) -> bool {
        let live = Arc::clone(&self.live);
        let mut batch = Batch::new(&live, marks.len().div_ceil(MARKS_PER_COMMIT));
        let all_decided = marks.chunks(MARKS_PER_COMMIT).all(|marks| {
            let at = batch.moment(self.clock.now());
            let command = SystemCommand::MarkPresented(batch.still_true(marks.to_vec()));
            self.decide_own(&mut batch, &command, at).is_ok()
        });
        all_decided && self.commit(batch, stopwatch()).is_ok()
    }
}
