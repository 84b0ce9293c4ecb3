//! `tenure bench cluster`

mod bench_cluster;
mod cut_link;
mod follower;
mod joins;
mod machines;
mod outages;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use self::{
    bench_cluster::BenchCluster,
    machines::{BrokerCluster, DirectNode, private_directory},
};
use super::{
    EffortArgs,
    conditions::{ScratchDir, machine},
    failed,
    fixture::DiskAuthority,
    renew::SessionStock,
    report::{RoundSeries, print_with},
    rounds::many,
};
use crate::cli::{
    context::GlobalArgs,
    failure::CommandError,
    output::{Column, Output},
};
use tenure_log::jetstream::BrokerAccess;
use tenure_server::node::{CertificateFiles, ClusterOptions, NodeCertificates};

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("CALLERS", "callers"),
    Column::plain("PER SECOND", "perSecond"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("RATIO", "ratio"),
    Column::plain("CPU US", "cpuMicros"),
    Column::plain("FOLLOWERS US", "followersMicros"),
    Column::plain("BROKERS US", "brokersMicros"),
    Column::plain("TIMES", "times"),
    Column::plain("MEDIAN MS", "medianMillis"),
    Column::plain("WORST MS", "worstMillis"),
    Column::plain("LOAD", "loadAverage"),
];

#[derive(Debug, Args)]
pub(crate) struct ClusterBench {
    /// The program of the broker, nats-server 2.15 or newer
    #[arg(long, value_name = "PATH", env = "TENURE_NATS_SERVER")]
    nats_server: PathBuf,

    /// Measure only these
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_values_t = [BenchSubject::Renewals, BenchSubject::Outages, BenchSubject::Followers])]
    only: Vec<BenchSubject>,

    /// How many callers renew at once
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [64, 256, 1_024],
        value_parser = clap::value_parser!(u16).range(1..))]
    clients: Vec<u16>,

    /// How many sessions are renewed in turn
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// How often each outage is made
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,

    #[command(flatten)]
    effort: EffortArgs,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BenchSubject {
    /// Renewals in process, of a leader and of a node on sled in turn
    Renewals,
    /// The time without an acknowledged write
    Outages,
    /// What followers know, and how many checks nodes answer together
    Followers,
    /// The start of a node that has everything, and of new ones
    Joins,
}

impl std::fmt::Display for BenchSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Renewals => "renewals",
            Self::Outages => "outages",
            Self::Followers => "followers",
            Self::Joins => "joins",
        })
    }
}

