//! An authority in this process, and sessions to measure with.

use std::{path::Path, sync::Arc};

use tokio::runtime::Handle;

use super::{conditions::ScratchDir, failed, null_log::NullLog};
use crate::cli::failure::CommandError;
use tenure_core::{Actor, Policy, Seconds, Timestamp, keys::KeyHistory, state::AuthorityState};
use tenure_log::StoredCommit;
use tenure_protocol::clock::{Clock, SystemClock, TestClock};
use tenure_protocol::entropy::OsEntropy;
use tenure_server::authority::{
    Authority, AuthorityKeys, Dependencies, DiskRoom, IdempotencyTable, MemoryRetention, NewSession,
    PublishedState, RequestContext, TokenIssuance,
};
use tenure_server::node::{Node, NodeOptions};
use tenure_server::personal_data::SubjectKeys;
use tenure_server::projections::Projections;
use tenure_server::tokens::{KeyedDigests, SessionToken, TokenKeyring, TokenSealer};

/// The period of the measured sessions.
pub(super) const TTL: u32 = 3_600;
/// How often each can be renewed: the most that the contract knows.
pub(super) const RENEWALS: u32 = 100;
/// Sessions created at once.
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
pub(super) struct DiskAuthority {
    // Closed before its directory goes.
    pub(super) node: Node,
    pub(super) clock: Arc<TestClock>,
}

impl DiskAuthority {
    pub(super) fn open(scratch: &ScratchDir) -> Result<Self, CommandError> {
        Self::open_with(&scratch.path().join("data"), |_| {})
    }

    /// The same with something changed.
    pub(super) fn open_with(
        data: &Path,
        change: impl FnOnce(&mut NodeOptions),
    ) -> Result<Self, CommandError> {
        let mut options = NodeOptions::new(data.to_owned());
        options.policy = Some(policy());
        options.test_clock = true;
        change(&mut options);
        let node = Node::open(options).map_err(failed)?;
        let clock = node.test_clock.clone().ok_or_else(|| failed("the node has no test clock"))?;
        Ok(Self { node, clock })
    }
}

/// An authority that keeps its state in memory and no log at all.
pub(super) struct MemoryAuthority {
    pub(super) authority: Arc<Authority>,
    pub(super) clock: Arc<TestClock>,
    /// Seals tokens with the same keys, unbeknown to the authority's own memory of tokens.
    pub(super) twin: TokenSealer,
}

impl MemoryAuthority {
    /// With a cache of this many tokens.
    pub(super) fn new(scratch: &ScratchDir, remembered: usize) -> Result<Self, CommandError> {
        let keys = scratch.path().join("keys");
        let keyring =
            TokenKeyring::open(&keys, &KeyHistory::default(), Timestamp::ZERO, &OsEntropy).map_err(failed)?;
        let clock = Arc::new(TestClock::new(SystemClock::new().now()));
        let projections = Arc::new(Projections::default());
        let authority = Authority::start(Dependencies {
            log: Arc::new(NullLog::new()),
            state: AuthorityState::default(),
            idempotency: IdempotencyTable::new(Seconds(600), 1),
            policy: policy(),
            disk_room: DiskRoom::unlimited(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(OsEntropy),
            secrets: secrets(&keys, &keyring, remembered)?,
            issuing: TokenIssuance::default(),
            uses_forgotten_before: None,
            retention: MemoryRetention::forever(),
            past: Arc::new(|_, _| Err("this log keeps nothing".into())),
            observers: vec![Arc::new(move |live: &PublishedState, commits: &[Arc<StoredCommit>]| {
                for stored in commits {
                    projections.fold(stored, live);
                }
            })],
        });
        let authority = Arc::new(authority.map_err(|failure| failed(format!("{failure:?}")))?);
        Ok(Self { authority, clock, twin: TokenSealer::new(keyring, 0, &OsEntropy) })
    }
}

fn secrets(keys: &Path, keyring: &TokenKeyring, remembered: usize) -> Result<AuthorityKeys, CommandError> {
    Ok(AuthorityKeys {
        tokens: Arc::new(TokenSealer::new(keyring.clone(), remembered, &OsEntropy)),
        digests: KeyedDigests::open(keys, &OsEntropy).map_err(failed)?,
        texts: SubjectKeys::open(keys).map_err(failed)?.into(),
    })
}

/// Creates sessions, a number for each subject; what `keep` makes of each is given back.
pub(super) fn sessions<T: Send + 'static>(
    runtime: &Handle,
    authority: &Arc<Authority>,
    count: usize,
    per_subject: usize,
    keep: fn(&Authority, SessionToken) -> T,
) -> Result<Vec<T>, CommandError> {
    let series = crate::cli::environment::unique();
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
                Ok::<_, CommandError>(kept)
            })
        })
        .collect();
    let mut all = Vec::with_capacity(count);
    for creator in creators {
        all.extend(runtime.block_on(creator).map_err(failed)??);
    }
    Ok(all)
}

async fn create(authority: &Authority, subject: &str) -> Result<SessionToken, CommandError> {
    let subject = subject.parse().map_err(failed)?;
    let created =
        authority.create_session(RequestContext::of(Actor::AUTHORITY), NewSession::of(subject)).await;
    created
        .map(|granted| granted.token)
        .map_err(|failure| failed(format!("a session was not created: {failure:?}")))
}
