//! `tenure subject …`

mod attributes;
mod erase;
mod erasure;
mod list;
mod logout;
mod put;
mod resume;
mod set;
mod show;
mod suspend;

use clap::Subcommand;
use serde_json::Value;

use crate::cli::{
    context::CommandContext,
    failure::CommandError,
    output::{Column, harmless},
};

#[derive(Debug, Subcommand)]
pub(crate) enum SubjectCommand {
    /// Register a subject, or replace all its attributes
    Put(put::PutArgs),
    /// Change single attributes of a subject
    Set(set::SetArgs),
    /// Show a subject
    Show(show::ShowArgs),
    /// List subjects
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Suspend a subject: its sessions stop working, and it gets no new one
    Suspend(suspend::SuspendArgs),
    /// Lift the suspension of a subject
    Resume(resume::ResumeArgs),
    /// End all sessions of a subject in one step
    Logout(logout::LogoutArgs),
    /// Erase all text about a subject, irreversibly
    Erase(erase::EraseArgs),
    /// Show on which nodes the text about a subject is erased
    Erasure(erasure::ErasureArgs),
}

impl SubjectCommand {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        match self {
            Self::Put(put) => put.run(cli),
            Self::Set(set) => set.run(cli),
            Self::Show(show) => show.run(cli),
            Self::List(list) => list.run(cli),
            Self::Suspend(suspend) => suspend.run(cli),
            Self::Resume(resume) => resume.run(cli),
            Self::Logout(logout) => logout.run(cli),
            Self::Erase(erase) => erase.run(cli),
            Self::Erasure(erasure) => erasure.run(cli),
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

/// What people know a subject by, behind its id in a question.
fn known_of(subject: &Value) -> String {
    let text = |name: &str| subject[name].as_str().map(harmless);
    let active = format!("{} active", subject["activeSessions"]);
    let owner = text("ownerId").map(|owner| format!("owner {owner}"));
    let known: Vec<_> = text("name").into_iter().chain([active]).chain(owner).collect();
    format!(" ({})", known.join(", "))
}

/// What a list of subjects shows.
const COLUMNS: &[Column] = &[
    Column::plain("SUBJECT", "subjectId"),
    Column::plain("NAME", "name"),
    Column::plain("KIND", "kind"),
    Column::plain("OWNER", "ownerId"),
    Column::plain("ACTIVE", "activeSessions"),
    Column::moment("SUSPENDED", "suspension.at"),
];
