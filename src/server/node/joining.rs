//! How a node comes to take part in a cluster.

use std::{path::Path, sync::Arc, time::Duration};

use tenure_files::key_files::{self, KeyFileError, read_private, write_private};
use tenure_log::{
    EventLog,
    jetstream::{
        self, BrokerSecrets, ClusterMember, FrameReader, HeadStream, LeaseClaim, MemberStep, NodeRegistry,
        StatusListener, StreamNames,
    },
};
use tenure_protocol::entropy::{self, Entropy};
use zeroize::Zeroizing;

use super::{
    NodeOptions, StartError,
    broker_wait::{connected, hex, tell, unless_away},
    cluster::{ClusterParticipation, SharedLog},
    cluster_options::ClusterOptions,
    head_check::HeadCheck,
    head_exchange::HeadExchange,
    history_fetch::HistoryFetch,
    key_binding::KeyBinding,
    key_mirror::KeyMirror,
    no_keys::NoKeys,
    node_mac::NodeMac,
    startup_replay::{StartupState, join_log},
};
use crate::authority::IdempotencyTable;

const NODE_FILE: &str = "cluster.node";
const EXPECTED_NODE: &str = "the name of this node, 16 hex digits";
const EXPECTED_SECRET: &str = "64 hex digits, the same on all nodes";
/// A follower begins to answer once it is no further behind than this.
const FRESH_ENOUGH: Duration = Duration::from_secs(5);

/// What a start came to.
pub(super) struct JoinedNode {
    pub(super) part: ClusterParticipation,
    pub(super) folded: StartupState,
}

/// Takes part: comes back when this node leads, or follows another one and has all that it needs to answer.
pub(super) fn join(
    options: &NodeOptions,
    cluster: &ClusterOptions,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<JoinedNode, StartError> {
    let joining = JoiningNode::of(options, cluster)?;
    joining.fetch_history()?;
    let mut is_ready =
        |member: &ClusterMember, step, folded: &StartupState| joining.keys(member, step, folded);
    let told: StatusListener = Arc::new(tell);
    let (member, folded, mut mirror) =
        join_log(options, &joining.stream_options(), &told, table, &mut is_ready)?;
    let leads = begin_role(&member, &mut mirror);
    let part = joining.take_part(member, mirror, leads)?;
    Ok(JoinedNode { part, folded })
}

/// A node on its way into a cluster.
struct JoiningNode<'j> {
    options: &'j NodeOptions,
    cluster: &'j ClusterOptions,
    names: StreamNames,
    secret: Zeroizing<String>,
    /// The name of this node.
    node: String,
}

impl<'j> JoiningNode<'j> {
    fn of(options: &'j NodeOptions, cluster: &'j ClusterOptions) -> Result<Self, StartError> {
        let names = StreamNames::default();
        let secret = secret(&cluster.secret_file)?;
        let node = node_name(&options.data, &*options.entropy)?;
        Ok(Self { options, cluster, names, secret, node })
    }

    /// A new node takes the history from another one.
    fn fetch_history(&self) -> Result<(), StartError> {
        let Self { options, cluster, names, secret, node } = self;
        HistoryFetch { options, cluster, names, node, mac: NodeMac::of(secret) }.run()
    }

    /// How it follows the log on the broker, and asks for the lead.
    fn stream_options(&self) -> jetstream::JetStreamOptions {
        let claim = LeaseClaim {
            node: self.node.clone(),
            start: hex(&entropy::bytes::<8>(&*self.options.entropy)),
            address: self.cluster.address.clone(),
        };
        jetstream::JetStreamOptions {
            access: self.cluster.access.clone(),
            names: self.names.clone(),
            claim,
            cut: self.options.segment_events,
        }
    }

