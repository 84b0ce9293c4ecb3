//! Tenure: the event-sourced session authority.

pub mod clock;
pub mod domain;
pub mod entropy;
