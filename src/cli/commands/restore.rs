//! `tenure restore`

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    backup::{failed_at, passphrase, secret_of},
    serve::{effective, setting},
};
use crate::cli::{
    context::GlobalArgs,
    environment,
    failure::CommandError,
    output::{Column, Output},
};
use tenure_server::{
    backup::{
        BackupFolder, KeyOpener, KeySource, RestoreRequest as Asked, RestoreSummary, SecretString, restore,
    },
    config::ConfigFlag,
};

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder of the backup
    #[arg(value_name = "DEST")]
    from: PathBuf,

    /// The data directory to make; it must be empty or absent
    #[arg(long, value_name = "NEWDIR")]
    data: PathBuf,

    #[command(flatten)]
    keys: KeyArgs,

    /// File with the newest signed heads, such as audit.head_file: one that was signed at an orderly stop proves the end
    #[arg(long, value_name = "NOTE")]
    head: Option<PathBuf>,

    /// The old data directory, whose server is stopped: what it has beyond the backup is restored too
    #[arg(long, value_name = "OLD")]
    tail: Option<PathBuf>,

    /// Restore although events may be missing: a new epoch begins, every session ends, every API key is held
    #[arg(long)]
    accept_loss: bool,

    /// In a new epoch, leave API keys as they are in the backup
    #[arg(long, requires = "accept_loss")]
    keep_credentials: bool,

    /// Settings file (TOML) of the restored server, for audit.head_file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// One setting, such as audit.head_file=/mnt/other/heads; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    set: Vec<String>,
}

/// What opens the keys.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct KeyArgs {
    /// File with the age identity, AGE-SECRET-KEY-1…, of the recipient of the backup
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,

    /// File with the passphrase of the backup
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,

    /// Take the keys from this directory, a copy of DATA/keys of the authority that was backed up
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "data"),
    Column::plain("", "position"),
    Column::plain("", "epoch"),
    Column::plain("", "backupPosition"),
    Column::moment("", "backupRecordedAt"),
    Column::plain("", "sessionsEnded"),
    Column::plain("", "adminKeyFile"),
    Column::plain("", "verifierKey"),
];

impl RestoreArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let flags = self.set.iter().map(|text| ConfigFlag::set(text)).collect();
        let config = effective(self.config.as_deref(), flags)?;
        let head = self.head.as_ref().map(|path| {
            let bytes = fs::read(path).map_err(|source| CommandError::File { path: path.clone(), source });
            bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        let asked = Asked {
            data: self.data.clone(),
            keys: self.keys.read()?,
            head: head.transpose()?,
            tail: self.tail.clone(),
            accept_loss: self.accept_loss,
            keep_credentials: self.keep_credentials,
            head_file: config.audit.head_file.clone(),
        };
        let restored = restore(&BackupFolder::at(&self.from), &asked).map_err(failed_at(&self.from))?;
        self.report(global.output(), &restored)
    }

    fn report(&self, output: Output, restored: &RestoreSummary) -> Result<(), CommandError> {
        let document = json!({
            "data": self.data.display().to_string(),
            "position": restored.position,
            "epoch": restored.epoch,
            "backupPosition": restored.backup_position,
            "backupRecordedAt": restored.backup_recorded_at,
            "newEpoch": restored.begun.is_some(),
            "sessionsEnded": restored.begun.map(|begun| begun.ended),
            "credentialsHeld": restored.begun.is_some() && !self.keep_credentials,
            "suspendedSubjects": restored.suspended,
            "adminKeyFile": restored.admin_key.as_ref().map(|path| path.display().to_string()),
            "verifierKey": restored.verifier_key,
        });
        output.record(&document, COLUMNS, environment::now())?;
        for line in self.redo(restored) {
            output.info(&line);
        }
        Ok(())
    }

    /// What an operator must do by hand.
    fn redo(&self, restored: &RestoreSummary) -> Vec<String> {
        if restored.begun.is_none() {
            return vec!["Nothing is missing: the history goes on where it ended.".to_owned()];
        }
        let since = &restored.backup_recorded_at;
        let mut lines = vec![
            format!(
                "A new epoch began. What was recorded after {since} is missing, so do by hand, before callers are let in:"
            ),
            "- erase again every subject that was erased since: tenure subject erase".to_owned(),
            format!(
                "- suspend again every subject that was suspended since; {} are suspended now",
                restored.suspended
            ),
            "- revoke again every API key that was revoked since: tenure credential revoke".to_owned(),
        ];
        if self.keep_credentials {
            lines.push("- look at all API keys: they were kept as they were in the backup".to_owned());
        } else {
            lines.push("- then confirm the others: tenure credential confirm ID, or --all".to_owned());
        }
        lines.push("- give auditors and verifiers of heads the new verifier key".to_owned());
        lines.push(
            "- create sessions again; services that check access tokens notice by themselves".to_owned(),
        );
        lines
    }
}

impl KeyArgs {
    fn read(&self) -> Result<KeySource, CommandError> {
        Ok(match (&self.identity, &self.passphrase_file, &self.keys) {
            (Some(file), _, _) => {
                KeySource::Sealed(KeyOpener::Identities(SecretString::from(secret_of(file)?)))
            }
            (None, Some(file), _) => KeySource::Sealed(KeyOpener::Passphrase(passphrase(file)?)),
            (None, None, Some(directory)) => KeySource::Directory(directory.clone()),
            (None, None, None) => KeySource::Unspecified,
        })
    }
}
