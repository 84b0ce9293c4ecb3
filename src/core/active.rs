//! The active sessions of a subject, as the limits on them see them.
//!
//! They are found by a look at every session of the subject. Where many creates for a subject with many sessions follow
//! one another, [`ActiveSessions`] keeps what the first of them found, and the others cost little.

use std::collections::{BTreeSet, HashMap};

use super::{
    commit::Commit,
    event::{Event, SubjectEvent},
    id::{Digest16, Position, SessionId},
    session::Session,
    subject::Subject,
    time::Timestamp,
};

/// An active session. The oldest is the least; of two created at once, the one with the lower id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ActiveSession {
    pub(super) created_at: Timestamp,
    pub(super) id: SessionId,
    pub(super) created: Position,
}

impl ActiveSession {
    const fn of(session: &Session) -> Self {
        Self { created_at: session.created_at(), id: session.id, created: session.created() }
    }
}

/// How the active sessions of a subject are asked for: all, or those of one device; without those that leave.
pub(super) trait ActiveView {
    /// How many there are.
    fn count(&self, device: Option<Digest16>) -> usize;

    /// The oldest of them, oldest first, up to `most`.
    fn oldest(&self, device: Option<Digest16>, leaving: &[SessionId], most: usize) -> Vec<ActiveSession>;

    /// Where the last of them began.
    fn latest(&self, device: Option<Digest16>, leaving: &[SessionId]) -> Position;
}

/// Those of a subject at this moment, looked for whenever they are asked for.
pub(super) struct ActiveAt<'a>(pub(super) &'a Subject, pub(super) Timestamp);

impl ActiveView for ActiveAt<'_> {
    fn count(&self, device: Option<Digest16>) -> usize {
        match device {
            Some(device) => self.0.active_count_of(device, self.1),
            None => self.0.active_count(self.1),
        }
    }

    fn oldest(&self, device: Option<Digest16>, leaving: &[SessionId], most: usize) -> Vec<ActiveSession> {
        let active =
            self.0.active(device, self.1).into_iter().filter(|session| !leaving.contains(&session.id));
        active.take(most).map(ActiveSession::of).collect()
    }

    fn latest(&self, device: Option<Digest16>, leaving: &[SessionId]) -> Position {
        let active =
            self.0.active(device, self.1).into_iter().filter(|session| !leaving.contains(&session.id));
        active.map(Session::created).max().unwrap_or_default()
    }
}

/// The active sessions of a subject, kept while it is changed by creates alone. No session in it may end by not being
/// used: that depends on more than the facts about its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveSessions {
    all: BTreeSet<ActiveSession>,
    of_devices: HashMap<Digest16, BTreeSet<ActiveSession>>,
    /// Before this moment none of them ends by itself.
    until: Timestamp,
}

impl ActiveSessions {
    /// Those of a subject at this moment; `None` if one could be found idle.
    pub fn of(subject: &Subject, at: Timestamp) -> Option<Self> {
        if subject.sessions.iter().any(Session::can_be_seen) {
            return None;
        }
        let (mut all, mut until) = (Vec::new(), Timestamp::from_millis(i64::MAX));
        let mut of_devices: HashMap<_, Vec<_>> = HashMap::new();
        for session in subject.sessions.iter().filter(|session| session.is_live(at)) {
            let active = ActiveSession::of(session);
            all.push(active);
            if let Some(device) = session.device_digest() {
                of_devices.entry(device).or_default().push(active);
            }
            until = until.min(session.expires_at());
        }
        // A set of many is made faster than by adding one to the other.
        let of_devices = of_devices.into_iter().map(|(device, some)| (device, some.into_iter().collect()));
        Some(Self { all: all.into_iter().collect(), of_devices: of_devices.collect(), until })
    }

    /// Whether it still says which are active.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// The same after a commit has made this of the subject; `None` if it is not that of a create, or begins what could
    /// be found idle.
    #[must_use]
    pub fn after(mut self, subject: &Subject, commit: &Commit) -> Option<Self> {
        for event in &commit.events {
            let Event::Subject(event) = event else { return None };
            match event {
                SubjectEvent::SessionRevoked(event) => self.remove(subject.session(event.session_id)?),
                SubjectEvent::SessionCreated(event) => {
                    let session = subject.session(event.session_id)?;
                    if session.can_be_seen() {
                        return None;
                    }
                    self.add(session);
                }
                SubjectEvent::SubjectRegistered(_)
                | SubjectEvent::SessionsRevoked(_)
                | SubjectEvent::SessionRenewed(_)
                | SubjectEvent::RenewalRejected(_)
                | SubjectEvent::SessionExpired(_)
                | SubjectEvent::SubjectErased(_)
                | SubjectEvent::UsageRecorded(_)
                | SubjectEvent::SessionRefreshed(_)
                | SubjectEvent::SubjectSuspended(_)
                | SubjectEvent::SubjectResumed(_) => return None,
            }
        }
        Some(self)
    }

    fn add(&mut self, session: &Session) {
        let active = ActiveSession::of(session);
        self.all.insert(active);
        if let Some(device) = session.device_digest() {
            self.of_devices.entry(device).or_default().insert(active);
        }
        self.until = self.until.min(session.expires_at());
    }

    fn remove(&mut self, session: &Session) {
        let active = ActiveSession::of(session);
        self.all.remove(&active);
        if let Some(of_device) = session.device_digest().and_then(|device| self.of_devices.get_mut(&device)) {
            of_device.remove(&active);
        }
    }

