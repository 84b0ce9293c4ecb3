//! Tenure: the event-sourced session authority.

pub mod cli;
pub mod domain;
pub mod server;
