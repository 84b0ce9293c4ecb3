//! `tenure cluster …`

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::serve;
use crate::cli::{
    connection::client::ApiRequest,
    context::{CautionArgs, GlobalArgs},
    environment,
    failure::CommandError,
    output::{Column, Output, humanize},
};
use tenure_core::Timestamp;
use tenure_log::jetstream::{
    self, BrokerAccess, BrokerConnection, BrokerError, IdentityFile, KeyHolder, NodeRecord, NodeRegistry,
    StreamCreation, StreamNames, StreamSettings, StreamStatus,
};
use tenure_protocol::entropy::OsEntropy;
use tenure_server::{config::Config, config::ConfigFlag, node::cluster};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Make the streams at the broker, with the operator's identity, and the secret of the nodes
    Init(InitArgs),
    /// Show the streams, the nodes, and which of them leads
    Status(BrokerArgs),
    /// Give the lead to another node, with an admin's key (--key-file)
    Handover(BrokerArgs),
    /// Take a node that never returns from the list of those that hold keys
    Forget(ForgetArgs),
}

/// Where the broker is.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// Settings file (TOML) with log.url and cluster.*
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// One setting, such as log.url=nats://a,b,c; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = serve::setting)]
    set: Vec<String>,

    /// File with the seed of the nkey to show, instead of what the settings name
    #[arg(long, value_name = "FILE", conflicts_with = "creds_file")]
    nkey_file: Option<PathBuf>,

    /// File with the credentials (.creds) to show, instead of what the settings name
    #[arg(long, value_name = "FILE")]
    creds_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    place: BrokerArgs,

    /// How many of the broker's servers keep each message: 3, or 1 where there is one server only
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,

    /// The most bytes that the log may have, which the broker keeps free for it [default: 10 GiB]; where there is a log
    /// that may have fewer, it is raised
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1 << 20..))]
    max_bytes: Option<i64>,

    /// Write a new secret for the nodes into this file, if it is not there yet; copy it to each as cluster.secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
    Destroy its disk, or overwrite its DATA/keys: what was erased while it was away can still be read \
    there. From now on no erasure waits for it.")]
pub(crate) struct ForgetArgs {
    /// The node, by the name or the address that `tenure cluster status` shows
    #[arg(value_name = "NODE")]
    node: String,

    #[command(flatten)]
    place: BrokerArgs,

    #[command(flatten)]
    caution: CautionArgs,
}

impl ClusterCommand {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        match self {
            Self::Init(init) => init.run(global.output()),
            Self::Status(place) => status(&place, global.output()),
            Self::Handover(place) => hand_over(&place, global),
            Self::Forget(forget) => forget.run(global.output()),
        }
    }
}

impl BrokerArgs {
    fn config(&self) -> Result<Config, CommandError> {
        let flags = self.set.iter().map(|text| ConfigFlag::set(text)).collect();
        serve::effective(self.config.as_deref(), flags)
    }

    fn connect(&self) -> Result<BrokerConnection, CommandError> {
        let access =
            self.config()?.cluster.access().ok_or_else(|| {
                CommandError::Usage("log.url is not set: it says where the broker is".into())
            })?;
        let (nkey, creds) = (self.nkey_file.clone(), self.creds_file.clone());
        let shown = creds.map(IdentityFile::Credentials).or(nkey.map(IdentityFile::Nkey));
        let identity = shown.or_else(|| access.identity.clone());
        BrokerConnection::open(&BrokerAccess { identity, ..access }, "operator")
            .map_err(|error| failure(&error))
    }
}

fn failure(error: &BrokerError) -> CommandError {
    CommandError::Server(error.to_string())
}

impl InitArgs {
    fn run(&self, output: Output) -> Result<(), CommandError> {
        let connection = self.place.connect()?;
        let making = StreamSettings { replicas: self.replicas, max_bytes: self.max_bytes };
        let made =
            jetstream::init(&connection, &StreamNames::default(), making).map_err(|error| failure(&error))?;
        // It may be run again, as the streams may: what is there is what the nodes have.
        if let Some(path) = self.secret_file.as_deref().filter(|path| !path.exists()) {
            write_secret(path)?;
        }
        let word = |made| match made {
            StreamCreation::Now => "made",
            StreamCreation::Before => "was there",
            StreamCreation::Raised => "raised",
        };
        output.info(&known_by(&self.place.config()?));
        let items: Vec<_> =
            made.iter().map(|(stream, made)| json!({"stream": stream, "result": word(*made)})).collect();
        output.list(&json!({"items": items}), MADE, environment::now())
    }
}

/// What nodes know each other by, with these settings.
fn known_by(config: &Config) -> String {
    match &config.cluster.node_ca {
        Some(authority) => format!(
            "nodes know each other by cluster.secret and by certificates of {}: give each one its own \
             (cluster.node_cert, cluster.node_key)",
            authority.display()
        ),
        None => "nodes know each other by cluster.secret alone; with TLS, have them show certificates too \
                 (cluster.node_ca, cluster.node_cert, cluster.node_key)"
            .to_owned(),
    }
}

fn write_secret(path: &Path) -> Result<(), CommandError> {
    cluster::make_secret(path, &OsEntropy).map_err(CommandError::Usage)
}

