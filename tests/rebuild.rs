//! What is derived from the log can be derived again: the live state at every position, any earlier state,
//! and, from the same seed, the log itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{future::Future, sync::Arc};

use tenure::{
    authority::{
        Authority, Context, Failure, Holder, IdempotencyTable, NewProfile, NewSession, Parts, Revocation,
        RevocationOfMany, Secrets,
    },
    clock::{Clock, TestClock},
    domain::{
        Actor, Policy, Position, Seconds, SessionId, SubjectId, Timestamp,
        command::{AskedTerms, Revoker},
        policy::OnLimit,
        session::SharedSession,
        state::State,
        subject::Subject,
    },
    entropy::{self, Entropy, SeededEntropy},
    log::MemoryLog,
    projections::{Projections, history},
    texts::SubjectKeys,
    tokens::{Digests, Keyring, SessionToken, Tokens},
};

/// An authority on a log in memory, with everything that it must not choose itself in the test's hands.
struct World {
    authority: Authority,
    projections: Arc<Projections>,
    clock: Arc<TestClock>,
    chance: SeededEntropy,
    runtime: tokio::runtime::Runtime,
    held: Vec<(SharedSession, SessionToken)>,
    _keys: tempfile::TempDir,
}

/// What somebody saw at some moment.
struct Seen {
    position: Position,
    at: Timestamp,
    state: Vec<u8>,
    subject: Option<Arc<Subject>>,
}

const SUBJECTS: [&str; 4] = ["agent-1", "agent-2", "user:ada", "build@ci"];

impl World {
    fn new(seed: u64) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
        let dir = keys.path().join("keys");
        let secrets = Secrets {
            tokens: Tokens::new(Keyring::open(&dir, &*entropy).unwrap(), 1_000, &*entropy),
            digests: Digests::open(&dir, &*entropy).unwrap(),
            texts: SubjectKeys::open(&dir).unwrap(),
        };
        let clock = Arc::new(TestClock::new(Timestamp::parse("2026-11-21T01:35:00.000Z").unwrap()));
        let projections = Arc::new(Projections::default());
        let told = Arc::clone(&projections);
        let authority = Authority::start(Parts {
            log: Arc::new(MemoryLog::new()),
            state: State::default(),
            idempotency: IdempotencyTable::new(Seconds(600), 1_000),
            policy: Policy { auto_register: true, per_subject: 3, ..Policy::default() },
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy,
            secrets,
            observers: vec![Arc::new(move |commits| commits.iter().for_each(|stored| told.fold(stored)))],
        })
        .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let chance = SeededEntropy::new(seed ^ 0xd1ce);
        Self { authority, projections, clock, chance, runtime, held: vec![], _keys: keys }
    }

    fn draw(&self, below: u32) -> u32 {
        u32::from_be_bytes(entropy::bytes(&self.chance)) % below
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn context() -> Context {
        Context::of(Actor::AUTHORITY)
    }

    fn subject(&self) -> SubjectId {
        SUBJECTS[self.draw(4) as usize].parse().unwrap()
    }

    fn some_session(&self) -> Option<SessionId> {
        let count = u32::try_from(self.held.len()).unwrap();
        (count > 0).then(|| self.held[self.draw(count) as usize].0.id)
    }

    /// One step at random; refusals are part of the game.
    fn step(&mut self) {
        self.clock.advance([0, 0, 1, 149, 150, 301, 43_200, 90_000][self.draw(8) as usize]).unwrap();
        match self.draw(10) {
            0 => self.register(),
            1..=3 => self.create(),
            4..=7 => self.renew(),
            8 => self.revoke(),
            _ => self.revoke_many(),
        }
    }

    fn register(&self) {
        let new = NewProfile {
            name: Some(format!("name {}", self.draw(3))),
            max_sessions: Some(1 + self.draw(4)),
            on_limit: (self.draw(2) == 0).then_some(OnLimit::EvictOldest),
            ..NewProfile::default()
        };
        self.wait(self.authority.register_subject(Self::context(), self.subject(), new, true)).unwrap();
    }

    fn create(&mut self) {
        let terms = AskedTerms {
            ttl: Some(Seconds([300, 301, 86_400][self.draw(3) as usize])),
            max_renewals: Some(self.draw(4)),
            ..AskedTerms::default()
        };
        let device = (self.draw(2) == 0).then(|| format!("device {}", self.draw(2)));
        let new = NewSession { terms, device, ..NewSession::of(self.subject()) };
        if let Ok(reply) = self.wait(self.authority.create_session(Self::context(), new)) {
            let granted = reply.now().expect("no idempotency key was given");
            self.held.push((granted.session, granted.token));
        }
    }

    fn renew(&mut self) {
        let Some(id) = self.some_session() else { return };
        let index = self.held.iter().position(|(session, _)| session.id == id).unwrap();
        let holder: Holder = self.authority.holder(self.held[index].1.expose()).unwrap();
        let key = (self.draw(2) == 0).then(|| format!("key {}", self.draw(4)));
        if let Ok(granted) = self.wait(self.authority.renew(Self::context(), &holder, key.as_deref())) {
            // Now and then the reply is lost, and the holder goes on with the old token.
            if self.draw(4) > 0 {
                self.held[index] = (granted.session, granted.token);
            }
        }
    }

    fn revoke(&self) {
        let Some(session_id) = self.some_session() else { return };
        let reason = (self.draw(2) == 0).then(|| "no longer needed".to_owned());
        let asked = Revocation { session_id, by: Revoker::Admin, reject_renewal: None, reason };
        self.wait(self.authority.revoke(Self::context(), asked)).unwrap();
    }

    fn revoke_many(&self) {
        let asked = RevocationOfMany {
            subject_id: self.subject(),
            device: (self.draw(2) == 0).then(|| "device 1".to_owned()),
            except: self.some_session(),
            owner: None,
            reason: None,
        };
        let outcome = self.wait(self.authority.revoke_many(Self::context(), asked));
        assert!(matches!(outcome, Ok(_) | Err(Failure::Refused { .. })), "{outcome:?}");
    }

    fn seen(&self) -> Seen {
        let live = self.authority.live();
        Seen {
            position: live.position(),
            at: self.authority.now(),
            state: live.capture().to_bytes(),
            subject: live.subject(&SUBJECTS[0].parse().unwrap()),
        }
    }
}

