//! What goes back to a browser, and what every reply says about itself.

use std::time::Duration;

use askama::Template;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use serde_json::Value;
use tenure_core::Timestamp;

use crate::http::RefusedReply;

use super::assets;
use crate::console::request::SignedInRequest;

/// Nothing but what this server itself sends: no script or style in a page, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The longest path of a page, with its query, that a form leads back to.
const LONGEST_PATH: usize = 4 * 1024;

/// What a page comes to.
pub(super) type PageResult = Result<Response, PageFailure>;

/// Why there is no such page, or why something was not done.
#[derive(Clone, Debug)]
pub(super) struct PageFailure {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) errors: Vec<String>,
    pub(super) retry_after: Option<u32>,
}

impl PageFailure {
    pub(super) fn of(status: StatusCode, code: &str, detail: &str) -> Self {
        Self { status, code: code.to_owned(), detail: detail.to_owned(), errors: vec![], retry_after: None }
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::of(StatusCode::NOT_FOUND, "NOT_FOUND", detail)
    }

    /// The API said no: the same status, code, detail and wait.
    pub(super) fn of_problem(status: StatusCode, problem: &Value, retry_after: Option<u32>) -> Self {
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let fault = |fault: &Value| {
            let part = |name: &str| fault[name].as_str().unwrap_or_default().to_owned();
            format!("{}: {}", part("field"), part("message"))
        };
        let errors = problem["errors"].as_array().map(|faults| faults.iter().map(fault).collect());
        let mut failure = Self::of(status, &text("code"), &text("detail"));
        if failure.detail.is_empty() {
            failure.detail = text("title");
        }
        failure.errors = errors.unwrap_or_default();
        failure.retry_after = retry_after;
        failure
    }

    /// A fault of this program.
    pub(super) fn of_ours(why: &str) -> Self {
        tracing::error!(why, "a page of the console could not be made");
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "The page could not be made.")
    }

    /// As a page, in the frame of a sign-in if there is one.
    pub(super) fn into_response(self, visit: Option<&SignedInRequest>) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Not possible").to_owned();
        let frame = PageFrame::of(visit, &title, "");
        let mut response = html(self.status, &ProblemPage { frame, failure: &self });
        if self.status == StatusCode::UNAUTHORIZED {
            challenge(response.headers_mut());
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<RefusedReply> for PageFailure {
    fn from(refused: RefusedReply) -> Self {
        Self::of_problem(refused.status, &refused.problem, refused.retry_after)
    }
}

/// A 401 says what would be taken (RFC 9110); a browser does not ask for it by itself.
pub(super) fn challenge(headers: &mut HeaderMap) {
    headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Bearer realm="tenure""#));
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    frame: PageFrame,
    failure: &'a PageFailure,
}

/// What is around every page.
pub(super) struct PageFrame {
    pub(super) title: String,
    /// The page in the navigation that this one belongs to.
    pub(super) here: &'static str,
    pub(super) version: &'static str,
    pub(super) visitor: Option<SignedInVisitor>,
    /// The time here, by which countdowns run; a browser's own clock may be another.
    pub(super) now: String,
    /// Scripts of this page alone.
    pub(super) scripts: &'static [&'static str],
}

/// Who is signed in.
pub(super) struct SignedInVisitor {
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) mark: String,
    pub(super) links: Vec<(&'static str, &'static str)>,
}

impl PageFrame {
    pub(super) fn of(visit: Option<&SignedInRequest>, title: &str, here: &'static str) -> Self {
        let visitor = visit.filter(|visit| !visit.is_shared()).map(SignedInRequest::visitor);
        let now = visit.map(|visit| visit.now().to_string()).unwrap_or_default();
        Self { title: title.to_owned(), here, version: assets::version(), visitor, now, scripts: &[] }
    }

    #[must_use]
    pub(super) fn at(mut self, now: Timestamp) -> Self {
        self.now = now.to_string();
        self
    }

    #[must_use]
    pub(super) const fn with(mut self, scripts: &'static [&'static str]) -> Self {
        self.scripts = scripts;
        self
    }
}

/// A page.
pub(super) fn html(status: StatusCode, page: &impl Template) -> Response {
    let text = match page.render() {
        Ok(text) => text,
        Err(error) => return of_ours(&error),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

fn of_ours(error: &askama::Error) -> Response {
    tracing::error!(%error, "a page of the console could not be written");
    let mut response = Response::new(Body::from("The page could not be written."));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// A page, with status 200.
pub(super) fn ok(page: &impl Template) -> Response {
    html(StatusCode::OK, page)
}

/// What a script of a page asks for.
pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let content_type = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(error) => PageFailure::of_ours(&error.to_string()).into_response(None),
    }
}

/// Leads to another page of the console, to be read by GET.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/console"));
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// A place in the console where a browser may be led to after a sign-in: nothing that leads elsewhere.
pub(super) fn own_path(text: &str) -> Option<&str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
    let is_own = text == "/console" || text.starts_with("/console/") || text.starts_with("/console?");
    (is_own && is_plain && text.len() <= LONGEST_PATH && !text.contains("//") && !text.contains(".."))
        .then_some(text)
}

/// How long the server worked on a page.
pub(super) fn time(headers: &mut HeaderMap, taken: Duration) {
    let told = format!("app;dur={:.1}", taken.as_secs_f64() * 1_000.0);
    if let Ok(value) = HeaderValue::try_from(told) {
        headers.insert(HeaderName::from_static("server-timing"), value);
    }
}

/// Sets the headers of every reply of the console: where its parts may come from, and that no cache may store it.
pub(super) fn secured(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fixed = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ];
    for (name, value) in fixed {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_the_console_is_led_to() {
        for own in ["/console", "/console/agents?owner=a", "/console/sessions/1", "/console?x=1"] {
            assert_eq!(own_path(own), Some(own));
        }
        for foreign in [
            "",
            "/",
            "//evil.example",
            "/console//evil.example",
            "https://evil.example/console",
            "/console\\evil",
            "/consoleevil",
            "/console/../v1/keys",
            "/console/ x",
            "/console/\r\nset-cookie:a=b",
            "javascript:alert(1)",
        ] {
            assert_eq!(own_path(foreign), None, "{foreign:?}");
        }
    }
}
