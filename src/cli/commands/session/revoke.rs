//! `tenure session revoke`

use std::path::{Path, PathBuf};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Map, Value, json};

use super::DETAILS;
use crate::cli::{
    arguments::{
        find::{self, Whose},
        moments::{Moment, moment},
    },
    connection::client::Request,
    context::{Caution, Context, Named, fields},
    failure::Failure,
    files::session_file,
    output::Column,
};
use tenure_core::{KeyId, OwnerId, Timestamp};

/// Arguments of `tenure session revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The session, by id or unique beginning, or a subject with one active session
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new(),
        required_unless_present_any = SELECTING, conflicts_with_all = SELECTING)]
    session: Option<String>,

    /// Why, for the record; needed to end several sessions
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    /// Whether this vetoes the latest renewal; when left out it does within the session's reject window
    #[arg(long, value_name = "BOOL", conflicts_with_all = SELECTING)]
    reject_renewal: Option<bool>,

    /// Suspend its subject in the same step, also if the session has ended already
    #[arg(long, conflicts_with_all = SELECTING)]
    suspend: bool,

    /// Session file, to end its session by its own token. It names the session and the server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["suspend", "reject_renewal"])]
    session_file: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    caution: Caution,
}

const SELECTING: [&str; 7] = ["session_file", "all", "owner", "subject", "device", "issued_before", "key_id"];

/// Several sessions: those to which all of it applies.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several sessions at once")]
struct Selection {
    /// All active sessions that match the other options, or every one
    #[arg(long)]
    all: bool,

    /// Those of this owner's subjects
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Those of this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Those on this device, of any subject
    #[arg(long)]
    device: Option<String>,

    /// Those whose current token was issued before this moment, such as 2h, 03:12 or 'yesterday 3am'
    #[arg(long, value_name = "TIME", value_parser = moment)]
    issued_before: Option<Moment>,

    /// Those with a current token sealed by this key (`k4.lid.…`)
    #[arg(long, value_name = "KEY")]
    key_id: Option<KeyId>,
}

const COLUMNS: &[Column] = &[
    Column::plain("SESSION", "sessionId"),
    Column::state("STATUS", "status"),
    Column::moment("REVOKED", "revokedAt"),
    Column::plain("TRIGGER", "trigger"),
];

const MATCHED: &[Column] = &[
    Column::plain("MATCHED", "matched"),
    Column::plain("SAMPLE", "sample"),
    Column::plain("POSITION", "position"),
];

impl Revoke {
    pub(crate) fn run(self, cli: &Context, named: Named<'_>) -> Result<(), Failure> {
        let Self { session, reason, reject_renewal, suspend, session_file, selection, caution } = self;
        if let Some(path) = &session_file {
            return end_own(cli, named, path, reason, &caution);
        }
        let Some(session) = session else {
            return selection.resolved(cli, &caution)?.run(cli, reason, &caution);
        };
        let session = find::session(cli, &session, Whose::Active)?;
        let path = ["v1", "sessions", &session];
        if caution.dry_run {
            return preview(cli, &path, reject_renewal, suspend);
        }
        caution.ask(cli.output, || question(cli, &path, suspend))?;
        let request = Request::delete(&path)
            .query("reason", reason)
            .query("rejectRenewal", reject_renewal)
            .query("suspend", suspend.then_some(true));
        cli.show_end(&request, COLUMNS)
    }
}

/// By the session's own token, as its holder ends it.
fn end_own(
    cli: &Context,
    named: Named<'_>,
    path: &Path,
    reason: Option<String>,
    caution: &Caution,
) -> Result<(), Failure> {
    let held = session_file::held(named, path)?;
    let path = ["v1", "sessions", &held.session];
    let session = || held.client.send_as(&held.token, &Request::get(&path)).map(|reply| reply.body);
    if caution.dry_run {
        let session = session()?;
        cli.output.talk("This session would end:");
        return cli.output.record(&session, DETAILS, cli.time_of(&session));
    }
    caution.ask(cli.output, || session().map(|session| asked(&session, false)))?;
    let request = Request::delete(&path).query("reason", reason);
    let done = held.client.send_as(&held.token, &request)?.body;
    cli.output.record(&done, COLUMNS, cli.time_of(&done))
}

