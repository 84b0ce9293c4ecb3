//! What the authority's own events say of sessions, said of those of the other history.

use super::with_events;
use tenure_core::{
    Commit, Event, SessionId, SystemEvent,
    bulk::{MatchCounter, SessionSelector},
    event::{PresentedToken, SelectionRevoked, SessionSeen, SessionsSeen, TokensPresented},
    fold::FoldTarget,
    session::Session,
    state::AuthorityState,
};

/// The commit that would have been recorded in place of this one, which is of the authority's own stream.
pub(super) fn of_other(commit: &Commit, real: &AuthorityState, other: &AuthorityState) -> Commit {
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
fn presented(mark: PresentedToken, real: &AuthorityState, other: &AuthorityState) -> Option<PresentedToken> {
    let is_newest = session(real, mark.session_id)?.generation() == mark.generation;
    let generation = session(other, mark.session_id)?.generation();
    is_newest.then_some(PresentedToken { generation, ..mark })
}

/// A session without idle time in the other history, or missing there, has nothing to be seen.
fn can_be_seen(mark: &SessionSeen, other: &AuthorityState) -> bool {
    session(other, mark.session_id).is_some_and(|session| session.activity().is_some())
}

fn session(state: &AuthorityState, id: SessionId) -> Option<&Session> {
    state.subjects.get(&state.subject_of(id)?)?.session(id)
}

fn matched(selector: &SessionSelector, commit: &Commit, other: &AuthorityState) -> u32 {
    let mut counter = MatchCounter::new(selector, &[], commit.recorded_at);
    counter.add(&other.subjects.values().collect::<Vec<_>>());
    counter.finish().count
}
