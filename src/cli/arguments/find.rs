//! Ids as people have them: a subject by its name or the beginning of its id, a session by the beginning of its id or by
//! its subject. What fits more than one thing is a conflict, with the candidates.
//!
//! What cannot be looked up, because nothing fits or the key may not list, is left as it was typed: the server refuses it
//! in its own words.

use serde_json::Value;

use crate::cli::{
    connection::{client::Request, pages},
    context::Context,
    failure::{Candidates, Failure},
};
use tenure_core::SessionId;

/// Maximum pages of 200 searched for a prefix.
const MOST_PAGES: usize = 50;
/// Maximum candidates shown.
pub(crate) const MOST_CANDIDATES: usize = 10;
/// Fewer characters of a session's id say nothing.
pub(crate) const SHORTEST: usize = 4;

/// Which sessions are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Those that can be ended or used.
    Active,
    /// Those that can be read about: the newest one of a subject, if none is active.
    Any,
}

/// How a subject was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
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
pub(crate) fn subject(cli: &Context, typed: &str) -> Result<String, Failure> {
    Ok(match subject_match(cli, typed)? {
        Match::Exact(id) | Match::Named(id) | Match::Begun(id) => id,
        Match::Unknown => typed.to_owned(),
    })
}

/// The same for a command that ends something: without a question only a whole id or name will do.
pub(crate) fn subject_to_change(cli: &Context, typed: &str, is_asked: bool) -> Result<String, Failure> {
    match subject_match(cli, typed)? {
        Match::Begun(id) if !is_asked => {
            Err(Failure::Usage(format!("\"{typed}\" is only the beginning of {id}: give the whole id")))
        }
        Match::Exact(id) | Match::Named(id) | Match::Begun(id) => Ok(id),
        Match::Unknown => Ok(typed.to_owned()),
    }
}

/// The id of a subject by which a list is narrowed.
pub(crate) fn subject_filter(cli: &Context, typed: Option<&String>) -> Result<Option<String>, Failure> {
    typed.map(|typed| subject(cli, typed)).transpose()
}

/// The id of a session that was named by its id, the beginning of its id, or its subject.
pub(crate) fn session(cli: &Context, typed: &str, whose: Whose) -> Result<String, Failure> {
    if is_whole(typed) {
        return Ok(typed.to_owned());
    }
    let exact = matches!(is_subject(cli, typed), Ok(true));
    if !exact && let Some(id) = by_beginning(cli, typed)? {
        return Ok(id);
    }
    let subject = if exact { Match::Exact(typed.to_owned()) } else { by_name_or_beginning(cli, typed)? };
    match subject {
        Match::Exact(subject) | Match::Named(subject) | Match::Begun(subject) => {
            of_subject(cli, &subject, whose)
        }
        Match::Unknown => Ok(typed.to_owned()),
    }
}

/// The id of a session by which a list is narrowed.
pub(crate) fn session_filter(cli: &Context, typed: Option<&String>) -> Result<Option<String>, Failure> {
    typed.map(|typed| session(cli, typed, Whose::Any)).transpose()
}

/// Whether it is a whole id, which need not be looked up.
pub(crate) fn is_whole(typed: &str) -> bool {
    typed.parse::<SessionId>().is_ok()
}

