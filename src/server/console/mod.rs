//! The console: pages for the people who answer for agents, served by the authority itself at `/console`.
//!
//! A page asks the API in process, with the API key of its sign-in ([`ask`]): it can show nothing that this key could
//! not read, and do nothing that it could not do. What a page adds is words, pictures and forms. Reading and ending work
//! without JavaScript; the modules in `assets/` make some pages better.

mod as_of;
mod ask;
mod assets;
mod channel;
mod chart;
mod form;
mod live_tail;
mod names;
mod pages;
mod path_template;
mod request;
mod response;
mod search;
mod shared;
mod timeline;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, header},
    response::Response,
    routing::any,
};
use tenure_protocol::clock::stopwatch;
use tower::ServiceExt;

use crate::config::{Config, EffectiveSetting};
use crate::http::ApiContext;
use crate::traces::TracedRequest;

use self::{
    pages::{sign_in, veto},
    request::BrowserRequest,
};

/// The console, and the API that it asks.
pub(crate) struct Console {
    api: Arc<ApiContext>,
    routes: Router,
    /// `server.public_url`.
    public_url: Option<String>,
    /// What is in force, and where it came from.
    settings: Vec<EffectiveSetting>,
    shared: shared::SharedPages,
}

/// The API with the console beside it.
pub(crate) fn router(api: &Arc<ApiContext>, config: &Config) -> Router {
    let console = Arc::new(Console {
        api: Arc::clone(api),
        routes: api.router(),
        public_url: config.server.public_url.clone(),
        settings: config.effective(),
        shared: shared::SharedPages::default(),
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
        return response::secured(response::redirect("/console"));
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
        return response::secured(assets::serve(name));
    }
    let route = path_template::of(path);
    let traced = TracedRequest::begin(console.api.traces(), &request, &route);
    let mut response = match traced.current() {
        None => arrived(console, request, path).await,
        Some(current) => Box::pin(current.around(arrived(console, request, path))).await,
    };
    traced.end(&response);
    response::time(response.headers_mut(), begun.elapsed());
    response::secured(response)
}

async fn arrived(console: Arc<Console>, request: Request<Body>, path: &str) -> Response {
    match BrowserRequest::of(console, request).await {
        Ok(arrival) => answer(arrival, path).await,
        Err(failure) => failure.into_response(None),
    }
}

/// What needs no sign-in, and then what does.
async fn answer(arrival: BrowserRequest, path: &str) -> Response {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let outcome = match (arrival.method(), segments.as_slice()) {
        ("GET" | "HEAD", ["veto", token]) => return veto::show(&arrival, token).await,
        ("POST", ["veto", token]) => return veto::act(&arrival, token).await,
        ("POST", ["sign-in"]) => return sign_in::sign_in(&arrival).await,
        ("GET" | "HEAD", ["sign-in"]) => return response::redirect("/console"),
        ("POST", ["sign-out"]) => return sign_in::sign_out(&arrival).await,
        _ => arrival.signed_in().await,
    };
    match outcome {
        Err(response) => *response,
        Ok(visit) => {
            let outcome = pages::answer(&visit, &segments).await;
            visit.finish(outcome)
        }
    }
}
