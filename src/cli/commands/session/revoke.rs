//! `tenure session revoke`

use std::path::{Path, PathBuf};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use super::DETAILS;
use crate::cli::{
    arguments::{
        find::{self, SessionScope},
        moments::{TypedMoment, moment},
    },
    connection::client::ApiRequest,
    context::{CautionArgs, CommandContext, NamedServer},
    failure::CommandError,
    files::session_file,
    output::{Column, harmless},
};
use tenure_core::{KeyId, OwnerId, Timestamp};
use tenure_protocol::wire::revocations::{RevocationSelector, RevokeMatchingRequest};

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
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
    selection: SelectionArgs,

    #[command(flatten)]
    caution: CautionArgs,
}

const SELECTING: [&str; 7] = ["session_file", "all", "owner", "subject", "device", "issued_before", "key_id"];

/// Several sessions: those to which all of it applies.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several sessions at once")]
struct SelectionArgs {
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
    issued_before: Option<TypedMoment>,

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

impl RevokeArgs {
    pub(crate) fn run(self, cli: &CommandContext, named: NamedServer<'_>) -> Result<(), CommandError> {
        let Self { session, reason, reject_renewal, suspend, session_file, selection, caution } = self;
        if let Some(path) = &session_file {
            return end_own(cli, named, path, reason, &caution);
        }
        let Some(session) = session else {
            return selection.resolved(cli, &caution)?.run(cli, reason, &caution);
        };
        let session = find::session(cli, &session, SessionScope::Active)?;
        let path = ["v1", "sessions", &session];
        if caution.dry_run {
            return preview(cli, &path, reject_renewal, suspend);
        }
        caution.ask(cli.output, || question(cli, &path, suspend))?;
        let request = ApiRequest::delete(&path)
            .query("reason", reason)
            .query("rejectRenewal", reject_renewal)
            .query("suspend", suspend.then_some(true));
        cli.show_end(&request, COLUMNS)
    }
}

/// By the session's own token, as its holder ends it.
fn end_own(
    cli: &CommandContext,
    named: NamedServer<'_>,
    path: &Path,
    reason: Option<String>,
    caution: &CautionArgs,
) -> Result<(), CommandError> {
    let held = session_file::open_session(named, path)?;
    let path = ["v1", "sessions", &held.session];
    let session = || held.client.send_as(&held.token, &ApiRequest::get(&path)).map(|reply| reply.body);
    if caution.dry_run {
        let session = session()?;
        cli.output.info("This session would end:");
        return cli.output.record(&session, DETAILS, cli.time_of(&session));
    }
    caution.ask(cli.output, || session().map(|session| question_about(&session, false)))?;
    let request = ApiRequest::delete(&path).query("reason", reason);
    let done = held.client.send_as(&held.token, &request)?.body;
    cli.output.record(&done, COLUMNS, cli.time_of(&done))
}

/// Which session it is, by what people know of it.
fn question(cli: &CommandContext, path: &[&str], suspend: bool) -> Result<String, CommandError> {
    Ok(question_about(&cli.client.send(&ApiRequest::get(path))?.body, suspend))
}

fn question_about(session: &Value, suspend: bool) -> String {
    let text = |field: &str| session[field].as_str().unwrap_or_default().to_owned();
    let scopes: Vec<_> =
        session["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let owner = session["ownerId"].as_str().map(|owner| format!("owner {owner}"));
    let renewals = format!("{} of {} renewals", session["renewalCount"], session["maxRenewals"]);
    let scopes = (!scopes.is_empty()).then(|| scopes.join(" "));
    let name = session["subjectName"].as_str().map(harmless);
    let known: Vec<_> = name.into_iter().chain(owner).chain([renewals]).chain(scopes).collect();
    let and = if suspend { ", and suspend that subject" } else { "" };
    format!("End session {} of {} ({}){and}?", text("sessionId"), text("subjectId"), known.join(", "))
}

fn preview(
    cli: &CommandContext,
    path: &[&str],
    reject_renewal: Option<bool>,
    suspend: bool,
) -> Result<(), CommandError> {
    let session = cli.client.send(&ApiRequest::get(path))?.body;
    if suspend {
        cli.output
            .info(&format!("Subject {} would be suspended.", session["subjectId"].as_str().unwrap_or("-")));
    }
    if session["status"] == "REVOKED" {
        let rest = if suspend { "would stay as it is" } else { "nothing would change" };
        cli.output.info(&format!("This session was ended before, and {rest}:"));
    } else if reject_renewal == Some(true) && session["renewedAt"].is_null() {
        return Err(CommandError::Usage("--reject-renewal: the session was never renewed".into()));
    } else {
        cli.output.info("This session would end:");
    }
    cli.output.record(&session, DETAILS, cli.time_of(&session))
}

/// A selection with an id and a moment in place of what was typed.
struct ResolvedSelection<'s> {
    selection: &'s SelectionArgs,
    subject: Option<String>,
    issued_before: Option<Timestamp>,
}

impl SelectionArgs {
    fn resolved(
        &self,
        cli: &CommandContext,
        caution: &CautionArgs,
    ) -> Result<ResolvedSelection<'_>, CommandError> {
        let subject = self.subject.as_ref().map(|typed| find::subject_to_change(cli, typed, !caution.yes));
        let issued_before = self.issued_before.map(|moment| cli.past(moment));
        Ok(ResolvedSelection {
            selection: self,
            subject: subject.transpose()?,
            issued_before: issued_before.transpose()?,
        })
    }
}

