//! The way of a command: queued, decided in order, made durable in a batch, published, answered.

pub(super) mod batch;
pub(super) mod bulk_application;
pub(super) mod carrying;
pub(super) mod command_queue;
pub(super) mod disk_room;
pub(super) mod eviction;
pub(super) mod following;
pub(super) mod health;
pub(super) mod key_destruction;
pub(super) mod log_damage;
mod observing;
pub(super) mod passage;
pub(super) mod relay;
pub(super) mod request;
mod restricted;
pub(super) mod sequencer;
