//! Tenure: the event-sourced session authority, as a library.
//!
//! It issues sessions to agents, people and devices, checks their tokens, lets them renew themselves within
//! limits fixed at the start, ends them, and can say of every answer which recorded fact decided it.
//!
//! # The flow
//!
//! A *command* asks, the *core* decides, the fact is appended to the *log*, and everything else is derived
//! from the log.
//!
//! ```text
//!   caller ─► http / cli ─► authority ─► core::decide ─► log.append ─► (durable) ─► core::evolve ─► reply
//!                                                             │
//!                                                             └─► projections  (lists, histories, the past)
//! ```
//!
//! # Where things are
//!
//! Each part is a crate of its own, which this one shows under a short name; the parts of the server that a program
//! embeds are shown at the top as well.
//!
//! | module | crate | what it is |
//! |---|---|---|
//! | [`core`] | `tenure-core` | the rules: [`decide`](core::decide) may say no, [`evolve`](core::evolve) may not; no I/O, no clock, no chance |
//! | [`log`] | `tenure-log` | the truth: an append-only log of commits, in memory or on disk |
//! | [`audit`] | `tenure-audit` | evidence: signed heads, proofs, exports, replay, what-if |
//! | [`client`] | `tenure-client` | for agents and services: calls, and a session held and kept renewed |
//! | [`verify`] | `tenure-verify` | for services that take tokens: a verifier that follows the revocations, a tower layer; no server code |
//! | [`server`] | `tenure-server` | everything that runs: [`node`], [`authority`], [`http`], [`notify`], [`serve`] and the rest |
//! | [`clock`], [`entropy`] | `tenure-protocol` | time and chance, which are arguments everywhere |
//! | [`cli`] | | the command line |
//!
//! Cargo holds the arrows between the crates, and `tests/tidy/arrows.rs` those inside the server. `docs/architecture.md`
//! walks through a renewal and names the place of the next event, route, setting and command.
//!
//! # In a program
//!
//! ```
//! use tenure::{
//!     authority::{NewProfile, NewSession, RequestContext},
//!     core::Actor,
//!     node::{Node, NodeOptions},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let node = Node::open(NodeOptions::new(directory.path()))?;
//! let context = RequestContext::of(Actor::AUTHORITY);
//!
//! let agent = "agent-7".parse()?;
//! node.authority.register_subject(context.clone(), agent, NewProfile::default(), true).await?;
//! let created = node.authority.create_session(context, NewSession::of("agent-7".parse()?)).await?;
//! let token = created.token;
//!
//! let session = node.authority.introspect(token.expose()).expect("it was just created");
//! assert_eq!(session.subject.as_str(), "agent-7");
//! node.stop();
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` goes on to a renewal, a lost reply, an owner's veto and the events of it all. A program whose
//! authority runs elsewhere uses [`client`]; `examples/agent.rs` is one.

pub mod cli;

pub use tenure_audit as audit;
pub use tenure_client as client;
pub use tenure_core as core;
pub use tenure_log as log;
pub use tenure_protocol::{clock, entropy};
pub use tenure_server::{
    self as server, admission, authority, backup, config, http, node, notify, personal_data, process,
    projections, serve, telemetry, tokens,
};
pub use tenure_verify as verify;

/// Compiles the Rust in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the Rust in the page on the client.
#[cfg(doctest)]
#[doc = include_str!("../docs/client.md")]
struct ClientPage;
