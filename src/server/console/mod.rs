//! The console: pages for the people who answer for agents, served by the authority itself at `/console`.
//!
//! A page asks the API in process, with the API key of its sign-in ([`ask`]): it can show nothing that this key could
//! not read, and do nothing that it could not do. What a page adds is words, pictures and forms. Reading and ending work
//! without JavaScript; the modules in `assets/` make some pages better.

mod access;
mod agents;
mod as_of;
mod ask;
mod assets;
mod channel;
mod chart;
mod evidence;
mod form;
mod log;
mod overview;
mod page;
mod search;
mod session;
mod settings;
mod sign_in;
mod subject;
mod timeline;
mod veto;
mod visit;
mod webhooks;
mod what_if;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
    response::Response,
    routing::any,
};
use tenure_protocol::clock::stopwatch;
use tower::ServiceExt;

use crate::config::{Config, Effective};
use crate::http::Api;

use self::{
    page::{Failure, Outcome},
    visit::{Arrival, Visit},
};

/// The console, and the API that it asks.
pub(crate) struct Console {
    api: Arc<Api>,
    routes: Router,
    /// `server.public_url`.
    public_url: Option<String>,
    /// What is in force, and where it came from.
    settings: Vec<Effective>,
}

/// The API with the console beside it.
pub(crate) fn router(api: &Arc<Api>, config: &Config) -> Router {
    let console = Arc::new(Console {
        api: Arc::clone(api),
        routes: api.router(),
        public_url: config.server.public_url.clone(),
        settings: config.effective(),
    });
    let mut router = api.router();
    for path in ["/console", "/console/", "/console/{*below}"] {
        let console = Arc::clone(&console);
        router = router.route(path, any(move |request: Request<Body>| serve(Arc::clone(&console), request)));
    }
    router.route("/", any(move |request: Request<Body>| front_door(Arc::clone(&console), request)))
}

/// A browser is led to the console; a program gets from `/` what it gets from any unknown path.
async fn front_door(console: Arc<Console>, request: Request<Body>) -> Response {
    if request.method() == Method::GET && wants_a_page(request.headers()) {
        return page::secured(page::redirect("/console"));
    }
    let answered = console.routes.clone().oneshot(request).await;
    answered.unwrap_or_else(|never| match never {})
}

fn wants_a_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

async fn serve(console: Arc<Console>, request: Request<Body>) -> Response {
    let begun = stopwatch();
    let path = request.uri().path().to_owned();
    let path = path.strip_prefix("/console").unwrap_or_default().trim_matches('/');
    if let Some(name) = path.strip_prefix("assets/") {
        return page::secured(assets::serve(name));
    }
    let arrival = Arrival::of(console, request).await;
    let mut response = match arrival {
        Ok(arrival) => answer(arrival, path).await,
        Err(failure) => failure.into_response(None),
    };
    page::time(response.headers_mut(), begun.elapsed());
    page::secured(response)
}

/// What needs no sign-in, and then what does.
async fn answer(arrival: Arrival, path: &str) -> Response {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let outcome = match (arrival.method(), segments.as_slice()) {
        ("GET" | "HEAD", ["veto", token]) => return veto::show(&arrival, token),
        ("POST", ["veto", token]) => return veto::act(&arrival, token).await,
        ("POST", ["sign-in"]) => return sign_in::sign_in(&arrival).await,
        ("GET" | "HEAD", ["sign-in"]) => return page::redirect("/console"),
        ("POST", ["sign-out"]) => return sign_in::sign_out(&arrival).await,
        _ => arrival.signed_in().await,
    };
    match outcome {
        Err(response) => *response,
        Ok(visit) => {
            let outcome = page_of(&visit, &segments).await;
            visit.finish(outcome)
        }
    }
}

/// The table of the pages and of what can be done on them.
async fn page_of(visit: &Visit, segments: &[&str]) -> Outcome {
    match (visit.method(), segments) {
        ("GET" | "HEAD", []) => overview::show(visit).await,
        ("GET" | "HEAD", ["agents"]) => agents::list(visit).await,
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
        _ => Err(Failure::of(StatusCode::NOT_FOUND, "NOT_FOUND", "There is no such page.")),
    }
}
