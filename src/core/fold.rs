//! The one fold: what a commit makes of the state.
//!
//! Live state, the past, a snapshot, a check of memory against the log, a replay and a batch in the making all apply
//! commits with [`apply`]. They differ in where they keep the state and how much of it they keep: see [`FoldTarget`].

use std::ops::Range;

use super::{
    activity::{SessionSeen, SessionsSeen},
    bulk::BulkRevocation,
    commit::{Commit, EventMeta, StreamId},
    event::{Event, SubjectEvent, SystemEvent, TokensPresented},
    evolve::{IllegalEvent, evolve, evolve_system, illegal, mark_presented},
    id::{Position, SessionId, SubjectId},
    kind::EventKind,
    subject::Subject,
    system::SystemState,
};

/// Where a fold keeps the state, and how much of it.
pub trait FoldTarget {
    /// Whether the state of this subject is kept.
    fn covers(&self, id: &SubjectId) -> bool;

    /// Whether this session of a kept subject is kept. What is said of another one only moves its subject's version on.
    fn keeps(&self, _session: SessionId) -> bool {
        true
    }

    /// Whether every subject's state is kept. If so, a mark of a session missing here is a mark of no session.
    fn is_whole(&self) -> bool;

    /// Whether ended sessions leave the state ([eviction](super::eviction)). If so, what is said of a session missing here is
    /// said of one that left, and nothing comes of it.
    fn lets_go(&self) -> bool {
        false
    }

    /// The subject of this session; `None` if that subject is not kept.
    fn subject_of(&self, id: SessionId) -> Option<SubjectId>;

    /// Changes a subject, which is new when nothing was recorded of it. The ends of earlier selections are written
    /// into it before.
    fn change<T>(&mut self, id: &SubjectId, change: impl FnOnce(&mut Subject) -> T) -> T;

    /// A session began.
    fn begin(&mut self, session: SessionId, id: &SubjectId);

    /// The authority's own state; `None` if it is not kept.
    fn system(&mut self) -> Option<&mut SystemState>;

    /// The active sessions that a selection meets end here, in every kept subject; now, or before the next
    /// [`change`](FoldTarget::change) of their subject.
    fn end_selected(&mut self, bulk: BulkRevocation);
}

/// Applies one commit, whose first event stands at `first`.
///
/// # Errors
/// The first event that cannot follow from the state; the state must not be used any more.
pub fn apply(ledger: &mut impl FoldTarget, commit: &Commit, first: Position) -> Result<(), IllegalEvent> {
    apply_part(ledger, commit, first, 0..commit.events.len())
}

/// Applies some neighbouring events of a commit, whose first event stands at `first`; those before them were applied.
///
/// # Errors
/// As [`apply`].
pub fn apply_part(
    ledger: &mut impl FoldTarget,
    commit: &Commit,
    first: Position,
    part: Range<usize>,
) -> Result<(), IllegalEvent> {
    let expected = (part.start == 0).then_some(commit.expected);
    let at = commit.recorded_at;
    let place = |index: usize| EventMeta { position: first.plus(index as u64), at };
    let events = part.clone().map(place).zip(&commit.events[part]);
    match &commit.stream {
        StreamId::System => apply_to_system(ledger, expected, events),
        StreamId::Subject(id) if ledger.covers(id) => apply_to_subject(ledger, id, expected, events),
        StreamId::Subject(_) => Ok(()),
    }
}

fn apply_to_subject<'e>(
    ledger: &mut impl FoldTarget,
    id: &SubjectId,
    expected: Option<Position>,
    events: impl Iterator<Item = (EventMeta, &'e Event)> + Clone,
) -> Result<(), IllegalEvent> {
    let (mut begun, mut left_out) = (Vec::new(), Vec::new());
    for (recorded, event) in events.clone() {
        if let Some(id) = event.session_id().filter(|id| !ledger.keeps(*id)) {
            left_out.push(id);
            continue;
        }
        if let Event::Subject(SubjectEvent::SessionCreated(created)) = event {
            if ledger.subject_of(created.session_id).is_some_and(|other| other != *id) {
                return Err(illegal(event.kind(), recorded, "the session is another subject's"));
            }
            begun.push(created.session_id);
        }
    }
    let lets_go = ledger.lets_go();
    ledger.change(id, |subject| {
        let mut expected = expected;
        for (recorded, event) in events {
            let Event::Subject(event) = event else {
                return Err(illegal(event.kind(), recorded, "it belongs to the system stream"));
            };
            continues(expected.take(), subject.version(), event.kind(), recorded)?;
            let is_left_out = event.session_id().is_some_and(|id| left_out.contains(&id));
            if is_left_out || lets_go && is_about_one_that_left(subject, event) {
                let reached = subject.advance_to(recorded.position);
                reached.map_err(|why| illegal(event.kind(), recorded, why))?;
            } else {
                evolve(subject, event, recorded)?;
            }
        }
        Ok(())
    })?;
    for session in begun {
        ledger.begin(session, id);
    }
    Ok(())
}

