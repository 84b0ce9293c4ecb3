//! `tenure audit …`: on a running server, on the data directory of a stopped one, or on an export.

mod ask;
mod candidates;
mod check;
mod data_directory;
mod diff;
mod export;
mod import;
mod key;
mod progress;
mod prove;
mod replay;
mod server_time;
mod show;
mod source;
mod step;
mod trust;
mod verification;
mod verify;
mod what_if;

use clap::Subcommand;

pub(super) use self::data_directory::{check_log, check_segments, expect_data};
use crate::cli::{
    context::GlobalArgs,
    failure::{CommandError, ExitStatus},
};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Ask whether a subject was entitled at a time: yes (exit 0) or no (exit 3), and why
    Ask(ask::AskArgs),
    /// Verify that a history is untampered and whole, or name the first position that is not
    Verify(verify::VerifyArgs),
    /// Let the server compare what it has in memory with its log, replayed now
    Check,
    /// Rebuild the state at a time or position
    Replay(replay::ReplayArgs),
    /// Show the story of a session, or of a subject's, with the rule behind each refusal
    Show(show::ShowArgs),
    /// Compare the state at two positions
    Diff(diff::DiffArgs),
    /// Replay the history under other limits
    WhatIf(what_if::WhatIf),
    /// Write an export that can be verified offline
    Export(export::ExportArgs),
    /// Import an export into a new data directory, without keys
    Import(import::ImportArgs),
    /// Prove that an event is in the history
    Prove(prove::ProveArgs),
    /// Print the verifier key, to be kept elsewhere
    Key(key::KeyCommandArgs),
}

impl AuditCommand {
    /// What the process is to exit with.
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<u8, CommandError> {
        let done = match self {
            Self::Ask(ask) => return with_hint(global, ask.run(global)),
            Self::Verify(verify) => verify.run(global),
            Self::Check => check::run(global),
            Self::Replay(replay) => replay.run(global),
            Self::Show(show) => with_hint(global, show.run(global)),
            Self::Diff(diff) => diff.run(global),
            Self::WhatIf(what_if) => what_if.run(global),
            Self::Export(export) => export.run(global),
            Self::Import(import) => import.run(global),
            Self::Prove(prove) => prove.run(global),
            Self::Key(key) => key.run(global),
        };
        done.map(|()| ExitStatus::Ok as u8)
    }
}

/// An owner may not read the whole history, which these commands fold, but may read its own sessions' part of it.
fn with_hint<T>(global: &GlobalArgs, done: Result<T, CommandError>) -> Result<T, CommandError> {
    done.inspect_err(|failure| {
        if failure.problem().is_some_and(|problem| problem.code == "FORBIDDEN") {
            let hint =
                "An owner's key reads the same without the proof: tenure session story SESSION|SUBJECT";
            global.output().hint(hint);
        }
    })
}
