//! An authority in this process, and sessions to measure with.

use std::{path::Path, sync::Arc};

use tokio::runtime::Handle;

use super::{conditions::Scratch, failed, forgetful::ForgetfulLog};
use crate::cli::failure::Failure;
use tenure_core::{Actor, Policy, Seconds, Timestamp, keys::Keys, state::State};
use tenure_log::StoredCommit;
use tenure_protocol::clock::{Clock, SystemClock, TestClock};
use tenure_protocol::entropy::OsEntropy;
use tenure_server::authority::{
    Authority, Context, Dependencies, IdempotencyTable, Issuing, Live, NewSession, Retention, Room, Secrets,
};
use tenure_server::node::{Node, Options};
use tenure_server::personal_data::SubjectKeys;
use tenure_server::projections::Projections;
use tenure_server::tokens::{Digests, Keyring, SessionToken, Tokens};

/// The period of the measured sessions.
pub(super) const TTL: u32 = 3_600;
/// How often each can be renewed: the most that the contract knows.
pub(super) const RENEWALS: u32 = 100;
/// So many sessions are created at once.
const CREATORS: usize = 256;

/// The limits under which is measured.
pub(super) fn policy() -> Policy {
    Policy {
        ttl: Seconds(TTL),
        max_renewals: RENEWALS,
        max_renewals_max: RENEWALS,
        auto_register: true,
        ..Policy::default()
    }
}

/// An authority as a server has it, on a data directory of its own.
pub(super) struct OnDisk {
    // Closed before its directory goes.
    pub(super) node: Node,
    pub(super) clock: Arc<TestClock>,
}

impl OnDisk {
    pub(super) fn open(scratch: &Scratch) -> Result<Self, Failure> {
        Self::open_with(&scratch.path().join("data"), |_| {})
    }

    /// The same with something changed.
    pub(super) fn open_with(data: &Path, change: impl FnOnce(&mut Options)) -> Result<Self, Failure> {
        let mut options = Options::new(data.to_owned());
        options.policy = Some(policy());
        options.test_clock = true;
        change(&mut options);
        let node = Node::open(options).map_err(failed)?;
        let clock = node.test_clock.clone().ok_or_else(|| failed("the node has no test clock"))?;
        Ok(Self { node, clock })
    }
}

/// An authority that keeps its state in memory and no log at all.
pub(super) struct InMemory {
    pub(super) authority: Arc<Authority>,
    pub(super) clock: Arc<TestClock>,
    /// Seals tokens with the same keys, unbeknown to the authority's own memory of tokens.
    pub(super) twin: Tokens,
}

impl InMemory {
    /// That remembers so many tokens that it has seen.
    pub(super) fn new(scratch: &Scratch, remembered: usize) -> Result<Self, Failure> {
        let keys = scratch.path().join("keys");
        let keyring = Keyring::open(&keys, &Keys::default(), Timestamp::ZERO, &OsEntropy).map_err(failed)?;
        let clock = Arc::new(TestClock::new(SystemClock::new().now()));
        let projections = Arc::new(Projections::default());
        let authority = Authority::start(Dependencies {
            log: Arc::new(ForgetfulLog::new()),
            state: State::default(),
            idempotency: IdempotencyTable::new(Seconds(600), 1),
            policy: policy(),
            room: Room::unlimited(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(OsEntropy),
            secrets: secrets(&keys, &keyring, remembered)?,
            issuing: Issuing::default(),
            uses_forgotten_before: None,
            retention: Retention::forever(),
            past: Arc::new(|_, _| Err("this log keeps nothing".into())),
            observers: vec![Arc::new(move |live: &Live, commits: &[Arc<StoredCommit>]| {
                for stored in commits {
                    projections.fold(stored, live);
                }
            })],
        });
        let authority = Arc::new(authority.map_err(|failure| failed(format!("{failure:?}")))?);
        Ok(Self { authority, clock, twin: Tokens::new(keyring, 0, &OsEntropy) })
    }
}

fn secrets(keys: &Path, keyring: &Keyring, remembered: usize) -> Result<Secrets, Failure> {
    Ok(Secrets {
        tokens: Arc::new(Tokens::new(keyring.clone(), remembered, &OsEntropy)),
        digests: Digests::open(keys, &OsEntropy).map_err(failed)?,
        texts: SubjectKeys::open(keys).map_err(failed)?.into(),
    })
}

/// Creates sessions, so many for each subject; what `keep` makes of each is given back.
pub(super) fn sessions<T: Send + 'static>(
    runtime: &Handle,
    authority: &Arc<Authority>,
    count: usize,
    per_subject: usize,
    keep: fn(&Authority, SessionToken) -> T,
) -> Result<Vec<T>, Failure> {
    let series = crate::cli::ambient::unique();
    let subjects = count.div_ceil(per_subject);
    let creators: Vec<_> = (0..CREATORS.min(subjects))
        .map(|first| {
            let (authority, series) = (Arc::clone(authority), series.clone());
            runtime.spawn(async move {
                let mut kept = Vec::with_capacity(count / CREATORS + per_subject);
                for subject in (first..subjects).step_by(CREATORS) {
                    for _ in 0..per_subject.min(count - subject * per_subject) {
                        let token = create(&authority, &format!("bench-{series}-{subject}")).await?;
                        kept.push(keep(&authority, token));
                    }
                }
                Ok::<_, Failure>(kept)
            })
        })
        .collect();
    let mut all = Vec::with_capacity(count);
    for creator in creators {
        all.extend(runtime.block_on(creator).map_err(failed)??);
    }
    Ok(all)
}

async fn create(authority: &Authority, subject: &str) -> Result<SessionToken, Failure> {
    let subject = subject.parse().map_err(failed)?;
    let created = authority.create_session(Context::of(Actor::AUTHORITY), NewSession::of(subject)).await;
    created
        .map(|granted| granted.token)
        .map_err(|failure| failed(format!("a session was not created: {failure:?}")))
}
