//! How long a node takes until it serves: one that has everything, one that joins by a checkpoint, and one that reads
//! the whole stream.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use tenure_protocol::clock::{pause, stopwatch};
use tokio::{runtime::Runtime, time::timeout};

use super::{
    super::{
        conditions::load_average, failed, fixture::DiskAuthority, http::BenchConnection, renew::SessionStock,
        start::settle,
    },
    cluster,
    machines::{BrokerCluster, DirectNode, LOOK, private_directory},
};
use crate::cli::failure::CommandError;

/// A start that takes longer has failed.
const LONGEST: Duration = Duration::from_mins(30);
const ANSWER: Duration = Duration::from_secs(2);

/// Fills a log with this number of sessions, and starts nodes on it, each this number of times.
pub(super) fn measure(
    program: &Path,
    dir: &Path,
    (sessions, rounds): (usize, u32),
    say: impl Fn(&str),
) -> Result<Vec<Value>, CommandError> {
    let runtime = Runtime::new().map_err(failed)?;
    let brokers = BrokerCluster::start(program, dir)?;
    let first = dir.join("node-0");
    say("creating sessions");
    let leading = cluster(&brokers)?;
    let leader = DiskAuthority::open_with(&first, |options| options.cluster = Some(leading))?;
    let stock = SessionStock::on(leader, &runtime, sessions)?;
    say("waiting for the checkpoint");
    // What is recorded is signed then, and can be sealed.
    stock.pass(60)?;
    settle(stock.node())?;
    stock.stop();
    let mut items = vec![];
    let mut serving = None;
    let mut again = vec![];
    for _ in 0..rounds {
        say("starting the node that has everything");
        drop(serving.take());
        again.push(started(&runtime, &mut serving, &brokers, &first)?);
    }
    items.push(item("start of a node that has everything", again));
    for (work, reads_all) in
        [("a new node, by a checkpoint", false), ("a new node, by the whole stream", true)]
    {
        let mut took = vec![];
        for round in 0..rounds {
            say(work);
            let data = dir.join(format!("new-{}-{round}", u8::from(reads_all)));
            private_directory(&data)?;
            if reads_all {
                // One that has begun a copy goes on with it.
                private_directory(&data.join("copy"))?;
            }
            let mut new = None;
            took.push(started(&runtime, &mut new, &brokers, &data)?);
            drop(new);
            std::fs::remove_dir_all(&data).map_err(failed)?;
        }
        items.push(item(work, took));
    }
    Ok(items)
}

/// Starts a node, and waits until it serves.
fn started(
    runtime: &Runtime,
    node: &mut Option<DirectNode>,
    brokers: &BrokerCluster,
    data: &Path,
) -> Result<Duration, CommandError> {
    let begun = stopwatch();
    let started = node.insert(DirectNode::start(brokers, data)?);
    while !is_ready(runtime, &started.host) {
        if begun.elapsed() > LONGEST {
            return Err(failed("the node does not serve after half an hour"));
        }
        pause(LOOK);
    }
    Ok(begun.elapsed())
}

fn is_ready(runtime: &Runtime, host: &str) -> bool {
    let asked = async {
        let mut connection = BenchConnection::open(host).await.ok()?;
        let said = connection.ask("GET", "/readyz", "", None).await.ok()?;
        serde_json::from_slice::<Value>(said).ok()
    };
    let said = runtime.block_on(async { timeout(ANSWER, asked).await.ok()? });
    said.is_some_and(|said| said["role"].is_string())
}

fn item(work: &str, mut took: Vec<Duration>) -> Value {
    took.sort_unstable();
    let millis = |place: usize| (took[place].as_secs_f64() * 1e3).round();
    json!({
        "work": work,
        "times": took.len(),
        "medianMillis": millis(took.len() / 2),
        "worstMillis": millis(took.len() - 1),
        "loadAverage": load_average(),
    })
}
