//! One authority on one data directory: what a server serves, and what a program embeds.
//!
//! A start reads the whole log once. It checks every record on the way and folds it into the state, the
//! projections and the table of idempotency keys; nothing of those is ever taken on trust.

mod jobs;
mod published;
mod uses;

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    audit::{Evidence, HeadError, HeadKey, Heads, Keeper, LiveCheck, Nodes, live_check},
    authority::{Authority, Context, Failure, IdempotencyTable, Issuing, NewCredential, Parts, Secrets},
    bus::webhooks::{self, Webhooks},
    clock::{Clock, SystemClock, TestClock},
    domain::{
        Actor, CredentialId, Event, KeyUse, Policy, Position, Seconds, Stream, SubjectId, Timestamp,
        event::Role, record::ActorKind, state::State, subject::Subject,
    },
    entropy::{Entropy, OsEntropy},
    key_files::KeyFileError,
    log::{EventLog, OpenError, RecordHash, SledLog, StoredCommit},
    projections::{
        Projections, history,
        snapshot::{self, Snapshot},
    },
    texts::{SubjectKeys, TextError},
    tokens::{ApiKey, Digests, Keyring, Tokens},
};

use self::jobs::Jobs;

/// So many verified tokens are remembered, at about 80 bytes each.
const REMEMBERED_TOKENS: usize = 1_000_000;
/// After so many events since the last snapshot a start writes another one.
const EVENTS_PER_SNAPSHOT: u64 = 100_000;

/// How to open a node.
pub struct Options {
    /// The data directory; made when it is not there.
    pub data: PathBuf,
    /// The limits that apply from now on; none keeps those recorded last, or the defaults.
    pub policy: Option<Policy>,
    /// How long idempotency keys are remembered, `idempotency.window`.
    pub idempotency_window: Seconds,
    /// How many are, `idempotency.max`.
    pub idempotency_max: usize,
    /// Within how long what was recorded is under a signed head, `audit.head_interval`.
    pub head_interval: Seconds,
    /// A further file for signed heads, `audit.head_file`.
    pub head_file: Option<PathBuf>,
    /// Whether time stands still until it is moved.
    pub test_clock: bool,
    /// What webhooks obey.
    pub webhooks: webhooks::Settings,
    /// What tokens obey.
    pub issuing: Issuing,
    /// Where ids and keys come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Options {
    /// The defaults, on this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            policy: None,
            idempotency_window: Seconds(600),
            idempotency_max: 1_000_000,
            head_interval: Seconds(1),
            head_file: None,
            test_clock: false,
            webhooks: webhooks::Settings::default(),
            issuing: Issuing::default(),
            entropy: Arc::new(OsEntropy),
        }
    }
}

/// An authority at work, with the projections that it tells of every batch.
pub struct Node {
    /// The one write path, and the checks.
    pub authority: Arc<Authority>,
    /// The answers that need more than one session.
    pub projections: Arc<Projections>,
    /// Signs the heads of the log, and compares the log with what is answered.
    pub evidence: Arc<Evidence>,
    /// Who is told by HTTP requests, once a server or [`Webhooks::start`] begins with it.
    pub webhooks: Arc<Webhooks>,
    /// The clock, when time stands still.
    pub test_clock: Option<Arc<TestClock>>,
    /// Where the first admin key was written, when this start made it.
    pub first_key: Option<PathBuf>,
    data: PathBuf,
    /// None when time stands still: what is due is done when the clock is moved.
    jobs: Option<Jobs>,
}

