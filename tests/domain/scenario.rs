//! Given facts, when a command, then events or a refusal.
//!
//! All scenarios are about one subject, [`AGENT`], owned by [`ALICE`]. Unless one says otherwise, its sessions
//! begin at [`T0`] under [`TERMS`], whose numbers are chosen to be added in the head.

use tenure::core::{
    Actor, Amount, Commit, CommitId, Digest16, Event, Generation, OwnerId, Policy, Position, SealedText,
    Seconds, SessionId, SessionMode, StreamId, SubjectEvent, SubjectId, SystemEvent, Timestamp,
    budget::Constraints,
    command::{
        Command, CreateSession, RegisterSubject, RenewSession, RequestedTerms, RevokeSession, RevokeSessions,
        Revoker, SystemCommand,
    },
    commit::EventMeta,
    decide::{decide, decide_system},
    event::{
        EndTrigger, ExpiringSoon, PresentedToken, RejectionCause, RejectionCode, RenewalRejected,
        SessionCreated, SessionDevice, SessionRenewed, SessionRevoked, SessionTerms, SessionsRevoked,
        SubjectProfile, SubjectRegistered, TokensPresented,
    },
    evolve::IllegalEvent,
    observed::Observation,
    refusal::{RecordedRefusal as TypedRefused, Refusal},
    scope::FoldScope,
    session::Session,
    state::AuthorityState,
    subject::Subject,
};

pub(crate) const AGENT: &str = "agent";
pub(crate) const ALICE: &str = "alice";

/// 2026-11-21T00:00:00Z.
pub(crate) const T0: Timestamp = Timestamp::from_millis(1_795_219_200_000);

/// Periods of 1000 s, three renewals, 10 000 s in all, a window of 300 s.
pub(crate) const TERMS: SessionTerms = SessionTerms {
    ttl: Seconds(1_000),
    max_renewals: 3,
    absolute_lifetime: Seconds(10_000),
    renewal_reject_window: Seconds(300),
    idle_timeout: None,
    mode: SessionMode::Fixed,
    on_reuse: None,
    purpose: None,
};

/// So many seconds after [`T0`].
pub(crate) const fn after(seconds: u32) -> Timestamp {
    T0.plus(Seconds(seconds))
}

/// A millisecond before so many seconds after [`T0`].
pub(crate) const fn just_before(seconds: u32) -> Timestamp {
    after(seconds).plus_millis(-1)
}

/// The session of this number; a higher number is a later id.
pub(crate) fn session(number: u32) -> SessionId {
    let mut bytes = [0x19; 16];
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(crate) const fn digest(number: u8) -> Digest16 {
    Digest16::from_bytes([number; 16])
}

pub(crate) fn sealed(text: &str) -> SealedText {
    SealedText::from_bytes(text.as_bytes().to_vec())
}

pub(crate) fn owner(name: &str) -> OwnerId {
    name.parse().expect("the test names owners rightly")
}

pub(crate) fn subject_id() -> SubjectId {
    AGENT.parse().expect("the test names subjects rightly")
}

pub(crate) fn device(number: u8) -> SessionDevice {
    SessionDevice { digest: digest(number), name: sealed(&format!("device {number}")) }
}

pub(crate) fn amount(text: &str) -> Amount {
    text.parse().expect("the test writes amounts rightly")
}

// Facts

/// An event, and when it was recorded in which stream.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) stream: StreamId,
    pub(crate) event: Event,
    pub(crate) at: Timestamp,
}

impl Fact {
    pub(crate) fn of_agent(event: Event, at: Timestamp) -> Self {
        Self { stream: StreamId::Subject(subject_id()), event, at }
    }

    pub(crate) const fn of_system(event: Event, at: Timestamp) -> Self {
        Self { stream: StreamId::System, event, at }
    }

    pub(crate) fn at(mut self, seconds: u32) -> Self {
        self.at = after(seconds);
        self
    }
}

/// [`AGENT`] is registered at [`T0`], owned by [`ALICE`].
pub(crate) fn registered() -> Fact {
    registered_as(owned_by_alice())
}

pub(crate) fn registered_as(profile: SubjectProfile) -> Fact {
    Fact::of_agent(Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile })), T0)
}