    /// The keys, once this node has all that it needs to answer; `None` before that.
    fn keys(
        &self,
        member: &ClusterMember,
        step: MemberStep,
        folded: &StartupState,
    ) -> Result<Option<KeyMirror>, StartError> {
        let mirror = match step {
            MemberStep::Leads => self.take_over_keys()?,
            // The first leader may be at its first start.
            MemberStep::Follows if has_begun(member, folded) => {
                self.take_over_keys()?.filter(|mirror| mirror.has(KeyBinding::FILE))
            }
            MemberStep::Follows => None,
        };
        let Some(mirror) = mirror else { return Ok(None) };
        let Self { options, cluster, names, node, .. } = self;
        let check = HeadCheck { options, access: &cluster.access, names, node };
        Ok(check.is_vouched(member, folded)?.then_some(mirror))
    }

    /// The keys as they are with the broker; `None` while it is away.
    fn take_over_keys(&self) -> Result<Option<KeyMirror>, StartError> {
        let Self { options, cluster, names, secret, node } = self;
        let secrets = BrokerSecrets::open(&cluster.access, names, node).and_then(|secrets| {
            secrets.held_by(node, &cluster.address)?;
            Ok(secrets)
        });
        let secrets = secrets.map_err(NoKeys::from);
        let (keys, entropy) = (options.data.join("keys"), Arc::clone(&options.entropy));
        unless_away(secrets.and_then(|secrets| KeyMirror::take_over(secrets, keys, secret, entropy)))
    }

    /// The node's part in the log from now on.
    fn take_part(
        self,
        member: ClusterMember,
        mirror: KeyMirror,
        leads: bool,
    ) -> Result<ClusterParticipation, StartError> {
        let Self { cluster, names, secret, node, .. } = self;
        let connection = Arc::new(connected(&cluster.access, &format!("{node}_peers"))?);
        let kept = NodeRegistry::on(Arc::clone(&connection), names.clone());
        let own = (node.clone(), NodeMac::of(&secret), kept);
        let shared = Arc::new(SharedLog::of(&member, mirror, own, cluster));
        let stream = HeadStream::on(Arc::clone(&connection), names.clone());
        let frames = FrameReader::on(Arc::clone(&connection), names.clone());
        let exchange = HeadExchange::new(stream, node.clone(), Arc::clone(&shared));
        let registry = NodeRegistry::on(connection, names);
        Ok(ClusterParticipation { shared, member, leads, exchange, registry, frames, node })
    }
}

/// Whether this node leads. If so, it brings its own keys to the broker from now on.
fn begin_role(member: &ClusterMember, mirror: &mut KeyMirror) -> bool {
    let position = member.log().head().position;
    let Some(term) = member.log().term() else {
        tracing::info!(%position, "another node leads; this one follows, and serves what it knows");
        return false;
    };
    mirror.lead(term);
    tracing::info!(term, %position, "this node leads");
    true
}

/// Whether a follower has what the leader had a moment ago, and the leader is at work.
fn has_begun(member: &ClusterMember, folded: &StartupState) -> bool {
    let is_fresh = member.sight().staleness().is_some_and(|stale| stale < FRESH_ENOUGH);
    is_fresh && !folded.state.system.credentials.is_empty()
}

/// The name of this node over all its starts; it is drawn at the first one.
fn node_name(data: &Path, entropy: &dyn Entropy) -> Result<String, StartError> {
    key_files::private_directory(data).or_else(|error| {
        // It may be there with a wider mode; the log judges it.
        if data.is_dir() { Ok(()) } else { Err(error) }
    })?;
    let path = data.join(NODE_FILE);
    let is_name = |name: &str| name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match read_private(&path, EXPECTED_NODE)? {
        Some(name) if is_name(&name) => Ok(name.to_string()),
        Some(_) => Err(KeyFileError::damaged(&path, EXPECTED_NODE).into()),
        None => {
            let name = hex(&entropy::bytes::<8>(entropy));
            write_private(&path, &name)?;
            Ok(name)
        }
    }
}

fn secret(path: &Path) -> Result<Zeroizing<String>, StartError> {
    let found = read_private(path, EXPECTED_SECRET)?.ok_or_else(|| {
        StartError::Cluster(format!(
            "{} is missing: all nodes of a cluster share one secret; `tenure cluster init` writes it, or copy it from another node",
            path.display()
        ))
    })?;
    if found.len() == 64 && found.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(found);
    }
    Err(KeyFileError::damaged(path, EXPECTED_SECRET).into())
}
