//! The way of a command: queued, decided in order, made durable in a batch, published, answered.

pub(super) mod batch;
pub(super) mod batch_size;
pub(super) mod bulk_application;
pub(super) mod command_queue;
pub(super) mod control;
pub(super) mod disk_room;
pub(super) mod eviction;
mod following;
pub(super) mod health;
pub(super) mod key_destruction;
pub(super) mod log_damage;
mod observation;
mod own_records;
pub(super) mod recalled_sessions;
pub(super) mod relay;
pub(super) mod request;
mod restricted_mode;
pub(super) mod sequencer;
pub(super) mod timings;
