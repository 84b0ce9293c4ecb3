//! Uses of sessions: noted, and recorded before a decision rests on them.
//!
//! It is for the authority to record them in time; here that is done as its sequencer does it, in a few lines.

use tenure::{
    authority::PublishedState,
    core::{
        Generation, Timestamp,
        command::SystemCommand,
        event::SessionSeen as SeenInUse,
        session::{Session, TokenFault},
    },
};

use super::{
    asks::Ask,
    commands::subject_of,
    run::{Check, Run, ensure},
};
use crate::scenario::session;

impl Run {
    /// A session as a check sees it: with the uses that are noted.
    pub(super) fn session_in_use(&self, number: u32) -> Session {
        let id = session(number);
        let recorded = self.state.subjects[&self.state.holders[&id]].session(id).expect("it was created");
        let noted = self.model.unrecorded_uses().into_iter().find(|(noted, _)| *noted == number);
        match noted {
            Some((_, seen)) => recorded.seen_unrecorded(Timestamp::from_millis(seen)),
            None => recorded.clone(),
        }
    }

    /// A token is shown for a check; its use is recorded at once when a crash must not forget it.
    pub(super) fn introspect(&mut self, number: u32, generation: u32) -> Check {
        let holder = &self.state.subjects[&self.state.holders[&session(number)]];
        let judged = self.session_in_use(number).judge(Generation(generation), holder.suspension(), self.now);
        let actual = judged.err().map(code_of);
        let expected = self.model.introspect(number, generation, self.now.as_millis());
        ensure(actual == expected, || format!("{number} is {actual:?}, expected {expected:?}"))?;
        self.count_word(&format!("checked {}", expected.unwrap_or("good")));
        self.present(number, generation);
        let id = session(number);
        let holder = &self.state.subjects[&self.state.holders[&id]];
        let is_due = holder.session(id).is_some_and(|recorded| recorded.is_worth_recording(self.now));
        if expected.is_none() && is_due { self.record_uses(|other| other == number) } else { Ok(()) }
    }

    /// Records the uses of some sessions, as far as they are not recorded.
    pub(super) fn record_uses(&mut self, which: impl Fn(u32) -> bool) -> Check {
        let mut uses = self.model.unrecorded_uses();
        uses.retain(|(number, _)| which(*number));
        if !uses.is_empty() {
            self.count_word("uses recorded");
        }
        let mut marks = Vec::new();
        for (number, seen) in uses {
            self.model.record_use(number);
            marks.push(SeenInUse { session_id: session(number), seen_at: Timestamp::from_millis(seen) });
        }
        self.ask_system(&SystemCommand::MarkSeen(marks))
    }

    /// Everything that is not recorded is forgotten; what is known after the next start is the published state's.
    pub(super) fn crash(&mut self) -> Check {
        self.count_word("crashed");
        self.seen.clear();
        self.model.crash(self.now.as_millis());
        let live = PublishedState::new(self.state.clone(), Some(self.now));
        for (number, expected) in &self.model.sessions {
            let actual = live.session(session(*number)).ok_or("a session is lost")?;
            let seen = actual.last_seen_at().map(Timestamp::as_millis);
            let agrees = seen == expected.activity.map(|activity| activity.seen);
            ensure(agrees, || format!("after a crash {actual:?}\n  is not {expected:?}"))?;
        }
        Ok(())
    }

    /// Records what a decision rests on: uses of sessions that would count as idle without them; and that they are
    /// idle, for good, where that makes room or spares them.
    pub(super) fn settle(&mut self, subject: usize, ask: &Ask) -> Check {
        let one = match ask {
            Ask::Register { .. }
            | Ask::Erase
            | Ask::EndContested { .. }
            | Ask::Suspend { .. }
            | Ask::Resume { .. } => return Ok(()),
            Ask::Renew { session, .. }
            | Ask::Refresh { session, .. }
            | Ask::Use { session, .. }
            | Ask::EndAndSuspend { session, .. }
            | Ask::Revoke { session, .. } => Some(*session),
            Ask::Create(_) | Ask::RevokeAll { .. } | Ask::Sweep => None,
        };
        let Some(known) = self.state.subjects.get(&subject_of(subject)) else { return Ok(()) };
        let idle = known.sessions.iter().filter(|session| session.is_idle(self.now) && session.can_be_seen());
        let mut idle: Vec<_> = idle.map(|session| session.id).collect();
        idle.retain(|id| one.is_none_or(|one| session(one) == *id));
        self.record_uses(|number| idle.contains(&session(number)))?;
        let is_for_good = matches!(ask, Ask::Create(_) | Ask::RevokeAll { .. });
        if is_for_good && !idle.is_empty() { self.ask(subject, &Ask::Sweep) } else { Ok(()) }
    }
}

const fn code_of(fault: TokenFault) -> &'static str {
    match fault {
        TokenFault::Revoked(_) => "SESSION_REVOKED",
        TokenFault::Suspended { .. } => "SUBJECT_SUSPENDED",
        TokenFault::Superseded => "TOKEN_SUPERSEDED",
        TokenFault::Expired => "TOKEN_EXPIRED",
        TokenFault::Idle => "SESSION_IDLE",
    }
}
