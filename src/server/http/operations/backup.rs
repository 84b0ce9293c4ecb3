//! `POST /v1/backup`: a backup of the running authority, into a folder below `backup.dir`.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::backup::{BackupError, BackupFolder, BackupMode, BackupSummary, KeyProtection};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{call::ApiCall, fields::RequestFields},
};

/// A backup to make.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `asked` reads")]
pub(crate) struct BackupBody {
    /// The folder below `backup.dir`.
    #[schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
    name: String,
    /// Bring an existing backup up to date; false by default.
    incremental: Option<bool>,
    /// Give segments of the log a second name instead of copying them, where `backup.dir` is on their file system; false by
    /// default.
    link: Option<bool>,
    /// An age recipient, to which the keys are encrypted. A passphrase never travels: use `tenure backup --data` for
    /// one.
    #[schema(pattern = "^age1[a-z0-9]{58}$")]
    recipient: Option<String>,
    /// Leave the keys out; then a restore needs a copy of `keys/`. Required unless there is a `recipient`.
    without_keys: Option<bool>,
}

/// A backup that was made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BackupView {
    /// The last position in it.
    position: u64,
    /// The epoch of the history.
    epoch: u32,
    /// How many files it has.
    files: u64,
    /// How long they are in all.
    bytes: u64,
}

struct BackupRequest {
    name: Option<String>,
    way: BackupMode,
    protection: KeyProtection,
}

fn parse(fields: &mut RequestFields) -> BackupRequest {
    let name = fields.raw_text("name");
    let name = fields.required("name", name);
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        fields.fault("name", "must be 1 to 64 of A-Z a-z 0-9 . _ -, and not begin with a dot");
    }
    let is_incremental = fields.flag("incremental").unwrap_or(false);
    let is_linked = fields.flag("link").unwrap_or(false);
    let without_keys = fields.flag("withoutKeys").unwrap_or(false);
    let protection = match (fields.raw_text("recipient"), without_keys) {
        (Some(recipient), false) => KeyProtection::Recipient(recipient),
        (Some(_), true) => {
            fields.fault("recipient", "must not be given together with withoutKeys");
            KeyProtection::WithoutKeys
        }
        (None, true) => KeyProtection::WithoutKeys,
        (None, false) => {
            fields.fault("recipient", "is required, unless withoutKeys is true");
            KeyProtection::WithoutKeys
        }
    };
    if protection.check().is_err() {
        fields.fault("recipient", "must be an age recipient, age1 and 58 characters");
    }
    BackupRequest { name, way: BackupMode { is_incremental, is_linked }, protection }
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || [b'.', b'_', b'-'].contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_part) && !name.starts_with('.')
}

/// Back up the running authority into a folder below `backup.dir`.
///
/// The authority goes on meanwhile. A folder that holds a whole backup is refused without `incremental`; one that was
/// not finished is completed. The reply comes when the backup is whole and on disk.
#[utoipa::path(post, path = "/v1/backup", tag = "operation", operation_id = "backUp",
    request_body = BackupBody,
    responses((status = 200, description = "The backup is whole.", body = BackupView)))]
pub(crate) async fn backup(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let BackupRequest { name, way, protection } = parse(&mut fields);
    fields.finish()?;
    let name = name.ok_or(ProblemCode::InvalidRequest)?;
    let Some(directory) = &call.api.settings.backup_dir else {
        return Err(Problem::invalid(
            "name",
            "backup.dir is not set: this authority makes no backups by request",
        ));
    };
    let (place, backups) = (directory.join(name), Arc::clone(&call.api.backups));
    let made = move || {
        let folder = BackupFolder::made_at(place)
            .map_err(|source| BackupError::Io { file: "backup.dir".into(), source })?;
        backups.take(&folder, way, &protection)
    };
    let made = call.api.costly.backup(made).await.unwrap_or(Ok(Err(BackupError::Busy)))?;
    let BackupSummary { position, epoch, files, bytes } = made.map_err(refused)?;
    Ok(HttpReply::ok(&BackupView { position, epoch, files, bytes }))
}

/// What is wrong with the place is the caller's to mend; what is wrong with the disk is reported to the operator.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn refused(error: BackupError) -> Problem {
    if error.is_of_the_place() {
        return Problem::from(ProblemCode::BackupConflict).saying(error.to_string());
    }
    if matches!(error, BackupError::Busy) {
        let mut problem = Problem::from(ProblemCode::RateLimited).saying(error.to_string());
        problem.retry_after = Some(10);
        return problem;
    }
    tracing::error!(%error, "a backup could not be made");
    Problem::from(ProblemCode::StorageUnavailable).saying("the backup could not be made; the log says why")
}
