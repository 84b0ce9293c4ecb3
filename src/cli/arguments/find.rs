//! Ids as people have them: a subject by its name or the beginning of its id, a session by the beginning of its id or by
//! its subject. What fits more than one thing is a conflict, with the candidates.
//!
//! What cannot be looked up, because nothing fits or the key may not list, is left as it was typed: the server refuses it
//! in its own words.

use serde_json::Value;

use crate::cli::{
    connection::{client::ApiRequest, pages},
    context::CommandContext,
    failure::{AmbiguousName, CommandError},
};
use tenure_core::{SessionId, SubjectId};

/// Maximum pages of 200 searched for a prefix.
const MOST_PAGES: usize = 50;
/// Maximum candidates shown.
pub(crate) const MOST_CANDIDATES: usize = 10;
/// Fewer characters of a session's id say nothing.
pub(crate) const SHORTEST: usize = 4;

/// Which sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionScope {
    /// Those that can be ended or used.
    Active,
    /// Those that can be read about: the newest one of a subject, if none is active.
    Any,
}

/// How a subject was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SubjectMatch {
    /// By its id.
    Exact(String),
    /// By its name.
    Named(String),
    /// By the beginning of its id.
    Begun(String),
    /// Not at all.
    Unknown,
}

/// The id of a subject that was named by its id, its name or the beginning of its id.
pub(crate) fn subject(cli: &CommandContext, typed: &str) -> Result<String, CommandError> {
    Ok(match subject_match(cli, typed)? {
        SubjectMatch::Exact(id) | SubjectMatch::Named(id) | SubjectMatch::Begun(id) => id,
        SubjectMatch::Unknown => typed.to_owned(),
    })
}

/// The same for a command that ends something: without a question only a whole id or name will do.
pub(crate) fn subject_to_change(
    cli: &CommandContext,
    typed: &str,
    is_asked: bool,
) -> Result<String, CommandError> {
    match subject_match(cli, typed)? {
        SubjectMatch::Begun(id) if !is_asked => {
            Err(CommandError::Usage(format!("\"{typed}\" is only the beginning of {id}: give the whole id")))
        }
        SubjectMatch::Exact(id) | SubjectMatch::Named(id) | SubjectMatch::Begun(id) => Ok(id),
        SubjectMatch::Unknown => Ok(typed.to_owned()),
    }
}

/// The id of a subject by which a list is narrowed.
pub(crate) fn subject_filter(
    cli: &CommandContext,
    typed: Option<&String>,
) -> Result<Option<String>, CommandError> {
    typed.map(|typed| subject(cli, typed)).transpose()
}

/// The id of a session that was named by its id, the beginning of its id, or its subject.
pub(crate) fn session(
    cli: &CommandContext,
    typed: &str,
    whose: SessionScope,
) -> Result<String, CommandError> {
    if is_whole(typed) {
        return Ok(typed.to_owned());
    }
    let exact = matches!(is_subject(cli, typed), Ok(true));
    if !exact && let Some(id) = by_beginning(cli, typed)? {
        return Ok(id);
    }
    let subject =
        if exact { SubjectMatch::Exact(typed.to_owned()) } else { by_name_or_beginning(cli, typed)? };
    match subject {
        SubjectMatch::Exact(subject) | SubjectMatch::Named(subject) | SubjectMatch::Begun(subject) => {
            of_subject(cli, &subject, whose)
        }
        SubjectMatch::Unknown => Ok(typed.to_owned()),
    }
}

/// The id of a session by which a list is narrowed.
pub(crate) fn session_filter(
    cli: &CommandContext,
    typed: Option<&String>,
) -> Result<Option<String>, CommandError> {
    typed.map(|typed| session(cli, typed, SessionScope::Any)).transpose()
}

/// Whether it is a whole id, which need not be looked up.
pub(crate) fn is_whole(typed: &str) -> bool {
    typed.parse::<SessionId>().is_ok()
}

/// The id of one of these things, named by its id, its name or the beginning of its id.
pub(crate) fn among(page: &Value, id: &str, noun: &'static str, typed: &str) -> Result<String, CommandError> {
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fitting = |fits: &dyn Fn(&Value) -> bool| items.iter().filter(|item| fits(item)).collect::<Vec<_>>();
    let ways: [&dyn Fn(&Value) -> bool; 3] = [
        &|item| item[id] == *typed,
        &|item| item["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(typed)),
        &|item| typed.len() >= SHORTEST && item[id].as_str().is_some_and(|whole| whole.starts_with(typed)),
    ];
    for found in ways.into_iter().map(fitting) {
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one[id].as_str().unwrap_or_default().to_owned()),
            several => {
                return Err(ambiguous(noun, typed, several.iter().map(|item| line(item, id)).collect()));
            }
        }
    }
    Ok(typed.to_owned())
}

/// The id of the subject with this name, for what gets a subject something: a beginning of an id is none of its names.
pub(crate) fn subject_of_name(cli: &CommandContext, typed: &str) -> Result<Option<SubjectId>, CommandError> {
    let Some((named, _)) = subjects_like(cli, typed)? else { return Ok(None) };
    Ok(one("subject", typed, named)?.and_then(|id| id.parse().ok()))
}

fn subject_match(cli: &CommandContext, typed: &str) -> Result<SubjectMatch, CommandError> {
    match is_subject(cli, typed) {
        Ok(true) => Ok(SubjectMatch::Exact(typed.to_owned())),
        Ok(false) => by_name_or_beginning(cli, typed),
        // The key may not read subjects.
        Err(CommandError::Problem(_)) => Ok(SubjectMatch::Unknown),
        Err(failure) => Err(failure),
    }
}

