//! What is derived from the log can be derived again: the live state at every position, any earlier state,
//! and, from the same seed, the log itself.

use std::{future::Future, sync::Arc};

use tenure::{
    authority::{
        AskedBulk, CommandError, NewProfile, NewSession, NewSuspension, NewUse, RevocationRequest,
        SessionSelection, SubjectRevocationRequest,
    },
    core::{
        Actor, Event, EventKind, Position, Seconds, SessionId, SessionMode, SubjectId, Timestamp,
        budget::{Constraints, SessionUse},
        command::{RequestedTerms, Revoker, SuspensionActor},
        event::Role,
        keys::{KeyUse, RetireMode},
        policy::OnLimit,
        state::AuthorityState,
        subject::{SharedSession, Subject},
    },
    entropy::{self, SeededEntropy},
    log::{EventLog, MemoryLog},
    projections::history,
    tokens::SessionToken,
};

use crate::world::{World, context, world};

/// A world in which sessions come and go at random.
pub(crate) struct Life {
    pub(crate) world: World,
    pub(crate) log: Arc<MemoryLog>,
    runtime: tokio::runtime::Runtime,
    chance: SeededEntropy,
    held: Vec<(SharedSession, SessionToken)>,
}

/// What somebody saw at some moment.
struct Seen {
    position: Position,
    at: Timestamp,
    state: Vec<u8>,
    subjects: Vec<Option<Arc<Subject>>>,
}

const SUBJECTS: [&str; 4] = ["agent-1", "agent-2", "user:ada", "build@ci"];

pub(crate) fn subjects() -> impl Iterator<Item = SubjectId> {
    SUBJECTS.iter().map(|name| name.parse().unwrap())
}

impl Life {
    pub(crate) fn new(seed: u64) -> Self {
        let log = Arc::new(MemoryLog::new());
        let world = world(Arc::clone(&log) as Arc<dyn EventLog>, seed);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { world, log, runtime, chance: SeededEntropy::new(seed ^ 0xd1ce), held: vec![] }
    }

