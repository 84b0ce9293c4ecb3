//! `tenure audit diff`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::{data_directory::damaged, source::Source, trust::TrustArgs};
use crate::cli::{ambient, context::Global, failure::Failure, output::Column};
use tenure_audit::replay::{Replay, ReplayEnd, diff::differences};
use tenure_core::Position;

/// Arguments of `tenure audit diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The earlier position; 0 is the empty log
    #[arg(value_name = "A")]
    earlier: u64,

    /// The later position
    #[arg(value_name = "B")]
    later: u64,

    #[command(flatten)]
    source: Source,

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

impl Diff {
    pub(crate) fn run(&self, global: &Global) -> Result<(), Failure> {
        if self.earlier > self.later {
            let why = format!("A must not be after B, but {} is after {}", self.earlier, self.later);
            return Err(Failure::Usage(why));
        }
        let mut replays =
            [self.earlier, self.later].map(|position| Replay::new(ReplayEnd::Position(Position(position))));
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
            return Err(damaged(illegal.to_string()));
        }
        let [earlier, later] = &replays;
        for (replay, wanted) in [(earlier, self.earlier), (later, self.later)] {
            if replay.state().position.0 < wanted {
                let why =
                    format!("there is no position {wanted}: the history ends at {}", replay.state().position);
                return Err(Failure::Missing(why));
            }
        }
        let items = differences((earlier.state(), earlier.moment()), (later.state(), later.moment()));
        let output = global.output();
        let empty = format!("Nothing differs between positions {} and {}.", self.earlier, self.later);
        output.list_or(&json!({"items": items}), COLUMNS, ambient::now(), &empty)?;
        ending.tell(output);
        Ok(())
    }
}
