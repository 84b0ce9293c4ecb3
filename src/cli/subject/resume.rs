//! `tenure subject resume`

use clap::Args;
use serde_json::Value;

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{Context, fields},
    failure::Failure,
};
use tenure_core::SubjectId;

/// Its sessions that have not ended meanwhile work again.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The subject's id
    #[arg(value_name = "ID")]
    subject: SubjectId,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Resume {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let path = ["v1", "subjects", self.subject.as_str(), "resume"];
        let body = fields([("reason", self.reason.map(Value::from))]);
        cli.show(&Request::post(&path, body.into()), DETAILS)
    }
}