pub(crate) fn owned_by_alice() -> SubjectProfile {
    SubjectProfile { owner_id: Some(owner(ALICE)), ..SubjectProfile::default() }
}

/// A session began so many seconds after [`T0`] under [`TERMS`].
pub(crate) fn began(number: u32, seconds: u32) -> Fact {
    began_under(TERMS, number, seconds)
}

pub(crate) fn began_on(on: SessionDevice, number: u32, seconds: u32) -> Fact {
    let mut fact = began(number, seconds);
    if let Event::Subject(SubjectEvent::SessionCreated(event)) = &mut fact.event {
        event.device = Some(on);
    }
    fact
}

pub(crate) fn began_within(limits: Constraints, number: u32, seconds: u32) -> Fact {
    let mut fact = began(number, seconds);
    if let Event::Subject(SubjectEvent::SessionCreated(event)) = &mut fact.event {
        event.constraints = Some(Box::new(limits));
    }
    fact
}

pub(crate) fn began_under(terms: SessionTerms, number: u32, seconds: u32) -> Fact {
    let event = SessionCreated {
        session_id: session(number),
        terms,
        expires_at: after(seconds).plus(terms.ttl),
        renew_at: (terms.max_renewals > 0).then(|| after(seconds + terms.ttl.0 / 2)),
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
    };
    Fact::of_agent(Event::Subject(SubjectEvent::SessionCreated(event)), after(seconds))
}

/// Session 1, begun at [`T0`] under [`TERMS`], was renewed to this generation.
pub(crate) fn renewed(generation: u32, seconds: u32) -> Fact {
    renewed_under(TERMS, generation, seconds)
}

pub(crate) fn renewed_with_key(key: u8, generation: u32, seconds: u32) -> Fact {
    let mut fact = renewed(generation, seconds);
    if let Event::Subject(SubjectEvent::SessionRenewed(event)) = &mut fact.event {
        event.key_digest = Some(digest(key));
    }
    fact
}

pub(crate) fn renewed_under(terms: SessionTerms, generation: u32, seconds: u32) -> Fact {
    let event = SessionRenewed {
        session_id: session(1),
        generation: Generation(generation),
        expires_at: after(seconds).plus(terms.ttl).min(T0.plus(terms.absolute_lifetime)),
        renew_at: None,
        key_digest: None,
        expiring_soon: None,
    };
    Fact::of_agent(Event::Subject(SubjectEvent::SessionRenewed(event)), after(seconds))
}

/// That a token of this generation of session 1 was presented is recorded.
pub(crate) fn presented(generation: u32, seconds: u32) -> Fact {
    let mark = PresentedToken { session_id: session(1), generation: Generation(generation) };
    Fact::of_system(
        Event::System(SystemEvent::TokensPresented(TokensPresented { presented: vec![mark] })),
        after(seconds),
    )
}

pub(crate) fn ended(number: u32, trigger: EndTrigger, seconds: u32) -> Fact {
    Fact::of_agent(is_ended(number, trigger), after(seconds))
}

// Expected events

pub(crate) fn is_ended(number: u32, trigger: EndTrigger) -> Event {
    Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: session(number),
        trigger,
        reason: None,
    }))
}

pub(crate) fn is_evicted(number: u32) -> Event {
    is_ended(number, EndTrigger::Evicted)
}

/// A refusal of session 1 that is recorded.
pub(crate) fn is_refused(generation: u32, code: RejectionCode) -> Event {
    Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session(1),
        generation: Generation(generation),
        cause: RejectionCause::Policy,
        code: Some(code),
        expiring_soon: None,
        contested: false,
    }))
}

/// A refusal by row 4 from which on session 1 is contested.
pub(crate) fn is_contested(generation: u32) -> Event {
    Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session(1),
        generation: Generation(generation),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::SessionRenewalMismatch),
        expiring_soon: None,
        contested: true,
    }))
}

/// The owner's veto of session 1.
pub(crate) fn is_vetoed(generation: u32) -> [Event; 2] {
    let rejected = Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: session(1),
        generation: Generation(generation),
        cause: RejectionCause::Owner,
        code: None,
        expiring_soon: None,
        contested: false,
    }));
    [rejected, is_ended(1, EndTrigger::RenewalRejected)]
}

