//! Ends by an owner or admin: after one of them the same command line begins no new session.

use serde_json::Value;

use crate::cli::{
    connection::client::ApiRequest,
    context::CommandContext,
    failure::{CommandError, ExitStatus},
    output::humanize,
};
use tenure_client::{EndReason, Error, SessionGrant};
use tenure_core::{SubjectId, Timestamp};

/// What ends a session without anyone wanting its holder to stop.
const WANTED_BY_NOBODY: [&str; 3] = ["self", "evicted", "restore"];
/// The longest page that the server gives: the newest end is looked for among that many of the latest sessions.
const LONGEST: u16 = 200;

/// While it lasts, no new session would be created either.
const SUSPENDED: &str = "SUBJECT_SUSPENDED";

/// The end of a session by its owner, an admin or an issuer, or the suspension of its subject.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VetoNotice {
    subject: String,
    /// `None` when the authority does not say.
    trigger: Option<String>,
    is_suspended: bool,
    reason: Option<String>,
    at: Option<Timestamp>,
    /// When a suspension ends by itself.
    until: Option<Timestamp>,
}

/// Whether a refusal is because of a suspension.
pub(super) fn is_suspension(error: &Error) -> bool {
    error.code() == Some(SUSPENDED)
}

/// Whether this end was a veto.
pub(super) fn of_end(cli: &CommandContext, grant: &SessionGrant, end: &EndReason) -> Option<VetoNotice> {
    match end {
        EndReason::Refused(problem) if problem.code == SUSPENDED => {
            Some(of_suspension(cli, grant, problem.retry_at))
        }
        EndReason::Refused(_) | EndReason::Expired { .. } | EndReason::Revoked => {
            of_code(cli, grant, end.code(), end.trigger())
        }
    }
}

/// What is said when a session ends before its command. That of a suspended subject goes on once the subject is
/// resumed.
pub(super) fn headline(end: &EndReason) -> String {
    if end.code() == Some(SUSPENDED) {
        format!("The session is of no use for now: {end}")
    } else {
        format!("The session is over: {end}")
    }
}

fn of_suspension(cli: &CommandContext, grant: &SessionGrant, until: Option<Timestamp>) -> VetoNotice {
    let subject = grant.subject_id.to_string();
    let suspension = read(cli, &["v1", "subjects", &subject])["suspension"].clone();
    let reason = suspension["reason"].as_str().map(str::to_owned);
    let at = moment(&suspension["at"]);
    VetoNotice { subject, trigger: None, is_suspended: true, reason, at, until }
}

/// Whether a session that its holder wanted to end had been ended by a veto before.
pub(super) fn of_trigger(cli: &CommandContext, grant: &SessionGrant, trigger: &str) -> Option<VetoNotice> {
    of_code(cli, grant, Some("SESSION_REVOKED"), Some(trigger))
}

/// With an API key, what a refusal does not say is looked up.
fn of_code(
    cli: &CommandContext,
    grant: &SessionGrant,
    code: Option<&str>,
    trigger: Option<&str>,
) -> Option<VetoNotice> {
    if trigger.is_some_and(|trigger| !is_wanted(Some(trigger))) {
        return None;
    }
    let session = session(cli, grant);
    let told = |name: &str| session[name].as_str().map(str::to_owned);
    let trigger = trigger.map(str::to_owned).or_else(|| told("revokedTrigger"));
    let is_revoked = code == Some("SESSION_REVOKED") || trigger.is_some();
    let is_veto = is_revoked && is_wanted(trigger.as_deref());
    is_veto.then(|| VetoNotice {
        subject: grant.subject_id.to_string(),
        trigger,
        is_suspended: false,
        reason: told("revokedReason"),
        at: moment(&session["revokedAt"]),
        until: None,
    })
}

/// The veto that ended the newest session of this subject and device that has ended.
pub(super) fn of_newest_end(
    cli: &CommandContext,
    subject: &SubjectId,
    device: Option<&str>,
) -> Result<Option<VetoNotice>, CommandError> {
    let request = ApiRequest::get(&["v1", "sessions"])
        .query("subjectId", Some(subject))
        .query("device", device)
        .query("status", Some("all"))
        .query("limit", Some(LONGEST));
    let page = cli.client.send(&request)?.body;
    let sessions = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    // Of several that ended at one moment the one that began last counts; they come newest first.
    let ended = sessions.iter().rev().filter(|session| session["device"].as_str() == device);
    let newest = ended.filter_map(|session| Some((ended_at(session)?, session))).max_by_key(|(at, _)| *at);
    Ok(newest.and_then(|(_, session)| of_session(session)))
}

