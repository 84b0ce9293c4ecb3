//! The way of a command: queued, decided in order, made durable in a batch, published, answered.

pub(super) mod batch;
pub(super) mod bulk_application;
pub(super) mod carrying;
pub(super) mod command_queue;
pub(super) mod doubt;
pub(super) mod eviction;
pub(super) mod following;
pub(super) mod health;
pub(super) mod key_destruction;
mod observing;
pub(super) mod passage;
pub(super) mod relay;
pub(super) mod request;
mod restricted;
pub(super) mod room;
pub(super) mod sequencer;
