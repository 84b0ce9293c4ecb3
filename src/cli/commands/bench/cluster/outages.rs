//! How long no write is acknowledged when something fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    super::{background::BackgroundThread, http::BenchConnection},
    bench_cluster::BenchCluster,
    machines::until,
};
use crate::cli::{environment, failure::CommandError};
use tenure_protocol::clock::{pause, stopwatch};

/// A request that takes longer is given up, and asked again.
const GIVEN_UP: Duration = Duration::from_secs(1);
/// How long a refused writer rests.
const REST: Duration = Duration::from_millis(10);
/// Writers per node.
const WRITERS: usize = 2;
/// An outage has ended after this number of acknowledged writes, and this long without a failure.
const AGAIN: u64 = 20;
const CALM: Duration = Duration::from_millis(1_500);
/// How long all brokers stay away.
const GONE: Duration = Duration::from_secs(2);

/// What fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutageKind {
    LeaderDies,
    LeaderFreezes,
    LeaderIsCutOff,
    BrokersLeaderDies,
    BrokersReturn,
    Handover,
}

impl OutageKind {
    pub(super) const ALL: [Self; 6] = [
        Self::LeaderDies,
        Self::LeaderFreezes,
        Self::LeaderIsCutOff,
        Self::BrokersLeaderDies,
        Self::BrokersReturn,
        Self::Handover,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::LeaderDies => "no write: the leader dies",
            Self::LeaderFreezes => "no write: the leader freezes",
            Self::LeaderIsCutOff => "no write: the leader is cut off",
            Self::BrokersLeaderDies => "no write: the broker's leader dies",
            Self::BrokersReturn => "no write: after all brokers return",
            Self::Handover => "no write: a handover",
        }
    }
}

/// The acknowledgements of all writers.
#[derive(Default)]
struct AckTimes(Mutex<AckStats>);

#[derive(Default)]
struct AckStats {
    last: Option<Instant>,
    longest: Duration,
    count: u64,
}

impl AckTimes {
    fn one(&self) {
        let (mut heard, now) = (self.0.lock(), stopwatch());
        let gap = heard.last.map_or(Duration::ZERO, |last| now.duration_since(last));
        heard.longest = heard.longest.max(gap);
        heard.last = Some(now);
        heard.count += 1;
    }

    /// Forgets the gaps before; with a moment, as if something had been acknowledged then.
    fn begin(&self, at: Option<Instant>) -> u64 {
        let mut heard = self.0.lock();
        heard.longest = Duration::ZERO;
        heard.last = at.or(heard.last);
        heard.count
    }

    fn count(&self) -> u64 {
        self.0.lock().count
    }

    fn longest(&self) -> Duration {
        self.0.lock().longest
    }
}

/// Measures each of them so often, in turn.
pub(super) fn measure(
    house: &mut BenchCluster,
    times: u32,
    say: impl Fn(&str),
) -> Result<Vec<Value>, CommandError> {
    let acknowledged = Arc::new(AckTimes::default());
    let writers = house.hosts().into_iter().flat_map(|host| (0..WRITERS).map(move |_| host.clone()));
    let writers: Vec<_> = writers
        .map(|host| {
            let (key, acknowledged) = (house.key.clone(), Arc::clone(&acknowledged));
            BackgroundThread::start(move |stop| async move {
                writes(&host, &key, &acknowledged, &stop).await;
                Ok(())
            })
        })
        .collect::<Result<_, _>>()?;
    let measured = all(house, &acknowledged, times, say);
    for writer in writers {
        writer.stop()?;
    }
    measured
}

fn all(
    house: &mut BenchCluster,
    acknowledged: &AckTimes,
    times: u32,
    say: impl Fn(&str),
) -> Result<Vec<Value>, CommandError> {
    let mut took: Vec<(OutageKind, Vec<Duration>)> = OutageKind::ALL.map(|outage| (outage, vec![])).into();
    for time in 1..=times {
        for (outage, took) in &mut took {
            say(&format!("{time} of {times}, {}", outage.words()));
            house.is_whole()?;
            goes_on(acknowledged, acknowledged.count())?;
            took.push(house.without_a_write(*outage, acknowledged)?);
        }
    }
    Ok(took.iter_mut().map(|(outage, took)| item(*outage, took)).collect())
}