/// Who is wanted to stop is not known better than by the word of the authority; without one it is to be feared.
fn is_wanted(trigger: Option<&str>) -> bool {
    trigger.is_none_or(|trigger| !WANTED_BY_NOBODY.contains(&trigger))
}

fn of_session(session: &Value) -> Option<VetoNotice> {
    let text = |name: &str| session[name].as_str().map(str::to_owned);
    let trigger = text("revokedTrigger").filter(|trigger| is_wanted(Some(trigger)))?;
    Some(VetoNotice {
        subject: text("subjectId").unwrap_or_default(),
        trigger: Some(trigger),
        is_suspended: false,
        reason: text("revokedReason"),
        at: moment(&session["revokedAt"]),
        until: None,
    })
}

fn ended_at(session: &Value) -> Option<Timestamp> {
    match session["status"].as_str()? {
        "REVOKED" => moment(&session["revokedAt"]),
        "EXPIRED" => moment(&session["expiresAt"]),
        _ => None,
    }
}

fn session(cli: &CommandContext, grant: &SessionGrant) -> Value {
    read(cli, &["v1", "sessions", &grant.session_id.to_string()])
}

/// Null without a key, or if this key may not read it.
fn read(cli: &CommandContext, path: &[&str]) -> Value {
    if !cli.client.has_key() {
        return Value::Null;
    }
    cli.client.send(&ApiRequest::get(path)).map_or(Value::Null, |reply| reply.body)
}

fn moment(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?)
}

impl VetoNotice {
    /// What was done, when and why.
    pub(super) fn words(&self, now: Timestamp) -> String {
        let Self { subject, reason, at, until, .. } = self;
        let reason = reason.as_ref().map(|reason| format!(": \"{reason}\"")).unwrap_or_default();
        if self.is_suspended {
            let at = at.map(|at| format!(" since {at}")).unwrap_or_default();
            let until = until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string());
            return format!("{subject} is suspended{at} until {until}{reason}");
        }
        let at = at.map(|at| format!(" at {at} ({})", humanize::when(at, now))).unwrap_or_default();
        format!("{} of {subject} {}{at}{reason}", self.whose(), self.done())
    }

    fn whose(&self) -> &'static str {
        match self.trigger.as_deref() {
            Some("renewal_rejected") => "The renewal",
            Some("subject_revoked") => "Every session",
            Some(_) | None => "The session",
        }
    }

    fn done(&self) -> String {
        match self.trigger.as_deref() {
            Some("renewal_rejected") => "was vetoed".to_owned(),
            Some("manual_revoke") | None => "was revoked".to_owned(),
            Some("subject_revoked") => "was ended".to_owned(),
            Some("bulk") => "was revoked with others".to_owned(),
            Some("token_reuse") => "was ended because a replaced token of it was used".to_owned(),
            Some(other) => format!("was ended ({other})"),
        }
    }

    /// What the same command line does when it is started again.
    pub(super) const fn of_a_restart(&self) -> &'static str {
        if self.is_suspended {
            "a restart after the suspension goes on with the session"
        } else {
            "a restart begins no new session unless --new-after-revoke says so"
        }
    }

    /// Why no new session is begun.
    pub(super) fn refusal(&self, now: Timestamp) -> CommandError {
        let instead = if self.is_suspended {
            "No session is created meanwhile; a restart after the suspension goes on with the one there is"
        } else {
            "No new session is begun; --new-after-revoke begins one"
        };
        let why = format!("{}. {instead}", self.words(now));
        CommandError::Unhealthy { exit: ExitStatus::Refused, why }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn revoked(trigger: &str) -> Value {
        json!({ "subjectId": "agent-7", "status": "REVOKED", "revokedTrigger": trigger,
                "revokedAt": "2026-11-21T03:10:00.000Z", "revokedReason": "not at night" })
    }

    #[test]
    fn every_end_that_somebody_wanted_is_a_veto() {
        for trigger in
            ["manual_revoke", "renewal_rejected", "token_reuse", "subject_revoked", "bulk", "later"]
        {
            assert!(of_session(&revoked(trigger)).is_some(), "{trigger}");
        }
        for trigger in ["self", "evicted", "restore"] {
            assert_eq!(of_session(&revoked(trigger)), None, "{trigger}");
        }
        assert_eq!(of_session(&json!({ "status": "EXPIRED", "revokedTrigger": null })), None);
    }

    #[test]
    fn a_veto_says_what_when_and_why() {
        let now = Timestamp::parse("2026-11-21T03:14:00Z").unwrap();
        assert_eq!(
            of_session(&revoked("renewal_rejected")).unwrap().words(now),
            "The renewal of agent-7 was vetoed at 2026-11-21T03:10:00.000Z (4m ago): \"not at night\""
        );
    }
}
