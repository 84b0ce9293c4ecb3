//! Tenure: the event-sourced session authority.

pub mod domain;
pub mod log;
