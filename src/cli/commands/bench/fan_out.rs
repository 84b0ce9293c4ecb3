//! `tenure bench fan-out`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
};

use super::{
    EffortArgs,
    background::BackgroundThread,
    baseline_fan_out::BaselineFanOut,
    conditions::machine,
    failed,
    http::BenchConnection,
    renew::HttpSessionStock,
    report::{RoundSeries, print},
    rounds::RoundTimes,
};
use crate::cli::{context::GlobalArgs, environment, failure::CommandError};
use tenure_protocol::clock::stopwatch;

#[derive(Debug, Args)]
pub(crate) struct FanOut {
    /// How many readers follow the events
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    readers: u16,

    /// How many events a second each of them hears
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,

    /// How many callers renew meanwhile, as fast as they can, with the readers and without them in turn
    #[arg(long, value_name = "N", default_value_t = 0)]
    renewing: u16,

    /// In turn, the same callers beside a program that only sends to as many readers, as often as a thousand are served
    #[arg(long, requires = "renewing")]
    compare_bare: bool,

    #[command(flatten)]
    effort: EffortArgs,
}

/// Sessions renewed in turn.
const SESSIONS: usize = 20_000;

impl FanOut {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let mut conditions = machine();
        let told = [
            ("rounds", json!(self.effort.rounds)),
            ("secondsPerRound", json!(self.effort.seconds)),
            ("readers", json!(self.readers)),
            ("eventsPerSecond", json!(self.rate)),
            ("where", json!("over HTTP, server and clients on this machine")),
            ("measured", json!("from before a request is sent to its event at a reader's socket")),
        ];
        conditions.extend(told.map(|(name, value)| (name.to_owned(), value)));
        let items = self.measure(global)?;
        print(global.output(), &conditions, &items)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.effort.seconds.into())
    }

    fn measure(&self, global: &GlobalArgs) -> Result<Vec<Value>, CommandError> {
        let (host, key) = global.server()?;
        let (key, output) = (key.expose(), global.output());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut heard = RoundSeries::elsewhere("events heard", self.readers.into(), 1);
        let mut with = RoundSeries::elsewhere("renew, with readers", self.renewing.into(), 1);
        let mut without = RoundSeries::elsewhere("renew, without", self.renewing.into(), 1);
        let mut beside_bare = RoundSeries::elsewhere("renew, beside bare sends", self.renewing.into(), 1);
        let mut stock = match self.renewing {
            0 => None,
            clients => Some(runtime.block_on(HttpSessionStock::new(&host, key, SESSIONS, clients))?),
        };
        for round in 1..=self.effort.rounds {
            output.progress(&format!("round {round} of {}", self.effort.rounds));
            let readers = StreamReaders::open(&host, key, self.readers)?;
            let writer = RegistrationWriter::start(&host, key, self.rate)?;
            if let Some(stock) = &mut stock {
                with.add(&runtime.block_on(stock.round(self.renewing, self.length()))?);
            } else {
                tenure_protocol::clock::pause(self.length());
            }
            let sent = writer.stop()?;
            heard.add(&readers.stop(&sent, self.length())?);
            if let Some(stock) = &mut stock {
                without.add(&runtime.block_on(stock.round(self.renewing, self.length()))?);
                if self.compare_bare {
                    let bare = BaselineFanOut::start(self.readers)?;
                    beside_bare.add(&runtime.block_on(stock.round(self.renewing, self.length()))?);
                    bare.stop()?;
                }
            }
        }
        let mut items = vec![heard.item(None)];
        if stock.is_some() {
            items.push(with.item(Some(&without)));
            if self.compare_bare {
                items.push(beside_bare.item(Some(&without)));
            }
            items.push(without.item(None));
        }
        Ok(items)
    }
}

/// When each event was asked for, by position.
type SentTimes = Vec<(u64, Instant)>;

/// Registers subjects at a rate per second.
struct RegistrationWriter(BackgroundThread<SentTimes>);

impl RegistrationWriter {
    fn start(host: &str, key: &str, rate: u32) -> Result<Self, CommandError> {
        let (host, key) = (host.to_owned(), key.to_owned());
        BackgroundThread::start(move |stop| async move {
            let mut connection = BenchConnection::open(&host).await?;
            let series = environment::unique();
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
            let mut sent = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                ticks.tick().await;
                let path = format!("/v1/subjects/fan-{series}-{}", sent.len());
                let begun = stopwatch();
                connection.ask("PUT", &path, &key, Some("{}")).await?;
                let position = connection.position().ok_or("the reply names no position")?;
                sent.push((position, begun));
            }
            Ok(sent)
        })
        .map(Self)
    }

    fn stop(self) -> Result<SentTimes, CommandError> {
        self.0.stop()
    }
}

