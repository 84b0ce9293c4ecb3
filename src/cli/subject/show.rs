//! `tenure subject show`

use clap::Args;

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{AsOf, Context},
    failure::Failure,
};
use tenure_core::SubjectId;

/// Arguments of `tenure subject show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The subject's id
    #[arg(value_name = "ID")]
    subject: SubjectId,

    #[command(flatten)]
    as_of: AsOf,
}

impl Show {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let request = Request::get(&["v1", "subjects", self.subject.as_str()]);
        cli.show(&self.as_of.apply(request), DETAILS)
    }
}