/// The id of one of these things, named by its id, its name or the beginning of its id.
pub(crate) fn among(page: &Value, id: &str, noun: &'static str, typed: &str) -> Result<String, Failure> {
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

fn subject_match(cli: &Context, typed: &str) -> Result<Match, Failure> {
    match is_subject(cli, typed) {
        Ok(true) => Ok(Match::Exact(typed.to_owned())),
        Ok(false) => by_name_or_beginning(cli, typed),
        // The key may not read subjects.
        Err(Failure::Problem(_)) => Ok(Match::Unknown),
        Err(failure) => Err(failure),
    }
}

fn is_subject(cli: &Context, typed: &str) -> Result<bool, Failure> {
    // A text that is not an id cannot be part of a path.
    if typed.parse::<tenure_core::SubjectId>().is_err() {
        return Ok(false);
    }
    match cli.client.send(&Request::get(&["v1", "subjects", typed])) {
        Ok(_) => Ok(true),
        Err(Failure::Problem(problem)) if problem.status == 404 => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn by_name_or_beginning(cli: &Context, typed: &str) -> Result<Match, Failure> {
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    let walked = walk(cli, Request::get(&["v1", "subjects"]), &mut |subject| {
        let id = subject["subjectId"].as_str().unwrap_or_default().to_owned();
        let said = format!("{id}  {}", subject["name"].as_str().unwrap_or_default()).trim_end().to_owned();
        if subject["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(typed)) {
            named.push((id, said));
        } else if id.starts_with(typed) {
            begun.push((id, said));
        }
        true
    })?;
    if !walked {
        return Ok(Match::Unknown);
    }
    Ok(match (one("subject", typed, named)?, one("subject", typed, begun)) {
        (Some(id), _) => Match::Named(id),
        (None, begun) => begun?.map_or(Match::Unknown, Match::Begun),
    })
}

/// A session's id begins with the moment of its creation, so the newest first means the greatest first.
fn by_beginning(cli: &Context, typed: &str) -> Result<Option<String>, Failure> {
    let is_beginning = |c: char| c == '-' || matches!(c, '0'..='9' | 'a'..='f');
    if typed.len() < SHORTEST || !typed.chars().all(is_beginning) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let request = Request::get(&["v1", "sessions"]).query("status", Some("all"));
    walk(cli, request, &mut |session| {
        let id = session["sessionId"].as_str().unwrap_or_default();
        if id.starts_with(typed) {
            found.push((id.to_owned(), session_line(session)));
        }
        id.get(..typed.len()).is_none_or(|beginning| beginning >= typed)
    })?;
    one("session", typed, found)
}

fn of_subject(cli: &Context, subject: &str, whose: Whose) -> Result<String, Failure> {
    let request =
        Request::get(&["v1", "sessions"]).query("subjectId", Some(subject)).query("limit", Some(200));
    let active = cli.client.send(&request)?.body;
    let found = active["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = found.iter().map(|session| (id_of(session), session_line(session))).collect();
    if let Some(id) = one("session", subject, found)? {
        return Ok(id);
    }
    if whose == Whose::Any {
        let all = cli.client.send(&request.query("status", Some("all")).query("limit", Some(1)))?.body;
        if let Some(newest) = all["items"][0]["sessionId"].as_str() {
            return Ok(newest.to_owned());
        }
    }
    Err(Failure::Missing(format!(
        "no active session of {subject}; ended ones: tenure session list --status all"
    )))
}

/// Hands over items of a list until enough was seen; false when this key may not list them.
fn walk(cli: &Context, request: Request, take: &mut dyn FnMut(&Value) -> bool) -> Result<bool, Failure> {
    let mut request = request.query("limit", Some(200));
    for _ in 0..MOST_PAGES {
        let page = match cli.client.send(&request) {
            Ok(reply) => reply.body,
            Err(Failure::Problem(_)) => return Ok(false),
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

fn one(noun: &'static str, typed: &str, found: Vec<(String, String)>) -> Result<Option<String>, Failure> {
    match found.as_slice() {
        [] => Ok(None),
        [(id, _)] => Ok(Some(id.clone())),
        _ => Err(ambiguous(noun, typed, found.into_iter().map(|(_, line)| line).collect())),
    }
}

pub(crate) fn ambiguous(noun: &'static str, typed: &str, mut lines: Vec<String>) -> Failure {
    let more = lines.len().saturating_sub(MOST_CANDIDATES);
    lines.truncate(MOST_CANDIDATES);
    Failure::Ambiguous(Box::new(Candidates { typed: typed.to_owned(), noun, lines, more }))
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
