//! `tenure session revoke`

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::{Map, Value, json};

use super::DETAILS;
use crate::cli::{
    client::Request,
    context::{Caution, Context, fields, moment},
    failure::Failure,
    output::Column,
};
use tenure_core::{KeyId, OwnerId, SubjectId, Timestamp};

/// Arguments of `tenure session revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The session's id
    #[arg(value_name = "ID", value_parser = NonEmptyStringValueParser::new(),
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

    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    caution: Caution,
}

const SELECTING: [&str; 6] = ["all", "owner", "subject", "device", "issued_before", "key_id"];

/// Several sessions: those to which all of it applies.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several sessions at once")]
struct Selection {
    /// All active sessions that match the other options, or all there are
    #[arg(long)]
    all: bool,

    /// Those of this owner's subjects
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Those of this subject
    #[arg(long, value_name = "ID")]
    subject: Option<SubjectId>,

    /// Those on this device, whosever it is
    #[arg(long)]
    device: Option<String>,

    /// Those whose current token was issued before this moment (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    issued_before: Option<Timestamp>,

    /// Those of whose current generation this key sealed a token (`k4.lid.…`)
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
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let Self { session, reason, reject_renewal, suspend, selection, caution } = self;
        let Some(session) = session else { return selection.run(cli, reason, &caution) };
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

/// Which session it is, by what people know of it.
fn question(cli: &Context, path: &[&str], suspend: bool) -> Result<String, Failure> {
    let session = cli.client.send(&Request::get(path))?.body;
    let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let scopes: Vec<_> =
        session["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let owner = session["ownerId"].as_str().map(|owner| format!("owner {owner}"));
    let renewals = format!("{} of {} renewals", session["renewalCount"], session["maxRenewals"]);
    let scopes = (!scopes.is_empty()).then(|| scopes.join(" "));
    let known: Vec<_> = owner.into_iter().chain([renewals]).chain(scopes).collect();
    let and = if suspend { ", and suspend that subject" } else { "" };
    Ok(format!("End session {} of {} ({}){and}?", text("sessionId"), text("subjectId"), known.join(", ")))
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

impl Selection {
    fn run(&self, cli: &Context, reason: Option<String>, caution: &Caution) -> Result<(), Failure> {
        let dry = json!({ "selector": self.selector(), "dryRun": true });
        if caution.dry_run {
            cli.output.talk("So many sessions would end, some of them by id:");
            return cli.show(&Request::post(&PATH, dry), MATCHED);
        }
        let Some(reason) = reason else {
            return Err(Failure::Usage("several sessions are ended for a --reason".into()));
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
            ("ownerId", self.owner.as_ref().map(|owner| json!(owner))),
            ("subjectId", self.subject.as_ref().map(|subject| json!(subject))),
            ("device", self.device.as_ref().map(|device| json!(device))),
            ("issuedBefore", self.issued_before.map(|moment| json!(moment))),
            ("keyId", self.key_id.as_ref().map(|key| json!(key))),
        ]);
        if narrow.is_empty() { fields([("all", Some(json!(true)))]) } else { narrow }
    }
}

const PATH: [&str; 2] = ["v1", "revocations"];