/// Follow the registrations.
struct StreamReaders {
    background: BackgroundThread<()>,
    heard: Arc<Mutex<SentTimes>>,
    connected: std::sync::mpsc::Receiver<()>,
    count: u16,
}

impl StreamReaders {
    fn open(host: &str, key: &str, count: u16) -> Result<Self, CommandError> {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (tell, connected) = std::sync::mpsc::channel();
        let (host, key, all) = (host.to_owned(), key.to_owned(), Arc::clone(&heard));
        let background = BackgroundThread::start(move |stop| async move {
            let mut running = Vec::new();
            for _ in 0..count {
                let stream = follow(&host, &key).await?;
                running.push(tokio::spawn(read(stream, Arc::clone(&all), Arc::clone(&stop))));
            }
            // The receiver may have given up.
            let _ = tell.send(());
            for reader in running {
                reader.await.map_err(|error| error.to_string())??;
            }
            Ok(())
        })?;
        let readers = Self { background, heard, connected, count };
        if readers.connected.recv_timeout(Duration::from_mins(1)).is_err() {
            readers.background.stop()?;
            return Err(failed("the readers could not connect within 60 s"));
        }
        Ok(readers)
    }

    /// How long each event took to each reader. A reader that heard fewer than all of them is a fault.
    fn stop(self, sent: &SentTimes, took: Duration) -> Result<RoundTimes, CommandError> {
        let expected = sent.len() * usize::from(self.count);
        let begun = stopwatch();
        while self.heard.lock().len() < expected && begun.elapsed() < Duration::from_secs(30) {
            tenure_protocol::clock::pause(Duration::from_millis(20));
        }
        self.background.stop()?;
        let heard = std::mem::take(&mut *self.heard.lock());
        if heard.len() != expected {
            return Err(failed(format!("{} of {expected} events were heard", heard.len())));
        }
        let mut micros = Vec::with_capacity(heard.len());
        for (position, at) in heard {
            let place = sent.binary_search_by_key(&position, |(position, _)| *position);
            let place = place.map_err(|_| failed("an event arrived that was not asked for"))?;
            let micro = at.saturating_duration_since(sent[place].1).as_micros();
            micros.push(u32::try_from(micro).unwrap_or(u32::MAX));
        }
        micros.sort_unstable();
        Ok(RoundTimes { took, micros, ..RoundTimes::default() })
    }
}

async fn follow(host: &str, key: &str) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(host).await.map_err(|error| format!("{host}: {error}"))?;
    let request = format!(
        "GET /v1/events?kinds=SubjectRegistered&after=latest HTTP/1.1\r\nhost: {host}\r\n\
         authorization: Bearer {key}\r\naccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
    // The first comment says that the stream is open.
    let mut head = Vec::new();
    while !head.windows(3).any(|part| part == b"\n: ") {
        if stream.read_buf(&mut head).await.map_err(|error| error.to_string())? == 0 {
            return Err(format!("no stream: {}", String::from_utf8_lossy(&head)));
        }
    }
    if head.starts_with(b"HTTP/1.1 200 ") { Ok(stream) } else { Err("the stream was refused".into()) }
}

async fn read(
    mut stream: TcpStream,
    heard: Arc<Mutex<SentTimes>>,
    stop: Arc<AtomicBool>,
) -> Result<(), String> {
    let mut text = Vec::new();
    let mut own = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let reading = tokio::time::timeout(Duration::from_millis(200), stream.read_buf(&mut text)).await;
        match reading {
            Ok(Ok(0)) => return Err("a stream ended".into()),
            Ok(Ok(_)) => take_ids(&mut text, stopwatch(), &mut own),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => {}
        }
        heard.lock().append(&mut own);
    }
    Ok(())
}

/// Takes the ids of the whole lines out of a text.
fn take_ids(text: &mut Vec<u8>, now: Instant, ids: &mut SentTimes) {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    for line in text[..whole].split(|byte| *byte == b'\n') {
        let id = line.strip_prefix(b"id: ").and_then(|id| str::from_utf8(id).ok()?.parse().ok());
        ids.extend(id.map(|id| (id, now)));
    }
    text.drain(..whole);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_however_the_text_is_cut() {
        let stream = b": 3\n\nid: 4\ndata: {\"id\":1}\n\nid: 17\ndata: x\n\n";
        for cut in 0..stream.len() {
            let mut ids = Vec::new();
            let mut text = stream[..cut].to_vec();
            take_ids(&mut text, stopwatch(), &mut ids);
            text.extend_from_slice(&stream[cut..]);
            take_ids(&mut text, stopwatch(), &mut ids);
            assert_eq!(ids.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [4, 17], "{cut}");
        }
    }
}
