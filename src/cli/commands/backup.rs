//! `tenure backup`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{
    connection::client::ApiRequest,
    context::GlobalArgs,
    environment,
    failure::{CommandError, ExitStatus},
    output::Column,
};
use tenure_protocol::wire::operation::BackupRequest;
use tenure_server::{
    backup::{
        BackupError, BackupFolder, BackupMaker, BackupMode, BackupSummary, KeyProtection, SecretString,
    },
    node::{Node, NodeOptions},
};

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A name below the server's backup.dir; with --data, a folder
    #[arg(value_name = "DEST")]
    to: String,

    /// Bring an existing backup up to date: writes only what is new
    #[arg(long)]
    incremental: bool,

    /// Hard-link closed segments instead of copying them, where the folder is on
    /// the file system of the data directory
    #[arg(long)]
    link: bool,

    #[command(flatten)]
    protection: ProtectionArgs,

    /// Back up this data directory, whose server is stopped
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// How the keys are kept from who reads the backup.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ProtectionArgs {
    /// Encrypt the keys to this age recipient, age1…
    #[arg(long, value_name = "AGE")]
    recipient: Option<String>,

    /// Encrypt the keys under the passphrase in this file; needs --data
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,

    /// Leave the keys out: a restore then needs --keys
    #[arg(long)]
    without_keys: bool,
}

const COLUMNS: &[Column] = &[
    Column::plain("", "position"),
    Column::plain("", "epoch"),
    Column::plain("", "files"),
    Column::plain("", "bytes"),
];

impl BackupArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let made = match &self.data {
            Some(data) => self.of_stopped(data)?,
            None => self.of_running(global)?,
        };
        global.output().record(&made, COLUMNS, environment::now())
    }

    fn of_running(&self, global: &GlobalArgs) -> Result<Value, CommandError> {
        if self.protection.passphrase_file.is_some() {
            let why =
                "a passphrase never travels to a server: give --recipient, or --data DIR of a stopped one";
            return Err(CommandError::Usage(why.to_owned()));
        }
        if self.to.contains('/') {
            let why = "DEST is a name below the server's backup.dir; a stopped server is backed up to any folder, with \
                       --data DIR";
            return Err(CommandError::Usage(why.to_owned()));
        }
        let cli = global.context()?;
        let body = BackupRequest {
            name: self.to.clone(),
            incremental: Some(self.incremental),
            link: Some(self.link),
            recipient: self.protection.recipient.clone(),
            without_keys: Some(self.protection.without_keys),
        };
        let request = ApiRequest::post(&["v1", "backup"], body);
        Ok(cli.client.send(&request)?.body)
    }

    fn of_stopped(&self, data: &Path) -> Result<Value, CommandError> {
        if !data.join("log").exists() {
            let is_node = data.join("copy").exists();
            let why = if is_node {
                "is the directory of a node of several: ask the running cluster (--url)"
            } else {
                "is no data directory of Tenure"
            };
            return Err(CommandError::Missing(format!("{} {why}", data.display())));
        }
        let protection = self.protection.read()?;
        protection.check().map_err(failed)?;
        let node = Node::open(NodeOptions::of_stopped(data))
            .map_err(|error| CommandError::Server(error.to_string()))?;
        let taken = BackupFolder::made_at(&self.to)
            .map_err(|source| CommandError::File { path: PathBuf::from(&self.to), source })
            .and_then(|folder| {
                let way = BackupMode { is_incremental: self.incremental, is_linked: self.link };
                BackupMaker::of_unused(&node).take(&folder, way, &protection).map_err(failed)
            });
        node.stop();
        let BackupSummary { position, epoch, files, bytes } = taken?;
        Ok(json!({ "position": position, "epoch": epoch, "files": files, "bytes": bytes }))
    }
}

impl ProtectionArgs {
    fn read(&self) -> Result<KeyProtection, CommandError> {
        Ok(match (&self.recipient, &self.passphrase_file) {
            (Some(recipient), _) => KeyProtection::Recipient(recipient.clone()),
            (None, Some(file)) => KeyProtection::Passphrase(passphrase(file)?),
            (None, None) => KeyProtection::WithoutKeys,
        })
    }
}

/// What is in a file that holds a secret.
pub(super) fn secret_of(file: &Path) -> Result<String, CommandError> {
    fs::read_to_string(file).map_err(|source| CommandError::File { path: file.to_owned(), source })
}

/// The passphrase in a file, without the end of its line.
pub(super) fn passphrase(file: &Path) -> Result<SecretString, CommandError> {
    let text = secret_of(file)?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(CommandError::Usage(format!("{} holds no passphrase", file.display())));
    }
    Ok(SecretString::from(text.to_owned()))
}

/// The same where a backup is read from a place that was typed.
pub(super) fn failed_at(place: &Path) -> impl FnOnce(BackupError) -> CommandError + '_ {
    move |error| {
        if matches!(error, BackupError::Absent(_)) {
            return CommandError::Missing(format!("{}: {error}", place.display()));
        }
        failed(error)
    }
}

/// What a backup or a restore failed with.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(super) fn failed(error: BackupError) -> CommandError {
    let why = error.to_string();
    let unhealthy = |exit| CommandError::Unhealthy { exit, why: why.clone() };
    match error {
        BackupError::Damaged { .. } | BackupError::Untrue(_) | BackupError::Contradicted(_) => {
            unhealthy(ExitStatus::VerificationFailed)
        }
        BackupError::Exists(_)
        | BackupError::NotOurs(_)
        | BackupError::OtherHistory(_)
        | BackupError::Busy
        | BackupError::KeysNeeded
        | BackupError::NotEmpty(_)
        | BackupError::EndNotProved { .. }
        | BackupError::Unfinished
        | BackupError::Keys(_)
        | BackupError::Start(_) => unhealthy(ExitStatus::Conflict),
        BackupError::Absent(_) => CommandError::Missing(why),
        BackupError::NoRecipient
        | BackupError::NotOpened { .. }
        | BackupError::OpenerNeeded
        | BackupError::Unusable(_)
        | BackupError::OtherFormat { .. } => CommandError::Usage(why),
        BackupError::Io { .. }
        | BackupError::Encryption(_)
        | BackupError::Log(_)
        | BackupError::Undecodable(..)
        | BackupError::Open(_)
        | BackupError::Head(_)
        | BackupError::Webhooks(_) => CommandError::Server(why),
    }
}
