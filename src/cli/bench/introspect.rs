//! `tenure bench introspect`

use std::{sync::Arc, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    Effort,
    callers::JudgingByHttp,
    conditions::{Scratch, machine},
    failed,
    http::Connection,
    laps::{self, Nothing},
    renew::created,
    report::{Series, print},
    stock::{InMemory, sessions},
};
use crate::{
    authority::Authority,
    cli::{context::Global, failure::Failure},
    clock::stopwatch,
    domain::{Generation, SessionId},
    node::REMEMBERED_TOKENS,
};

/// How often a client asks before all look whether time is up.
const CALLS: usize = 2_000;
/// So many tokens are judged in process before somebody looks whether time is up.
const STRIDE: usize = 1_000;

/// Arguments of `tenure bench introspect`.
#[derive(Debug, Args)]
pub(crate) struct Introspect {
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
    effort: Effort,
}

impl Introspect {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
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
        print(global.output(), conditions, items)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.effort.seconds.into())
    }

    fn in_process(&self, global: &Global) -> Result<Vec<Value>, Failure> {
        let runtime = Runtime::new().map_err(failed)?;
        let scratch = Scratch::new(&self.effort.dir)?;
        let memory = InMemory::new(&scratch, REMEMBERED_TOKENS)?;
        let output = global.output();
        output.progress("creating sessions");
        let count = self.sessions as usize;
        let ids = sessions(runtime.handle(), &memory.authority, count, 5, |authority, token| {
            authority.holder(token.expose()).map(|holder| holder.session.id)
        })?;
        let ids: Vec<_> = ids.into_iter().flatten().collect();
        let mut cold = Series::new("introspect, token not seen before", 1);
        let mut warm = Series::new("introspect, token seen before", 1);
        for round in 1..=self.effort.rounds {
            output.progress(&format!("round {round} of {}", self.effort.rounds));
            // The twin's tokens are new to the authority, once.
            let tokens = self.unseen(&memory, &ids);
            cold.add_rate(judged(&memory.authority, &tokens, self.length(), false)?);
            judged(&memory.authority, &tokens, Duration::MAX, false)?;
            warm.add_rate(judged(&memory.authority, &tokens, self.length(), true)?);
        }
        Ok(vec![warm.item(None), cold.item(None)])
    }

    /// One more token for each session, in an order that has nothing to do with memory.
    fn unseen(&self, memory: &InMemory, ids: &[SessionId]) -> Vec<String> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_unstable_by_key(|index| (*index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let seal = |index: usize| memory.twin.seal(ids[index], Generation::FIRST).expose().to_owned();
        order.into_iter().map(seal).collect()
    }

    fn by_http(&self, global: &Global) -> Result<Vec<Value>, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (host, key) = global.server()?;
        let key = key.reveal();
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
                    series.add(&laps::run(callers, Nothing, self.length()).await?.0);
                }
            }
            Ok::<_, Failure>(())
        })?;
        Ok(all.iter().map(|series| series.item(None)).collect())
    }

    async fn callers(
        &self,
        host: &str,
        key: &str,
        bodies: &Arc<Vec<String>>,
    ) -> Result<Vec<JudgingByHttp>, Failure> {
        let each = (bodies.len() / usize::from(self.connections)).max(1);
        let mut callers = Vec::new();
        for index in 0..usize::from(self.connections) {
            let start = (index * each) % bodies.len();
            callers.push(JudgingByHttp {
                connection: Connection::open(host).await.map_err(failed)?,
                key: key.to_owned(),
                bodies: Arc::clone(bodies),
                part: start..(start + each).min(bodies.len()),
                calls: (CALLS / bodies_cost(bodies)).max(1),
            });
        }
        Ok(callers)
    }
}

/// A batch takes as long as so many single requests, more or less.
fn bodies_cost(bodies: &[String]) -> usize {
    bodies.first().map_or(1, |body| body.len() / 300).max(1)
}

fn series(connections: u16, batch: u16) -> Series {
    let work = if batch == 1 {
        "introspect over HTTP".into()
    } else {
        format!("introspect over HTTP, {batch} at a time")
    };
    Series::of_batches(work, connections.into(), batch.into())
}

fn bodies(tokens: &[String], batch: u16) -> Vec<String> {
    if batch == 1 {
        return tokens.iter().map(|token| json!({"token": token}).to_string()).collect();
    }
    tokens.chunks_exact(batch.into()).map(|tokens| json!({"tokens": tokens}).to_string()).collect()
}

/// Judges all tokens, again and again if told to, for about so long; gives how many per second.
fn judged(authority: &Authority, tokens: &[String], most: Duration, again: bool) -> Result<f64, Failure> {
    let begun = stopwatch();
    let mut done = 0;
    loop {
        for stride in tokens.chunks(STRIDE) {
            for token in stride {
                authority.introspect(token).map_err(|fault| failed(format!("judged dead: {fault:?}")))?;
            }
            done += stride.len();
            if begun.elapsed() >= most {
                return Ok(done as f64 / begun.elapsed().as_secs_f64());
            }
        }
        if !again {
            return Ok(done as f64 / begun.elapsed().as_secs_f64());
        }
    }
}
