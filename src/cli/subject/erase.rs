//! `tenure subject erase`

use clap::Args;
use serde_json::json;

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{Caution, Context},
    failure::Failure,
    output::Column,
};
use tenure_core::SubjectId;

/// Its name, and the devices, metadata and reasons of its sessions can never be read again. Its sessions go on, and
/// what happened and when stays on record.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The subject's id
    #[arg(value_name = "ID")]
    subject: SubjectId,

    /// Why, for the record; it stays readable, so write nothing about people
    #[arg(long, value_name = "TEXT")]
    reason: String,

    #[command(flatten)]
    caution: Caution,
}

const ERASED: &[Column] = &[Column::plain("SUBJECT", "subjectId"), Column::moment("ERASED", "erasedAt")];

impl Erase {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let path = ["v1", "subjects", self.subject.as_str()];
        if self.caution.dry_run {
            cli.output.talk("All text about this subject and its sessions would become unreadable:");
            return cli.show(&Request::get(&path), DETAILS);
        }
        self.caution.ask(cli.output, || Ok(self.question()))?;
        let path = ["v1", "subjects", self.subject.as_str(), "erase"];
        cli.show(&Request::post(&path, json!({ "reason": self.reason })), ERASED)
    }

    fn question(&self) -> String {
        format!("Make all text about {} unreadable? Nothing brings it back.", self.subject)
    }
}
