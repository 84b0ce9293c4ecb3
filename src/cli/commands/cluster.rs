//! `tenure cluster …`

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::serve;
use crate::cli::{
    ambient,
    connection::client::Request,
    context::Global,
    failure::Failure,
    output::{Column, Output, words},
};
use tenure_core::Timestamp;
use tenure_log::jetstream::{
    self, Access, BrokerError, Connection, Made, Making, Names, NodeRecord, NodeRegistry, StreamStatus,
};
use tenure_protocol::entropy::OsEntropy;
use tenure_server::{config::Config, config::Flag, node::cluster};

/// The commands about a log on several machines.
#[derive(Debug, Subcommand)]
pub(crate) enum Cluster {
    /// Make the streams at the broker, with the operator's identity, and the secret of the nodes
    Init(Init),
    /// Show the streams, the nodes, and which of them leads
    Status(Place),
    /// Give the lead to another node, with an admin's key (--key-file)
    Handover(Place),
}

/// Where the broker is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Settings file (TOML) with log.url and cluster.*
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// One setting, such as log.url=nats://a,b,c; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = serve::setting)]
    set: Vec<String>,

    /// File with the seed of the nkey to show, instead of that of log.nkey_file
    #[arg(long, value_name = "FILE")]
    nkey_file: Option<PathBuf>,
}

/// Arguments of `tenure cluster init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    place: Place,

    /// How many of the broker's servers keep each message: 3, or 1 where there is one server only
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,

    /// The most bytes that the log may have, which the broker keeps free for it; it can be raised later
    #[arg(long, value_name = "BYTES", default_value_t = 10 << 30, value_parser = clap::value_parser!(i64).range(1 << 20..))]
    max_bytes: i64,

    /// Write a new secret for the nodes into this file, if it is not there yet; copy it to each as cluster.secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl Cluster {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(global.output()),
            Self::Status(place) => status(&place, global.output()),
            Self::Handover(place) => hand_over(&place, global),
        }
    }
}

impl Place {
    fn config(&self) -> Result<Config, Failure> {
        let flags = self.set.iter().map(|text| Flag::set(text)).collect();
        serve::effective(self.config.as_deref(), flags)
    }

    fn connect(&self) -> Result<Connection, Failure> {
        let access = self
            .config()?
            .cluster
            .access()
            .ok_or_else(|| Failure::Usage("log.url is not set: it says where the broker is".into()))?;
        let nkey_file = self.nkey_file.clone().or_else(|| access.nkey_file.clone());
        Connection::open(&Access { nkey_file, ..access }, "operator").map_err(|error| failure(&error))
    }
}

fn failure(error: &BrokerError) -> Failure {
    Failure::Server(error.to_string())
}

impl Init {
    fn run(&self, output: Output) -> Result<(), Failure> {
        let connection = self.place.connect()?;
        let making = Making { replicas: self.replicas, max_bytes: self.max_bytes };
        let made =
            jetstream::init(&connection, &Names::default(), making).map_err(|error| failure(&error))?;
        // It may be run again, as the streams may: what is there is what the nodes have.
        if let Some(path) = self.secret_file.as_deref().filter(|path| !path.exists()) {
            write_secret(path)?;
        }
        let word = |made| match made {
            Made::Now => "made",
            Made::Before => "was there",
        };
        let items: Vec<_> =
            made.iter().map(|(stream, made)| json!({"stream": stream, "result": word(*made)})).collect();
        output.list(&json!({"items": items}), MADE, ambient::now())
    }
}

fn write_secret(path: &Path) -> Result<(), Failure> {
    cluster::make_secret(path, &OsEntropy).map_err(Failure::Usage)
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

fn status(place: &Place, output: Output) -> Result<(), Failure> {
    let connection = place.connect()?;
    let (server, version) = connection.server();
    let names = Names::default();
    let streams = jetstream::status(&connection, &names).map_err(|error| failure(&error))?;
    let connection = Arc::new(connection);
    let nodes = NodeRegistry::on(Arc::clone(&connection), names.clone()).all();
    let nodes = nodes.map_err(|error| failure(&error))?;
    let holder = jetstream::holder(connection, &names).map_err(|error| failure(&error))?;
    match &holder {
        Some((claim, None)) => {
            output.talk(&format!("{} takes the lead (node {})", claim.address, claim.node));
        }
        Some((claim, Some(pulse))) => output.talk(&format!(
            "{} leads (node {}), term {}, position {} at {}",
            claim.address, claim.node, pulse.term, pulse.position, pulse.at
        )),
        None => output.talk("no node leads"),
    }
    let last = nodes.iter().map(|node| node.position).max().unwrap_or(0);
    for node in &nodes {
        output.talk(&in_words(node, last, ambient::now()));
    }
    output.talk(&format!("asked {server}, nats-server {version}"));
    let items: Vec<_> = streams.iter().map(row).collect();
    let leader = holder.map(|(claim, pulse)| {
        let (term, position) = pulse.map(|pulse| (pulse.term, pulse.position)).unzip();
        json!({"address": claim.address, "node": claim.node, "term": term, "position": position})
    });
    output.list(&json!({"items": items, "leader": leader, "nodes": nodes}), STREAMS, ambient::now())
}

/// What a node has said of itself.
fn in_words(node: &NodeRecord, last: u64, now: Timestamp) -> String {
    let NodeRecord { address, version, position, .. } = node;
    let role = if node.leads { "leader" } else { "follower" };
    let (behind, heard) = (last.saturating_sub(*position), words::when(node.said_at(), now));
    let differs = node.difference.as_ref().map_or_else(String::new, |why| format!("; it differs: {why}"));
    format!(
        "{role} {address}, version {version}, position {position} ({behind} behind), heard {heard}{differs}"
    )
}

const LED: &[Column] = &[Column::plain("", "leader"), Column::plain("", "term"), Column::plain("", "millis")];

/// The broker says who leads, and that node is asked: with the key that any other command would show.
fn hand_over(place: &Place, global: &Global) -> Result<(), Failure> {
    let holder =
        jetstream::holder(Arc::new(place.connect()?), &Names::default()).map_err(|error| failure(&error))?;
    let (holder, _) = holder.ok_or_else(|| Failure::Missing("no node leads".into()))?;
    let client = global.client_of(&holder.address)?;
    let request = Request::post_without_body(&["v1", "cluster", "handover"]);
    global.output().record(&client.send(&request)?.body, LED, ambient::now())
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
