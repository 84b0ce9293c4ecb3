//! `tenure session show`

use std::path::PathBuf;

use clap::{Args, builder::NonEmptyStringValueParser};

use super::DETAILS;
use crate::cli::{
    arguments::find::{self, SessionScope},
    connection::client::ApiRequest,
    context::{AsOf, CommandContext, NamedServer},
    failure::CommandError,
    files::session_file,
};

#[derive(Debug, Args)]
#[command(after_help = "Example: tenure session show night-bot")]
pub(crate) struct ShowArgs {
    /// The session, by id or unique beginning, or a subject with one active session
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    session: Option<String>,

    /// Session file, or TENURE_SESSION_FILE, to ask by its token. It names the session and the server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["session", "as_of", "as_of_position"])]
    session_file: Option<PathBuf>,

    #[command(flatten)]
    as_of: AsOf,
}

impl ShowArgs {
    pub(crate) fn run(&self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        if let Some(session) = &self.session {
            let id = find::session(cli, session, SessionScope::Any)?;
            let request = ApiRequest::get(&["v1", "sessions", &id]);
            return cli.show(&self.as_of.apply(cli, request)?, DETAILS);
        }
        let path = match &self.session_file {
            Some(path) => path.clone(),
            None => session_file::of_this_run("give SESSION, --session-file")?,
        };
        if self.as_of.is_said() {
            return Err(CommandError::Usage("--as-of and --as-of-position need SESSION".to_owned()));
        }
        let held = session_file::open_session(named, &path)?;
        let request = ApiRequest::get(&["v1", "sessions", &held.session]);
        let session = held.client.send_as(&held.token, &request)?.body;
        cli.output.record(&session, DETAILS, cli.time_of(&session))
    }
}
