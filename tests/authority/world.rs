//! An authority whose time, chance, log and keys are in the test's hands.

use std::sync::Arc;

use tenure::{
    authority::{
        Authority, AuthorityKeys, Dependencies, DiskRoom, IdempotencyTable, MemoryRetention, PublishedState,
        RequestContext, SubjectHistory, TokenIssuance,
    },
    clock::{Clock, TestClock},
    core::{Actor, Policy, Seconds, Timestamp, keys::KeyHistory, state::AuthorityState},
    entropy::{Entropy, SeededEntropy},
    log::{EventLog, StoredCommit},
    personal_data::SubjectKeys,
    projections::{Projections, history},
    tokens::{KeyedDigests, TokenKeyring, TokenSealer},
};

/// An authority, and what it was given.
pub(crate) struct World {
    pub(crate) authority: Arc<Authority>,
    pub(crate) projections: Arc<Projections>,
    pub(crate) clock: Arc<TestClock>,
    _keys: tempfile::TempDir,
}

/// On this log, with chance from this seed. Three sessions a subject; unknown subjects are registered.
pub(crate) fn world(log: Arc<dyn EventLog>, seed: u64) -> World {
    world_by(log, seed, DiskRoom::unlimited(), |clock| clock)
}

/// The same with this room on the disk, where the authority sees the time through what is made of the clock.
pub(crate) fn world_by(
    log: Arc<dyn EventLog>,
    seed: u64,
    room: DiskRoom,
    through: impl FnOnce(Arc<dyn Clock>) -> Arc<dyn Clock>,
) -> World {
    let keys = tempfile::tempdir().unwrap();
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(seed));
    let clock = Arc::new(TestClock::new(Timestamp::parse("2026-11-21T01:35:00.000Z").unwrap()));
    let projections = Arc::new(Projections::default());
    let told = Arc::clone(&projections);
    let tell = move |live: &PublishedState, commits: &[Arc<StoredCommit>]| {
        for stored in commits {
            told.fold(stored, live);
        }
    };
    let (read, known) = (Arc::clone(&log), Arc::clone(&projections));
    let past: SubjectHistory = Arc::new(move |id, position| {
        history::subject_at(&*read, &known, id, position).map_err(|error| error.to_string())
    });
    let authority = Authority::start(Dependencies {
        log,
        past,
        state: AuthorityState::default(),
        idempotency: IdempotencyTable::new(Seconds(600), 1_000),
        policy: Policy { auto_register: true, per_subject: 3, ..Policy::default() },
        disk_room: room,
        clock: through(Arc::clone(&clock) as Arc<dyn Clock>),
        secrets: secrets(&keys.path().join("keys"), &*entropy),
        issuing: TokenIssuance::default(),
        entropy,
        uses_forgotten_before: None,
        retention: MemoryRetention::forever(),
        observers: vec![Arc::new(tell)],
    });
    World { authority: Arc::new(authority.unwrap()), projections, clock, _keys: keys }
}

fn secrets(dir: &std::path::Path, entropy: &dyn Entropy) -> AuthorityKeys {
    let keyring = TokenKeyring::open(dir, &KeyHistory::default(), Timestamp::ZERO, entropy).unwrap();
    AuthorityKeys {
        tokens: TokenSealer::new(keyring, 1_000, entropy).into(),
        digests: KeyedDigests::open(dir, entropy).unwrap(),
        texts: SubjectKeys::open(dir).unwrap().into(),
    }
}

/// Of the authority itself, without a request behind it.
pub(crate) fn context() -> RequestContext {
    RequestContext::of(Actor::AUTHORITY)
}
