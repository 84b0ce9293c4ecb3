//! The words that everybody who speaks of sessions shares: ids, times, amounts, positions and the format of tokens.

pub mod amount;
pub mod clock;
pub mod entropy;
pub mod id;
pub mod limits;
#[cfg(feature = "utoipa")]
pub mod schema;
pub mod time;
pub mod token;
pub mod token_cache;

pub use amount::Amount;
pub use id::{
    CommitId, CredentialId, Digest16, EventId, Generation, OwnerId, Position, SessionId, SubjectId, WebhookId,
};
pub use limits::{OnLimit, OnReuse};
pub use time::{Seconds, Timestamp};
