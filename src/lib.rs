//! Tenure: the event-sourced session authority.

pub mod domain;
