//! A notice in words: a line for programs and logs, and one for a person in front of a terminal.

use serde_json::Value;

use crate::cli::{
    arguments::moments,
    output::{
        InkColor, PaintedLine,
        event_text::{KeyNames, refusal_words, trigger_words},
        humanize,
    },
};
use tenure_core::Timestamp;

/// By the local clock, with the command that vetoes; a mark in the colour of what happened.
pub(super) fn for_people(notice: &Value, names: &KeyNames, now: Timestamp) -> PaintedLine {
    let text = |name: &str| notice[name].as_str().unwrap_or("-");
    let at = Timestamp::parse(text("occurredAt")).unwrap_or(now);
    let when =
        if now.seconds_since(at) < 43_200 { moments::clock_time(at) } else { moments::short_time(at, now) };
    let name = notice["subjectName"].as_str().map(|name| format!(" ({name})")).unwrap_or_default();
    let (mark, verb, ink) = kind(notice);
    let rest = format!(" {}{name}  {verb:<10}  {}", text("subjectId"), what(notice, names, now));
    PaintedLine(vec![
        (None, format!("{when}  ")),
        (Some(InkColor(ink)), mark.to_owned()),
        (None, rest.trim_end().to_owned()),
    ])
}

/// A mark, a verb and the colour of both.
fn kind(notice: &Value) -> (&'static str, &'static str, u8) {
    match notice["kind"].as_str().unwrap_or_default() {
        "SESSION_CREATED" => ("+", "began", 36),
        "SESSION_RENEWED" => ("\u{25cf}", "renewed", 32),
        "SESSION_RENEWAL_REJECTED" if notice["cause"] == "owner" => ("\u{d7}", "vetoed", 31),
        "SESSION_RENEWAL_REJECTED" => ("!", "refused", 33),
        "SESSION_REVOKED" => ("\u{d7}", "ended", 31),
        "SESSION_EXPIRING_SOON" => ("!", "ends soon", 33),
        "SESSION_EXPIRED" => ("-", "expired", 33),
        "SUBJECT_SUSPENDED" => ("!", "suspended", 31),
        "SUBJECT_RESUMED" => ("+", "resumed", 32),
        _ => ("\u{b7}", "notice", 36),
    }
}

fn what(notice: &Value, names: &KeyNames, now: Timestamp) -> String {
    let text = |name: &str| notice[name].as_str().unwrap_or("-");
    let local = |name: &str| {
        let at = notice[name].as_str().and_then(Timestamp::parse);
        at.map_or_else(|| text(name).to_owned(), |at| moments::short_time(at, now))
    };
    match text("kind") {
        "SESSION_CREATED" => format!("until {}", local("expiresAt")),
        "SESSION_RENEWED" => format!(
            "{} of {} \u{b7} until {} \u{b7} {}",
            notice["renewalCount"],
            notice["maxRenewals"],
            local("expiresAt"),
            veto(notice, now),
        ),
        "SESSION_EXPIRED" => format!("by {} at {}", text("cause"), local("expiresAt")),
        "SESSION_EXPIRING_SOON" => {
            format!("{} renewals left, ends at {}", notice["renewalsLeft"], local("absoluteExpiresAt"))
        }
        "SESSION_RENEWAL_REJECTED" if text("cause") == "owner" => {
            by(notice, names).trim_start_matches(", ").to_owned() + &reason(notice)
        }
        "SESSION_RENEWAL_REJECTED" => refusal_words(text("code")),
        "SESSION_REVOKED" => revoked(notice, trigger_words(text("trigger")), names),
        "SUBJECT_SUSPENDED" if notice["until"].is_string() => {
            format!("until {}{}{}", local("until"), by(notice, names), reason(notice))
        }
        _ => details(notice, names),
    }
}

fn veto(notice: &Value, now: Timestamp) -> String {
    let end = notice["rejectWindowExpiry"].as_str().and_then(Timestamp::parse).filter(|end| *end > now);
    match end {
        Some(end) => format!(
            "veto until {} ({}): tenure veto {}",
            moments::short_time(end, now),
            humanize::duration(end.seconds_since(now)),
            notice["subjectId"].as_str().unwrap_or("-"),
        ),
        None => "its veto window is over".to_owned(),
    }
}

/// When, what, whose, and what of it matters, in one line.
pub(super) fn in_words(notice: &Value, names: &KeyNames) -> String {
    let text = |name: &str| notice[name].as_str().unwrap_or("-");
    let whose = match notice["subjectName"].as_str() {
        Some(name) => format!("{} ({name})", text("subjectId")),
        None => text("subjectId").to_owned(),
    };
    let what = details(notice, names);
    format!("{}  {:<24}  {whose}  {}  {what}", text("occurredAt"), text("kind"), text("sessionId"))
}

fn details(notice: &Value, names: &KeyNames) -> String {
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
        "SESSION_REVOKED" => revoked(notice, text("trigger").to_owned(), names),
        "SESSION_EXPIRING_SOON" => {
            format!("{} renewals left, ends at {}", notice["renewalsLeft"], text("absoluteExpiresAt"))
        }
        "SUBJECT_SUSPENDED" => {
            let until = notice["until"].as_str().unwrap_or("it is resumed");
            format!("until {until}{}{}", by(notice, names), reason(notice))
        }
        "SUBJECT_RESUMED" => format!("by {}{}", names.who(notice), reason(notice)),
        "SESSION_EXPIRED" => format!("ended by {} at {}", text("cause"), text("expiresAt")),
        _ => String::new(),
    }
}