impl ClusterBench {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let scratch = ScratchDir::new(&self.effort.dir)?;
        let conditions = self.conditions(&scratch)?;
        let mut items = vec![];
        if self.only.contains(&BenchSubject::Renewals) {
            items.extend(self.renewals(&scratch, global.output())?);
        }
        if self.only.iter().any(|what| [BenchSubject::Outages, BenchSubject::Followers].contains(what)) {
            items.extend(self.by_http(&scratch, global.output())?);
        }
        if self.only.contains(&BenchSubject::Joins) {
            let dir = below(&scratch, "joins")?;
            let program = std::path::absolute(&self.nats_server).map_err(failed)?;
            let what = (self.sessions as usize, self.effort.rounds);
            items.extend(joins::measure(&program, &dir, what, |words| global.output().progress(words))?);
        }
        print_with(global.output(), &conditions, &items, COLUMNS)
    }

    fn conditions(&self, scratch: &ScratchDir) -> Result<Map<String, Value>, CommandError> {
        let sync = scratch.sync_latency()?.as_secs_f64() * 1e3;
        let mut conditions = machine();
        let told = [
            ("rounds", json!(self.effort.rounds)),
            ("secondsPerRound", json!(self.effort.seconds)),
            ("sessions", json!(self.sessions)),
            ("where", json!("three brokers, three nodes and all callers on this machine")),
            ("broker", json!(version_of(&self.nats_server)?)),
            ("syncMillis", json!((sync * 1e3).round() / 1e3)),
        ];
        conditions.extend(told.map(|(name, value)| (name.to_owned(), value)));
        Ok(conditions)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.effort.seconds.into())
    }

    /// The leader is in this process, as the node on sled is; two followers fold what it records.
    fn renewals(&self, scratch: &ScratchDir, output: Output) -> Result<Vec<Value>, CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let dir = below(scratch, "renewals")?;
        let brokers = BrokerCluster::start(&std::path::absolute(&self.nats_server).map_err(failed)?, &dir)?;
        output.progress("creating sessions");
        let cluster = cluster(&brokers)?;
        let leader = DiskAuthority::open_with(&dir.join("node-0"), |options| {
            options.cluster = Some(cluster);
        })?;
        let mut leader = SessionStock::on(leader, &runtime, self.sessions as usize)?;
        // Nothing is between them and the brokers: it would work in this process, at the cost of the leader.
        let followers = [1, 2].map(|number| {
            let data = dir.join(format!("node-{number}"));
            private_directory(&data)?;
            DirectNode::start(&brokers, &data)
        });
        let followers = followers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let elsewhere = || (followers.iter().map(DirectNode::worked).sum::<Duration>(), brokers.worked());
        let mut alone = SessionStock::new(&runtime, scratch, self.sessions as usize)?;
        let series = |work: &str| -> Vec<_> {
            self.clients.iter().map(|&clients| RoundSeries::new(work, clients.into())).collect()
        };
        let (mut ours, mut theirs) =
            (series("renew, leader of three nodes"), series("renew, one node on sled"));
        let mut others = vec![OthersWork::default(); self.clients.len()];
        for stock in [&mut leader, &mut alone] {
            // A first lap outside of the count warms everything up.
            stock.round(&runtime, self.clients[0], Duration::ZERO)?;
        }
        for round in 1..=self.effort.rounds {
            for (index, &clients) in self.clients.iter().enumerate() {
                output.progress(&format!("round {round} of {}, {clients} callers", self.effort.rounds));
                let before = elsewhere();
                let round = leader.round(&runtime, clients, self.length())?;
                others[index].add(before, elsewhere(), round.micros.len());
                ours[index].add(&round);
                theirs[index].add(&alone.round(&runtime, clients, self.length())?);
            }
        }
        let pairs = ours.iter().zip(&theirs).zip(&others);
        Ok(pairs
            .flat_map(|((ours, theirs), others)| [others.beside(ours.item(Some(theirs))), theirs.item(None)])
            .collect())
    }

    fn by_http(&self, scratch: &ScratchDir, output: Output) -> Result<Vec<Value>, CommandError> {
        let dir = below(scratch, "nodes")?;
        output.progress("starting brokers and nodes");
        let mut house = BenchCluster::start(&std::path::absolute(&self.nats_server).map_err(failed)?, &dir)?;
        let (mut items, say) = (vec![], |words: &str| output.progress(words));
        if self.only.contains(&BenchSubject::Followers) {
            let leader = house.leader()?;
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
            say("revocations");
            items.push(runtime.block_on(follower::revocations(&house, leader, self.effort.seconds))?);
            let checks = follower::introspections(&house, self.effort.rounds, self.length(), say);
            items.extend(runtime.block_on(checks)?);
        }
        if self.only.contains(&BenchSubject::Outages) {
            items.extend(outages::measure(&mut house, self.times, say)?);
        }
        Ok(items)
    }
}

/// How long processors worked on renewals outside of this process: on the followers, and on the brokers.
#[derive(Clone, Default)]
struct OthersWork {
    followers: Duration,
    brokers: Duration,
    renewals: usize,
}

impl OthersWork {
    fn add(&mut self, before: (Duration, Duration), after: (Duration, Duration), renewals: usize) {
        self.followers += after.0.saturating_sub(before.0);
        self.brokers += after.1.saturating_sub(before.1);
        self.renewals += renewals;
    }

    /// Beside what is said of the leader.
    fn beside(&self, mut item: Value) -> Value {
        let each = |worked: Duration| (worked.as_secs_f64() * 1e8 / many(self.renewals)).round() / 100.0;
        item["followersMicros"] = json!(each(self.followers));
        item["brokersMicros"] = json!(each(self.brokers));
        item
    }
}

fn below(scratch: &ScratchDir, name: &str) -> Result<PathBuf, CommandError> {
    let dir = std::path::absolute(scratch.path().join(name)).map_err(failed)?;
    private_directory(&dir)?;
    Ok(dir)
}

fn cluster(brokers: &BrokerCluster) -> Result<ClusterOptions, CommandError> {
    let access = BrokerAccess { url: brokers.url(), ..BrokerAccess::default() };
    // Nothing is forwarded to it: all callers are in this process.
    let certificates = NodeCertificates::of(CertificateFiles::default()).map_err(failed)?;
    let (address, secret_file) = ("http://127.0.0.1:1".into(), brokers.secret());
    Ok(ClusterOptions { access, address, secret_file, certificates })
}

fn version_of(program: &Path) -> Result<String, CommandError> {
    let told = Command::new(program).arg("--version").output();
    let told = told.map_err(|error| failed(format!("{}: {error}", program.display())))?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}
