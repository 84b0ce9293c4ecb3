//! `tenure bench upkeep`: what sealing, checkpoints and the scrub cost renewals.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::runtime::Runtime;

use super::{
    EffortArgs,
    conditions::{ScratchDir, machine},
    failed,
    fixture::DiskAuthority,
    renew::SessionStock,
    report::{RoundSeries, print},
};
use crate::cli::{context::GlobalArgs, failure::CommandError};
use tenure_log::SegmentEvents;

#[derive(Debug, Args)]
pub(crate) struct UpkeepArgs {
    /// How many callers renew at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    clients: u16,

    /// How many sessions they renew in turn
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// By how many events the history is cut where it is sealed: so small that a round seals several segments
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    segment_events: u32,

    #[command(flatten)]
    effort: EffortArgs,
}

impl UpkeepArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let scratch = ScratchDir::new(&self.effort.dir)?;
        let output = global.output();
        output.progress("creating sessions");
        let mut quiet = self.stock(&runtime, &scratch, "quiet", SegmentEvents::Uncut, 0)?;
        let mut busy =
            self.stock(&runtime, &scratch, "busy", SegmentEvents::By(self.segment_events.into()), 16 << 20)?;
        let callers = usize::from(self.clients);
        let mut without = RoundSeries::new("renew, no upkeep", callers);
        let mut with = RoundSeries::new("renew beside upkeep", callers);
        for round in 1..=self.effort.rounds {
            output.progress(&format!("round {round} of {}", self.effort.rounds));
            let length = Duration::from_secs(self.effort.seconds.into());
            without.add(&quiet.round(&runtime, self.clients, length)?);
            with.add(&busy.round(&runtime, self.clients, length)?);
        }
        let figures = busy.node().authority.storage().figures();
        let mut conditions = machine();
        conditions.insert("rounds".into(), self.effort.rounds.into());
        conditions.insert("secondsPerRound".into(), self.effort.seconds.into());
        conditions.insert("sessions".into(), self.sessions.into());
        conditions.insert("segmentEvents".into(), self.segment_events.into());
        conditions.insert("segments".into(), figures.segments.into());
        conditions.insert("unsealedRanges".into(), figures.unsealed.into());
        conditions.insert("p99Ratio".into(), json!(with.p99_ratio_to(&without)));
        conditions.insert("where".into(), json!("in process, on disk before the answer"));
        print(output, &conditions, &[without.item(None), with.item(Some(&without))])
    }

    /// Sessions on a data directory of their own, cut by this number of events and scrubbed at this rate.
    fn stock(
        &self,
        runtime: &Runtime,
        scratch: &ScratchDir,
        name: &str,
        segment_events: SegmentEvents,
        scrub_rate: u64,
    ) -> Result<SessionStock, CommandError> {
        let disk = DiskAuthority::open_with(&scratch.path().join(name), |options| {
            options.segment_events = segment_events;
            options.scrub_rate = scrub_rate;
        })?;
        let mut stock = SessionStock::on(disk, runtime, self.sessions as usize)?;
        // Outside of the count: it warms everything up.
        stock.round(runtime, self.clients, Duration::ZERO)?;
        Ok(stock)
    }
}
