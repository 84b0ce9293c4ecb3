//! Why a command failed: for people, in the words that they typed, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::humanize;
use crate::cli::{
    arguments::{
        flags::{AddressSource, TypedWords},
        moments::MomentForm,
    },
    environment,
    failure::{CommandError, RefusedRequest},
    output::{harmless, moment},
};
use tenure_client::{Error, end_in_words};
use tenure_core::Timestamp;

/// A failure for programs.
pub(in crate::cli) fn failure_document(failure: &CommandError) -> Value {
    let own = || json!({"title": failure.to_string(), "code": null});
    failure.problem().map_or_else(own, |problem| problem.document.clone())
}

/// A failure for people, in the words that were typed.
pub(in crate::cli) fn failure_in_words(
    failure: &CommandError,
    typed: &TypedWords,
    form: MomentForm,
) -> String {
    let hint = match failure {
        CommandError::Problem(problem) => {
            return problem_in_words(problem, typed, problem.then.unwrap_or_else(environment::now), form);
        }
        CommandError::Declined => return "Nothing was changed.".to_owned(),
        CommandError::Unanswered(Error::Unreachable { why, .. }) => &unreachable_hint(why, typed.source()),
        CommandError::Usage(_)
        | CommandError::Unanswered(_)
        | CommandError::Server(_)
        | CommandError::File { .. }
        | CommandError::Missing(_)
        | CommandError::Unhealthy { .. }
        | CommandError::Ambiguous(_)
        | CommandError::Output(_) => "",
    };
    let told = failure.to_string();
    // Several faults, of settings say, have a line each. What a server said has one line.
    let told = if matches!(failure, CommandError::Usage(_) | CommandError::Ambiguous(_)) {
        told.split('\n').map(harmless).collect::<Vec<_>>().join("\n  ")
    } else {
        harmless(&told)
    };
    format!("error: {told}{hint}")
}

/// Where the address came from, and what to do about it.
fn unreachable_hint(why: &str, source: Option<&AddressSource>) -> String {
    let source = match source {
        Some(AddressSource::Default) => {
            return "\n  No server was named, so this is the default one. Start `tenure serve`, or name another: --url, \
                    TENURE_URL, tenure context"
                .to_owned();
        }
        Some(AddressSource::Named(name)) => Some((*name).to_owned()),
        Some(AddressSource::Context(name)) => Some(format!("the context {}", harmless(name))),
        None => None,
    };
    let source = source.map(|source| format!("The address is from {source}."));
    // Whatever closed the connection or took too long was there.
    let question = why.contains("refused").then(|| "Is `tenure serve` running there?".to_owned());
    let told: Vec<_> = source.into_iter().chain(question).collect();
    if told.is_empty() { String::new() } else { format!("\n  {}", told.join(" ")) }
}

/// Whether a detail only lists the faults of fields.
fn repeats(detail: &str, problem: &RefusedRequest) -> bool {
    !problem.errors.is_empty() && problem.errors.iter().all(|error| detail.contains(&error.message))
}

/// The title, what is wrong in this case, and how to go on.
fn problem_in_words(
    problem: &RefusedRequest,
    typed: &TypedWords,
    now: Timestamp,
    form: MomentForm,
) -> String {
    let faults: Vec<_> = problem.errors.iter().map(|fault| harmless(&typed.fault(fault))).collect();
    let title = problem.missing.as_ref().unwrap_or(&problem.title);
    let mut told = match faults.as_slice() {
        [only] if only.starts_with("--") => format!("error: {only}"),
        _ => format!("error: {}", harmless(title)),
    };
    let mut one = |fault: &String| {
        let _ = write!(told, "\n  {fault}");
    };
    // A fault used as the title is not repeated.
    faults.iter().filter(|fault| faults.len() > 1 || !fault.starts_with("--")).for_each(&mut one);
    let mut line = |name: &str, text: &str| {
        let _ = write!(told, "\n  {name}: {}", harmless(text));
    };
    let is_news = |detail: &&String| **detail != problem.title && !repeats(detail, problem);
    if let Some(detail) = problem.detail.as_ref().filter(is_news) {
        line("why", detail);
    }
    if let Some(trigger) = &problem.trigger {
        line("why", end_in_words(trigger).unwrap_or(trigger));
    }
    if let Some(at) = &problem.retry_at {
        line("retry at", &moment(&Value::String(at.to_string()), form, |at| humanize::when(at, now)));
    }
    if let Some(wait) = problem.retry_after {
        line("retry after", &humanize::duration(wait.as_secs()));
    }
    line("code", &problem.code);
    if let Some(id) = &problem.request_id {
        line("request", id);
    }
    if let Some(hint) = hint(problem) {
        line("hint", hint);
    }
    told
}

