//! Tenure: the event-sourced session authority.

pub mod clock;
pub mod config;
pub mod domain;
pub mod entropy;
pub mod key_files;
pub mod telemetry;
pub mod texts;
pub mod tokens;