pub(crate) fn are_ended(matched: u32) -> SessionsRevoked {
    SessionsRevoked {
        device_digest: None,
        except_session_id: None,
        oldest: None,
        matched,
        trigger: EndTrigger::SubjectRevoked,
        reason: None,
    }
}

// Commands

pub(crate) fn register(profile: SubjectProfile) -> Command {
    Command::RegisterSubject(RegisterSubject { profile, may_change_policy: false })
}

pub(crate) fn register_as_admin(profile: SubjectProfile) -> Command {
    Command::RegisterSubject(RegisterSubject { profile, may_change_policy: true })
}

pub(crate) fn create(number: u32, terms: RequestedTerms) -> Command {
    Command::CreateSession(creation(number, terms))
}

pub(crate) fn create_on(on: SessionDevice, number: u32) -> Command {
    let command = CreateSession { device: Some(on), ..creation(number, RequestedTerms::default()) };
    Command::CreateSession(command)
}

pub(crate) fn creation(number: u32, terms: RequestedTerms) -> CreateSession {
    CreateSession {
        session_id: session(number),
        terms,
        device: None,
        scopes: vec![],
        metadata: None,
        constraints: None,
        jitter: 0,
    }
}

/// Renew session 1 with a token of this generation, without a key.
pub(crate) const fn renew(generation: u32) -> Renewing {
    Renewing { generation, key: None, seen: false, jitter: 0 }
}

/// A renewal of session 1 that is about to be asked for.
#[derive(Clone, Copy)]
pub(crate) struct Renewing {
    generation: u32,
    key: Option<u8>,
    seen: bool,
    jitter: u16,
}

impl Renewing {
    pub(crate) const fn with_key(mut self, key: u8) -> Self {
        self.key = Some(key);
        self
    }

    /// A token of the current generation was seen, though that is not recorded yet.
    pub(crate) const fn when_newer_was_seen(mut self) -> Self {
        self.seen = true;
        self
    }

    pub(crate) const fn with_jitter(mut self, jitter: u16) -> Self {
        self.jitter = jitter;
        self
    }
}

/// A request, and what is observed at the moment of its decision.
pub(crate) trait Asking: Into<Command> {
    fn observed(&self) -> Observation {
        Observation::default()
    }
}

impl Asking for Command {}
impl Asking for Revoking {}

impl Asking for Renewing {
    fn observed(&self) -> Observation {
        Observation { is_presented: self.seen, ..Observation::default() }
    }
}

impl From<Renewing> for Command {
    fn from(asked: Renewing) -> Self {
        Self::RenewSession(RenewSession {
            session_id: session(1),
            generation: Generation(asked.generation),
            key_digest: asked.key.map(digest),
            jitter: asked.jitter,
        })
    }
}

/// Revoke session 1.
pub(crate) const fn revoke(by: Revoker) -> Revoking {
    Revoking { by, reject_renewal: None, number: 1 }
}

pub(crate) fn by_alice() -> Revoker {
    Revoker::Owner(owner(ALICE))
}

pub(crate) fn by_bob() -> Revoker {
    Revoker::Owner(owner("bob"))
}

pub(crate) const fn by_itself(generation: u32) -> Revoker {
    Revoker::Own(Generation(generation))
}

/// The end of a session that is about to be asked for.
#[derive(Clone)]
pub(crate) struct Revoking {
    by: Revoker,
    reject_renewal: Option<bool>,
    number: u32,
}

impl Revoking {
    pub(crate) const fn reject_renewal(mut self, value: bool) -> Self {
        self.reject_renewal = Some(value);
        self
    }

    pub(crate) const fn of_session(mut self, number: u32) -> Self {
        self.number = number;
        self
    }
}

impl From<Revoking> for Command {
    fn from(asked: Revoking) -> Self {
        Self::RevokeSession(RevokeSession {
            session_id: session(asked.number),
            by: asked.by,
            reject_renewal: asked.reject_renewal,
            reason: None,
        })
    }
}

pub(crate) const fn revoke_all() -> RevokeSessions {
    RevokeSessions { device: None, except: None, owner: None, reason: None }
}

/// A refusal, with what is to be recorded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) refusal: Refusal,
    pub(crate) record: Vec<Event>,
}

