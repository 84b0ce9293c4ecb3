//! `tenure bench renew`

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use clap::Args;
use serde_json::{Map, Value, json};
use tokio::{
    runtime::Runtime,
    time::{Instant, Interval},
};

use super::{
    EffortArgs,
    baseline::BaselineLog,
    callers::{ClockSetup, HeldSession, HttpClockSetup, HttpRenewCaller, RenewCaller},
    conditions::{ScratchDir, machine},
    failed,
    fixture::{DiskAuthority, RENEWALS, TTL, sessions},
    http::{BenchConnection, text_field},
    report::{RoundSeries, print},
    rounds::{self, NoSetup, RoundTimes},
};
use crate::cli::{context::GlobalArgs, environment, failure::CommandError, output::Output};
use tenure_core::Position;
use tenure_log as log;
use tenure_server::node::Node;
use tenure_server::tokens::SessionToken;

/// With fewer renewals left to each session than this, a round begins with new sessions.
const FEW: u32 = 20;

#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    /// How many callers wait at once
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [64, 256])]
    clients: Vec<u16>,

    /// How many sessions are renewed in turn
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// Measure the server at --url, which must run with --test-clock; needs an admin's key
    #[arg(long)]
    http: bool,

    /// In turn, the same number of bytes in the same frames on a bare store
    #[arg(long, conflicts_with = "http")]
    compare_bare: bool,

    #[command(flatten)]
    effort: EffortArgs,
}

impl RenewArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        if self.clients.contains(&0) {
            return Err(CommandError::Usage("--clients: at least one must wait".into()));
        }
        let mut conditions = machine();
        let told = [
            ("rounds", json!(self.effort.rounds)),
            ("secondsPerRound", json!(self.effort.seconds)),
            ("sessions", json!(self.sessions)),
        ];
        conditions.extend(told.map(|(name, value)| (name.to_owned(), value)));
        let items = if self.http {
            conditions.insert("where".into(), json!("over HTTP, keep-alive, client on this machine"));
            self.by_http(global)?
        } else {
            self.in_process(global.output(), &mut conditions)?
        };
        print(global.output(), &conditions, &items)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.effort.seconds.into())
    }

    fn in_process(
        &self,
        output: Output,
        conditions: &mut Map<String, Value>,
    ) -> Result<Vec<Value>, CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let scratch = ScratchDir::new(&self.effort.dir)?;
        let sync = scratch.sync_latency()?.as_secs_f64() * 1e3;
        output.progress("creating sessions");
        let mut stock = SessionStock::new(&runtime, &scratch, self.sessions as usize)?;
        // A first lap outside of the count warms everything up, and shows how large a commit is.
        stock.round(&runtime, self.clients[0], Duration::ZERO)?;
        let payload = stock.payload()?;
        conditions.insert("where".into(), json!("in process: token opened, decided, durable, token sealed"));
        conditions.insert("durability".into(), json!("sled flush and fdatasync before the caller hears"));
        conditions.insert("syncMillis".into(), json!((sync * 1e3).round() / 1e3));
        conditions.insert("bytesPerCommit".into(), json!(payload.len()));
        let bare = self
            .compare_bare
            .then(|| BaselineLog::open(&scratch.path().join("bare"), payload))
            .transpose()?;
        let mut ours = series(&self.clients, "renew");
        let mut theirs = series(&self.clients, "bare sled frames");
        for round in 1..=self.effort.rounds {
            for (index, &clients) in self.clients.iter().enumerate() {
                output.progress(&format!("round {round} of {}, {clients} callers", self.effort.rounds));
                ours[index].add(&stock.round(&runtime, clients, self.length())?);
                if let Some(bare) = &bare {
                    theirs[index].add(&self.bare_round(&runtime, bare, clients)?);
                }
            }
        }
        let (commits, batches) = stock.batches();
        conditions.insert("commitsPerBatch".into(), json!(commits / batches.max(1)));
        let pairs = ours.iter().zip(&theirs);
        Ok(pairs.flat_map(|(ours, theirs)| items(ours, theirs, self.compare_bare)).collect())
    }

    fn bare_round(
        &self,
        runtime: &Runtime,
        bare: &BaselineLog,
        clients: u16,
    ) -> Result<RoundTimes, CommandError> {
        let per_lap = (self.sessions as usize / usize::from(clients)).max(1);
        let callers = (0..clients).map(|_| bare.caller(per_lap)).collect();
        Ok(runtime.block_on(rounds::run(callers, NoSetup, self.length()))?.0)
    }

    fn by_http(&self, global: &GlobalArgs) -> Result<Vec<Value>, CommandError> {
        // One core is for the client: the rest is the server's.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (host, key) = global.server()?;
        let key = key.expose();
        let output = global.output();
        let elsewhere = |&clients: &u16| RoundSeries::elsewhere("renew over HTTP", clients.into(), 1);
        let mut ours: Vec<_> = self.clients.iter().map(elsewhere).collect();
        runtime.block_on(async {
            let mut stock =
                HttpSessionStock::new(&host, key, self.sessions as usize, self.clients[0]).await?;
            for round in 1..=self.effort.rounds {
                for (index, &clients) in self.clients.iter().enumerate() {
                    output.progress(&format!("round {round} of {}, {clients} clients", self.effort.rounds));
                    ours[index].add(&stock.round(clients, self.length()).await?);
                }
            }
            Ok::<_, CommandError>(())
        })?;
        Ok(ours.iter().map(|series| series.item(None)).collect())
    }
}

