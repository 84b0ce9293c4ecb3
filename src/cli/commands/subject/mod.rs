//! `tenure subject …`

mod attributes;
mod erase;
mod list;
mod logout;
mod put;
mod resume;
mod set;
mod show;
mod suspend;

use clap::Subcommand;

use crate::cli::{context::Context, failure::Failure, output::Column};

/// The commands about subjects.
#[derive(Debug, Subcommand)]
pub(crate) enum Subject {
    /// Register a subject, or replace all its attributes
    Put(put::Put),
    /// Change single attributes of a subject
    Set(set::Set),
    /// Show a subject
    Show(show::Show),
    /// List subjects
    #[command(alias = "ls")]
    List(list::List),
    /// Suspend a subject: its sessions stop working, and it gets no new one
    Suspend(suspend::Suspend),
    /// Lift the suspension of a subject
    Resume(resume::Resume),
    /// End all sessions of a subject in one step
    Logout(logout::Logout),
    /// Erase all text about a subject, irreversibly
    Erase(erase::Erase),
}

impl Subject {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        match self {
            Self::Put(put) => put.run(cli),
            Self::Set(set) => set.run(cli),
            Self::Show(show) => show.run(cli),
            Self::List(list) => list.run(cli),
            Self::Suspend(suspend) => suspend.run(cli),
            Self::Resume(resume) => resume.run(cli),
            Self::Logout(logout) => logout.run(cli),
            Self::Erase(erase) => erase.run(cli),
        }
    }
}

/// What a single subject shows first.
const DETAILS: &[Column] = &[
    Column::plain("", "subjectId"),
    Column::plain("", "name"),
    Column::plain("", "kind"),
    Column::plain("", "ownerId"),
    Column::plain("", "activeSessions"),
    Column::moment("", "suspension.at"),
    Column::end("", "suspension.until"),
    Column::plain("", "suspension.reason"),
    Column::plain("", "suspension.by.id"),
];

/// What a list of subjects shows.
const COLUMNS: &[Column] = &[
    Column::plain("SUBJECT", "subjectId"),
    Column::plain("NAME", "name"),
    Column::plain("KIND", "kind"),
    Column::plain("OWNER", "ownerId"),
    Column::plain("ACTIVE", "activeSessions"),
    Column::moment("SUSPENDED", "suspension.at"),
];
