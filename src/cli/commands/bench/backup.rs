//! `tenure bench backup`

use std::{sync::Arc, thread, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    EffortArgs,
    conditions::{ScratchDir, load_average, machine},
    failed,
    renew::SessionStock,
    report::print_with,
    start::{fill, open, settle},
};
use crate::cli::{context::GlobalArgs, failure::CommandError, output::Column};
use tenure_protocol::clock::stopwatch;
use tenure_server::backup::{
    BackupError, BackupFolder, BackupMaker, BackupMode, BackupSummary, KeyProtection,
};
use tenure_threads::priority::stand_back;

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// How many events the log has at least
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,

    /// How many callers renew meanwhile
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: u16,

    /// How many sessions they renew in turn
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// Renewals per second of all callers together; 0 for as many as they can
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rate: u32,

    #[command(flatten)]
    effort: EffortArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("SECONDS", "seconds"),
    Column::plain("BYTES", "bytes"),
    Column::plain("MB/S", "megabytesPerSecond"),
    Column::plain("RENEWALS/S", "renewalsPerSecond"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("LOAD", "loadAverage"),
];

/// How long laps go on before checking whether they are enough.
const A_WHILE: Duration = Duration::from_millis(200);

/// A backup, and whether it follows another one, by links.
const WAYS: [(&str, &str, BackupMode); 4] = [
    ("whole", "whole", BackupMode { is_incremental: false, is_linked: false }),
    ("increment", "whole", BackupMode { is_incremental: true, is_linked: false }),
    ("whole, linked", "linked", BackupMode { is_incremental: false, is_linked: true }),
    ("increment, linked", "linked", BackupMode { is_incremental: true, is_linked: true }),
];

impl BackupArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let scratch = ScratchDir::new(&self.effort.dir)?;
        let output = global.output();
        output.progress("writing the history");
        let data = scratch.path().join("data");
        open(&data)?.0.stop();
        let events = fill(&data, 1_000, 5, self.events)?;
        let mut stock = SessionStock::new(&runtime, &scratch, self.sessions as usize)?;
        output.progress("sealing the history");
        settle(stock.node())?;
        stock.rate = (self.rate > 0).then_some(self.rate);
        // Outside of the count: it warms everything up.
        stock.round(&runtime, self.clients, A_WHILE)?;
        let quiet =
            RenewalTimes::of(&runtime, &mut stock, self.clients, |renewals| renewals.took >= self.length())?;
        let mut items = vec![quiet.item("no backup", None)];
        for (work, folder, way) in WAYS {
            output.progress(work);
            items.push(self.beside(&runtime, &mut stock, &scratch, (work, folder, way))?);
        }
        let mut conditions = machine();
        conditions.insert("events".into(), events.into());
        conditions.insert("clients".into(), self.clients.into());
        conditions.insert("rate".into(), self.rate.into());
        conditions.insert("syncMillis".into(), json!(scratch.sync_latency()?.as_secs_f64() * 1e3));
        print_with(output, &conditions, &items, COLUMNS)
    }

    fn length(&self) -> Duration {
        Duration::from_secs(u64::from(self.effort.rounds) * u64::from(self.effort.seconds))
    }

    /// Makes a backup while sessions are renewed.
    fn beside(
        &self,
        runtime: &Runtime,
        stock: &mut SessionStock,
        scratch: &ScratchDir,
        (work, folder, way): (&str, &str, BackupMode),
    ) -> Result<Value, CommandError> {
        let backups = Arc::new(BackupMaker::of(stock.node()));
        let to = BackupFolder::made_at(scratch.path().join(folder)).map_err(failed)?;
        let making = thread::spawn(move || {
            // As the server does.
            stand_back();
            let begun = stopwatch();
            let taken: Result<BackupSummary, BackupError> =
                backups.take(&to, way, &KeyProtection::WithoutKeys);
            (taken, begun.elapsed())
        });
        let renewals = RenewalTimes::of(runtime, stock, self.clients, |_| making.is_finished())?;
        let (taken, took) = making.join().map_err(|_| failed("the backup panicked"))?;
        Ok(renewals.item(work, Some((taken.map_err(failed)?.bytes, took))))
    }
}

/// The renewals of some laps.
struct RenewalTimes {
    took: Duration,
    micros: Vec<u32>,
}

impl RenewalTimes {
    /// Laps until there are enough.
    fn of(
        runtime: &Runtime,
        stock: &mut SessionStock,
        clients: u16,
        is_enough: impl Fn(&Self) -> bool,
    ) -> Result<Self, CommandError> {
        let mut all = Self { took: Duration::ZERO, micros: Vec::new() };
        while all.micros.is_empty() || !is_enough(&all) {
            let round = stock.round(runtime, clients, A_WHILE)?;
            all.took += round.took;
            all.micros.extend(round.micros);
        }
        all.micros.sort_unstable();
        Ok(all)
    }

    fn millis(&self, hundredths: usize) -> f64 {
        let place = self.micros.len() * hundredths / 100;
        f64::from(self.micros[place.min(self.micros.len() - 1)]) / 1e3
    }

    fn item(&self, work: &str, made: Option<(u64, Duration)>) -> Value {
        let rate = super::rounds::many(self.micros.len()) / self.took.as_secs_f64();
        let speed = made.map(|(bytes, took)| {
            let bytes = super::rounds::many(usize::try_from(bytes).unwrap_or(usize::MAX));
            (bytes / took.as_secs_f64() / 1e6).round()
        });
        json!({
            "work": work,
            "seconds": made.map(|(_, took)| (took.as_secs_f64() * 1e3).round() / 1e3),
            "bytes": made.map(|(bytes, _)| bytes),
            "megabytesPerSecond": speed,
            "renewalsPerSecond": rate.round(),
            "p50Millis": self.millis(50),
            "p99Millis": self.millis(99),
            "loadAverage": load_average(),
        })
    }
}