/// Which session it is, by what people know of it.
fn question(cli: &Context, path: &[&str], suspend: bool) -> Result<String, Failure> {
    Ok(asked(&cli.client.send(&Request::get(path))?.body, suspend))
}

fn asked(session: &Value, suspend: bool) -> String {
    let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let scopes: Vec<_> =
        session["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let owner = session["ownerId"].as_str().map(|owner| format!("owner {owner}"));
    let renewals = format!("{} of {} renewals", session["renewalCount"], session["maxRenewals"]);
    let scopes = (!scopes.is_empty()).then(|| scopes.join(" "));
    let known: Vec<_> = owner.into_iter().chain([renewals]).chain(scopes).collect();
    let and = if suspend { ", and suspend that subject" } else { "" };
    format!("End session {} of {} ({}){and}?", text("sessionId"), text("subjectId"), known.join(", "))
}

fn preview(cli: &Context, path: &[&str], reject_renewal: Option<bool>, suspend: bool) -> Result<(), Failure> {
    let session = cli.client.send(&Request::get(path))?.body;
    if suspend {
        cli.output
            .talk(&format!("Subject {} would be suspended.", session["subjectId"].as_str().unwrap_or("-")));
    }
    if session["status"] == "REVOKED" {
        let rest = if suspend { "would stay as it is" } else { "nothing would change" };
        cli.output.talk(&format!("This session was ended before, and {rest}:"));
    } else if reject_renewal == Some(true) && session["renewedAt"].is_null() {
        return Err(Failure::Usage("--reject-renewal: the session was never renewed".into()));
    } else {
        cli.output.talk("This session would end:");
    }
    cli.output.record(&session, DETAILS, cli.time_of(&session))
}

/// A selection with an id and a moment in place of what was typed.
struct Selected<'s> {
    selection: &'s Selection,
    subject: Option<String>,
    issued_before: Option<Timestamp>,
}

impl Selection {
    fn resolved(&self, cli: &Context, caution: &Caution) -> Result<Selected<'_>, Failure> {
        let subject = self.subject.as_ref().map(|typed| find::subject_to_change(cli, typed, !caution.yes));
        let issued_before = self.issued_before.map(|moment| cli.past(moment));
        Ok(Selected {
            selection: self,
            subject: subject.transpose()?,
            issued_before: issued_before.transpose()?,
        })
    }
}

impl Selected<'_> {
    fn run(&self, cli: &Context, reason: Option<String>, caution: &Caution) -> Result<(), Failure> {
        let dry = json!({ "selector": self.selector(), "dryRun": true });
        if caution.dry_run {
            cli.output.talk("This many sessions would end (sample by id):");
            return cli.show(&Request::post(&PATH, dry), MATCHED);
        }
        let Some(reason) = reason else {
            return Err(Failure::Usage("ending several sessions needs a --reason".into()));
        };
        caution.ask(cli.output, || {
            let matched = cli.client.send(&Request::post(&PATH, dry))?.body["matched"].clone();
            Ok(format!("End {matched} sessions ({})?", self.words()))
        })?;
        let body = json!({ "selector": self.selector(), "reason": reason });
        cli.show(&Request::post(&PATH, body), MATCHED)
    }

    fn words(&self) -> String {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let selector = self.selector();
        let one = |(name, value): (&String, &Value)| {
            if name == "all" { "all there are".to_owned() } else { format!("{name} {}", text(value)) }
        };
        selector.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// `--all` with something narrower means all of those.
    fn selector(&self) -> Map<String, Value> {
        let narrow = fields([
            ("ownerId", self.selection.owner.as_ref().map(|owner| json!(owner))),
            ("subjectId", self.subject.as_ref().map(|subject| json!(subject))),
            ("device", self.selection.device.as_ref().map(|device| json!(device))),
            ("issuedBefore", self.issued_before.map(|moment| json!(moment))),
            ("keyId", self.selection.key_id.as_ref().map(|key| json!(key))),
        ]);
        if narrow.is_empty() { fields([("all", Some(json!(true)))]) } else { narrow }
    }
}

const PATH: [&str; 2] = ["v1", "revocations"];