impl ResolvedSelection<'_> {
    fn run(
        &self,
        cli: &CommandContext,
        reason: Option<String>,
        caution: &CautionArgs,
    ) -> Result<(), CommandError> {
        let selector = self.selector()?;
        let asked = RevokeMatchingRequest { selector, reason: None, dry_run: Some(true) };
        if caution.dry_run {
            cli.output.info("This many sessions would end (sample by id):");
            return cli.show(&ApiRequest::post(&PATH, &asked), MATCHED);
        }
        let Some(reason) = reason else {
            return Err(CommandError::Usage("ending several sessions needs a --reason".into()));
        };
        caution.ask(cli.output, || {
            let matched = cli.client.send(&ApiRequest::post(&PATH, &asked))?.body["matched"].clone();
            Ok(format!("End {matched} sessions ({})?", words(&asked.selector)))
        })?;
        let asked = RevokeMatchingRequest { reason: Some(reason), dry_run: None, ..asked };
        cli.show(&ApiRequest::post(&PATH, &asked), MATCHED)
    }

    /// `--all` with something narrower means all of those.
    fn selector(&self) -> Result<RevocationSelector, CommandError> {
        let of_subject =
            |id: &String| id.parse().map_err(|_| CommandError::Usage(format!("{id:?} is no subject's id")));
        let narrow = RevocationSelector {
            all: None,
            owner_id: self.selection.owner.clone(),
            subject_id: self.subject.as_ref().map(of_subject).transpose()?,
            device: self.selection.device.clone(),
            issued_before: self.issued_before,
            key_id: self.selection.key_id.clone(),
        };
        let is_narrow = narrow != RevocationSelector::default();
        Ok(if is_narrow { narrow } else { RevocationSelector { all: Some(true), ..narrow } })
    }
}

fn words(selector: &RevocationSelector) -> String {
    let told = [
        selector.all.map(|_| "all there are".to_owned()),
        selector.owner_id.as_ref().map(|owner| format!("ownerId {owner}")),
        selector.subject_id.as_ref().map(|subject| format!("subjectId {subject}")),
        selector.device.as_ref().map(|device| format!("device {device}")),
        selector.issued_before.map(|moment| format!("issuedBefore {moment}")),
        selector.key_id.as_ref().map(|key| format!("keyId {key}")),
    ];
    told.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

const PATH: [&str; 2] = ["v1", "revocations"];
