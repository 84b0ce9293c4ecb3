//! `tenure audit …`: on a running server, on the data directory of a stopped one, or on an export.

mod diff;
mod export;
mod found;
mod import;
mod key;
mod known;
mod now;
mod progress;
mod prove;
mod replay;
mod show;
mod source;
mod step;
mod stopped;
mod verify;
mod what_if;

use clap::Subcommand;

use super::{context::Global, failure::Failure};

/// The commands about evidence.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that a history is true and whole; otherwise name the first position that is not
    Verify(verify::Verify),
    /// Fold the state anew, up to a time or position
    Replay(replay::Replay),
    /// Tell a session's story: each event, the reason of each refusal, what is possible next
    Show(show::Show),
    /// Tell what two positions differ in
    Diff(diff::Diff),
    /// Tell what would have gone otherwise under other limits
    WhatIf(what_if::WhatIf),
    /// Write an export: a file that proves itself
    Export(export::Export),
    /// Make a data directory of an export, for auditors; it gets no keys
    Import(import::Import),
    /// Prove that an event is in the history
    Prove(prove::Prove),
    /// Print the verifier key, to be written down outside and brought along later
    Key(key::Key),
}

impl Audit {
    pub(crate) fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Verify(verify) => verify.run(global),
            Self::Replay(replay) => replay.run(global),
            Self::Show(show) => show.run(global),
            Self::Diff(diff) => diff.run(global),
            Self::WhatIf(what_if) => what_if.run(global),
            Self::Export(export) => export.run(global),
            Self::Import(import) => import.run(global),
            Self::Prove(prove) => prove.run(global),
            Self::Key(key) => key.run(global),
        }
    }
}