impl ForgetArgs {
    fn run(&self, output: Output) -> Result<(), CommandError> {
        let registry = NodeRegistry::on(Arc::new(self.place.connect()?), StreamNames::default());
        let (nodes, holders) = registry.all_with_keys().map_err(|error| failure(&error))?;
        let holder = self.one_of(&holders)?;
        if nodes.iter().any(|node| node.node == holder.node) {
            return Err(CommandError::Usage(format!(
                "node {} ({}) is there, or was until half a minute ago: stop it first",
                holder.node, holder.address
            )));
        }
        let said = format!(
            "node {}, {}, has erased what was erased up to position {}",
            holder.node, holder.address, holder.erased_through
        );
        if self.caution.dry_run {
            output.info(&format!("This node would be forgotten: {said}."));
            return Ok(());
        }
        self.caution.ask(output, || Ok(format!("Is the disk of this node destroyed ({said})?")))?;
        registry.forget(&holder.node).map_err(|error| failure(&error))?;
        output.info(&format!("Erasures do not wait for node {} any more.", holder.node));
        Ok(())
    }

    fn one_of<'h>(&self, holders: &'h [KeyHolder]) -> Result<&'h KeyHolder, CommandError> {
        let named: Vec<_> =
            holders.iter().filter(|holder| [&holder.node, &holder.address].contains(&&self.node)).collect();
        match named[..] {
            [holder] => Ok(holder),
            [] => Err(CommandError::Missing(format!("no node {} holds keys", self.node))),
            _ => Err(CommandError::Usage(format!("{} is the address of several: give a name", self.node))),
        }
    }
}

const MADE: &[Column] = &[Column::plain("STREAM", "stream"), Column::plain("RESULT", "result")];

const STREAMS: &[Column] = &[
    Column::plain("STREAM", "stream"),
    Column::plain("REPLICAS", "replicas"),
    Column::plain("CURRENT", "current"),
    Column::plain("LEADER", "leader"),
    Column::plain("LAST", "last"),
    Column::plain("BYTES", "bytes"),
];

fn status(place: &BrokerArgs, output: Output) -> Result<(), CommandError> {
    let connection = place.connect()?;
    let (server, version) = connection.server();
    let names = StreamNames::default();
    let streams = jetstream::status(&connection, &names).map_err(|error| failure(&error))?;
    let connection = Arc::new(connection);
    let registry = NodeRegistry::on(Arc::clone(&connection), names.clone());
    let (nodes, holders) = registry.all_with_keys().map_err(|error| failure(&error))?;
    let holder = jetstream::holder(connection, &names).map_err(|error| failure(&error))?;
    match &holder {
        Some((claim, None)) => {
            output.info(&format!("{} takes the lead (node {})", claim.address, claim.node));
        }
        Some((claim, Some(pulse))) => output.info(&format!(
            "{} leads (node {}), term {}, position {} at {}",
            claim.address, claim.node, pulse.term, pulse.position, pulse.at
        )),
        None => output.info("no node leads"),
    }
    let last = nodes.iter().map(|node| node.position).max().unwrap_or(0);
    for node in &nodes {
        output.info(&in_words(node, last, environment::now()));
    }
    for holder in &holders {
        let present = nodes.iter().any(|node| node.node == holder.node);
        output.info(&keys_in_words(holder, present));
    }
    output.info(&format!("asked {server}, nats-server {version}"));
    let items: Vec<_> = streams.iter().map(row).collect();
    let leader = holder.map(|(claim, pulse)| {
        let (term, position) = pulse.map(|pulse| (pulse.term, pulse.position)).unzip();
        json!({"address": claim.address, "node": claim.node, "term": term, "position": position})
    });
    let page = json!({"items": items, "leader": leader, "nodes": nodes, "keyHolders": holders});
    output.list(&page, STREAMS, environment::now())
}

/// What a node has done of the erasures.
fn keys_in_words(holder: &KeyHolder, is_present: bool) -> String {
    let KeyHolder { node, address, erased_through, .. } = holder;
    let away = if is_present { "" } else { "; it is away, and keeps what was erased since" };
    format!(
        "keys on {address} (node {node}): what was erased up to position {erased_through} is destroyed{away}"
    )
}

/// What a node has said of itself.
fn in_words(node: &NodeRecord, last: u64, now: Timestamp) -> String {
    let NodeRecord { address, version, position, .. } = node;
    let role = if node.leads { "leader" } else { "follower" };
    let (behind, heard) = (last.saturating_sub(*position), humanize::when(node.said_at(), now));
    if let Some(joining) = &node.joining {
        return format!("joining {address}, version {version}: {joining}, heard {heard}");
    }
    let differs = node.difference.as_ref().map_or_else(String::new, |why| format!("; it differs: {why}"));
    let certificate = node.certificate.as_deref().unwrap_or("none");
    format!(
        "{role} {address}, version {version}, position {position} ({behind} behind), certificate {certificate}, heard \
         {heard}{differs}"
    )
}

const LED: &[Column] = &[Column::plain("", "leader"), Column::plain("", "term"), Column::plain("", "millis")];

/// The node that was named is asked, which hands the request on to the one that leads; or that one, as the broker says:
/// with the key that any other command would show.
fn hand_over(place: &BrokerArgs, global: &GlobalArgs) -> Result<(), CommandError> {
    let client = if global.named().url.is_some() {
        global.context()?.client
    } else {
        let holder = jetstream::holder(Arc::new(place.connect()?), &StreamNames::default());
        let (holder, _) = holder
            .map_err(|error| failure(&error))?
            .ok_or_else(|| CommandError::Missing("no node leads".into()))?;
        global.client_of(&holder.address)?
    };
    let request = ApiRequest::post_without_body(&["v1", "cluster", "handover"]);
    global.output().record(&client.send(&request)?.body, LED, environment::now())
}

fn row(stream: &StreamStatus) -> Value {
    json!({
        "stream": stream.stream,
        "replicas": stream.replicas,
        // The leader is one of them, and is no follower.
        "current": stream.current + 1,
        "leader": stream.leader,
        "last": stream.last,
        "bytes": stream.bytes,
        "maxBytes": stream.max_bytes,
    })
}