    fn those(&self, device: Option<Digest16>) -> Option<&BTreeSet<ActiveSession>> {
        match device {
            Some(device) => self.of_devices.get(&device),
            None => Some(&self.all),
        }
    }

    fn staying<'a>(
        &'a self,
        device: Option<Digest16>,
        leaving: &'a [SessionId],
    ) -> impl DoubleEndedIterator<Item = &'a ActiveSession> {
        self.those(device).into_iter().flatten().filter(|active| !leaving.contains(&active.id))
    }
}

impl ActiveView for ActiveSessions {
    fn count(&self, device: Option<Digest16>) -> usize {
        self.those(device).map_or(0, BTreeSet::len)
    }

    fn oldest(&self, device: Option<Digest16>, leaving: &[SessionId], most: usize) -> Vec<ActiveSession> {
        self.staying(device, leaving).take(most).copied().collect()
    }

    fn latest(&self, device: Option<Digest16>, leaving: &[SessionId]) -> Position {
        // Time stands still at most between two positions, and never goes back.
        let mut newest = self.staying(device, leaving).rev();
        let Some(last) = newest.next() else { return Position::default() };
        let at_once = newest.take_while(|active| active.created_at == last.created_at);
        at_once.map(|active| active.created).max().unwrap_or_default().max(last.created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor, CommitId, Policy, Seconds, StreamId, SubjectId,
        command::{Command, CreateSession, RequestedTerms},
        decide::decide,
        event::{SessionDevice, SubjectProfile, SubjectRegistered},
        observed::Observation,
        policy::OnLimit,
        scope::FoldScope,
        state::AuthorityState,
        text::SealedText,
    };

    /// Creates on four devices in turn, each decided with what was kept and without it, and the same.
    fn creates(policy: &Policy, count: u32, step: i64) -> usize {
        let id: SubjectId = "crowded".parse().unwrap();
        let mut state = AuthorityState::of(FoldScope::Subject(id.clone()));
        let registered = SubjectRegistered { profile: SubjectProfile::default() };
        let mut at = Timestamp::from_millis(1_000_000);
        drop(append(&mut state, &id, at, vec![SubjectEvent::SubjectRegistered(registered)]));
        let (mut kept, mut used): (Option<ActiveSessions>, _) = (None, 0);
        for number in 1..=count {
            at = at.plus_millis(step);
            let subject = state.subjects[&id].clone();
            used += usize::from(kept.as_ref().is_some_and(|kept| kept.holds_at(at)));
            let active = kept.filter(|kept| kept.holds_at(at)).or_else(|| ActiveSessions::of(&subject, at));
            let observed = Observation { active: active.clone(), ..Observation::default() };
            let command = create(number);
            let decided = decide(policy, &subject, &command, &observed, at);
            assert_eq!(decided, decide(policy, &subject, &command, &Observation::default(), at), "{number}");
            assert!(number > 3 || decided.is_ok(), "there is room: {decided:?}");
            let events = decided.unwrap_or_default();
            kept = match append(&mut state, &id, at, events) {
                Some(commit) => active.and_then(|active| active.after(&state.subjects[&id], &commit)),
                None => active,
            };
        }
        used
    }

    fn create(number: u32) -> Command {
        let device = number % 4;
        let digest = Digest16::from_bytes([u8::try_from(device).unwrap(); 16]);
        let name = SealedText::from_bytes(vec![1; 24]);
        Command::CreateSession(CreateSession {
            session_id: SessionId::from_bytes((u128::from(number) << 64 | 0x7000).to_be_bytes()),
            terms: RequestedTerms::default(),
            jitter: 0,
            device: (device > 0).then_some(SessionDevice { digest, name }),
            scopes: vec![],
            metadata: None,
            constraints: None,
        })
    }

    fn append(
        state: &mut AuthorityState,
        id: &SubjectId,
        at: Timestamp,
        events: Vec<SubjectEvent>,
    ) -> Option<Commit> {
        if events.is_empty() {
            return None;
        }
        let commit = Commit {
            id: CommitId::from_bytes([0; 16]),
            stream: StreamId::Subject(id.clone()),
            expected: state.subjects.get(id).map_or(Position::ZERO, Subject::version),
            recorded_at: at,
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: events.into_iter().map(Event::Subject).collect(),
        };
        state.apply(&commit).unwrap();
        Some(commit)
    }

    fn policy(on_limit: OnLimit) -> Policy {
        Policy { per_subject: 7, per_device: 3, on_limit, on_device_limit: on_limit, ..Policy::default() }
    }

    #[test]
    fn a_create_is_decided_alike_whether_or_not_the_active_sessions_were_kept() {
        for on_limit in [OnLimit::Reject, OnLimit::EvictOldest] {
            assert!(creates(&policy(on_limit), 40, 0) > 20, "at one moment");
            assert!(creates(&policy(on_limit), 40, 1_000) > 20);
            let short = Policy { ttl: Seconds(300), ..policy(on_limit) };
            assert!(creates(&short, 200, 35_000) > 20, "while sessions end by themselves");
        }
    }

    #[test]
    fn what_may_be_idle_is_not_kept() {
        let idle = Policy { idle_timeout: Some(Seconds(60)), ..policy(OnLimit::Reject) };
        assert_eq!(creates(&idle, 10, 1_000), 0);
    }
}
