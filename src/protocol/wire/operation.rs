//! `/v1/backup` and `/v1/clock`.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A backup to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = BackupBody))]
pub struct BackupRequest {
    /// The folder below `backup.dir`.
    #[cfg_attr(feature = "utoipa", schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"))]
    pub name: String,
    /// Bring an existing backup up to date; false by default.
    pub incremental: Option<bool>,
    /// Give segments of the log a second name instead of copying them, where `backup.dir` is on their file system; false by
    /// default.
    pub link: Option<bool>,
    /// An age recipient, to which the keys are encrypted. A passphrase never travels: use `tenure backup --data` for
    /// one.
    #[cfg_attr(feature = "utoipa", schema(pattern = "^age1[a-z0-9]{58}$"))]
    pub recipient: Option<String>,
    /// Leave the keys out; then a restore needs a copy of `keys/`. Required unless there is a `recipient`.
    pub without_keys: Option<bool>,
}

/// A backup that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct BackupView {
    /// The last position in it.
    pub position: u64,
    /// The epoch of the history.
    pub epoch: u32,
    /// How many files it has.
    pub files: u64,
    /// How long they are in all.
    pub bytes: u64,
}

/// Where to move the clock: exactly one of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = ClockBody))]
pub struct ClockChange {
    /// Number of seconds.
    pub advance: Option<u64>,
    /// To this time.
    pub to: Option<Timestamp>,
}

/// What time it is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct ClockView {
    /// The authority's time.
    pub now: Timestamp,
}
