//! `tenure session story`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use crate::cli::{
    arguments::{
        find::{self, SessionScope},
        moments,
    },
    connection::{client::ApiRequest, pages},
    context::CommandContext,
    failure::CommandError,
    output::{
        event_text::{self, KeyNames},
        humanize,
    },
};
use tenure_core::Timestamp;

#[derive(Debug, Args)]
#[command(after_help = "\
    For its owner, an admin or an auditor, from the record of the server. `tenure audit show` proves the \
    same from an export.\n\n\
    Example: tenure session story night-bot")]
pub(crate) struct StoryArgs {
    /// The session, by id or unique beginning, or a subject: its active session, or else its newest
    #[arg(value_name = "SESSION|SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    session: String,
}

impl StoryArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = find::session(cli, &self.session, SessionScope::Any)?;
        let session = cli.client.send(&ApiRequest::get(&["v1", "sessions", &id]))?.body;
        let request =
            ApiRequest::get(&["v1", "events"]).query("sessionId", Some(&id)).query("limit", Some(200));
        let mut events = pages::whole(cli, request, pages::by_position)?["items"].take();
        let names = KeyNames::read(cli)?;
        let now = cli.time_of(&session);
        let is_local = cli.output.is_for_people();
        let mut lines = vec![headline(&session), String::new()];
        for event in events.as_array_mut().into_iter().flatten() {
            let (what, by) = (event_text::what(event), names.who(event));
            lines.push(format!("{}  {what}, by {by}", when(event, is_local)));
            event["what"] = what.into();
            event["by"] = by.into();
        }
        lines.extend([String::new(), state(&session, now)]);
        cli.output.narrative(&json!({ "session": session, "events": events }), &lines)
    }
}

fn headline(session: &Value) -> String {
    let text = |name: &str| session[name].as_str();
    let known: Vec<_> =
        [text("subjectName").map(str::to_owned), text("ownerId").map(|id| format!("owner {id}"))]
            .into_iter()
            .flatten()
            .collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
    let (id, subject) = (text("sessionId").unwrap_or("-"), text("subjectId").unwrap_or("-"));
    format!("Session {id} of {subject}{known}")
}

fn when(event: &Value, is_local: bool) -> String {
    let at = event["recordedAt"].as_str().unwrap_or("-");
    match Timestamp::parse(at) {
        Some(moment) if is_local => moments::day_and_time(moment),
        Some(_) | None => at.to_owned(),
    }
}

/// What it is now, and what that means for its token.
fn state(session: &Value, now: Timestamp) -> String {
    let moment = |name: &str| session[name].as_str().and_then(Timestamp::parse);
    let ago = |name: &str| match moment(name).map(|at| humanize::when(at, now)).as_deref() {
        Some("now") => " just now".to_owned(),
        Some(when) => format!(" {when}"),
        None => String::new(),
    };
    match session["status"].as_str().unwrap_or_default() {
        "REVOKED" => {
            format!("It was ended{}: no token of it works, and nothing revives it.", ago("revokedAt"))
        }
        "EXPIRED" => format!("It has expired{}: no token of it works.", ago("expiresAt")),
        _ => {
            let left = moment("expiresAt").map(|at| humanize::left(at, now)).unwrap_or_default();
            let renewals = match session["renewalsLeft"].as_u64().unwrap_or_default() {
                0 => "no renewals left".to_owned(),
                1 => "1 renewal left".to_owned(),
                more => format!("{more} renewals left"),
            };
            let whole = moment("absoluteExpiresAt").map(|at| humanize::left(at, now));
            let whole = whole.map(|left| format!(", {left} in all")).unwrap_or_default();
            let budget = super::budget(session).map(|used| format!("; {used}")).unwrap_or_default();
            format!("It is active: {left} of its period, {renewals}{whole}{budget}.")
        }
    }
}
