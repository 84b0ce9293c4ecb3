//! `tenure audit import`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    progress,
    source::open,
    trust::TrustArgs,
    verification::{KeyOrigin, ReadEnding, Verification, untrue},
};
use crate::cli::{
    context::GlobalArgs,
    environment,
    failure::{CommandError, ExitStatus},
    output::Column,
};
use tenure_audit::import::{ImportError, import};
use tenure_core::Position;

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The export; a whole history
    #[arg(value_name = "FILE")]
    export: PathBuf,

    /// The data directory to make; it must be empty or absent
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,

    #[command(flatten)]
    known: TrustArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "data"),
    Column::plain("", "to"),
    Column::plain("", "commits"),
    Column::plain("", "rootHash"),
    Column::plain("", "verifierKey"),
];

impl ImportArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let trusted = self.known.read()?;
        let bar = progress::HistoryProgress::new(global.output(), || progress::end_of_export(&self.export));
        let told = &mut |position: Position| bar.at(position);
        let verdict = import(open(&self.export)?, trusted.as_trust(), &self.data, told);
        drop(bar);
        let verdict = verdict.map_err(|error| self.failed(&error))?;
        let mut document = json!(verdict);
        document["data"] = self.data.display().to_string().into();
        let whose = if trusted.key.is_some() { KeyOrigin::Reader } else { KeyOrigin::File };
        document["keyFrom"] = json!(whose);
        global.output().record(&document, COLUMNS, environment::now())?;
        global.output().info(
            "The directory is for auditors: it has no keys, so texts about people stay sealed, and no server starts on \
             it.",
        );
        ReadEnding::Whole(Box::new(Verification::of_export(verdict, &trusted, whose)))
            .report(global.output());
        Ok(())
    }

    fn failed(&self, error: &ImportError) -> CommandError {
        let told = format!("{}: {error}", self.data.display());
        match error {
            ImportError::Untrue(fault) => untrue(fault),
            ImportError::NotEmpty => CommandError::Unhealthy { exit: ExitStatus::Conflict, why: told },
            ImportError::NotWhole(_) | ImportError::NotToItsEnd { .. } => {
                CommandError::Usage(format!("{}: {error}", self.export.display()))
            }
            ImportError::Open(_) | ImportError::Log(_) | ImportError::Io(_) => CommandError::Server(told),
        }
    }
}
