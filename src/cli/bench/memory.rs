//! `tenure bench memory`

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    Failure,
    conditions::{Scratch, machine, resident_bytes},
    failed,
    report::print_with,
    stock::{InMemory, sessions},
};
use crate::cli::{context::Global, output::Column};

const COLUMNS: &[Column] = &[
    Column::plain("SESSIONS", "sessions"),
    Column::plain("PER SUBJECT", "perSubject"),
    Column::plain("BYTES PER SESSION", "bytesPerSession"),
    Column::plain("RESIDENT", "residentBytes"),
];

/// Arguments of `tenure bench memory`.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    sessions: u32,

    /// How many of them each subject has
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=5))]
    per_subject: u32,

    /// Where to put the temporary directory of the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl Memory {
    pub(super) fn run(&self, global: &Global) -> Result<(), Failure> {
        let scratch = Scratch::new(&self.dir)?;
        let runtime = Runtime::new().map_err(failed)?;
        let memory = InMemory::new(&scratch, 0)?;
        let make = |count: u32| {
            let (count, each) = (count as usize, self.per_subject as usize);
            sessions(runtime.handle(), &memory.authority, count, each, |_, _| ()).map(drop)
        };
        let resident = || resident_bytes().ok_or_else(|| failed("the system does not say what is resident"));
        // What is needed once and for all is there already when it counts.
        make(1_000)?;
        let before = resident()?;
        make(self.sessions)?;
        let after = resident()?;
        let mut conditions = machine();
        conditions
            .insert("counted".into(), json!("resident memory: state, indexes, timeline; no log, no tokens"));
        let item: Value = json!({
            "sessions": self.sessions,
            "perSubject": self.per_subject,
            "bytesPerSession": (after.saturating_sub(before)) / u64::from(self.sessions),
            "residentBytes": after,
        });
        print_with(global.output(), &conditions, &[item], COLUMNS)
    }
}
