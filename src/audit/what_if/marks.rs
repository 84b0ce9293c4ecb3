//! What the authority's own events say of sessions, said of those of the other history.

use super::with_events;
use tenure_core::{
    Commit, Event, SessionId, SystemEvent,
    bulk::{Counter, Selector},
    event::{Presented, Seen, SelectionRevoked, SessionsSeen, TokensPresented},
    fold::Ledger,
    session::SharedSession,
    state::State,
};

/// The commit that would have been recorded in place of this one, which is of the authority's own stream.
pub(super) fn of_other(commit: &Commit, real: &State, other: &State) -> Commit {
    let events = commit.events.iter().map(|event| match event {
        Event::System(SystemEvent::TokensPresented(marks)) => {
            let presented = marks.presented.iter().filter_map(|mark| presented(*mark, real, other)).collect();
            Event::System(SystemEvent::TokensPresented(TokensPresented { presented }))
        }
        Event::System(SystemEvent::SessionsSeen(marks)) => {
            let seen = marks.seen.iter().filter(|mark| can_be_seen(mark, other)).copied().collect();
            Event::System(SystemEvent::SessionsSeen(SessionsSeen { seen }))
        }
        Event::System(SystemEvent::SelectionRevoked(event)) => {
            Event::System(SystemEvent::SelectionRevoked(SelectionRevoked {
                matched: matched(&event.selector, commit, other),
                ..event.clone()
            }))
        }
        Event::Subject(_)
        | Event::System(
            SystemEvent::CredentialIssued(_)
            | SystemEvent::CredentialRevoked(_)
            | SystemEvent::PolicyChanged(_)
            | SystemEvent::KeyRotated(_)
            | SystemEvent::WebhookCreated(_)
            | SystemEvent::WebhookDeleted(_)
            | SystemEvent::EpochBegan(_)
            | SystemEvent::CredentialConfirmed(_)
            | SystemEvent::LogSegmented(_),
        ) => event.clone(),
    });
    with_events(commit, commit.expected, events.collect())
}

/// A mark holds for the newest generation that a holder has, whatever its number in the other history.
fn presented(mark: Presented, real: &State, other: &State) -> Option<Presented> {
    let is_newest = session(real, mark.session_id)?.generation == mark.generation;
    let generation = session(other, mark.session_id)?.generation;
    is_newest.then_some(Presented { generation, ..mark })
}

/// A session without idle time in the other history, or missing there, has nothing to be seen.
fn can_be_seen(mark: &Seen, other: &State) -> bool {
    session(other, mark.session_id).is_some_and(|session| session.activity().is_some())
}

fn session(state: &State, id: SessionId) -> Option<&SharedSession> {
    state.subjects.get(&state.subject_of(id)?)?.session(id)
}

fn matched(selector: &Selector, commit: &Commit, other: &State) -> u32 {
    let mut counter = Counter::new(selector, &[], commit.recorded_at);
    counter.add(&other.subjects.values().collect::<Vec<_>>());
    counter.finish().count
}