/// What was decided, as events of either stream.
pub(crate) fn of_either_stream<E: Into<Event>>(
    answer: Result<Vec<E>, TypedRefused>,
) -> Result<Vec<Event>, Refused> {
    let record = |record: Vec<SubjectEvent>| record.into_iter().map(Into::into).collect();
    answer
        .map(|events| events.into_iter().map(Into::into).collect())
        .map_err(|refused| Refused { refusal: refused.refusal, record: record(refused.record) })
}

/// As the fold does it: an event of the other stream cannot follow.
pub(crate) fn evolve_subject(
    subject: &mut Subject,
    event: &Event,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    let mut state = AuthorityState::of(FoldScope::Subject(subject.id.clone()));
    state.subjects.insert(subject.id.clone(), subject.clone());
    let commit = Commit {
        expected: subject.version(),
        ..commit(&state, StreamId::Subject(subject.id.clone()), vec![event.clone()], recorded.at)
    };
    state.apply_at(recorded.position, &commit)?;
    *subject = state.subjects.remove(&subject.id).expect("it was put in");
    Ok(())
}

// The scenario itself

/// The facts so far, and the policy under which commands are decided.
pub(crate) struct Scenario {
    policy: Policy,
    state: AuthorityState,
}

impl Scenario {
    pub(crate) fn given(facts: impl IntoIterator<Item = Fact>) -> Self {
        Self { policy: Policy::default(), state: AuthorityState::default() }.and(facts)
    }

    pub(crate) fn under(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    pub(crate) fn and(mut self, facts: impl IntoIterator<Item = Fact>) -> Self {
        for Fact { stream, event, at } in facts {
            self.record(stream, vec![event], at);
        }
        self
    }

    pub(crate) fn when(self, asked: impl Asking, at: Timestamp) -> Outcome {
        let observed = asked.observed();
        let unknown = Subject::new(subject_id());
        let subject = self.state.subjects.get(&subject_id()).unwrap_or(&unknown);
        let answer = of_either_stream(decide(&self.policy, subject, &asked.into(), &observed, at));
        Outcome { scenario: self, stream: StreamId::Subject(subject_id()), answer, at }
    }

    pub(crate) fn when_system(self, command: &SystemCommand, at: Timestamp) -> Outcome {
        let answer = decide_system(&self.state.system, command, &self.observed(command, at), at);
        let answer = of_either_stream(answer.map_err(TypedRefused::from));
        Outcome { scenario: self, stream: StreamId::System, answer, at }
    }

    /// As the one who holds this state observes it; no session was ever granted more than 900 s.
    pub(crate) fn observed(&self, command: &SystemCommand, at: Timestamp) -> Observation {
        let mut observed = Observation { longest_ttl: Seconds(900), ..Observation::default() };
        if let SystemCommand::RevokeMatching(asked) = command {
            let selector = asked.selector.clone().under(&self.state.system.keys);
            let subjects = self.state.subjects.values();
            subjects.for_each(|subject| observed.matched.count(&selector, subject, &[], at));
        }
        observed
    }

    pub(crate) fn state(&self) -> &AuthorityState {
        &self.state
    }

    pub(crate) fn agent(&self) -> &Subject {
        &self.state.subjects[&subject_id()]
    }

    pub(crate) fn session(&self, number: u32) -> &Session {
        self.agent().session(session(number)).expect("the scenario has this session")
    }

    fn record(&mut self, stream: StreamId, events: Vec<Event>, at: Timestamp) {
        if events.is_empty() {
            return;
        }
        let commit = commit(&self.state, stream, events, at);
        self.state.apply(&commit).expect("what is given or decided is legal");
    }
}

/// A commit that follows this state.
pub(crate) fn commit(state: &AuthorityState, stream: StreamId, events: Vec<Event>, at: Timestamp) -> Commit {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&state.position.0.to_be_bytes());
    let expected = match &stream {
        StreamId::System => state.system.version,
        StreamId::Subject(id) => state.subjects.get(id).map_or(Position::ZERO, Subject::version),
    };
    Commit {
        id: CommitId::from_bytes(id),
        stream,
        expected,
        recorded_at: at,
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events,
    }
}

