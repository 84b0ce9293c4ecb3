//! `tenure clock`

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::{
    arguments::moments::{Moment, moment},
    connection::client::Request,
    context::{Context, span},
    failure::Failure,
    output::Column,
};
use tenure_core::Seconds;

/// Shows the clock of a server that was started with --test-clock, whose time stands still until it is moved.
///
/// Example: tenure clock advance 12h
#[derive(Debug, Args)]
pub(crate) struct Clock {
    #[command(subcommand)]
    how: Option<Moving>,
}

#[derive(Debug, Subcommand)]
enum Moving {
    /// Advance the test clock
    Advance(Advance),
}

/// What falls due on the way, such as an expiry or a webhook's next try, is done before the command ends.
///
/// Example: tenure clock advance 12h
#[derive(Debug, Args)]
struct Advance {
    /// How far, such as 12h
    #[arg(value_name = "DURATION", value_parser = span, required_unless_present = "to", conflicts_with = "to")]
    by: Option<Seconds>,

    /// Up to this moment, such as 03:12 or 2026-11-22T03:12:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<Moment>,
}

const COLUMNS: &[Column] = &[Column::plain("", "now")];

impl Clock {
    pub(crate) fn run(&self, cli: &Context) -> Result<(), Failure> {
        let path = ["v1", "clock"];
        let request = match &self.how {
            None => Request::get(&path),
            Some(Moving::Advance(Advance { by: Some(Seconds(by)), .. })) => {
                Request::put(&path, Some(json!({ "advance": by })))
            }
            Some(Moving::Advance(Advance { by: None, to })) => {
                let to = to.map(|to| cli.coming(to)).transpose()?;
                Request::put(&path, Some(json!({ "to": to })))
            }
        };
        match cli.client.send(&request) {
            Ok(reply) => cli.output.record(&reply.body, COLUMNS, cli.now()),
            Err(Failure::Problem(problem)) if problem.status == 404 => Err(Failure::Missing(
                "this server has no test clock: see tenure serve --test-clock".to_owned(),
            )),
            Err(failure) => Err(failure),
        }
    }
}