/// Who did it, behind what was done; nothing of what no key did.
fn by(notice: &Value, names: &KeyNames) -> String {
    if notice["actor"]["kind"] == "credential" {
        format!(", by {}", names.who(notice))
    } else {
        String::new()
    }
}

fn reason(notice: &Value) -> String {
    notice["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"))
}

fn revoked(notice: &Value, trigger: String, names: &KeyNames) -> String {
    let rest = by(notice, names) + &reason(notice);
    match notice["matched"].as_u64() {
        Some(matched) => format!("{matched} sessions, {trigger}{rest}"),
        None => trigger + &rest,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_reads_how_long_a_veto_is_open_and_how_to_do_it() {
        let notice = json!({
            "kind": "SESSION_RENEWED", "occurredAt": "2026-11-21T01:35:00.000Z", "sessionId": "s1",
            "subjectId": "bot-7", "subjectName": "Night shift", "renewalCount": 3, "maxRenewals": 30,
            "expiresAt": "2026-11-22T01:35:00.000Z", "rejectWindowExpiry": "2026-11-21T02:35:00.000Z",
        });
        let now = Timestamp::parse("2026-11-21T01:36:00Z").unwrap();
        let PaintedLine(parts) = for_people(&notice, &KeyNames::default(), now);
        assert_eq!(parts[1], (Some(InkColor(32)), "\u{25cf}".to_owned()));
        let told = |now| {
            for_people(&notice, &KeyNames::default(), now)
                .0
                .into_iter()
                .map(|(_, text)| text)
                .collect::<String>()
        };
        let late = told(Timestamp::parse("2026-11-21T02:36:00Z").unwrap());
        let told = told(now);
        assert!(told.contains("\u{25cf} bot-7 (Night shift)  renewed     3 of 30"), "{told}");
        assert!(told.ends_with("(59m): tenure veto bot-7"), "{told}");
        assert!(late.ends_with("its veto window is over"), "{late}");
    }

    #[test]
    fn a_renewal_says_what_an_owner_needs_to_judge_it() {
        let notice = json!({
            "kind": "SESSION_RENEWED", "occurredAt": "2026-11-21T01:35:00.000Z", "sessionId": "s1",
            "subjectId": "bot-7", "subjectName": "Night shift", "renewalCount": 3, "maxRenewals": 30,
            "expiresAt": "2026-11-22T01:35:00.000Z", "remainingAbsoluteLife": "27d 12h",
            "rejectWindowExpiry": "2026-11-21T02:35:00.000Z",
        });
        assert_eq!(
            in_words(&notice, &KeyNames::default()),
            "2026-11-21T01:35:00.000Z  SESSION_RENEWED           bot-7 (Night shift)  s1  renewal 3 of 30, \
             until 2026-11-22T01:35:00.000Z, 27d 12h left in all, veto until 2026-11-21T02:35:00.000Z"
        );
    }

    #[test]
    fn a_person_reads_who_vetoed_and_why_once_and_in_words() {
        let actor = json!({ "kind": "credential", "id": "01a22385-aaaa" });
        let told = |kind: &str, more: Value| {
            let mut notice = json!({ "kind": kind, "subjectId": "bot-7", "actor": actor });
            notice.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let PaintedLine(parts) = for_people(&notice, &KeyNames::default(), Timestamp::ZERO);
            parts[2].1.trim().to_owned()
        };
        let vetoed = told("SESSION_RENEWAL_REJECTED", json!({ "cause": "owner" }));
        assert_eq!(vetoed, "bot-7  vetoed      by key 01a22385");
        let refused = json!({ "cause": "policy", "code": "RENEWAL_TOO_EARLY" });
        assert_eq!(told("SESSION_RENEWAL_REJECTED", refused), "bot-7  refused     too early");
        let ended = json!({ "trigger": "renewal_rejected", "reason": "not at night" });
        assert_eq!(
            told("SESSION_REVOKED", ended),
            "bot-7  ended       vetoed, by key 01a22385: not at night"
        );
    }

    #[test]
    fn a_suspension_says_how_long_and_why() {
        let notice = json!({
            "kind": "SUBJECT_SUSPENDED", "subjectId": "bot-7", "sessionId": null, "reason": "odd",
            "until": "2026-11-21T01:35:00.000Z",
        });
        assert!(
            in_words(&notice, &KeyNames::default())
                .ends_with("bot-7  -  until 2026-11-21T01:35:00.000Z: odd")
        );
    }

    #[test]
    fn an_end_of_several_sessions_says_how_many_and_why() {
        let notice = json!({
            "kind": "SESSION_REVOKED", "subjectId": "bot-7", "sessionId": null, "matched": 3,
            "trigger": "subject_revoked", "reason": "lost laptop",
            "actor": { "kind": "credential", "id": "01a22385-aaaa" },
        });
        let told = in_words(&notice, &KeyNames::default());
        assert!(
            told.ends_with("bot-7  -  3 sessions, subject_revoked, by key 01a22385: lost laptop"),
            "{told}"
        );
    }
}