/// What was answered. Its `then` is the end of the sentence; the scenario goes on from what was recorded.
#[must_use]
pub(crate) struct Outcome {
    scenario: Scenario,
    stream: StreamId,
    answer: Result<Vec<Event>, Refused>,
    at: Timestamp,
}

impl Outcome {
    /// Exactly these events follow.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = Event>) -> Scenario {
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(self.without_hints(), Ok(expected), "decided at {}", self.at);
        self.go_on()
    }

    /// It is granted, and nothing is appended.
    #[track_caller]
    pub(crate) fn then_nothing(self) -> Scenario {
        self.then([])
    }

    /// It is granted by these events, which the closure looks into.
    #[track_caller]
    pub(crate) fn then_many(self, look: impl FnOnce(&[Event])) -> Scenario {
        match &self.answer {
            Ok(events) => look(events),
            other => panic!("it should have been granted at {}, not {other:?}", self.at),
        }
        self.go_on()
    }

    /// It is granted by one event, which the closure looks into.
    #[track_caller]
    pub(crate) fn then_one(self, look: impl FnOnce(&Event)) -> Scenario {
        match &self.answer {
            Ok(events) if events.len() == 1 => look(&events[0]),
            other => panic!("one event was expected at {}, not {other:?}", self.at),
        }
        self.go_on()
    }

    /// It is refused, and nothing is recorded of it.
    #[track_caller]
    pub(crate) fn then_refused(self, refusal: Refusal) -> Scenario {
        self.then_refused_and_recorded(refusal, [])
    }

    /// It is refused, and these events are recorded of it.
    #[track_caller]
    pub(crate) fn then_refused_and_recorded(
        self,
        refusal: Refusal,
        record: impl IntoIterator<Item = Event>,
    ) -> Scenario {
        let record = record.into_iter().collect();
        assert_eq!(self.without_hints(), Err(Refused { refusal, record }), "decided at {}", self.at);
        self.go_on()
    }

    /// It is refused because exactly these fields are wrong.
    #[track_caller]
    pub(crate) fn then_invalid(self, fields: &[&str]) -> Scenario {
        match &self.answer {
            Err(Refused { refusal: Refusal::Invalid(faults), record }) if record.is_empty() => {
                let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
                assert_eq!(named, fields, "{faults:?}");
            }
            other => panic!("{fields:?} should have been refused as invalid, not {other:?}"),
        }
        self.go_on()
    }

    /// That an end is near has scenarios of its own; those about other rules leave it open.
    fn without_hints(&self) -> Result<Vec<Event>, Refused> {
        let mut answer = self.answer.clone();
        let events = match &mut answer {
            Ok(events) => events,
            Err(refused) => &mut refused.record,
        };
        for event in events {
            take_hint(event);
        }
        answer
    }

    /// It says, or does not, that the end of the session is near.
    #[track_caller]
    pub(crate) fn then_soon(self, expected: Option<ExpiringSoon>) -> Scenario {
        let events = match &self.answer {
            Ok(events) => events,
            Err(refused) => &refused.record,
        };
        let said = events.iter().cloned().find_map(|mut event| take_hint(&mut event));
        assert_eq!(said, expected, "decided at {}", self.at);
        self.go_on()
    }

    fn go_on(mut self) -> Scenario {
        let events = self.answer.unwrap_or_else(|refused| refused.record);
        self.scenario.record(self.stream, events, self.at);
        self.scenario
    }
}

fn take_hint(event: &mut Event) -> Option<ExpiringSoon> {
    match event {
        Event::Subject(SubjectEvent::SessionRenewed(event)) => event.expiring_soon.take(),
        Event::Subject(SubjectEvent::RenewalRejected(event)) => event.expiring_soon.take(),
        Event::Subject(
            SubjectEvent::SubjectRegistered(_)
            | SubjectEvent::SessionCreated(_)
            | SubjectEvent::SessionRevoked(_)
            | SubjectEvent::SessionsRevoked(_)
            | SubjectEvent::SessionExpired(_)
            | SubjectEvent::UsageRecorded(_)
            | SubjectEvent::SessionRefreshed(_)
            | SubjectEvent::SubjectErased(_)
            | SubjectEvent::SubjectSuspended(_)
            | SubjectEvent::SubjectResumed(_),
        )
        | Event::System(_) => None,
    }
}
