//! `tenure session cleanup`

use crate::cli::{connection::client::Request, context::Context, failure::Failure, output::Column};

const COLUMNS: &[Column] = &[Column::plain("EXPIRED", "expired")];

pub(super) fn run(cli: &Context) -> Result<(), Failure> {
    cli.show(&Request::post_without_body(&["v1", "sweep"]), COLUMNS)
}
