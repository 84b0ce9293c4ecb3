//! `tenure veto`

use clap::Args;
use serde_json::{Value, json};

use crate::cli::{
    arguments::{
        find::{self, SessionScope},
        moments,
    },
    connection::{client::ApiRequest, pages},
    context::{CautionArgs, CommandContext},
    failure::CommandError,
    output::{Column, humanize},
};
use tenure_core::Timestamp;

/// The longest window that a session can have: a renewal before that cannot be open any more.
const LONGEST_WINDOW_MILLIS: i64 = 7 * 86_400_000;

#[derive(Debug, Args)]
#[command(after_help = "\
    Ends the session whose renewal you do not agree with. Without a name it lists the renewals that can \
    be vetoed now.\n\n\
    Example: tenure veto night-bot --reason \"not at night\"")]
pub(crate) struct VetoArgs {
    /// A subject by id, name or unique beginning, or a session by id or unique beginning
    #[arg(value_name = "SUBJECT|SESSION")]
    whom: Option<String>,

    /// Why, for the record and the agent
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Suspend the subject too, so that it gets no new session
    #[arg(long)]
    suspend: bool,

    #[command(flatten)]
    caution: CautionArgs,
}

const WINDOWS: &[Column] = &[
    Column::plain("SUBJECT", "subjectId"),
    Column::plain("NAME", "subjectName"),
    Column::plain("RENEWAL", "renewal"),
    Column::moment("RENEWED", "occurredAt"),
    Column::end("VETO", "rejectWindowExpiry"),
    Column::id("SESSION", "sessionId"),
];

impl VetoArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = match &self.whom {
            Some(typed) => find::session(cli, typed, SessionScope::Active)?,
            None => match choose(cli)? {
                Some(id) => id,
                None => return Ok(()),
            },
        };
        let session = cli.client.send(&ApiRequest::get(&["v1", "sessions", &id]))?.body;
        if self.caution.dry_run {
            cli.output.info(&format!("This would end: {}", described(&session)));
            return cli.output.record(&session, super::session::DETAILS, cli.time_of(&session));
        }
        self.caution.ask(cli.output, || Ok(question(&session, self.suspend)))?;
        let done = cli.client.send(&self.request(&id, &session))?.body;
        let lines = [outcome_text(&session, &done, self.suspend)];
        cli.output.narrative(&done, &lines)
    }

    /// Ending a renewed session is a veto at any time; a session that was never renewed just ends.
    fn request(&self, id: &str, session: &Value) -> ApiRequest {
        let is_renewed = !session["renewedAt"].is_null() && session["status"] == "ACTIVE";
        ApiRequest::delete(&["v1", "sessions", id])
            .query("reason", self.reason.as_ref())
            .query("rejectRenewal", is_renewed.then_some(true))
            .query("suspend", self.suspend.then_some(true))
    }
}

/// One of the renewals that can be vetoed now; `None` if there is none, or no terminal to ask on.
fn choose(cli: &CommandContext) -> Result<Option<String>, CommandError> {
    let open = open_windows(cli)?;
    let items = open["items"].as_array().cloned().unwrap_or_default();
    let empty = "No renewal can be vetoed now. `tenure session revoke` ends a session at any time.";
    cli.output.list_or(&open, WINDOWS, cli.now(), empty)?;
    if items.is_empty() {
        return Ok(None);
    }
    match cli.output.answer(&format!("Which one do you veto (1 to {}, Enter for none)?", items.len())) {
        Some(answer) if answer.is_empty() => Err(CommandError::Declined),
        Some(answer) => {
            let number = answer.parse::<usize>().ok().and_then(|number| items.get(number.checked_sub(1)?));
            let chosen =
                number.ok_or_else(|| CommandError::Usage(format!("\"{answer}\" is none of them")))?;
            Ok(chosen["sessionId"].as_str().map(str::to_owned))
        }
        None => Ok(None),
    }
}

/// The latest renewal of each active session, while its window is open.
fn open_windows(cli: &CommandContext) -> Result<Value, CommandError> {
    let since = cli.now_there()?.plus_millis(-LONGEST_WINDOW_MILLIS).max(Timestamp::ZERO);
    let request = ApiRequest::get(&["v1", "notices"])
        .query("kinds", Some("SESSION_RENEWED"))
        .query("since", Some(since));
    let notices = pages::whole(cli, request, pages::by_cursor)?;
    let now = cli.now();
    let mut open: Vec<Value> = Vec::new();
    for notice in notices["items"].as_array().into_iter().flatten() {
        open.retain(|other| other["sessionId"] != notice["sessionId"]);
        let end = notice["rejectWindowExpiry"].as_str().and_then(Timestamp::parse);
        if end.is_some_and(|end| end > now) && is_active(cli, notice)? {
            let mut notice = notice.clone();
            notice["renewal"] = format!("{} of {}", notice["renewalCount"], notice["maxRenewals"]).into();
            open.push(notice);
        }
    }
    Ok(json!({ "items": open }))
}

fn is_active(cli: &CommandContext, notice: &Value) -> Result<bool, CommandError> {
    let id = notice["sessionId"].as_str().unwrap_or_default();
    Ok(cli.client.send(&ApiRequest::get(&["v1", "sessions", id]))?.body["status"] == "ACTIVE")
}

/// Whose session it is, and what it may do: enough to judge by.
fn described(session: &Value) -> String {
    let text = |name: &str| session[name].as_str();
    let scopes: Vec<_> =
        session["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let known: Vec<_> = [
        text("subjectName").map(str::to_owned),
        text("ownerId").map(|owner| format!("owner {owner}")),
        text("device").map(|device| format!("on {device}")),
        (!scopes.is_empty()).then(|| scopes.join(" ")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let known = if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) };
    let id = text("sessionId").unwrap_or_default();
    let subject = text("subjectId").unwrap_or_default();
    if session["renewedAt"].is_null() {
        format!("session {id} of {subject}{known}, which was never renewed")
    } else {
        let (count, most) = (&session["renewalCount"], &session["maxRenewals"]);
        format!("renewal {count} of {most} of {subject}{known}, session {id}")
    }
}

fn question(session: &Value, suspend: bool) -> String {
    let verb = if session["renewedAt"].is_null() { "End" } else { "Veto" };
    let and = if suspend { ", and suspend the subject" } else { "" };
    format!("{verb} {}{and}?", described(session))
}

fn outcome_text(session: &Value, done: &Value, suspend: bool) -> String {
    let subject = session["subjectId"].as_str().unwrap_or_default();
    let suspended = if suspend { " The subject is suspended: it gets no new session." } else { "" };
    if session["status"] == "REVOKED" {
        let at = done["revokedAt"].as_str().and_then(Timestamp::parse);
        let when = at.map_or_else(String::new, |at| {
            let now = session["asOfTime"].as_str().and_then(Timestamp::parse).unwrap_or(at);
            format!(" at {} ({})", moments::short_time(at, now), humanize::when(at, now))
        });
        return format!("The session of {subject} had ended before{when}.{suspended}");
    }
    let what = if done["trigger"] == "renewal_rejected" {
        format!("Vetoed renewal {} of {subject}.", session["renewalCount"])
    } else {
        format!("Ended the session of {subject}.")
    };
    let lost = if done["reasonRecorded"] == false { " The reason could not be recorded." } else { "" };
    format!("{what} Its token is dead; the agent learns of it at its next call.{suspended}{lost}")
}