/// What to do next, where the server cannot know how it is typed.
fn hint(problem: &RefusedRequest) -> Option<&'static str> {
    match (problem.status, problem.code.as_str()) {
        (401, _) if !problem.with_credential => {
            Some("no key was given; see --key-file, --key and TENURE_KEY")
        }
        (401, "INVALID_TOKEN") => Some(
            "it may be revoked, mistyped or another server's; see --key-file, TENURE_KEY and tenure context ls",
        ),
        (404, "SUBJECT_NOT_FOUND") => {
            Some("tenure subject list shows them; tenure subject put registers one")
        }
        (403, "SUBJECT_SUSPENDED") => Some("tenure subject resume SUBJECT lifts the suspension"),
        (404, "SESSION_NOT_FOUND") => Some("tenure session list --status all shows them"),
        (404, "WEBHOOK_NOT_FOUND") => Some("tenure webhook list shows them"),
        (404, "NOT_FOUND") if problem.missing.as_deref().is_some_and(|it| it.starts_with("no API key")) => {
            Some("tenure credential list shows them")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tenure_client as client;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-21T00:30:00Z").unwrap()
    }

    fn read(document: Value) -> client::Problem {
        client::Problem::read(document).unwrap()
    }

    #[test]
    fn a_problem_says_what_why_when_and_how_to_go_on() {
        let document = json!({
            "type": "about:blank", "title": "Too early to renew", "status": 403, "code": "RENEWAL_TOO_EARLY",
            "detail": "half of the period must pass", "retryable": true,
            "retryAt": "2026-11-21T01:35:00.000Z", "requestId": "r1",
            "errors": [{"field": "ttl", "message": "must be 300 to 604800"}],
        });
        let mut said = read(document);
        said.retry_after = Some(Duration::from_secs(3));
        assert_eq!(
            problem_in_words(
                &RefusedRequest::of(said, true),
                &TypedWords::default(),
                now(),
                MomentForm::InFull
            ),
            "error: Too early to renew\n  ttl: must be 300 to 604800\n  why: half of the period must pass\n  \
             retry at: 2026-11-21T01:35:00.000Z (in 1h 5m)\n  retry after: 3s\n  code: RENEWAL_TOO_EARLY\n  \
             request: r1"
        );
    }

    #[test]
    fn what_the_title_says_is_not_said_again() {
        let document = json!({ "title": "Too early", "detail": "Too early", "status": 403, "code": "X" });
        let told = problem_in_words(
            &RefusedRequest::of(read(document), false),
            &TypedWords::default(),
            now(),
            MomentForm::InFull,
        );
        assert_eq!(told, "error: Too early\n  code: X");
    }

    #[test]
    fn whoever_gave_no_key_is_told_how_to() {
        let document = json!({"title": "No", "status": 401, "code": "INVALID_TOKEN"});
        let told = problem_in_words(
            &RefusedRequest::of(read(document), false),
            &TypedWords::default(),
            now(),
            MomentForm::InFull,
        );
        assert!(told.contains("TENURE_KEY"), "{told}");
    }

    #[test]
    fn a_fault_is_told_once_and_in_the_words_of_its_option() {
        let document = json!({
            "title": "Invalid request", "status": 400, "code": "INVALID_REQUEST",
            "detail": "ttl: must be 300 to 604800", "errors": [{"field": "ttl", "message": "must be 300 to 604800"}],
        });
        let typed = TypedWords::of(&["create".into(), "a".into(), "--ttl".into(), "90".into()]);
        let told =
            problem_in_words(&RefusedRequest::of(read(document), true), &typed, now(), MomentForm::InFull);
        assert_eq!(told, "error: --ttl 90: must be 5m to 7d\n  code: INVALID_REQUEST");
    }
}