fn series(clients: &[u16], work: &str) -> Vec<RoundSeries> {
    clients.iter().map(|&clients| RoundSeries::new(work, clients.into())).collect()
}

fn items(ours: &RoundSeries, theirs: &RoundSeries, with_theirs: bool) -> Vec<Value> {
    if with_theirs { vec![ours.item(Some(theirs)), theirs.item(None)] } else { vec![ours.item(None)] }
}

/// Sessions in this process that can be renewed in turn.
pub(super) struct SessionStock {
    disk: DiskAuthority,
    tokens: Vec<SessionToken>,
    left: Arc<AtomicU32>,
    /// Renewals per second of all callers together, where they are held to a rate.
    pub(super) rate: Option<u32>,
}

impl SessionStock {
    pub(super) fn new(runtime: &Runtime, scratch: &ScratchDir, count: usize) -> Result<Self, CommandError> {
        Self::on(DiskAuthority::open(scratch)?, runtime, count)
    }

    /// The same on an open authority.
    pub(super) fn on(disk: DiskAuthority, runtime: &Runtime, count: usize) -> Result<Self, CommandError> {
        let mut stock = Self { disk, tokens: Vec::new(), left: Arc::default(), rate: None };
        stock.refill(runtime, count)?;
        Ok(stock)
    }

    fn refill(&mut self, runtime: &Runtime, count: usize) -> Result<(), CommandError> {
        self.tokens = sessions(runtime.handle(), &self.disk.node.authority, count, 5, |_, token| token)?;
        self.left.store(RENEWALS, Ordering::Relaxed);
        Ok(())
    }

    pub(super) const fn node(&self) -> &Node {
        &self.disk.node
    }

    /// So much time passes.
    pub(super) fn pass(&self, seconds: u64) -> Result<(), CommandError> {
        self.disk.clock.advance(seconds).map(drop).map_err(failed)
    }

    /// Closes the authority in order.
    pub(super) fn stop(self) {
        self.disk.node.stop();
    }

    pub(super) fn round(
        &mut self,
        runtime: &Runtime,
        clients: u16,
        least: Duration,
    ) -> Result<RoundTimes, CommandError> {
        if self.left.load(Ordering::Relaxed) < FEW {
            self.refill(runtime, self.tokens.len())?;
        }
        let authority = &self.disk.node.authority;
        let _within = runtime.enter();
        let callers = dealt(std::mem::take(&mut self.tokens), clients)
            .zip(0..)
            .map(|(tokens, number)| RenewCaller {
                authority: Arc::clone(authority),
                tokens,
                pace: self.rate.map(|rate| pace(rate, clients, number)),
            })
            .collect();
        let between = ClockSetup { clock: Arc::clone(&self.disk.clock), left: Arc::clone(&self.left) };
        // No time at all is one lap.
        let least = least.max(Duration::from_micros(1));
        let (round, callers) = runtime.block_on(rounds::run(callers, between, least))?;
        self.tokens = callers.into_iter().flat_map(|caller| caller.tokens).collect();
        Ok(round)
    }

    /// The bytes of the last commit.
    fn payload(&self) -> Result<Vec<u8>, CommandError> {
        let log = self.disk.node.authority.log();
        let last = log.read(Position(log.head().position.0 - 1), 1).map_err(failed)?;
        let last = last.last().ok_or_else(|| failed("the log is empty"))?;
        Ok(log::encode(&last.commit).map_err(failed)?.bytes().to_vec())
    }

