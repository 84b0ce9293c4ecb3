//! Tenure: the event-sourced session authority, as a library.
//!
//! It issues sessions to agents, people and devices, checks their tokens, lets them renew themselves within
//! limits fixed at the start, ends them, and can say of every answer which recorded fact decided it.
//!
//! # The flow
//!
//! A *command* asks, the *domain* decides, the fact is appended to the *log*, and everything else is derived
//! from the log.
//!
//! ```text
//!   caller ─► api / cli ─► authority ─► domain::decide ─► log.append ─► (durable) ─► domain::evolve ─► reply
//!                                                             │
//!                                                             └─► projections  (lists, histories, the past)
//! ```
//!
//! # Where things are
//!
//! | module | what it is |
//! |---|---|
//! | [`domain`] | the rules: [`decide`](domain::decide) may say no, [`evolve`](domain::evolve) may not; no I/O, no clock, no chance |
//! | [`log`] | the truth: an append-only log of commits, in memory or on disk |
//! | [`tokens`] | proofs: session tokens, API keys, keyed digests |
//! | [`texts`] | text about people, sealed so that it can be forgotten |
//! | [`bus`] | the news: history, then live; notices; webhooks |
//! | [`authority`] | the one write path, and the check |
//! | [`projections`] | answers that no decision asks for; disposable |
//! | [`audit`] | evidence: signed heads, proofs, exports, replay, what-if |
//! | [`admission`] | who is let in while there is room, and who waits when there is not |
//! | [`api`] | HTTP: one table of routes, one table of errors |
//! | [`client`] | for agents and services: calls, and a session held and kept renewed |
//! | [`cli`] | the command line |
//! | [`node`] | an authority on a data directory: what a program embeds |
//! | [`server`] | a node, its API and a socket |
//! | [`verify`] | for services that take tokens: a verifier that follows the revocations, a tower layer; no server code |
//! | [`process`] | what the process may do and what others see of it: file modes, core dumps, descriptors |
//! | `panics` | the panic of a part, kept from ending the others |
//! | `gate` | costly work: a few jobs at once on threads of their own, given up when nobody waits for them |
//! | `memo` | genuine tokens, known by a digest: not to be judged twice by cryptography |
//! | [`config`], [`clock`], [`entropy`], [`key_files`], `outbound`, [`telemetry`] | settings, time, chance, secret files, requests to elsewhere, log lines: the edges of the process |
//!
//! Which may use which is said in `tests/tidy/arrows.rs`, and held by it. `docs/architecture.md` walks through a renewal
//! and names the place of the next event, route, setting and command.
//!
//! # In a program
//!
//! ```
//! use tenure::{
//!     authority::{Context, NewProfile, NewSession},
//!     core::Actor,
//!     node::{Node, Options},
//! };
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let node = Node::open(Options::new(directory.path()))?;
//! let context = Context::of(Actor::AUTHORITY);
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
    self as server, admission, authority, config, http, node, notify, personal_data, process, projections,
    service, telemetry, tokens,
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
