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
//! | module | what it is | what it may use |
//! |---|---|---|
//! | [`domain`] | the rules: [`decide`](domain::decide) may say no, [`evolve`](domain::evolve) may not; no I/O, no clock, no chance | nothing of ours |
//! | [`log`] | the truth: an append-only log of commits, in memory or on disk | domain |
//! | [`tokens`] | proofs: session tokens, API keys, keyed digests | domain, memo, entropy, key files |
//! | [`texts`] | text about people, sealed so that it can be forgotten | domain, entropy, key files |
//! | [`bus`] | the news: history, then live; notices; webhooks | domain, log, clock, entropy, key files, outbound |
//! | [`authority`] | the one write path, and the check | domain, log, bus, tokens, texts, clock, entropy |
//! | [`projections`] | answers that no decision asks for; disposable | domain, log |
//! | [`audit`] | evidence: signed heads, proofs, exports, replay, what-if | domain, log, entropy, key files |
//! | [`api`] | HTTP: one table of routes, one table of errors | all of the above, config |
//! | [`client`] | for agents and services: calls, and a session held and kept renewed | domain, clock, entropy, outbound |
//! | [`cli`] | the command line | all |
//! | [`node`] | an authority on a data directory: what a program embeds | all but api, server and cli |
//! | [`server`] | a node, its API and a socket | all but cli |
//! | [`verify`] | for services that take tokens: a verifier that follows the revocations, a tower layer; no server code | domain, memo, clock, entropy, outbound |
//! | `memo` | genuine tokens, known by a digest: not to be judged twice by cryptography | entropy |
//! | [`config`], [`clock`], [`entropy`], [`key_files`], `outbound`, [`telemetry`] | settings, time, chance, secret files, requests to elsewhere, log lines: the edges of the process | domain at most |
//!
//! `tests/tidy/arrows.rs` holds these arrows. `docs/architecture.md` walks through a renewal and names the place of
//! the next event, route, setting and command.
//!
//! # In a program
//!
//! ```
//! use tenure::{
//!     authority::{Context, NewProfile, NewSession},
//!     domain::Actor,
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
//! let token = created.now().ok_or("a context without an idempotency key is never a repeat")?.token;
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

pub mod api;
pub mod audit;
pub mod authority;
pub mod bus;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod domain;
pub mod entropy;
pub mod key_files;
pub mod log;
mod memo;
pub mod node;
mod outbound;
pub mod projections;
pub mod server;
pub mod telemetry;
pub mod texts;
pub mod tokens;
pub mod verify;

/// Compiles the Rust in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the Rust in the page on the client.
#[cfg(doctest)]
#[doc = include_str!("../docs/client.md")]
struct ClientPage;
