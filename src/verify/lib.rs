//! For services that take Tenure's tokens: checks them, offline or by asking, and protects a tower service.
//!
//! ```
//! use tenure_verify::{AuthorityConnection, Verifier, VerifierConfig};
//!
//! # async fn serve(bearer: &str) -> Result<(), Box<dyn std::error::Error>> {
//! // Access tokens of this authority that were made for us.
//! let verifier = Verifier::new(VerifierConfig::of("https://auth.example.com").for_audience("orders"))?;
//! // Asks for keys and revocations, for as long as it is kept. Without it every token is refused.
//! let _follower = verifier.follow(AuthorityConnection::to("https://auth.example.com", "tnr_key_…")?);
//! verifier.ready().await;
//!
//! match verifier.check(bearer) {
//!     Ok(claims) => println!("{} may {}", claims.subject, claims.scopes.join(" ")),
//!     Err(rejection) if rejection.is_temporary() => println!("try again later: {rejection}"),
//!     Err(rejection) => println!("refused: {rejection}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - [`Verifier`] judges **access tokens** (PASETO v4.public) without asking anyone. A [`FeedFollower`] keeps it fresh. It
//!   fails closed: if the last complete answer was asked for longer ago than [`VerifierConfig::staleness_bound`], or if
//!   none has arrived yet, it refuses every token.
//! - [`Introspection`] asks the authority about each **session token**.
//! - [`ProtectLayer`] lets requests through by either of them.
//!
//! ```text
//!   request ─► ProtectLayer ─► Verifier ─► TokenCache, or one Ed25519 verification ─► keys, revocations, freshness
//!                   │                                                                   ▲
//!                   │                              FeedFollower ─► AuthorityConnection: GET keys, GET revocations/feed
//!                   │                                              (and its stream, as it happens)
//!                   └────────► Introspection ────► AuthorityConnection: POST introspect
//! ```
//!
//! There is no server code in it. `docs/verify.md` says what the bound means, and `examples/protected_service.rs` is a
//! whole service.

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
