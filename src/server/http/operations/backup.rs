//! `POST /v1/backup`: a backup of the running authority, into a folder below `backup.dir`.

use std::sync::Arc;

use tenure_protocol::wire::operation::{BackupRequest, BackupView};

use crate::backup::{BackupError, BackupFolder, BackupMode, BackupSummary, KeyProtection};
use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{body::RequestBody, call::ApiCall, fields::RequestFields},
};

impl RequestBody for BackupRequest {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let name = fields.raw_text("name");
        let name = fields.required("name", name);
        if name.as_deref().is_some_and(|name| !is_name(name)) {
            fields.fault("name", "must be 1 to 64 of A-Z a-z 0-9 . _ -, and not begin with a dot");
        }
        let incremental = fields.flag("incremental");
        let link = fields.flag("link");
        let without_keys = fields.flag("withoutKeys");
        let recipient = fields.raw_text("recipient");
        match (&recipient, without_keys == Some(true)) {
            (Some(_), true) => fields.fault("recipient", "must not be given together with withoutKeys"),
            (None, false) => fields.fault("recipient", "is required, unless withoutKeys is true"),
            (Some(_), false) | (None, true) => {}
        }
        if protection(recipient.as_deref(), without_keys).check().is_err() {
            fields.fault("recipient", "must be an age recipient, age1 and 58 characters");
        }
        Some(Self { name: name?, incremental, link, recipient, without_keys })
    }
}

fn protection(recipient: Option<&str>, without_keys: Option<bool>) -> KeyProtection {
    match recipient {
        Some(recipient) if without_keys != Some(true) => KeyProtection::Recipient(recipient.to_owned()),
        Some(_) | None => KeyProtection::WithoutKeys,
    }
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
    request_body = BackupRequest,
    responses((status = 200, description = "The backup is whole.", body = BackupView)))]
pub(crate) async fn backup(call: ApiCall) -> Result<HttpReply, Problem> {
    let BackupRequest { name, incremental, link, recipient, without_keys } = call.read()?;
    let protection = protection(recipient.as_deref(), without_keys);
    let way = BackupMode { is_incremental: incremental == Some(true), is_linked: link == Some(true) };
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
