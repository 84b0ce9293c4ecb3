//! `tenure watch`

use clap::Args;
use serde_json::Value;

use super::{
    client::Request,
    context::Context,
    failure::Failure,
    follow::{Begin, follow},
};
use tenure_core::SubjectId;

/// Arguments of `tenure watch`.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only these kinds, such as SESSION_RENEWED,SESSION_RENEWAL_REJECTED
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<String>,

    /// Only notices about this subject
    #[arg(long, value_name = "ID")]
    subject: Option<SubjectId>,

    /// Only notices about this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    #[command(flatten)]
    begin: Begin,
}

impl Watch {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.join(","));
        let request = Request::get(&["v1", "notices"])
            .query("kinds", kinds)
            .query("subjectId", self.subject)
            .query("sessionId", self.session);
        let request = if self.begin.is_said() {
            self.begin.apply(request, cli.now())
        } else {
            request.query("after", Some("latest"))
        };
        follow(cli, request, in_words)
    }
}

/// When, what, whose, and what of it matters, in one line.
fn in_words(notice: &Value) -> String {
    let text = |name: &str| notice[name].as_str().unwrap_or("-");
    let whose = match notice["subjectName"].as_str() {
        Some(name) => format!("{} ({name})", text("subjectId")),
        None => text("subjectId").to_owned(),
    };
    let what = details(notice);
    format!("{}  {:<24}  {whose}  {}  {what}", text("occurredAt"), text("kind"), text("sessionId"))
}

fn details(notice: &Value) -> String {
    let text = |name: &str| notice[name].as_str().unwrap_or("-");
    match text("kind") {
        "SESSION_CREATED" => format!("until {}", text("expiresAt")),
        "SESSION_RENEWED" => format!(
            "renewal {} of {}, until {}, {} left in all, veto until {}",
            notice["renewalCount"],
            notice["maxRenewals"],
            text("expiresAt"),
            text("remainingAbsoluteLife"),
            text("rejectWindowExpiry"),
        ),
        "SESSION_RENEWAL_REJECTED" if text("cause") == "owner" => "vetoed".to_owned(),
        "SESSION_RENEWAL_REJECTED" => format!("refused: {}", text("code")),
        "SESSION_REVOKED" => revoked(notice),
        "SESSION_EXPIRING_SOON" => {
            format!(
                "{} renewals left, ends for good at {}",
                notice["renewalsLeft"],
                text("absoluteExpiresAt")
            )
        }
        "SUBJECT_SUSPENDED" => match notice["until"].as_str() {
            Some(until) => format!("until {until}{}", reason(notice)),
            None => format!("until it is resumed{}", reason(notice)),
        },
        "SUBJECT_RESUMED" => {
            format!("by {}{}", notice["actor"]["kind"].as_str().unwrap_or("-"), reason(notice))
        }
        "SESSION_EXPIRED" => format!("ended by {} at {}", text("cause"), text("expiresAt")),
        _ => String::new(),
    }
}

fn reason(notice: &Value) -> String {
    notice["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"))
}

fn revoked(notice: &Value) -> String {
    let trigger = notice["trigger"].as_str().unwrap_or("-");
    let reason = reason(notice);
    match notice["matched"].as_u64() {
        Some(matched) => format!("{matched} sessions, {trigger}{reason}"),
        None => format!("{trigger}{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renewal_says_what_an_owner_needs_to_judge_it() {
        let notice = json!({
            "kind": "SESSION_RENEWED", "occurredAt": "2026-11-21T01:35:00.000Z", "sessionId": "s1",
            "subjectId": "bot-7", "subjectName": "Night shift", "renewalCount": 3, "maxRenewals": 30,
            "expiresAt": "2026-11-22T01:35:00.000Z", "remainingAbsoluteLife": "27d 12h",
            "rejectWindowExpiry": "2026-11-21T02:35:00.000Z",
        });
        assert_eq!(
            in_words(&notice),
            "2026-11-21T01:35:00.000Z  SESSION_RENEWED           bot-7 (Night shift)  s1  renewal 3 of 30, \
             until 2026-11-22T01:35:00.000Z, 27d 12h left in all, veto until 2026-11-21T02:35:00.000Z"
        );
    }

    #[test]
    fn a_suspension_says_how_long_and_why() {
        let notice = json!({
            "kind": "SUBJECT_SUSPENDED", "subjectId": "bot-7", "sessionId": null, "reason": "odd",
            "until": "2026-11-21T01:35:00.000Z",
        });
        assert!(in_words(&notice).ends_with("bot-7  -  until 2026-11-21T01:35:00.000Z: odd"));
    }

    #[test]
    fn an_end_of_several_sessions_says_how_many_and_why() {
        let notice = json!({
            "kind": "SESSION_REVOKED", "subjectId": "bot-7", "sessionId": null, "matched": 3,
            "trigger": "subject_revoked", "reason": "lost laptop",
        });
        assert!(in_words(&notice).ends_with("bot-7  -  3 sessions, subject_revoked: lost laptop"));
    }
}
