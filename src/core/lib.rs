//! The rules, pure: no I/O, no async, no clock, no randomness.
//!
//! Two functions are the centre. [`decide`](fn@decide::decide) says what follows from a command, or refuses;
//! [`evolve`](fn@evolve::evolve) says what a fact makes of the state, or raises an alarm. Time, ids, jitter
//! and digests of secrets travel in the command, so the same inputs always give the same bytes.

mod active;
pub mod activity;
pub mod budget;
pub mod bulk;
pub mod command;
pub mod commit;
pub mod decide;
pub mod epoch;
pub mod event;
pub mod eviction;
pub mod evolve;
pub mod fold;
pub mod interned;
pub mod keys;
mod kind;
mod match_count;
pub mod observed;
mod packed;
pub mod policy;
mod profile;
pub mod refusal;
pub mod scope;
pub mod session;
pub mod session_fields;
mod session_parts;
pub mod state;
pub mod subject;
pub mod suspension;
pub mod system;
pub mod text;
pub mod webhook;

pub use tenure_protocol::{
    Amount, CommitId, CredentialId, Digest16, EventId, Generation, OnLimit, OnReuse, OwnerId, Position,
    Seconds, SessionId, SubjectId, Timestamp, WebhookId, amount, id, time, token,
};

pub use active::ActiveSessions;
pub use activity::SessionMode;
pub use commit::{Actor, Commit, StreamId};
pub use epoch::{EpochPosition, Epochs};
pub use event::{Event, EventKind, KindSet, SubjectEvent, SystemEvent};
pub use keys::{KeyId, KeyUse};
pub use policy::Policy;
pub use text::SealedText;
pub use webhook::NoticeKind;
