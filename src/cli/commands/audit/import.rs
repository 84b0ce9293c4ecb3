//! `tenure audit import`

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    progress,
    source::open,
    trust::TrustArgs,
    verification::{Ending, Verification, Whose, untrue},
};
use crate::cli::{
    ambient,
    context::Global,
    failure::{Exit, Failure},
    output::Column,
};
use tenure_audit::import::{ImportError, import};
use tenure_core::Position;

/// Arguments of `tenure audit import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
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

impl Import {
    pub(crate) fn run(&self, global: &Global) -> Result<(), Failure> {
        let trusted = self.known.read()?;
        let bar = progress::Bar::new(global.output(), || progress::end_of_export(&self.export));
        let told = &mut |position: Position| bar.at(position);
        let verdict = import(open(&self.export)?, trusted.as_trust(), &self.data, told);
        drop(bar);
        let verdict = verdict.map_err(|error| self.failed(&error))?;
        let mut document = json!(verdict);
        document["data"] = self.data.display().to_string().into();
        let whose = if trusted.key.is_some() { Whose::Reader } else { Whose::File };
        document["keyFrom"] = json!(whose);
        global.output().record(&document, COLUMNS, ambient::now())?;
        global.output().talk(
            "The directory is for auditors: it has no keys, so texts about people stay sealed, and no server starts on \
             it.",
        );
        Ending::Whole(Box::new(Verification::of_export(verdict, &trusted, whose))).tell(global.output());
        Ok(())
    }

    fn failed(&self, error: &ImportError) -> Failure {
        let told = format!("{}: {error}", self.data.display());
        match error {
            ImportError::Untrue(fault) => untrue(fault),
            ImportError::NotEmpty => Failure::Unhealthy { exit: Exit::Conflict, why: told },
            ImportError::NotWhole(_) | ImportError::NotToItsEnd { .. } => {
                Failure::Usage(format!("{}: {error}", self.export.display()))
            }
            ImportError::Open(_) | ImportError::Log(_) | ImportError::Io(_) => Failure::Server(told),
        }
    }
}
