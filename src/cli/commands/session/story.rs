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
        humanize, idle_end, own_end,
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
        let suspension = suspension_of(cli, &session)?;
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
        lines.extend([String::new(), state(&session, &suspension, now)]);
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

/// The suspension of the session's subject; null if it is not suspended.
fn suspension_of(cli: &CommandContext, session: &Value) -> Result<Value, CommandError> {
    let Some(subject) = session["subjectId"].as_str() else { return Ok(Value::Null) };
    Ok(cli.client.send(&ApiRequest::get(&["v1", "subjects", subject]))?.body["suspension"].take())
}

/// What it is now, and what that means for its token.
fn state(session: &Value, suspension: &Value, now: Timestamp) -> String {
    let moment = |name: &str| session[name].as_str().and_then(Timestamp::parse);
    let ago = |at: Option<Timestamp>| match at.map(|at| humanize::when(at, now)).as_deref() {
        Some("now") => " just now".to_owned(),
        Some(when) => format!(" {when}"),
        None => String::new(),
    };
    match session["status"].as_str().unwrap_or_default() {
        "REVOKED" => {
            format!("It was ended{}: no token of it works, and nothing revives it.", ago(moment("revokedAt")))
        }
        "EXPIRED" => format!("It has expired{}: no token of it works.", ago(own_end(session))),
        _ => {
            let left = moment("expiresAt").map(|at| humanize::left(at, now)).unwrap_or_default();
            let idle = idle_end(session).map(|at| humanize::left(at, now));
            let idle = idle.map(|left| format!(" ({left} without use)")).unwrap_or_default();
            let renewals = match session["renewalsLeft"].as_u64().unwrap_or_default() {
                0 => "no renewals left".to_owned(),
                1 => "1 renewal left".to_owned(),
                more => format!("{more} renewals left"),
            };
            let whole = moment("absoluteExpiresAt").map(|at| humanize::left(at, now));
            let whole = whole.map(|left| format!(", {left} in all")).unwrap_or_default();
            let budget = super::budget(session).map(|used| format!("; {used}")).unwrap_or_default();
            let until =
                suspension["until"].as_str().map(|until| format!(" until {until}")).unwrap_or_default();
            let suspended = if suspension.is_null() {
                String::new()
            } else {
                format!(" Its subject is suspended{until}: no token of it works meanwhile.")
            };
            format!("It is active: {left} of its period{idle}, {renewals}{whole}{budget}.{suspended}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An idle end that was nearer than that of its period was not told, nor that its subject is suspended.
    #[test]
    fn the_last_line_tells_the_nearer_end_and_a_suspension() {
        let now = Timestamp::parse("2026-11-30T12:00:00Z").unwrap();
        let mut session = json!({
            "status": "ACTIVE", "createdAt": "2026-11-30T11:55:00Z", "expiresAt": "2026-11-30T13:00:00Z",
            "absoluteExpiresAt": "2026-12-30T12:00:00Z", "idleTimeout": 600, "renewalsLeft": 2,
        });
        let told = state(&session, &json!({ "until": null }), now);
        assert!(
            told.starts_with("It is active: 1h left of its period (5m left without use), 2 renewals left"),
            "{told}"
        );
        assert!(told.ends_with(" Its subject is suspended: no token of it works meanwhile."), "{told}");
        session["status"] = "EXPIRED".into();
        session["lastSeenAt"] = "2026-11-30T11:00:00Z".into();
        assert_eq!(state(&session, &Value::Null, now), "It has expired 50m ago: no token of it works.");
    }
}
