//! Tenure: the event-sourced session authority.

pub mod api;
pub mod authority;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod entropy;
pub mod key_files;
pub mod log;
pub mod node;
pub mod projections;
pub mod server;
pub mod telemetry;
pub mod texts;
pub mod tokens;
