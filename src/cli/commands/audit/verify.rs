//! `tenure audit verify`

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    source::SourceArgs,
    trust::{TrustArgs, TrustedHeads},
    verification::{ReadEnding, ReadFailure, Verification, untrue},
};
use crate::cli::{
    commands::backup,
    context::GlobalArgs,
    environment,
    failure::CommandError,
    output::{Column, Output, OutputFormat},
};
use tenure_audit::verify::VerifyError;
use tenure_core::state::AuthorityState;
use tenure_server::backup::{BackupFolder, check};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    source: SourceArgs,

    /// Verify a backup in this folder, its files and its history
    #[arg(long, value_name = "DEST", conflicts_with_all = ["data", "file"])]
    backup: Option<PathBuf>,

    /// With a key of an earlier epoch: accept the epochs that followed, up to this one
    #[arg(long, value_name = "EPOCH", requires = "verifier_key")]
    accept_epoch: Option<u32>,

    #[command(flatten)]
    known: TrustArgs,
}

const COLUMNS: &[Column] = &[
    Column::state("", "verified"),
    Column::state("", "consistent"),
    Column::plain("", "firstBadPosition"),
    Column::plain("", "lastBadPosition"),
    Column::plain("", "from"),
    Column::plain("", "to"),
    Column::plain("", "vouchedTo"),
    Column::plain("", "commits"),
    Column::plain("", "heads"),
    Column::moment("", "recordedAt"),
    Column::plain("", "size"),
    Column::plain("", "rootHash"),
    Column::plain("", "verifierKey"),
    Column::plain("", "keyFrom"),
];

impl VerifyArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let trusted = self.known.read()?;
        if let Some(backup) = &self.backup {
            return verify_backup(global.output(), backup, &trusted);
        }
        // An export is judged by what was signed; a log must also be one that a server can start on.
        let mut state = self.source.data().map(|_| AuthorityState::default());
        let mut illegal = None;
        let read = self.source.read_whole(global, &trusted, &mut |stored| {
            illegal = state.as_mut().and_then(|state| state.apply(&stored.commit).err());
            if illegal.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let output = global.output();
        let ending = match read {
            Ok(ending) => ending,
            Err(ReadFailure::Untrue(fault)) => return report_fault(output, &fault),
            Err(ReadFailure::Failed(failure)) => return Err(failure),
        };
        if let Some(illegal) = illegal {
            return Err(CommandError::damaged(illegal.to_string()));
        }
        match &ending {
            ReadEnding::Whole(found) => report(output, found)?,
            ReadEnding::Unsigned(fault) => return report_fault(output, fault),
            ReadEnding::Enough => {}
        }
        ending.report(output);
        match &ending {
            ReadEnding::Whole(found) => self.accept(found),
            ReadEnding::Unsigned(_) | ReadEnding::Enough => Ok(()),
        }
    }

    /// What a former key does not vouch for is accepted by name, or not.
    fn accept(&self, found: &Verification) -> Result<(), CommandError> {
        let epoch = found.fork.map(|fork| fork.epoch).filter(|epoch| self.accept_epoch < Some(*epoch));
        epoch.map_or(Ok(()), |epoch| {
            let why = format!(
                "positions from {} on are of another epoch, for which this key does not vouch; --accept-epoch {epoch} \
                 takes them",
                found.vouched_to + 1
            );
            Err(CommandError::damaged(why))
        })
    }
}

/// The files by their digests, the history by its signed heads.
fn verify_backup(output: Output, backup: &Path, trusted: &TrustedHeads) -> Result<(), CommandError> {
    let key = trusted.key.as_ref();
    let checked = check(&BackupFolder::at(backup), key, &trusted.heads).map_err(backup::failed_at(backup))?;
    let manifest = &checked.manifest;
    let document = json!({
        "verified": key.map(|_| true), "consistent": true, "from": 1, "to": manifest.position,
        "vouchedTo": manifest.position, "commits": checked.commits, "heads": checked.heads,
        "recordedAt": manifest.recorded_at, "size": manifest.position, "rootHash": manifest.root_hash,
        "verifierKey": manifest.verifier_key, "keyFrom": if key.is_some() { "you" } else { "the backup" },
    });
    output.record(&document, COLUMNS, environment::now())?;
    if key.is_none() {
        output.info(
            "The key is the backup's own: that finds damage, and no forger. Give --verifier-key to prove it.",
        );
    }
    Ok(())
}

/// A program reads `verified`, which is true only by the reader's own key; null says that there was none.
fn report(output: Output, found: &Verification) -> Result<(), CommandError> {
    let mut document = json!(found);
    document["consistent"] = true.into();
    document["verified"] = found.is_proved().then_some(true).into();
    if output.format() == OutputFormat::Table && found.is_proved() && found.vouched_to < found.to {
        document["verified"] = format!("up to position {}", found.vouched_to).into();
    }
    output.record(&document, COLUMNS, environment::now())
}

/// The place is data; the words about it go to stderr, once.
fn report_fault(output: Output, fault: &VerifyError) -> Result<(), CommandError> {
    let bad = fault.bad_positions();
    let mut document = json!({
        "verified": false, "consistent": false, "firstBadPosition": bad.map(|(first, _)| first),
        "lastBadPosition": bad.map(|(_, last)| last), "vouchedTo": fault.vouched_to(),
    });
    if output.format() != OutputFormat::Table {
        document["place"] = place(fault);
        document["why"] = fault.to_string().into();
    }
    output.record(&document, COLUMNS, environment::now())?;
    Err(untrue(fault))
}

fn place(fault: &VerifyError) -> Value {
    match fault {
        VerifyError::Untrue { place, .. } => place.to_string().into(),
        VerifyError::Cut { last, .. } => format!("position {}", last.next()).into(),
        VerifyError::Unreadable(_) => Value::Null,
    }
}
