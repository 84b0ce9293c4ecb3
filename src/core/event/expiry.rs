//! That a session ended by itself.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{id::SessionId, time::Timestamp};

/// A session's period was over, and it had not been ended. A sweep records it once; no answer depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionExpired {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// When it ended.
    #[n(1)]
    pub expires_at: Timestamp,
    /// Which of its limits that was.
    #[n(2)]
    pub cause: ExpiryCause,
}

/// The limit at which a session ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryCause {
    /// Its period was over, and it was not renewed.
    #[n(0)]
    Ttl,
    /// It was not used for its idle time.
    #[n(1)]
    Idle,
    /// Its absolute end was reached.
    #[n(2)]
    Absolute,
}