fn is_subject(cli: &CommandContext, typed: &str) -> Result<bool, CommandError> {
    // Only an id can be part of a path.
    if typed.parse::<SubjectId>().is_err() {
        return Ok(false);
    }
    match cli.client.send(&ApiRequest::get(&["v1", "subjects", typed])) {
        Ok(_) => Ok(true),
        Err(CommandError::Problem(problem)) if problem.status == 404 => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn by_name_or_beginning(cli: &CommandContext, typed: &str) -> Result<SubjectMatch, CommandError> {
    let Some((named, begun)) = subjects_like(cli, typed)? else { return Ok(SubjectMatch::Unknown) };
    Ok(match (one("subject", typed, named)?, one("subject", typed, begun)) {
        (Some(id), _) => SubjectMatch::Named(id),
        (None, begun) => begun?.map_or(SubjectMatch::Unknown, SubjectMatch::Begun),
    })
}

/// Things that fit what was typed: the id of each, and a line about it.
type Candidates = Vec<(String, String)>;

/// The subjects with this name, and those whose id begins so; `None` when this key may not list them.
fn subjects_like(
    cli: &CommandContext,
    typed: &str,
) -> Result<Option<(Candidates, Candidates)>, CommandError> {
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    let walked = walk(cli, ApiRequest::get(&["v1", "subjects"]), &mut |subject| {
        let id = subject["subjectId"].as_str().unwrap_or_default().to_owned();
        let said = format!("{id}  {}", subject["name"].as_str().unwrap_or_default()).trim_end().to_owned();
        if subject["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(typed)) {
            named.push((id, said));
        } else if id.starts_with(typed) {
            begun.push((id, said));
        }
        true
    })?;
    Ok(walked.then_some((named, begun)))
}

/// A session's id begins with the moment of its creation, so the newest first means the greatest first.
fn by_beginning(cli: &CommandContext, typed: &str) -> Result<Option<String>, CommandError> {
    let is_beginning = |c: char| c == '-' || matches!(c, '0'..='9' | 'a'..='f');
    if typed.len() < SHORTEST || !typed.chars().all(is_beginning) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let request = ApiRequest::get(&["v1", "sessions"]).query("status", Some("all"));
    walk(cli, request, &mut |session| {
        let id = session["sessionId"].as_str().unwrap_or_default();
        if id.starts_with(typed) {
            found.push((id.to_owned(), session_line(session)));
        }
        id.get(..typed.len()).is_none_or(|beginning| beginning >= typed)
    })?;
    one("session", typed, found)
}

fn of_subject(cli: &CommandContext, subject: &str, whose: SessionScope) -> Result<String, CommandError> {
    let request =
        ApiRequest::get(&["v1", "sessions"]).query("subjectId", Some(subject)).query("limit", Some(200));
    let active = cli.client.send(&request)?.body;
    let found = active["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = found.iter().map(|session| (id_of(session), session_line(session))).collect();
    if let Some(id) = one("session", subject, found)? {
        return Ok(id);
    }
    if whose == SessionScope::Any {
        let all = cli.client.send(&request.query("status", Some("all")).query("limit", Some(1)))?.body;
        if let Some(newest) = all["items"][0]["sessionId"].as_str() {
            return Ok(newest.to_owned());
        }
    }
    Err(CommandError::Missing(format!(
        "no active session of {subject}; ended ones: tenure session list --status all"
    )))
}

/// Hands over items of a list until enough was seen; false when this key may not list them.
fn walk(
    cli: &CommandContext,
    request: ApiRequest,
    take: &mut dyn FnMut(&Value) -> bool,
) -> Result<bool, CommandError> {
    let mut request = request.query("limit", Some(200));
    for _ in 0..MOST_PAGES {
        let page = match cli.client.send(&request) {
            Ok(reply) => reply.body,
            Err(CommandError::Problem(_)) => return Ok(false),
            Err(failure) => return Err(failure),
        };
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        // The whole page: sessions of one moment are in no order.
        if items.iter().filter(|item| !take(item)).count() > 0 {
            return Ok(true);
        }
        match pages::by_cursor(&page) {
            Some((name, value)) => request = request.query(name, Some(value)),
            None => return Ok(true),
        }
    }
    Ok(true)
}

fn one(
    noun: &'static str,
    typed: &str,
    found: Vec<(String, String)>,
) -> Result<Option<String>, CommandError> {
    match found.as_slice() {
        [] => Ok(None),
        [(id, _)] => Ok(Some(id.clone())),
        _ => Err(ambiguous(noun, typed, found.into_iter().map(|(_, line)| line).collect())),
    }
}

pub(crate) fn ambiguous(noun: &'static str, typed: &str, mut lines: Vec<String>) -> CommandError {
    let more = lines.len().saturating_sub(MOST_CANDIDATES);
    lines.truncate(MOST_CANDIDATES);
    CommandError::Ambiguous(Box::new(AmbiguousName { typed: typed.to_owned(), noun, lines, more }))
}

fn id_of(session: &Value) -> String {
    session["sessionId"].as_str().unwrap_or_default().to_owned()
}

fn session_line(session: &Value) -> String {
    let text = |name: &str| session[name].as_str().unwrap_or_default();
    format!("{}  {}  {}", text("sessionId"), text("subjectId"), text("status").to_lowercase())
}

fn line(item: &Value, id: &str) -> String {
    let text = |name: &str| item[name].as_str().unwrap_or_default();
    format!("{}  {}", text(id), text("name")).trim_end().to_owned()
}