/// Why a node does not open.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log is in use, damaged, or of another format.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A key file is missing, damaged, or readable by others.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The log is there, and the keys that go with it are not.
    #[error(
        "{path} is missing, but the log is not empty: put the keys back that belong to it; \
         new ones would make every token and every text of it unreadable"
    )]
    KeysMissing {
        /// Where they should be.
        path: String,
    },
    /// Text about a subject is in the log, and the key that opens it is nowhere.
    #[error(
        "{path} lacks the key of subject {subject}, and there is text about it in the log: put the file back \
         that belongs to this log"
    )]
    SubjectKeyMissing {
        /// The file of keys.
        path: String,
        /// Whose key.
        subject: String,
    },
    /// The key of a subject that was erased is still there, and cannot be destroyed.
    #[error("the key of an erased subject is still there and cannot be destroyed: {0}")]
    Forgetting(#[source] TextError),
    /// The log ends before the position that a snapshot was written of.
    #[error(
        "{path} was written at position {snapshot}, but the log ends at position {head}: events are missing. \
         Put the log back that belongs to it; to go on without the missing events, remove the snapshot"
    )]
    BehindSnapshot {
        /// The snapshot.
        path: String,
        /// Where it stands.
        snapshot: Position,
        /// Where the log ends.
        head: Position,
    },
    /// A file of the data directory cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The log is not the one that was signed, or no head can be signed.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The system gives no thread.
    #[error("no thread for what is due from time to time: {0}")]
    Thread(#[source] io::Error),
    /// The first commit of this start failed.
    #[error("the start cannot be recorded: {0}")]
    Record(#[source] Failure),
}

impl Node {
    /// Opens the data directory, or makes it, and starts to serve.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is repaired and nothing is dropped.
    pub fn open(options: Options) -> Result<Self, StartError> {
        let table = || IdempotencyTable::new(options.idempotency_window, options.idempotency_max);
        let (log, folded) = open_log(&options.data, &table)?;
        let test_clock = options.test_clock.then(|| test_clock_for(&folded.state));
        let clock: Arc<dyn Clock> = match &test_clock {
            Some(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            None => Arc::new(SystemClock::new()),
        };
        let now = clock.now().max(folded.state.recorded_at);
        let secrets = open_secrets(&options.data, &folded, now, &*options.entropy)?;
        let log: Arc<dyn EventLog> = Arc::new(log);
        let keeper = start_keeper(&options, &log, &folded.nodes, &clock)?;
        let Options { data, policy, webhooks, issuing, entropy, .. } = options;
        if folded.since_snapshot >= EVENTS_PER_SNAPSHOT {
            save_snapshot(&data, &*log, folded.state.clone());
        }
        let policy = policy.or_else(|| folded.state.system.policy.clone()).unwrap_or_default();
        let uses_forgotten_before = uses::forgotten_before(&data, folded.state.position, now)
            .map_err(|source| StartError::Io { path: data.display().to_string(), source })?;
        let needs_key = folded.state.system.credentials.is_empty();
        let projections = Arc::new(folded.projections);
        let (told, nodes) = (Arc::clone(&projections), folded.nodes);
        let authority = Authority::start(Parts {
            log: Arc::clone(&log),
            state: folded.state,
            idempotency: folded.idempotency,
            policy,
            clock,
            entropy,
            secrets,
            issuing,
            observers: vec![Arc::new(move |commits: &[Arc<StoredCommit>]| {
                for stored in commits {
                    told.fold(stored);
                    nodes.fold(stored);
                }
            })],
            uses_forgotten_before,
        })
        .map_err(StartError::Record)?;
        let first_key = needs_key.then(|| issue_first_key(&data, &authority)).transpose()?;
        let authority = Arc::new(authority);
        let webhooks = Webhooks::new(Arc::clone(&authority) as Arc<dyn webhooks::Source>, &data, webhooks);
        let check =
            LiveCheck::start(log, Arc::new(published::View(Arc::clone(&authority))), live_check::SLICE)
                .map_err(StartError::Thread)?;
        let evidence = Arc::new(Evidence { keeper, check });
        let jobs = match test_clock {
            Some(_) => None,
            None => Some(Jobs::start(Arc::clone(&authority)).map_err(StartError::Thread)?),
        };
        Ok(Self { authority, projections, evidence, webhooks, test_clock, first_key, data, jobs })
    }

    /// Decides what waits, records what is due, signs a head, writes a snapshot, and closes the log once nobody
    /// reads it.
    pub fn stop(self) {
        drop(self.jobs);
        // One that was asked for may be reading the log, which is to be closed.
        self.evidence.check.end();
        self.authority.stop();
        if self.authority.health().stopped().is_none() {
            if let Err(error) = self.evidence.keeper.heads().sign() {
                tracing::error!(%error, "no head could be signed at the stop; the next start signs one");
            }
            save_snapshot(&self.data, self.authority.log(), self.authority.live().capture());
            tell_uses(&self.data, &self.authority);
        }
    }
}

/// Last of all: what it says must hold.
fn tell_uses(data: &Path, authority: &Authority) {
    let Ok(before) = authority.uses_forgotten_before() else { return };
    if let Err(error) = uses::write(data, authority.live().position(), before) {
        tracing::warn!(%error, "the next start takes this stop for a crash: idle sessions live a little longer");
    }
}

/// What a start makes of the log.
struct Folded {
    state: State,
    idempotency: IdempotencyTable,
    projections: Projections,
    nodes: Arc<Nodes>,
    /// The subjects that were erased, and the last event that says so.
    erased: HashMap<SubjectId, Position>,
    /// So many events were folded that the snapshot did not have.
    since_snapshot: u64,
}

impl Folded {
    fn note_erasures(&mut self, stored: &StoredCommit) {
        let Stream::Subject(subject) = &stored.commit.stream else { return };
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if let Event::SubjectErased(_) = event {
                self.erased.insert(subject.clone(), position);
            }
        }
    }
}

/// The log on its way into the state: up to the snapshot only what the snapshot lacks is folded.
struct Folding {
    folded: Folded,
    snapshot: Option<Snapshot>,
    is_contradicted: bool,
}

impl Folding {
    fn new(idempotency: IdempotencyTable, snapshot: Option<Snapshot>) -> Self {
        let (projections, nodes) = (Projections::default(), Arc::default());
        let folded = Folded {
            state: State::default(),
            idempotency,
            projections,
            nodes,
            erased: HashMap::new(),
            since_snapshot: 0,
        };
        Self { folded, snapshot, is_contradicted: false }
    }

    fn add(&mut self, stored: &StoredCommit) -> Result<(), String> {
        self.folded.projections.fold(stored);
        self.folded.nodes.fold(stored);
        self.folded.idempotency.fold(stored);
        self.folded.note_erasures(stored);
        match &self.snapshot {
            None => {
                self.folded.since_snapshot += stored.commit.events.len() as u64;
                self.folded.state.apply(&stored.commit).map_err(|illegal| illegal.to_string())
            }
            Some(snapshot) if stored.last() < snapshot.state.position => Ok(()),
            Some(snapshot) if stands_on(snapshot, stored) => {
                self.folded.state = self.snapshot.take().expect("it was looked at").state;
                Ok(())
            }
            Some(_) => {
                self.is_contradicted = true;
                Err("the snapshot is of another history".into())
            }
        }
    }
}

fn stands_on(snapshot: &Snapshot, stored: &StoredCommit) -> bool {
    stored.last() == snapshot.state.position && stored.record_hashes.last() == Some(&snapshot.record)
}

fn open_log(data: &Path, table: &dyn Fn() -> IdempotencyTable) -> Result<(SledLog, Folded), StartError> {
    let mut folding = Folding::new(table(), snapshot::load(data));
    match SledLog::open(data, &mut |stored| folding.add(&stored)) {
        Ok(log) if folding.snapshot.is_none() => return Ok((log, folding.folded)),
        // A snapshot is only ever written of what is durable, so what the log lacks was cut off.
        Ok(log) => {
            let snapshot = folding.snapshot.map_or(Position::ZERO, |snapshot| snapshot.state.position);
            let path = snapshot::path(data).display().to_string();
            return Err(StartError::BehindSnapshot { path, snapshot, head: log.head().position });
        }
        Err(_) if folding.is_contradicted => {}
        Err(error) => return Err(error.into()),
    }
    tracing::warn!("the snapshot does not belong to this log; the log is folded whole");
    let mut folding = Folding::new(table(), None);
    let log = SledLog::open(data, &mut |stored| folding.add(&stored))?;
    Ok((log, folding.folded))
}

fn open_secrets(
    data: &Path,
    folded: &Folded,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Secrets, StartError> {
    let keys = data.join("keys");
    if folded.state.position > Position::ZERO {
        // They were there before the first event was.
        let mut expected = vec![keys.join("session"), keys.join("digests.key"), keys.join("subjects")];
        // But for these, which logs of the time before access tokens do not know.
        if folded.state.system.keys.active(KeyUse::Access).is_some() {
            expected.push(keys.join("access"));
        }
        if let Some(path) = expected.iter().find(|path| is_missing(path)) {
            return Err(StartError::KeysMissing { path: path.display().to_string() });
        }
    }
    let keyring = Keyring::open(&keys, &folded.state.system.keys, now, entropy)?;
    let texts = SubjectKeys::open(&keys)?;
    complete_erasures(&folded.erased, &texts)?;
    check_texts(&folded.state, &texts, &keys)?;
    Ok(Secrets {
        tokens: Arc::new(Tokens::new(keyring, REMEMBERED_TOKENS, entropy)),
        digests: Digests::open(&keys, entropy)?,
        texts: Arc::new(texts),
    })
}

/// Compares the log with the heads that it has signed, and signs on.
fn start_keeper(
    options: &Options,
    log: &Arc<dyn EventLog>,
    nodes: &Arc<Nodes>,
    clock: &Arc<dyn Clock>,
) -> Result<Keeper, StartError> {
    let keys = options.data.join("keys");
    let path = keys.join(HeadKey::FILE);
    if is_missing(&path) && Heads::is_kept_in(&options.data) {
        return Err(StartError::KeysMissing { path: path.display().to_string() });
    }
    let must_be_kept = nodes.size() > 0 && !is_missing(&path);
    let key = HeadKey::open(&keys, &*options.entropy)?;
    let (log, nodes, further) = (Arc::clone(log), Arc::clone(nodes), options.head_file.clone());
    let heads = Arc::new(Heads::open(&options.data, further, must_be_kept, key, log, nodes)?);
    Keeper::start(heads, Arc::clone(clock), options.head_interval).map_err(StartError::Thread)
}

/// Whether there is no such file or directory, or nothing in it.
fn is_missing(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => fs::metadata(path).is_ok_and(|file| file.len() == 0) || !path.exists(),
    }
}

/// Destroys the keys that the log says are destroyed, and are not: a crash came between the event and its key, or
/// the file of keys was put back from an older copy.
fn complete_erasures(erased: &HashMap<SubjectId, Position>, texts: &SubjectKeys) -> Result<(), StartError> {
    for (subject, position) in erased {
        let stream = Stream::Subject(subject.clone());
        if !texts.was_forgotten_at(&stream, *position) {
            tracing::warn!(%subject, %position, "the key of an erased subject was still there; it is destroyed now");
            texts.forget(&stream, *position).map_err(StartError::Forgetting)?;
        }
    }
    Ok(())
}

/// What was erased is no text any more. For all other text there must be a key: an older copy of the file would
/// make it unreadable, and nobody would notice.
fn check_texts(state: &State, texts: &SubjectKeys, keys: &Path) -> Result<(), StartError> {
    let has_lost =
        |subject: &&Subject| subject.has_text() && texts.get(&Stream::Subject(subject.id.clone())).is_none();
    state.subjects.values().find(has_lost).map_or(Ok(()), |subject| {
        let path = keys.join("subjects").display().to_string();
        Err(StartError::SubjectKeyMissing { path, subject: subject.id.to_string() })
    })
}

/// Time stands still at the wall time or the last recorded time, whichever is later.
fn test_clock_for(state: &State) -> Arc<TestClock> {
    Arc::new(TestClock::new(SystemClock::new().now().max(state.recorded_at)))
}

fn save_snapshot(data: &Path, log: &dyn EventLog, state: State) {
    let Some(record) = record_at(log, state.position) else { return };
    if let Err(error) = snapshot::save(data, &Snapshot { state, record }) {
        tracing::warn!(%error, "the snapshot could not be written; the next start folds the log instead");
    }
}

fn record_at(log: &dyn EventLog, position: Position) -> Option<RecordHash> {
    let stored = history::commit_at(log, position).ok()??;
    stored.record_hashes.get(usize::try_from(position.0 - stored.first.0).ok()?).copied()
}

/// Writes the key before the event that admits it: a crash between the two leaves a key that opens nothing,
/// and the next start makes another.
fn issue_first_key(data: &Path, authority: &Authority) -> Result<PathBuf, StartError> {
    let path = data.join("admin.key");
    let key = ApiKey::draw(authority.entropy());
    write_secret(&path, key.expose())
        .map_err(|source| StartError::Io { path: path.display().to_string(), source })?;
    let new = NewCredential { role: Role::Admin, owner_id: None, name: Some("first admin key".into()) };
    authority
        .issue_credential_blocking(Context::of(Actor::AUTHORITY), &key, new)
        .map_err(StartError::Record)?;
    Ok(path)
}

fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    drop(fs::remove_file(&unfinished));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// An API key that was just admitted.
#[derive(Debug)]
pub struct IssuedKey {
    /// Its id.
    pub id: CredentialId,
    /// When it was admitted.
    pub created_at: Timestamp,
    /// The key itself; it is shown now and never again.
    pub key: ApiKey,
}

/// Admits another API key on the data directory of a stopped server. The key is given back once.
///
/// # Errors
/// See [`StartError`]; a running server holds the directory.
pub fn issue_credential(data: &Path, new: NewCredential) -> Result<IssuedKey, StartError> {
    if !data.join("log").exists() {
        let source = io::Error::from(io::ErrorKind::NotFound);
        return Err(StartError::Io { path: data.join("log").display().to_string(), source });
    }
    let node = Node::open(Options::new(data))?;
    let key = ApiKey::draw(node.authority.entropy());
    let operator = Actor { kind: ActorKind::Operator, id: None };
    let issued = node.authority.issue_credential_blocking(Context::of(operator), &key, new);
    let (id, created_at) = issued.map_err(StartError::Record)?;
    node.stop();
    Ok(IssuedKey { id, created_at, key })
}