#[test]
fn the_state_rebuilt_from_position_1_equals_the_live_state_at_every_position() {
    let mut world = World::new(1);
    for _ in 0..400 {
        world.step();
        let seen = world.seen();
        let rebuilt = history::state_at(world.authority.log(), seen.position).unwrap();
        assert!(rebuilt.to_bytes() == seen.state, "at position {}", seen.position);
        assert_eq!(State::from_bytes(&seen.state).unwrap(), rebuilt);
    }
    assert!(world.authority.live().position().0 > 200, "the history is too short to say anything");
}

#[test]
fn a_subject_as_of_a_position_is_what_was_seen_then() {
    let mut world = World::new(2);
    let mut recorder = Vec::new();
    for _ in 0..300 {
        world.step();
        recorder.push(world.seen());
    }
    let id: SubjectId = SUBJECTS[0].parse().unwrap();
    let log = world.authority.log();
    for seen in &recorder {
        let then = history::subject_at(log, &world.projections, &id, seen.position).unwrap();
        let known = seen.subject.as_deref();
        assert_eq!(known.map_or(&[][..], |subject| &subject.sessions), then.sessions, "at {}", seen.position);
        assert_eq!(known.and_then(Subject::profile), then.profile());
    }
}

#[test]
fn the_position_at_a_moment_is_the_last_one_recorded_by_then() {
    let mut world = World::new(3);
    let mut recorder = Vec::new();
    for _ in 0..300 {
        world.step();
        recorder.push(world.seen());
    }
    for (index, seen) in recorder.iter().enumerate() {
        // Of several steps within one moment the last one counts.
        let last = recorder[index..].iter().take_while(|later| later.at == seen.at).last().unwrap();
        let found = history::position_at(world.authority.log(), seen.at).unwrap();
        assert_eq!(found, last.position, "at {}", seen.at);
    }
    assert_eq!(history::position_at(world.authority.log(), Timestamp::ZERO).unwrap(), Position::ZERO);
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let log = |seed| {
        let mut world = World::new(seed);
        (0..200).for_each(|_| world.step());
        let log = world.authority.log();
        (log.head().root, log.read(Position::ZERO, usize::MAX).unwrap())
    };
    let (root, commits) = log(4);
    assert_eq!(log(4), (root, commits));
    assert_ne!(log(5).0, root);
}