fn item(outage: OutageKind, took: &mut [Duration]) -> Value {
    took.sort_unstable();
    let millis = |took: &Duration| (took.as_secs_f64() * 1e3).round();
    json!({
        "work": outage.words(),
        "times": took.len(),
        "medianMillis": took.get(took.len() / 2).map(millis),
        "worstMillis": took.last().map(millis),
        "loadAverage": super::super::conditions::load_average(),
    })
}

fn goes_on(acknowledged: &AckTimes, before: u64) -> Result<(), CommandError> {
    until("writes are acknowledged", || Ok(acknowledged.count() >= before + AGAIN))
}

impl BenchCluster {
    fn without_a_write(
        &mut self,
        outage: OutageKind,
        acknowledged: &AckTimes,
    ) -> Result<Duration, CommandError> {
        let leader = self.leader()?;
        let before = acknowledged.begin(None);
        match outage {
            OutageKind::LeaderDies => self.machines[leader].kill(),
            OutageKind::LeaderFreezes => self.machines[leader].freeze()?,
            OutageKind::LeaderIsCutOff => self.machines[leader].cut(),
            OutageKind::BrokersLeaderDies => return self.without_a_broker(acknowledged),
            OutageKind::BrokersReturn => return self.without_brokers(acknowledged),
            OutageKind::Handover => self.hand_over()?,
        }
        let took = ended(acknowledged, before)?;
        match outage {
            OutageKind::LeaderDies => self.machines[leader].begin()?,
            OutageKind::LeaderFreezes => self.machines[leader].thaw()?,
            OutageKind::LeaderIsCutOff => self.machines[leader].mend(),
            OutageKind::BrokersLeaderDies | OutageKind::BrokersReturn | OutageKind::Handover => {}
        }
        Ok(took)
    }

    fn without_a_broker(&mut self, acknowledged: &AckTimes) -> Result<Duration, CommandError> {
        let broker = self.brokers.leader()?;
        let before = acknowledged.begin(None);
        self.brokers.kill(broker);
        let took = ended(acknowledged, before)?;
        self.brokers.begin(broker)?;
        Ok(took)
    }

    /// Counted from the moment at which they are begun.
    fn without_brokers(&mut self, acknowledged: &AckTimes) -> Result<Duration, CommandError> {
        self.brokers.kill_all();
        pause(GONE);
        let before = acknowledged.begin(Some(stopwatch()));
        self.brokers.begin_all()?;
        ended(acknowledged, before)
    }
}

/// Waits until it is over; the longest time without an acknowledgement.
fn ended(acknowledged: &AckTimes, before: u64) -> Result<Duration, CommandError> {
    // What was under way when it began comes first.
    pause(CALM);
    let before = before.max(acknowledged.count());
    goes_on(acknowledged, before)?;
    pause(CALM);
    Ok(acknowledged.longest())
}

/// Writes at this node, one after another, whatever becomes of it.
async fn writes(host: &str, key: &str, acknowledged: &AckTimes, stop: &AtomicBool) {
    let series = environment::unique();
    let mut connection = None;
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let path = format!("/v1/subjects/outage-{series}-{number}");
        connection = match timeout(GIVEN_UP, written(connection.take(), host, key, &path)).await {
            Ok(Ok(open)) => {
                acknowledged.one();
                Some(open)
            }
            Ok(Err(_)) | Err(_) => None,
        };
        if connection.is_none() {
            sleep(REST).await;
        }
    }
}

async fn written(
    connection: Option<BenchConnection>,
    host: &str,
    key: &str,
    path: &str,
) -> Result<BenchConnection, String> {
    let mut connection = match connection {
        Some(open) => open,
        None => BenchConnection::open(host).await?,
    };
    connection.ask("PUT", path, key, Some("{}")).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_between_two_acknowledgements_counts() {
        let acknowledged = AckTimes::default();
        let at = stopwatch().checked_sub(Duration::from_secs(7)).unwrap();
        assert_eq!(acknowledged.begin(Some(at)), 0);
        acknowledged.one();
        acknowledged.one();
        assert!(
            acknowledged.longest() >= Duration::from_secs(7)
                && acknowledged.longest() < Duration::from_secs(9)
        );
        assert_eq!((acknowledged.begin(None), acknowledged.longest()), (2, Duration::ZERO));
    }
}
