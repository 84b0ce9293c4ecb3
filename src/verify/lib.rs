//! For services that take Tenure's tokens: checks them, offline or by asking, and protects a tower service.
//!
//! There is no server in it: it uses the domain's value types, time, chance, requests, and nothing else of this crate
//! but the memory of genuine tokens.
//!
//! ```text
//!   request ─► ProtectLayer ─► Verifier ─► Memo, or one Ed25519 verification ─► State: keys, revocations, freshness
//!                   │                                                            ▲
//!                   │                                      FeedFollower ─► AuthorityConnection: GET keys, GET revocations/feed
//!                   │                                      (and its stream, as it happens)
//!                   └────────► Introspection ─────────────────────────► AuthorityConnection: POST introspect
//! ```
//!
//! - [`Verifier`] judges **access tokens** (PASETO v4.public) without asking anyone. A [`FeedFollower`] keeps it fresh. It
//!   fails closed: if the last complete answer was asked for longer ago than [`VerifierConfig::staleness_bound`], or if
//!   none has arrived yet, it refuses every token.
//! - [`Introspection`] asks the authority about each **session token**.
//! - [`ProtectLayer`] lets requests through by either of them.
//!
//! `docs/verify.md` says what the bound means, and `examples/protected_service.rs` is a whole service.

mod challenge;
mod claims;
mod config;
mod connection;
mod feed_cursor;
mod follower;
mod introspection;
mod key_set;
mod paseto;
mod polling;
mod principal;
mod protect;
mod rejection;
mod responses;
mod revoked;
mod state;
mod stream;
mod verifier;

pub use self::{
    claims::AccessClaims,
    config::{InvalidConfig, VerifierConfig},
    connection::{AuthorityConnection, UnfitConnection},
    follower::FeedFollower,
    introspection::Introspection,
    principal::Principal,
    protect::{ProtectLayer, ProtectedService, UnfitScope},
    rejection::Rejection,
    state::VerifierStatus,
    verifier::Verifier,
};
