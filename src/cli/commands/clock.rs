//! `tenure clock`

use clap::{Args, Subcommand};

use crate::cli::{
    arguments::moments::{TypedMoment, moment},
    connection::client::ApiRequest,
    context::{CommandContext, span},
    failure::CommandError,
    output::Column,
};
use tenure_core::Seconds;
use tenure_protocol::wire::operation::ClockChange;

#[derive(Debug, Args)]
#[command(after_help = "\
    Only for a server that was started with --test-clock, whose time stands still until it is moved.\n\n\
    Example: tenure clock advance 12h")]
pub(crate) struct ClockArgs {
    #[command(subcommand)]
    how: Option<ClockCommand>,
}

#[derive(Debug, Subcommand)]
enum ClockCommand {
    /// Advance the test clock
    Advance(AdvanceArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
    What falls due on the way, such as an expiry or a webhook's next attempt, is done before the command \
    ends.\n\n\
    Example: tenure clock advance 12h")]
struct AdvanceArgs {
    /// How far, such as 12h
    #[arg(value_name = "DURATION", value_parser = span, required_unless_present = "to", conflicts_with = "to")]
    by: Option<Seconds>,

    /// Up to this moment, such as 03:12 or 2026-11-22T03:12:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<TypedMoment>,
}

const COLUMNS: &[Column] = &[Column::plain("", "now")];

impl ClockArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let path = ["v1", "clock"];
        let request = match &self.how {
            None => ApiRequest::get(&path),
            Some(ClockCommand::Advance(AdvanceArgs { by, to })) => {
                let to = to.map(|to| cli.coming(to)).transpose()?;
                let advance = by.map(|Seconds(by)| by.into());
                ApiRequest::put(&path, ClockChange { advance, to })
            }
        };
        match cli.client.send(&request) {
            Ok(reply) => cli.output.record(&reply.body, COLUMNS, cli.now()),
            Err(CommandError::Problem(problem)) if problem.status == 404 => Err(CommandError::Missing(
                "this server has no test clock: see tenure serve --test-clock".to_owned(),
            )),
            Err(failure) => Err(failure),
        }
    }
}
