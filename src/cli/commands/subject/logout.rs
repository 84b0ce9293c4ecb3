//! `tenure subject logout`

use clap::{Args, builder::NonEmptyStringValueParser};

use super::known_of;
use crate::cli::{
    arguments::find,
    commands::session,
    connection::{client::ApiRequest, pages},
    context::{CautionArgs, CommandContext},
    failure::CommandError,
    output::Column,
};
use tenure_core::SessionId;

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,

    /// Only the sessions on this device
    #[arg(long)]
    device: Option<String>,

    /// Keep this one session, which must be one of the subject's
    #[arg(long, value_name = "SESSION")]
    except: Option<SessionId>,

    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    caution: CautionArgs,
}

const COLUMNS: &[Column] = &[Column::plain("MATCHED", "matched"), Column::plain("SESSIONS", "sessionIds")];

impl LogoutArgs {
    pub(crate) fn run(mut self, cli: &CommandContext) -> Result<(), CommandError> {
        self.subject = find::subject_to_change(cli, &self.subject, !self.caution.yes)?;
        if self.caution.dry_run {
            return self.preview(cli);
        }
        self.caution.ask(cli.output, || self.question(cli))?;
        let request = ApiRequest::delete(&["v1", "subjects", self.subject.as_str(), "sessions"])
            .query("device", self.device)
            .query("exceptSessionId", self.except)
            .query("reason", self.reason);
        cli.show_end(&request, COLUMNS)
    }

    /// The active sessions that would end now. One that begins in between is not among them.
    fn preview(&self, cli: &CommandContext) -> Result<(), CommandError> {
        // A list of what does not exist is empty; to end its sessions is refused.
        cli.client.send(&ApiRequest::get(&["v1", "subjects", self.subject.as_str()]))?;
        self.check_exception(cli)?;
        let request = ApiRequest::get(&["v1", "sessions"])
            .query("subjectId", Some(&self.subject))
            .query("device", self.device.as_ref())
            .query("status", Some("active"));
        let mut page = pages::whole(cli, request, pages::by_cursor)?;
        if let (Some(items), Some(kept)) = (page["items"].as_array_mut(), &self.except) {
            items.retain(|session| session["sessionId"] != kept.to_string());
        }
        if page["items"].as_array().is_some_and(|items| !items.is_empty()) {
            cli.output.info("These sessions would end:");
        }
        cli.output.list_or(&page, session::COLUMNS, cli.time_of(&page), &self.nothing())
    }

    /// What an empty preview says.
    fn nothing(&self) -> String {
        let device = self.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        let except = self.except.as_ref().map(|kept| format!(" but {kept}")).unwrap_or_default();
        format!("No active sessions of {}{device}{except}: nothing would end.", self.subject)
    }

    /// The session to keep must be one of the subject's.
    fn check_exception(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let Some(kept) = self.except else { return Ok(()) };
        let session = cli.client.send(&ApiRequest::get(&["v1", "sessions", &kept.to_string()]))?;
        if session.body["subjectId"] == self.subject.as_str() {
            return Ok(());
        }
        Err(CommandError::Missing(format!("{kept} is no session of {}", self.subject)))
    }

    fn question(&self, cli: &CommandContext) -> Result<String, CommandError> {
        let subject = cli.client.send(&ApiRequest::get(&["v1", "subjects", self.subject.as_str()]))?.body;
        let known = known_of(&subject);
        let device = self.device.as_ref().map(|device| format!(" on {device}")).unwrap_or_default();
        let except = self.except.as_ref().map(|kept| format!(" but {kept}")).unwrap_or_default();
        let subject = &self.subject;
        Ok(format!("End every session of {subject}{known}{device}{except}?"))
    }
}