/// Whether an event is about a session no longer kept.
fn is_about_one_that_left(subject: &Subject, event: &SubjectEvent) -> bool {
    !matches!(event, SubjectEvent::SessionCreated(_))
        && event.session_id().is_some_and(|id| subject.session(id).is_none())
}

fn apply_to_system<'e>(
    ledger: &mut impl FoldTarget,
    mut expected: Option<Position>,
    events: impl Iterator<Item = (EventMeta, &'e Event)>,
) -> Result<(), IllegalEvent> {
    for (recorded, event) in events {
        let Event::System(event) = event else {
            return Err(illegal(event.kind(), recorded, "it belongs to the stream of a subject"));
        };
        if let Some(system) = ledger.system() {
            continues(expected.take(), system.version, event.kind(), recorded)?;
            evolve_system(system, event, recorded)?;
        }
        reach_sessions(ledger, event, recorded)?;
    }
    Ok(())
}

/// What an event of the authority's own stream says of sessions.
fn reach_sessions(
    ledger: &mut impl FoldTarget,
    event: &SystemEvent,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    match event {
        SystemEvent::TokensPresented(marks) => note_presented(ledger, marks, recorded),
        SystemEvent::SessionsSeen(marks) => note_seen(ledger, marks, recorded),
        SystemEvent::SelectionRevoked(event) => {
            ledger.end_selected(BulkRevocation::of(event, recorded));
            Ok(())
        }
        SystemEvent::CredentialIssued(_)
        | SystemEvent::CredentialRevoked(_)
        | SystemEvent::PolicyChanged(_)
        | SystemEvent::KeyRotated(_)
        | SystemEvent::WebhookCreated(_)
        | SystemEvent::WebhookDeleted(_)
        | SystemEvent::EpochBegan(_)
        | SystemEvent::CredentialConfirmed(_)
        | SystemEvent::LogSegmented(_) => Ok(()),
    }
}

fn note_presented(
    ledger: &mut impl FoldTarget,
    marks: &TokensPresented,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    for mark in &marks.presented {
        change_session(ledger, mark.session_id, EventKind::TokensPresented, recorded, |subject| {
            let is_issued = mark_presented(subject, mark.session_id, mark.generation);
            is_issued.then_some(()).ok_or("no such token was ever issued")
        })?;
    }
    Ok(())
}

fn note_seen(
    ledger: &mut impl FoldTarget,
    marks: &SessionsSeen,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    for mark in &marks.seen {
        change_session(ledger, mark.session_id, EventKind::SessionsSeen, recorded, |subject| {
            mark_seen(subject, *mark, recorded)
        })?;
    }
    Ok(())
}

/// Changes the subject of a session that a mark names. Part of a history knows of other subjects' sessions nothing.
fn change_session(
    ledger: &mut impl FoldTarget,
    session: SessionId,
    kind: EventKind,
    recorded: EventMeta,
    change: impl FnOnce(&mut Subject) -> Result<(), &'static str>,
) -> Result<(), IllegalEvent> {
    match ledger.subject_of(session) {
        Some(id) => ledger.change(&id, change).map_err(|why| illegal(kind, recorded, why)),
        None if ledger.is_whole() && !ledger.lets_go() => {
            Err(illegal(kind, recorded, "there is no such session"))
        }
        None => Ok(()),
    }
}

/// A commit continues its stream: it was decided on the very state that it is applied to.
fn continues(
    expected: Option<Position>,
    version: Position,
    kind: EventKind,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    match expected {
        Some(expected) if expected != version => {
            Err(illegal(kind, recorded, "its commit was decided on another state of its stream"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Remembers that a session was seen. A mark that comes after its end, or after a later one, says nothing any more.
pub fn mark_seen(subject: &mut Subject, mark: SessionSeen, recorded: EventMeta) -> Result<(), &'static str> {
    let session = subject.session(mark.session_id).ok_or("there is no such session")?;
    if session.activity().is_none() {
        return Err("the session has no idle time");
    }
    if mark.seen_at > recorded.at {
        return Err("it was seen later than that was recorded");
    }
    if session.can_be_seen() && session.last_seen_at() < Some(mark.seen_at) {
        let session = subject.session_mut(mark.session_id).expect("it was found above");
        session.see(mark.seen_at, recorded.position);
    }
    Ok(())
}