    fn batches(&self) -> (u64, u64) {
        let health = self.disk.node.authority.health();
        (health.commits(), health.batches())
    }
}

/// The turns of one of this many callers, who ask one after the other and together at this rate.
fn pace(rate: u32, clients: u16, number: u32) -> Interval {
    let step = Duration::from_secs(1) / rate;
    tokio::time::interval_at(Instant::now() + step * number, step * u32::from(clients))
}

/// Deals all things out to a number of takers.
fn dealt<T>(things: Vec<T>, hands: u16) -> impl Iterator<Item = Vec<T>> {
    let mut dealt: Vec<Vec<T>> = (0..hands).map(|_| Vec::new()).collect();
    for (index, thing) in things.into_iter().enumerate() {
        dealt[index % usize::from(hands)].push(thing);
    }
    dealt.into_iter()
}

/// Sessions on a server that can be renewed in turn.
pub(super) struct HttpSessionStock {
    host: String,
    key: String,
    sessions: Vec<HeldSession>,
    left: Arc<AtomicU32>,
}

impl HttpSessionStock {
    pub(super) async fn new(host: &str, key: &str, count: usize, clients: u16) -> Result<Self, CommandError> {
        let sessions = created(host, key, count, clients).await?;
        let left = Arc::new(AtomicU32::new(RENEWALS));
        Ok(Self { host: host.into(), key: key.into(), sessions, left })
    }

    pub(super) async fn round(&mut self, clients: u16, least: Duration) -> Result<RoundTimes, CommandError> {
        if self.left.load(Ordering::Relaxed) < FEW {
            let count = self.sessions.len();
            *self = Self::new(&self.host, &self.key, count, clients).await?;
        }
        let mut callers = Vec::new();
        for sessions in dealt(std::mem::take(&mut self.sessions), clients) {
            let connection = BenchConnection::open(&self.host).await.map_err(failed)?;
            callers.push(HttpRenewCaller { connection, sessions });
        }
        let between = HttpClockSetup {
            connection: tokio::sync::Mutex::new(BenchConnection::open(&self.host).await.map_err(failed)?),
            key: self.key.clone(),
            left: Arc::clone(&self.left),
        };
        let (round, callers) = rounds::run(callers, between, least).await?;
        self.sessions = callers.into_iter().flat_map(|caller| caller.sessions).collect();
        Ok(round)
    }
}

/// Creates sessions over HTTP, five for each subject.
pub(super) async fn created(
    host: &str,
    key: &str,
    count: usize,
    clients: u16,
) -> Result<Vec<HeldSession>, CommandError> {
    let series = environment::unique();
    let creators: Vec<_> = (0..usize::from(clients))
        .map(|first| {
            let (host, key, series) = (host.to_owned(), key.to_owned(), series.clone());
            tokio::spawn(async move {
                let mut connection = BenchConnection::open(&host).await?;
                let mut held = Vec::new();
                for subject in (first..count.div_ceil(5)).step_by(clients.into()) {
                    let name = format!("bench-{series}-{subject}");
                    let most = 5.min(count - subject * 5);
                    held.extend(five(&mut connection, &key, &name, most).await?);
                }
                Ok::<_, String>(held)
            })
        })
        .collect();
    let mut all = Vec::with_capacity(count);
    for creator in creators {
        all.extend(creator.await.map_err(failed)?.map_err(failed)?);
    }
    Ok(all)
}

async fn five(
    connection: &mut BenchConnection,
    key: &str,
    subject: &str,
    count: usize,
) -> Result<Vec<HeldSession>, String> {
    connection.ask("PUT", &format!("/v1/subjects/{subject}"), key, Some("{}")).await?;
    let asked = json!({"subjectId": subject, "ttl": TTL, "maxRenewals": RENEWALS}).to_string();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let granted = connection.ask("POST", "/v1/sessions", key, Some(&asked)).await?;
        let field = |name| text_field(granted, name).map(str::to_owned).ok_or("the grant has no token");
        held.push(HeldSession { id: field("sessionId")?, token: field("token")? });
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_dealt_out_evenly() {
        let hands: Vec<_> = dealt((0..7).collect(), 3).collect();
        assert_eq!(hands, [vec![0, 3, 6], vec![1, 4], vec![2, 5]]);
    }
}
