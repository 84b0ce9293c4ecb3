//! What the parts of Tenure share: ids, times, amounts, positions, the format of tokens, and the requests and replies of
//! the API ([`wire`]); and the clock and the source of randomness, which are arguments wherever they are needed.
//!
//! What was checked has a type of its own, so nothing is checked twice:
//!
//! ```
//! use tenure_protocol::{SubjectId, Timestamp};
//!
//! let subject: SubjectId = "agent-7".parse()?;
//! assert_eq!(subject.as_str(), "agent-7");
//! assert!("no spaces here".parse::<SubjectId>().is_err());
//! assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod actor;
pub mod amount;
pub mod clock;
pub mod credential;
pub mod entropy;
pub mod epoch;
pub mod id;
pub mod key_use;
pub mod limits;
#[cfg(feature = "utoipa")]
pub mod schema;
pub mod secret;
pub mod session;
pub mod subject;
pub mod time;
pub mod token;
pub mod token_cache;
pub mod webhook;
pub mod wire;

pub use amount::Amount;
pub use epoch::EpochPosition;
pub use id::{
    CommitId, CredentialId, Digest16, EventId, Generation, KeyId, OwnerId, Position, SessionId, SubjectId,
    WebhookId,
};
pub use limits::{OnLimit, OnReuse};
pub use secret::Secret;
pub use time::{Seconds, Timestamp};
