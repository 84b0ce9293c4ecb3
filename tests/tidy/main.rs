//! What holds the house: the arrows between its folders, its style, and documents that agree with the code.
//!
//! `TENURE_BLESS=1 cargo test --locked --test tidy` writes the generated blocks of the documents anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod anchors;
mod arrows;
mod blocks;
mod catalogue;
mod circles;
mod claims;
mod columns;
mod commands;
mod compiled;
mod dependencies;
mod documents;
mod map;
mod notices;
mod openapi;
mod style;
mod tree;
