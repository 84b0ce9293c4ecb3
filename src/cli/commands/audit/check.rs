//! `tenure audit check`

use crate::cli::{
    connection::client::ApiRequest,
    context::GlobalArgs,
    failure::CommandError,
    output::{Column, exact_json},
};

const COLUMNS: &[Column] = &[
    Column::state("", "agrees"),
    Column::plain("", "position"),
    Column::plain("", "subjects"),
    Column::plain("", "sessions"),
];

/// Lets the server replay its log and compare what it has in memory.
pub(super) fn run(global: &GlobalArgs) -> Result<(), CommandError> {
    let cli = global.context()?;
    let found = cli.client.send(&ApiRequest::get(&["v1", "audit", "check"]))?.body;
    cli.output.record(&found, COLUMNS, cli.time_of(&found))?;
    let differences: Vec<_> = found["differences"].as_array().into_iter().flatten().collect();
    let Some(first) = differences.first() else { return Ok(()) };
    for one in &differences {
        cli.output.info(&exact_json::compact(one));
    }
    let whose = first["subjectId"].as_str().map_or("the authority".to_owned(), |id| format!("subject {id}"));
    Err(CommandError::damaged(format!(
        "{} differences between memory and log, the first of {whose}: restart the server, and keep the log",
        differences.len()
    )))
}
