//! How soon a follower knows of a revocation, and how many checks nodes answer together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    super::{
        callers::{HeldSession, HttpIntrospectCaller},
        conditions::load_average,
        failed,
        http::BenchConnection,
        renew::created,
        report::RoundSeries,
        rounds::{self, NoSetup, RoundTimes, many},
    },
    bench_cluster::BenchCluster,
};
use crate::cli::failure::CommandError;
use tenure_protocol::clock::stopwatch;

/// Revocations per second.
const RATE: usize = 1_000;
/// Callers that share the revocations.
const CALLERS: usize = 8;
/// One revocation in this number is looked for at the follower.
const EACH: usize = 10;
/// Lookups at once.
const LOOKERS: usize = 4;
/// A revocation not seen by then counts as lost.
const SEEN: Duration = Duration::from_secs(10);
/// Connections that introspect, over all nodes.
const CONNECTIONS: u16 = 64;
/// How often each of them asks before all look whether time is up.
const CALLS: usize = 500;
const SESSIONS: usize = 10_000;

/// A session that was ended at the leader at this moment.
type EndedAt = (String, Instant);

/// Revokes at the leader, and asks a follower until it knows.
pub(super) async fn revocations(
    house: &BenchCluster,
    leader: usize,
    seconds: u32,
) -> Result<Value, CommandError> {
    let (leads, follows) = (house.machines[leader].host.clone(), house.hosts());
    let follows = follows.into_iter().find(|host| *host != leads).ok_or_else(|| failed("nobody follows"))?;
    let held = created(&leads, &house.key, RATE * seconds as usize, 64).await?;
    let (mut hands, mut lookers): (Vec<Vec<HeldSession>>, Vec<_>) =
        ((0..CALLERS).map(|_| vec![]).collect(), vec![]);
    held.into_iter().enumerate().for_each(|(index, one)| hands[index % CALLERS].push(one));
    let mut tells = vec![];
    for _ in 0..LOOKERS {
        let (tell, told) = mpsc::channel(RATE);
        tells.push(tell);
        lookers.push(tokio::spawn(looks(follows.clone(), house.key.clone(), told)));
    }
    let begun = stopwatch();
    let callers = hands.into_iter().enumerate().map(|(number, hand)| {
        let tell = tells[number % LOOKERS].clone();
        tokio::spawn(revokes(leads.clone(), house.key.clone(), hand, tell))
    });
    let mut count = 0;
    for caller in callers.collect::<Vec<_>>() {
        count += caller.await.map_err(failed)?.map_err(failed)?;
    }
    let took = begun.elapsed();
    drop(tells);
    let mut micros = vec![];
    for looker in lookers {
        micros.extend(looker.await.map_err(failed)?.map_err(failed)?);
    }
    micros.sort_unstable();
    let round = RoundTimes { micros, ..RoundTimes::default() };
    let millis = |thousandths| (round.quantile(thousandths).as_secs_f64() * 1e5).round() / 1e2;
    Ok(json!({
        "work": "a revocation, acknowledged by the leader, is seen at a follower",
        "callers": CALLERS,
        "perSecond": (many(count) / took.as_secs_f64()).round(),
        "p50Millis": millis(500),
        "p99Millis": millis(990),
        "loadAverage": load_average(),
    }))
}

async fn revokes(
    host: String,
    key: String,
    hand: Vec<HeldSession>,
    tell: Sender<EndedAt>,
) -> Result<usize, String> {
    let mut connection = BenchConnection::open(&host).await?;
    let period = Duration::from_micros(1_000_000 * CALLERS as u64 / RATE as u64);
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let count = hand.len();
    for (number, HeldSession { id, token }) in hand.into_iter().enumerate() {
        turns.tick().await;
        connection.ask("DELETE", &format!("/v1/sessions/{id}"), &key, None).await?;
        if number % EACH == 0 {
            // Time between two looks.
            tell.send((token, stopwatch())).await.map_err(|_| "nobody looks any more")?;
        }
    }
    Ok(count)
}

/// The microseconds until each was seen.
async fn looks(host: String, key: String, mut told: Receiver<EndedAt>) -> Result<Vec<u32>, String> {
    let (mut connection, mut micros) = (BenchConnection::open(&host).await?, vec![]);
    while let Some((token, ended)) = told.recv().await {
        let body = json!({ "token": token }).to_string();
        let seen = async {
            while connection.ask("POST", "/v1/introspect", &key, Some(&body)).await?.starts_with(LIVE) {}
            Ok::<_, String>(())
        };
        timeout(SEEN, seen).await.map_err(|_| "a revocation does not come to the follower")??;
        micros.push(u32::try_from(ended.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(micros)
}

const LIVE: &[u8] = br#"{"active":true"#;

/// Checks at the first nodes together, one, two and so on in turn.
pub(super) async fn introspections(
    house: &BenchCluster,
    rounds: u32,
    length: Duration,
    say: impl Fn(&str),
) -> Result<Vec<Value>, CommandError> {
    let hosts = house.hosts();
    let held = created(&hosts[0], &house.key, SESSIONS, CONNECTIONS).await?;
    let bodies: Vec<_> = held.iter().map(|held| json!({ "token": held.token }).to_string()).collect();
    let bodies = Arc::new(bodies);
    let words = |nodes: usize| format!("introspect over HTTP, nodes asked: {nodes}");
    let all = (1..=hosts.len()).map(|nodes| RoundSeries::elsewhere(words(nodes), CONNECTIONS.into(), 1));
    let mut all: Vec<_> = all.collect();
    for round in 1..=rounds {
        for (index, series) in all.iter_mut().enumerate() {
            say(&format!("round {round} of {rounds}, {}", words(index + 1)));
            let callers = judging(&hosts[..=index], &house.key, &bodies).await?;
            series.add(&rounds::run(callers, NoSetup, length).await?.0);
        }
    }
    Ok(all.iter().map(|series| series.item(all.first())).collect())
}

async fn judging(
    hosts: &[String],
    key: &str,
    bodies: &Arc<Vec<String>>,
) -> Result<Vec<HttpIntrospectCaller>, CommandError> {
    let each = bodies.len() / usize::from(CONNECTIONS);
    let mut callers = vec![];
    for index in 0..usize::from(CONNECTIONS) {
        callers.push(HttpIntrospectCaller {
            connection: BenchConnection::open(&hosts[index % hosts.len()]).await.map_err(failed)?,
            key: key.to_owned(),
            bodies: Arc::clone(bodies),
            part: index * each..(index + 1) * each,
            calls: CALLS,
        });
    }
    Ok(callers)
}
