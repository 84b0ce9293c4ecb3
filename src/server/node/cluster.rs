//! A node of several, on a log that they share: one leads and serves, the others stand by.
//!
//! A standby follows the log and folds it, so that taking the lead builds nothing. When it leads it takes over the keys
//! from the broker, as the leader before it left them, and then starts as every node does. A leader that has lost the
//! lead serves nothing more: its process ends, and stands by when it is started again.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tenure_files::key_files::{read_private, write_private};
use tenure_log::{
    EncodedCommit, EventLog, Head, JetStreamLog, LogError, Outcome, StoredBytes, StoredCommit,
    jetstream::{self, Access, BrokerError, Claim, Leadership, Names, Secrets, Standing},
};
use tenure_protocol::entropy::{self, Entropy};

use super::{
    Options, StartError,
    key_mirror::KeyMirror,
    startup_replay::{StartupState, lead_log},
};
use crate::authority::IdempotencyTable;
use tenure_core::Position;

const NODE_FILE: &str = "cluster.node";
const EXPECTED_NODE: &str = "the name of this node, 16 hex digits";
const EXPECTED_SECRET: &str = "64 hex digits, the same on all nodes";
/// How often changes of keys are looked for that no event came with.
const KEYS_EVERY: Duration = Duration::from_secs(1);

/// How a node takes part in a log of several machines.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// How the broker is reached.
    pub access: Access,
    /// Where this node is reached.
    pub address: String,
    /// The file of the secret that all nodes share.
    pub secret_file: PathBuf,
}

impl Cluster {
    /// The name of the shared secret's file in a data directory.
    pub const SECRET_FILE: &str = "cluster.secret";
}

/// Writes a new secret for all nodes of a cluster.
///
/// # Errors
/// The disk does not take it, or there is one already.
pub fn make_secret(path: &Path, entropy: &dyn Entropy) -> Result<(), String> {
    if path.exists() {
        return Err(format!("{} is there already", path.display()));
    }
    let secret = zeroize::Zeroizing::new(hex(&entropy::bytes::<32>(entropy)));
    write_private(path, &secret).map_err(|error| error.to_string())
}

/// Stands by until this node leads, and takes the keys over.
pub(super) fn lead(
    options: &Options,
    cluster: &Cluster,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<(Arc<SharedLog>, StartupState), StartError> {
    let names = Names::default();
    let secret = secret(&cluster.secret_file)?;
    let node = node_name(&options.data, &*options.entropy)?;
    let claim = Claim {
        node: node.clone(),
        start: hex(&entropy::bytes::<8>(&*options.entropy)),
        address: cluster.address.clone(),
    };
    let following = jetstream::Options { access: cluster.access.clone(), names: names.clone(), claim };
    let (log, folded) = lead_log(&options.data, &following, table)?;
    let broker = |error: BrokerError| StartError::Cluster(error.to_string());
    let secrets = Secrets::open(&cluster.access, &names, &node).map_err(broker)?;
    let (keys, entropy) = (options.data.join("keys"), Arc::clone(&options.entropy));
    let mirror = KeyMirror::take_over(secrets, keys, &secret, log.term(), entropy);
    let mirror = mirror.map_err(StartError::Cluster)?;
    tracing::info!(term = log.term(), position = %log.head().position, "this node leads");
    let shared = Arc::new(SharedLog { log, mirror: Mutex::new(mirror) });
    shared.keep_looking().map_err(StartError::Thread)?;
    Ok((shared, folded))
}

/// Says what a node waits for.
pub(super) fn tell(standing: &Standing) {
    match standing {
        Standing::Away { why } => {
            tracing::warn!(why, "the broker does not serve this node now; it is tried again");
        }
        Standing::By(claim) => {
            tracing::info!(
                leader = claim.address,
                node = claim.node,
                "another node leads; this one stands by"
            );
        }
        Standing::Taking => tracing::info!("the lease is this node's; it takes the lead"),
    }
}

/// The name of this node over all its starts; it is drawn at the first one.
fn node_name(data: &Path, entropy: &dyn Entropy) -> Result<String, StartError> {
    tenure_files::key_files::private_directory(data).or_else(|error| {
        // It may be there with a wider mode; the log judges it.
        if data.is_dir() { Ok(()) } else { Err(error) }
    })?;
    let path = data.join(NODE_FILE);
    let is_name = |name: &str| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match read_private(&path, EXPECTED_NODE)? {
        Some(name) if is_name(&name) => Ok(name.to_string()),
        Some(_) => Err(tenure_files::key_files::KeyFileError::damaged(&path, EXPECTED_NODE).into()),
        None => {
            let name = hex(&entropy::bytes::<8>(entropy));
            write_private(&path, &name)?;
            Ok(name)
        }
    }
}

fn secret(path: &Path) -> Result<zeroize::Zeroizing<String>, StartError> {
    let found = read_private(path, EXPECTED_SECRET)?.ok_or_else(|| {
        StartError::Cluster(format!(
            "{} is missing: all nodes of a cluster share one secret; `tenure cluster init` writes it, or copy it from another node",
            path.display()
        ))
    })?;
    if found.len() == 64 && found.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(found);
    }
    Err(tenure_files::key_files::KeyFileError::damaged(path, EXPECTED_SECRET).into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

/// The log that several nodes share, written to only when the keys that its events need are with the broker too.
#[derive(Debug)]
pub struct SharedLog {
    log: JetStreamLog,
    mirror: Mutex<KeyMirror>,
}

impl SharedLog {
    /// Whether this node still leads.
    pub fn leadership(&self) -> &Arc<Leadership> {
        self.log.leadership()
    }

    /// Gives the lead back in order.
    pub(super) fn release(&self) {
        if self.leadership().lost().is_none()
            && let Err(error) = self.mirror.lock().look_at_all()
        {
            tracing::warn!(%error, "the last changes of keys are not with the broker");
        }
        self.log.release();
    }

    /// Looks for changes of keys that no event comes with: those that were destroyed, or are over.
    fn keep_looking(self: &Arc<Self>) -> std::io::Result<()> {
        let (shared, leadership) = (Arc::downgrade(self), Arc::clone(self.leadership()));
        std::thread::Builder::new().name("tenure-key-mirror".into()).spawn(move || {
            while !leadership.is_lost_within(KEYS_EVERY) {
                let Some(shared) = shared.upgrade() else { return };
                if let Err(error) = shared.mirror.lock().look_at_all() {
                    tracing::warn!(%error, "changes of keys are not with the broker yet");
                }
            }
        })?;
        Ok(())
    }
}

impl EventLog for SharedLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<Outcome, LogError> {
        if let Some(why) = self.log.stopped() {
            return Err(LogError::Deposed { why });
        }
        // A fact that needs a key must not be there without it.
        match self.mirror.lock().look_for_new() {
            Ok(()) => self.log.append(after, batch),
            Err(BrokerError::Led { term }) => {
                Err(LogError::Deposed { why: format!("another node leads, in term {term}") })
            }
            Err(error) => Err(LogError::Exhausted { why: format!("keys cannot be kept: {error}") }),
        }
    }

    fn head(&self) -> Head {
        self.log.head()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        self.log.read(after, max_events)
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        self.log.read_bytes(after, max_events)
    }

    fn stopped(&self) -> Option<String> {
        self.log.stopped()
    }
}
