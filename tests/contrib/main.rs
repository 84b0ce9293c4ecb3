//! `contrib/`: what operators install is judged by the tools that will read it, and fits the binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compose;
mod container;
mod kubernetes;
mod monitoring;
mod notify;
mod scraped;
mod server;
mod tls;
mod unit;

use tenure_testing::surroundings;
