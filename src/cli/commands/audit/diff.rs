//! `tenure audit diff`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::{replay::check_position, source::SourceArgs, trust::TrustArgs};
use crate::cli::{context::GlobalArgs, environment, failure::CommandError, output::Column};
use tenure_audit::replay::{HistoryReplay, ReplayEnd, diff::differences};
use tenure_core::Position;

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The earlier position; 0 is the empty log
    #[arg(value_name = "A")]
    earlier: u64,

    /// The later position
    #[arg(value_name = "B")]
    later: u64,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("WHAT", "what"),
    Column::plain("ID", "id"),
    Column::plain("FIELD", "field"),
    Column::plain("BEFORE", "before"),
    Column::plain("AFTER", "after"),
];

impl DiffArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        if self.earlier > self.later {
            let why = format!("A must not be after B, but {} is after {}", self.earlier, self.later);
            return Err(CommandError::Usage(why));
        }
        let mut replays = [self.earlier, self.later]
            .map(|position| HistoryReplay::new(ReplayEnd::Position(Position(position))));
        let mut illegal = None;
        let ending = self.source.read(global, &self.known.read()?, &mut |stored| {
            let mut wanted = ControlFlow::Break(());
            for replay in &mut replays {
                match replay.add(&stored) {
                    Ok(ControlFlow::Continue(())) => wanted = ControlFlow::Continue(()),
                    Ok(ControlFlow::Break(())) => {}
                    Err(found) => {
                        illegal = Some(found);
                        return ControlFlow::Break(());
                    }
                }
            }
            wanted
        })?;
        if let Some(illegal) = illegal {
            return Err(CommandError::damaged(illegal.to_string()));
        }
        let [earlier, later] = &replays;
        for (replay, wanted) in [(earlier, self.earlier), (later, self.later)] {
            check_position(replay, wanted)?;
        }
        let items = differences((earlier.state(), earlier.moment()), (later.state(), later.moment()));
        let output = global.output();
        let empty = format!("Nothing differs between positions {} and {}.", self.earlier, self.later);
        output.list_or(&json!({"items": items}), COLUMNS, environment::now(), &empty)?;
        ending.report(output);
        Ok(())
    }
}
