//! `tenure bench introspect`

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    EffortArgs,
    callers::HttpIntrospectCaller,
    conditions::{ScratchDir, machine},
    failed,
    fixture::{MemoryAuthority, sessions},
    http::BenchConnection,
    renew::created,
    report::{RoundSeries, print},
    rounds::{self, NoSetup},
};
use crate::cli::{context::GlobalArgs, failure::CommandError};
use tenure_protocol::clock::{stopwatch, worked};
use tenure_server::authority::Authority;

/// How often a client asks before all look whether time is up.
const CALLS: usize = 2_000;
/// Tokens judged in process between two looks at the clock.
const STRIDE: usize = 1_000;

/// Never-seen tokens checked in a round.
const UNSEEN: usize = 50_000;

#[derive(Debug, Args)]
pub(crate) struct IntrospectArgs {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// Measure the server at --url; needs an admin's key
    #[arg(long)]
    http: bool,

    /// With --http: how many connections ask at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,

    /// With --http: how many tokens each request asks about; may be repeated
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 100],
        value_parser = clap::value_parser!(u16).range(1..=100))]
    batch: Vec<u16>,

    #[command(flatten)]
    effort: EffortArgs,
}

impl IntrospectArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let mut conditions = machine();
        let place = if self.http {
            "over HTTP, keep-alive, client on this machine"
        } else {
            "in process, one thread"
        };
        let told = [
            ("rounds", json!(self.effort.rounds)),
            ("secondsPerRound", json!(self.effort.seconds)),
            ("sessions", json!(self.sessions)),
            ("where", json!(place)),
            ("counted", json!("tokens")),
        ];
        conditions.extend(told.map(|(name, value)| (name.to_owned(), value)));
        let items = if self.http { self.by_http(global)? } else { self.in_process(global)? };
        print(global.output(), &conditions, &items)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.effort.seconds.into())
    }

    fn in_process(&self, global: &GlobalArgs) -> Result<Vec<Value>, CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let scratch = ScratchDir::new(&self.effort.dir)?;
        let count = self.sessions as usize;
        // More than there are: what a token costs that was forgotten is the cold figure.
        let memory = MemoryAuthority::new(&scratch, 2 * count)?;
        let output = global.output();
        output.progress("creating sessions");
        let tokens = sessions(runtime.handle(), &memory.authority, count, 5, |_, token| token)?;
        let tokens = shuffled(tokens.iter().map(|token| token.expose().to_owned()).collect());
        let mut cold = RoundSeries::new("introspect, token not seen before", 1);
        let mut warm = RoundSeries::new("introspect, token seen before", 1);
        for round in 1..=self.effort.rounds {
            output.progress(&format!("round {round} of {}", self.effort.rounds));
            let unseen = unseen(&memory, &tokens, round as usize)?;
            judge(&mut cold, &memory.authority, &unseen, self.length(), false)?;
            judge(&mut warm, &memory.authority, &tokens, self.length(), true)?;
        }
        Ok(vec![warm.item(None), cold.item(None)])
    }

    fn by_http(&self, global: &GlobalArgs) -> Result<Vec<Value>, CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (host, key) = global.server()?;
        let key = key.expose();
        let output = global.output();
        let mut all: Vec<_> = self.batch.iter().map(|&batch| series(self.connections, batch)).collect();
        runtime.block_on(async {
            output.progress("creating sessions");
            let held = created(&host, key, self.sessions as usize, self.connections).await?;
            let tokens: Vec<_> = held.into_iter().map(|held| held.token).collect();
            let bodies: Vec<_> = self.batch.iter().map(|&batch| Arc::new(bodies(&tokens, batch))).collect();
            for round in 1..=self.effort.rounds {
                output.progress(&format!("round {round} of {}", self.effort.rounds));
                for (series, bodies) in all.iter_mut().zip(&bodies) {
                    let callers = self.callers(&host, key, bodies).await?;
                    series.add(&rounds::run(callers, NoSetup, self.length()).await?.0);
                }
            }
            Ok::<_, CommandError>(())
        })?;
        Ok(all.iter().map(|series| series.item(None)).collect())
    }

    async fn callers(
        &self,
        host: &str,
        key: &str,
        bodies: &Arc<Vec<String>>,
    ) -> Result<Vec<HttpIntrospectCaller>, CommandError> {
        let each = (bodies.len() / usize::from(self.connections)).max(1);
        let mut callers = Vec::new();
        for index in 0..usize::from(self.connections) {
            let start = (index * each) % bodies.len();
            callers.push(HttpIntrospectCaller {
                connection: BenchConnection::open(host).await.map_err(failed)?,
                key: key.to_owned(),
                bodies: Arc::clone(bodies),
                part: start..(start + each).min(bodies.len()),
                calls: (CALLS / bodies_cost(bodies)).max(1),
            });
        }
        Ok(callers)
    }
}

/// In an order that has nothing to do with that of memory.
fn shuffled<T>(things: Vec<T>) -> Vec<T> {
    let mut keyed: Vec<_> = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).zip(things).collect();
    keyed.sort_unstable_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, thing)| thing).collect()
}

/// Further tokens of some of the sessions, which the authority has not met.
fn unseen(memory: &MemoryAuthority, tokens: &[String], round: usize) -> Result<Vec<String>, CommandError> {
    let some = tokens.iter().cycle().skip(round * UNSEEN).take(UNSEEN);
    some.map(|token| {
        let holder = memory.authority.holder(token).ok_or_else(|| failed("a token is not known"))?;
        Ok(memory.twin.seal(holder.claims.session, holder.claims.generation).expose().to_owned())
    })
    .collect()
}

/// A batch takes about as long as this many single requests.
fn bodies_cost(bodies: &[String]) -> usize {
    bodies.first().map_or(1, |body| body.len() / 300).max(1)
}

fn series(connections: u16, batch: u16) -> RoundSeries {
    let work = if batch == 1 {
        "introspect over HTTP".into()
    } else {
        format!("introspect over HTTP, {batch} at a time")
    };
    RoundSeries::elsewhere(work, connections.into(), batch.into())
}

fn bodies(tokens: &[String], batch: u16) -> Vec<String> {
    if batch == 1 {
        return tokens.iter().map(|token| json!({"token": token}).to_string()).collect();
    }
    tokens.chunks_exact(batch.into()).map(|tokens| json!({"tokens": tokens}).to_string()).collect()
}

/// Judges all tokens, again and again until about this time has passed, as a round of the series.
fn judge(
    series: &mut RoundSeries,
    authority: &Authority,
    tokens: &[String],
    most: Duration,
    again: bool,
) -> Result<(), CommandError> {
    let (begun, before) = (stopwatch(), worked());
    let mut done = 0;
    loop {
        for stride in tokens.chunks(STRIDE) {
            for token in stride {
                authority.introspect(token).map_err(|fault| failed(format!("judged dead: {fault:?}")))?;
            }
            done += stride.len();
            if begun.elapsed() >= most {
                break;
            }
        }
        if !again || begun.elapsed() >= most {
            series.add_whole(done, begun.elapsed(), worked().saturating_sub(before));
            return Ok(());
        }
    }
}
