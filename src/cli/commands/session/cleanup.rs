//! `tenure session cleanup`

use crate::cli::{
    connection::client::ApiRequest, context::CommandContext, failure::CommandError, output::Column,
};

const COLUMNS: &[Column] = &[Column::plain("EXPIRED", "expired")];

pub(super) fn run(cli: &CommandContext) -> Result<(), CommandError> {
    cli.show(&ApiRequest::post_without_body(&["v1", "sweep"]), COLUMNS)
}