    fn draw(&self, below: u32) -> u32 {
        u32::from_be_bytes(entropy::bytes(&self.chance)) % below
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn subject(&self) -> SubjectId {
        SUBJECTS[self.draw(4) as usize].parse().unwrap()
    }

    fn some_session(&self) -> Option<SessionId> {
        // Rather one of the latest: those before them have mostly ended.
        let latest = if self.draw(4) > 0 { self.held.len().saturating_sub(4) } else { 0 };
        let count = u32::try_from(self.held.len() - latest).unwrap();
        (count > 0).then(|| self.held[latest + self.draw(count) as usize].0.id)
    }

    /// One step at random; refusals are part of the game.
    pub(crate) fn step(&mut self) {
        self.world
            .clock
            .advance([0, 0, 1, 7, 30, 149, 150, 301, 43_200, 90_000][self.draw(10) as usize])
            .unwrap();
        match self.draw(26) {
            0 => self.register(),
            20 => self.revoke_matching(),
            21 => self.rotate(),
            1..=3 => self.create(),
            4..=7 => self.renew(),
            8 => self.revoke(),
            9 => self.erase(),
            10 | 16 => self.revoke_many(),
            11..=13 => self.introspect(),
            14 => self.refresh(),
            15 => drop(self.wait(self.world.authority.sweep())),
            22 => self.wait(self.world.authority.keep_presentations()),
            23 => self.suspend(),
            24 => self.resume(),
            25 => self.revoke_and_suspend(),
            _ => self.use_one(),
        }
    }

    fn erase(&self) {
        let erasing = self.world.authority.erase_subject(context(), self.subject(), "asked for it");
        drop(self.wait(erasing));
    }

    fn register(&self) {
        let new = NewProfile {
            name: Some(format!("name {}", self.draw(3))),
            owner_id: [None, Some("o1"), Some("o2")][self.draw(3) as usize].map(|id| id.parse().unwrap()),
            max_sessions: Some(1 + self.draw(4)),
            on_limit: (self.draw(2) == 0).then_some(OnLimit::EvictOldest),
            ..NewProfile::default()
        };
        self.wait(self.world.authority.register_subject(context(), self.subject(), new, true)).unwrap();
    }

    fn create(&mut self) {
        let terms =
            RequestedTerms { ttl: Some(Seconds([300, 301, 86_400][self.draw(3) as usize])), ..self.asked() };
        let device = (self.draw(2) == 0).then(|| format!("device {}", self.draw(2)));
        let constraints = (self.draw(2) == 0).then(|| Constraints {
            max_total_amount: Some("0.5".parse().unwrap()),
            ..Constraints::default()
        });
        let new = NewSession { terms, device, constraints, ..NewSession::of(self.subject()) };
        if let Ok(reply) = self.wait(self.world.authority.create_session(context(), new)) {
            let granted = reply;
            self.held.push((granted.session, granted.token));
        }
    }

    /// Some end for want of use, and some slide.
    fn asked(&self) -> RequestedTerms {
        let idle_timeout = (self.draw(2) == 0).then(|| Seconds([60, 1_000][self.draw(2) as usize]));
        match self.draw(3) {
            0 => RequestedTerms { mode: SessionMode::Sliding, idle_timeout, ..RequestedTerms::default() },
            _ => {
                RequestedTerms { max_renewals: Some(self.draw(4)), idle_timeout, ..RequestedTerms::default() }
            }
        }
    }

    /// A use that is noted, and recorded when that is due or later.
    fn introspect(&self) {
        let Some(id) = self.some_session() else { return };
        let (_, token) = self.held.iter().find(|(session, _)| session.id == id).unwrap();
        if self.world.authority.introspect(token.expose()).is_ok() && self.draw(2) == 0 {
            self.wait(self.world.authority.keep_uses(&[id]));
        }
    }

    /// At the moment at which it is due, if that lies ahead.
    fn refresh(&self) {
        let is_sliding =
            |(session, _): &&(SharedSession, SessionToken)| session.terms.mode == SessionMode::Sliding;
        let Some((session, token)) = self.held.iter().rev().find(is_sliding) else { return };
        let recorded = self.world.authority.live().recorded_session(session.id).unwrap();
        let due = recorded.refresh_at().map_or(0, |due| due.seconds_since(self.world.authority.now()));
        self.world.clock.advance(due).unwrap();
        // None once the key of the token is over.
        let Some(holder) = self.world.authority.holder(token.expose()) else { return };
        let outcome = self.wait(self.world.authority.refresh(context(), &holder));
        assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
    }

    /// The token of a renewal is presented: a mark that is not recorded at once.
    fn present(&self) {
        let authority = &self.world.authority;
        let terms = RequestedTerms { ttl: Some(Seconds(300)), ..RequestedTerms::default() };
        let new = NewSession { terms, ..NewSession::of("the-last".parse().unwrap()) };
        let granted = self.wait(authority.create_session(context(), new)).unwrap();
        self.world.clock.advance(150).unwrap();
        let holder = authority.holder(granted.token.expose()).unwrap();
        let renewed = self.wait(authority.renew(context(), &holder, None)).unwrap();
        authority.introspect(renewed.token.expose()).unwrap();
    }

    fn renew(&mut self) {
        let Some(id) = self.some_session() else { return };
        let index = self.held.iter().position(|(session, _)| session.id == id).unwrap();
        let Some(holder) = self.world.authority.holder(self.held[index].1.expose()) else { return };
        let key = (self.draw(2) == 0).then(|| format!("key {}", self.draw(4)));
        if let Ok(granted) = self.wait(self.world.authority.renew(context(), &holder, key.as_deref())) {
            // Now and then the reply is lost, and the holder goes on with the old token.
            if self.draw(4) > 0 {
                self.held[index] = (granted.session, granted.token);
            }
        }
    }

    fn use_one(&self) {
        let Some(session_id) = self.some_session() else { return };
        let amount = Some(["0.1", "0.25"][self.draw(2) as usize].parse().unwrap());
        let wanted = SessionUse { operation: "pay".to_owned(), amount, destination: None };
        let asked = NewUse { session_id, generation: None, wanted };
        let outcome = self.wait(self.world.authority.record_usage(context(), asked));
        assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
    }

    fn revoke(&self) {
        let Some(session_id) = self.some_session() else { return };
        let reason = (self.draw(2) == 0).then(|| "no longer needed".to_owned());
        let asked = RevocationRequest { session_id, by: Revoker::Admin, reject_renewal: None, reason };
        self.wait(self.world.authority.revoke(context(), asked)).unwrap();
    }

    fn suspender(&self) -> SuspensionActor {
        let role = [Role::Admin, Role::Issuer][self.draw(2) as usize];
        SuspensionActor { role, owner: None, actor: Actor::AUTHORITY }
    }

    /// Mostly for a while, so that something happens after it.
    fn suspend(&self) {
        let until = self.world.authority.now().plus(Seconds([1, 30, 301][self.draw(3) as usize]));
        let asked = NewSuspension {
            subject_id: self.subject(),
            by: self.suspender(),
            until: (self.draw(8) > 0).then_some(until),
            reason: (self.draw(2) == 0).then(|| "it spends too much".to_owned()),
        };
        let outcome = self.wait(self.world.authority.suspend_subject(context(), asked));
        assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
    }

    fn resume(&self) {
        let by = SuspensionActor { role: Role::Admin, ..self.suspender() };
        for id in subjects() {
            let reason = (self.draw(2) == 0).then_some("all is well");
            let outcome = self.wait(self.world.authority.resume_subject(context(), id, by.clone(), reason));
            assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
        }
    }

    fn revoke_and_suspend(&self) {
        let Some(session_id) = self.some_session() else { return };
        let asked = RevocationRequest { session_id, by: Revoker::Admin, reject_renewal: None, reason: None };
        let by = SuspensionActor { role: Role::Admin, ..self.suspender() };
        self.wait(self.world.authority.revoke_and_suspend(context(), asked, by)).unwrap();
    }

    fn revoke_many(&self) {
        // Rather of a subject that has sessions.
        let held = self.some_session().and_then(|id| self.held.iter().find(|(session, _)| session.id == id));
        let subject_id = held.map_or_else(|| self.subject(), |(session, _)| session.subject.clone());
        let asked = SubjectRevocationRequest {
            subject_id,
            device: (self.draw(2) == 0).then(|| "device 1".to_owned()),
            except: (self.draw(3) == 0).then(|| self.some_session()).flatten(),
            owner: None,
            reason: None,
        };
        let outcome = self.wait(self.world.authority.revoke_many(context(), asked));
        assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
    }

    fn revoke_matching(&self) {
        let selection = SessionSelection {
            subject_id: (self.draw(8) > 0).then(|| self.subject()),
            device: (self.draw(3) == 0).then(|| "device 1".to_owned()),
            issued_before: (self.draw(2) == 0).then(|| self.world.authority.now()),
            ..SessionSelection::default()
        };
        let asked = AskedBulk { selection, reason: "an incident".to_owned() };
        self.wait(self.world.authority.revoke_matching(context(), asked)).unwrap();
    }

    fn rotate(&self) {
        let which = [KeyUse::Session, KeyUse::Access][self.draw(2) as usize];
        let retire = if self.draw(6) == 0 { RetireMode::Now } else { RetireMode::Overlap };
        let outcome = self.wait(self.world.authority.rotate_key(context(), which, retire));
        assert!(matches!(outcome, Ok(_) | Err(CommandError::Refused { .. })), "{outcome:?}");
    }

    fn seen(&self) -> Seen {
        let live = self.world.authority.live();
        Seen {
            position: live.position(),
            at: self.world.authority.now(),
            state: live.capture().to_bytes(),
            subjects: subjects().map(|id| live.recorded_subject(&id)).collect(),
        }
    }
}

/// A history without some kind of event would say nothing of it.
fn tell_every_kind(logs: &[Arc<MemoryLog>]) {
    let commits = logs.iter().flat_map(|log| log.read(Position::ZERO, usize::MAX).unwrap());
    let told: Vec<_> =
        commits.flat_map(|stored| stored.commit.events.iter().map(Event::kind).collect::<Vec<_>>()).collect();
    // Credentials and webhooks are the affair of who calls, not of who lives here.
    let elsewhere = [
        EventKind::CredentialIssued,
        EventKind::CredentialRevoked,
        EventKind::WebhookCreated,
        EventKind::WebhookDeleted,
        EventKind::CredentialConfirmed,
        EventKind::EpochBegan,
        // Of the log, when its first segment is full.
        EventKind::LogSegmented,
    ];
    let missing: Vec<_> =
        EventKind::ALL.iter().filter(|kind| !told.contains(kind) && !elsewhere.contains(kind)).collect();
    assert!(missing.is_empty(), "the histories tell nothing of {missing:?}");
}

#[test]
fn the_state_rebuilt_from_position_1_equals_the_live_state_at_every_position() {
    let logs: Vec<_> = (1..=4).map(|seed| a_life_that_is_rebuilt_at_every_position(seed, 400)).collect();
    tell_every_kind(&logs);
    let events: u64 = logs.iter().map(|log| log.head().position.0).sum();
    assert!(events > 600, "the histories are too short to say anything: {events}");
}

fn a_life_that_is_rebuilt_at_every_position(number: u64, length: usize) -> Arc<MemoryLog> {
    let mut life = Life::new(number);
    for step in 0..length {
        life.step();
        if step == length - 1 {
            // What was presented or used and is not recorded yet is recorded at a stop.
            life.present();
            life.world.authority.stop();
        }
        let seen = life.seen();
        let rebuilt = history::state_at(life.world.authority.log(), seen.position).unwrap();
        assert!(rebuilt.to_bytes() == seen.state, "seed {number}, at position {}", seen.position);
        assert_eq!(AuthorityState::from_bytes(&seen.state).unwrap(), rebuilt);
    }
    life.log
}

/// The past of a session with an idle time was told wrong: the fold of one subject passed over what the authority's own
/// events say of its sessions, so a session that was kept alive by use counted as idle, and from its next event on
/// nothing of its subject could be told at all.
#[test]
fn a_subject_as_of_a_position_is_what_was_seen_then() {
    let mut reached = Vec::new();
    for seed in 0..20 {
        let mut life = Life::new(seed);
        let recorder: Vec<_> = (0..300)
            .map(|_| {
                life.step();
                life.seen()
            })
            .collect();
        let log = life.world.authority.log();
        for (index, id) in subjects().enumerate() {
            for seen in &recorder {
                let then = history::subject_at(log, &life.world.projections, &id, seen.position);
                let then =
                    then.unwrap_or_else(|error| panic!("{id} at {}, seed {seed}: {error}", seen.position));
                let unknown = Subject::new(id.clone());
                let known = seen.subjects[index].as_deref().unwrap_or(&unknown);
                assert_eq!(known, &then, "{id} at {}, seed {seed}", seen.position);
            }
        }
        reached.extend(kinds_that_reach(&life));
        is_folded_alike_at_every_position(&life);
    }
    for kind in EventKind::ALL.into_iter().filter(|kind| !NOT_OF_SUBJECTS.contains(kind)) {
        assert!(reached.contains(&kind), "no history of a compared subject has a {}", kind.name());
    }
}

/// Also between the events of one commit, where nobody could have looked.
fn is_folded_alike_at_every_position(life: &Life) {
    let log = life.world.authority.log();
    let mut whole = AuthorityState::default();
    for stored in log.read(Position::ZERO, usize::MAX).unwrap() {
        for index in 0..stored.commit.events.len() {
            whole.apply_part(stored.first, &stored.commit, index..index + 1).unwrap();
            for id in subjects() {
                let part = history::subject_at(log, &life.world.projections, &id, whole.position).unwrap();
                let unknown = Subject::new(id.clone());
                assert_eq!(&part, whole.subjects.get(&id).unwrap_or(&unknown), "{id} at {}", whole.position);
            }
        }
    }
}

/// What says nothing of any subject or session.
const NOT_OF_SUBJECTS: [EventKind; 9] = [
    EventKind::CredentialIssued,
    EventKind::CredentialRevoked,
    EventKind::WebhookCreated,
    EventKind::WebhookDeleted,
    EventKind::CredentialConfirmed,
    EventKind::EpochBegan,
    EventKind::LogSegmented,
    EventKind::PolicyChanged,
    EventKind::KeyRotated,
];

/// The kinds of the events that changed one of the compared subjects.
fn kinds_that_reach(life: &Life) -> Vec<EventKind> {
    let (mut state, mut kinds) = (AuthorityState::default(), Vec::new());
    for stored in life.log.read(Position::ZERO, usize::MAX).unwrap() {
        for (index, event) in stored.commit.events.iter().enumerate() {
            let before = state.subjects.clone();
            state.apply_part(stored.first, &stored.commit, index..index + 1).unwrap();
            if subjects().any(|id| before.get(&id) != state.subjects.get(&id)) {
                kinds.push(event.kind());
            }
        }
    }
    kinds
}

#[test]
fn the_position_at_a_moment_is_the_last_one_recorded_by_then() {
    let mut life = Life::new(3);
    let mut recorder = Vec::new();
    for _ in 0..300 {
        life.step();
        recorder.push(life.seen());
    }
    for (index, seen) in recorder.iter().enumerate() {
        // Of several steps within one moment the last one counts.
        let last = recorder[index..].iter().take_while(|later| later.at == seen.at).last().unwrap();
        let found = history::position_at(life.world.authority.log(), seen.at).unwrap();
        assert_eq!(found, last.position, "at {}", seen.at);
    }
    assert_eq!(history::position_at(life.world.authority.log(), Timestamp::ZERO).unwrap(), Position::ZERO);
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let log = |seed| {
        let mut life = Life::new(seed);
        (0..200).for_each(|_| life.step());
        let log = life.world.authority.log();
        (log.head().root, log.read(Position::ZERO, usize::MAX).unwrap())
    };
    let (root, commits) = log(4);
    assert_eq!(log(4), (root, commits));
    assert_ne!(log(5).0, root);
}
