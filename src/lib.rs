//! Tenure: the event-sourced session authority.

pub mod clock;
pub mod domain;
pub mod entropy;
pub mod key_files;
pub mod texts;
pub mod tokens;
