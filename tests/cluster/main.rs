//! Several nodes on one log: the real program beside a real broker.

#![expect(clippy::unwrap_used, reason = "these tests say what went wrong by panicking, in their helpers too")]

mod bench;
mod certificates;
mod checkpoints;
mod clock;
mod cut_off;
mod deposed;
mod ended;
mod erasure;
mod failover;
mod followers;
mod handover;
mod heads;
mod joining;
mod key_pages;
mod linear;
mod mending;
mod node;
mod own_answers;
mod pair;
mod permissions;
mod siege;
mod slow_append;
mod standby;
mod strangers;
mod traces;
mod webhooks;

use tenure_testing::broker;
