//! `tenure audit what-if`

use std::{fs, ops::ControlFlow, path::PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{server_time, source::SourceArgs, trust::TrustArgs};
use crate::cli::{
    context::GlobalArgs,
    environment,
    failure::CommandError,
    output::{Column, OutputFormat},
};
use tenure_audit::what_if::{self, PolicyOverrides, WrongPolicy};
use tenure_core::Timestamp;

#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// TOML file with the settings of session.*, limits.* and renewal.* to replay with
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
}

const COUNTS: &[Column] = &[
    Column::plain("COUNT", "count"),
    Column::plain("HAPPENED", "happened"),
    Column::plain("INSTEAD", "instead"),
];

const COLUMNS: &[Column] = &[
    Column::plain("POSITION", "position"),
    Column::moment("RECORDED", "recordedAt"),
    Column::plain("SESSION", "sessionId"),
    Column::plain("SUBJECT", "subjectId"),
    Column::plain("HAPPENED", "happened"),
    Column::plain("INSTEAD", "instead"),
];

impl WhatIf {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let overrides = self.overrides()?;
        let mut what_if = what_if::WhatIf::under(overrides);
        let mut illegal = None;
        let ending = self.source.read(global, &self.known.read()?, &mut |stored| {
            illegal = what_if.add(&stored).err();
            if illegal.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let output = global.output();
        if let Some(illegal) = illegal {
            return Err(CommandError::damaged(illegal.to_string()));
        }
        let report = json!(what_if.end().map_err(|wrong| self.wrong(&wrong))?);
        let now = self.now(global)?;
        if output.format() == OutputFormat::Table {
            output.list(&json!({"items": counts(&report)}), COUNTS, now)?;
        }
        let same = "Nothing would have gone otherwise.";
        output.items_or(&report, "divergences", COLUMNS, now, same)?;
        output.hint("What such a replay cannot know:");
        for unknown in report["unknown"].as_array().into_iter().flatten() {
            output.hint(&format!("- {}", unknown.as_str().unwrap_or_default()));
        }
        ending.report(output);
        Ok(())
    }

    /// What is past is past by the server's clock, which may be a test's; a file has no clock.
    fn now(&self, global: &GlobalArgs) -> Result<Timestamp, CommandError> {
        let of_server = if self.source.is_server() { server_time::of_server(global)? } else { None };
        Ok(of_server.unwrap_or_else(environment::now))
    }

    fn overrides(&self) -> Result<PolicyOverrides, CommandError> {
        let text = fs::read_to_string(&self.policy)
            .map_err(|source| CommandError::File { path: self.policy.clone(), source })?;
        PolicyOverrides::parse(&text).map_err(|wrong| self.wrong(&wrong))
    }

    fn wrong(&self, wrong: &WrongPolicy) -> CommandError {
        CommandError::Usage(format!("{}: {wrong}", self.policy.display()))
    }
}

fn counts(report: &Value) -> Vec<Value> {
    let counted = report["happened"].as_object().into_iter().flatten();
    counted
        .map(|(count, happened)| json!({"count": count, "happened": happened, "instead": report["instead"][count]}))
        .collect()
}
