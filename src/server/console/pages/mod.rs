//! The pages: a file for each, with what can be done on it, and a template of about the same name in `templates/`.

mod access;
pub(super) mod agents;
mod evidence;
mod log;
mod overview;
pub(super) mod session;
mod settings;
pub(super) mod sign_in;
mod subject;
pub(super) mod veto;
mod webhooks;
mod what_if;

use axum::http::StatusCode;

use super::{
    request::SignedInRequest,
    response::{PageFailure, PageResult},
    shared::shared,
};

/// The table of the pages and of what can be done on them.
pub(super) async fn answer(visit: &SignedInRequest, segments: &[&str]) -> PageResult {
    match (visit.method(), segments) {
        ("GET" | "HEAD", []) => shared(visit, overview::show(visit)).await,
        ("GET" | "HEAD", ["agents"]) => shared(visit, agents::list(visit)).await,
        ("GET" | "HEAD", ["sessions", id]) => session::show(visit, id).await,
        ("POST", ["sessions", id, "end"]) => session::end(visit, id, false).await,
        ("POST", ["sessions", id, "veto"]) => session::end(visit, id, true).await,
        ("GET" | "HEAD", ["subjects", id]) => subject::show(visit, id).await,
        ("POST", ["subjects", id, "suspend"]) => subject::suspend(visit, id).await,
        ("POST", ["subjects", id, "resume"]) => subject::resume(visit, id).await,
        ("POST", ["subjects", id, "end"]) => subject::end_all(visit, id).await,
        ("POST", ["subjects", id, "erase"]) => subject::erase(visit, id).await,
        ("GET" | "HEAD", ["log"]) => log::list(visit).await,
        ("GET", ["log", "stream"]) => log::stream(visit).await,
        ("GET", ["log", "by"]) => log::by(visit).await,
        ("GET" | "HEAD", ["what-if"]) => what_if::show(visit).await,
        ("GET" | "HEAD", ["settings"]) => settings::show(visit),
        ("GET" | "HEAD", ["keys"]) => access::show(visit).await,
        ("POST", ["keys", id, "revoke"]) => access::revoke(visit, id).await,
        ("POST", ["keys", "rotate"]) => access::rotate(visit).await,
        ("POST", ["sign-ins", id, "end"]) => access::end(visit, id).await,
        ("GET" | "HEAD", ["audit"]) => evidence::show(visit).await,
        ("GET", ["audit", name @ ("head" | "proof" | "event")]) => evidence::part(visit, name).await,
        ("GET" | "HEAD", ["webhooks"]) => webhooks::list(visit).await,
        ("POST", ["webhooks", id, "test"]) => webhooks::test(visit, id).await,
        ("POST", ["webhooks", id, "redeliver"]) => webhooks::redeliver(visit, id).await,
        _ => Err(PageFailure::of(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such page.")),
    }
}
