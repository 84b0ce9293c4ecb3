//! For services that take Tenure's tokens: checks them, offline or by asking, and protects a tower service.
//!
//! There is no server in it: it uses the domain's value types, time, chance, requests, and nothing else of this crate
//! but the memory of genuine tokens.
//!
//! ```text
//!   request ─► ProtectLayer ─► Verifier ─► Memo, or one Ed25519 verification ─► State: keys, revocations, freshness
//!                   │                                                            ▲
//!                   │                                      Follower ─► Connection: GET keys, GET revocations/feed
//!                   │                                      (and its stream, as it happens)
//!                   └────────► Introspection ─────────────────────────► Connection: POST introspect
//! ```
//!
//! - [`Verifier`] judges **access tokens** (PASETO v4.public) without asking anyone. A [`Follower`] keeps it fresh. It
//!   fails closed: when the last complete news were asked for longer ago than [`Rules::staleness_bound`], it refuses
//!   every token, and so it does until the authority has told all for the first time.
//! - [`Introspection`] asks the authority about each **session token**.
//! - [`ProtectLayer`] lets requests through by either of them.
//!
//! `docs/verify.md` says what the bound means, and `examples/protected_service.rs` is a whole service.

mod checked;
mod claims;
mod connection;
mod denial;
mod follower;
mod holder;
mod introspection;
mod pace;
mod paseto;
mod protect;
mod reading;
mod rejection;
mod revoked;
mod ring;
mod rules;
mod state;
mod stream;
mod verifier;

pub use self::{
    claims::AccessClaims,
    connection::{Connection, UnfitConnection},
    follower::Follower,
    holder::Holder,
    introspection::Introspection,
    protect::{ProtectLayer, Protected, UnfitScope},
    rejection::Rejection,
    rules::{Rules, UnfitRules},
    state::Standing,
    verifier::Verifier,
};
