//! The table of routes: what each is, whom it admits, whether it takes a body, what it is for, who handles it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::Body,
    extract::{RawPathParams, Request, rejection::RawPathParamsRejection},
    http::Method,
    routing::{MethodFilter, on},
};
use utoipa::{
    __dev::{SchemaReferences, Tags},
    openapi::path::HttpMethod,
};

use crate::admission::RequestClass;

use super::{
    api::ApiContext,
    audit::{self, export as audit_export},
    credentials, forward_auth, keys,
    nodes::{
        handover,
        own_answers::{OWN_ANSWERS, OwnAnswer},
    },
    openapi,
    operations::{self, backup, clock},
    record::{events, notices},
    reply::problem::{Problem, ProblemCode},
    request::{
        access::{AccessRule, SessionAccess},
        call::{ApiCall, RouteParams},
        route::{BodyKind, HandlerFuture, Route},
        serve::{refuse, serve},
    },
    revocations::{bulk, feed as revocation_feed, revoke},
    sessions::{self, access_tokens, events as session_events, introspect, renew, usage},
    subjects::{self, erase, suspension},
    webhooks,
};

/// A route from its handler: method, path and documentation come from the handler's `utoipa::path`.
macro_rules! route {
    ($module:ident :: $handler:ident, $documented:ident, $access:ident, $payload:ident, $class:ident) => {{
        fn handle(call: ApiCall) -> HandlerFuture {
            Box::pin($module::$handler(call))
        }
        described::<$module::$documented>(
            AccessRule::$access,
            BodyKind::$payload,
            RequestClass::$class,
            handle,
        )
    }};
}

fn described<P: utoipa::Path + SchemaReferences + Tags<'static>>(
    access: AccessRule,
    payload: BodyKind,
    class: RequestClass,
    handler: fn(ApiCall) -> HandlerFuture,
) -> Route {
    let method = match P::methods().as_slice() {
        [HttpMethod::Get] => Method::GET,
        [HttpMethod::Put] => Method::PUT,
        [HttpMethod::Post] => Method::POST,
        [HttpMethod::Patch] => Method::PATCH,
        [HttpMethod::Delete] => Method::DELETE,
        other => unreachable!("a route has one method, not {}", other.len()),
    };
    Route {
        number: 0,
        method,
        path: P::path(),
        access,
        payload,
        class,
        tags: P::tags(),
        operation: P::operation(),
        schemas: P::schemas,
        handler,
    }
}

fn numbered(mut routes: Vec<Route>) -> Vec<Route> {
    routes.iter_mut().enumerate().for_each(|(number, route)| route.number = number);
    routes
}

/// Every route of the API.
pub(super) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    numbered(vec![
        route!(subjects::put, __path_put, ISSUERS, Json, Change),
        route!(subjects::patch, __path_patch, ISSUERS, MergePatch, Change),
        route!(subjects::show, __path_show, READERS, None, Read),
        route!(subjects::list, __path_list, READERS, None, Read),
        route!(suspension::suspend, __path_suspend, REVOKERS, Json, End),
        route!(suspension::resume, __path_resume, RESUMERS, Json, Change),
        route!(revoke::revoke_subject, __path_revoke_subject, REVOKERS, None, End),
        route!(bulk::revoke, __path_revoke, ADMINS, Json, End),
        route!(revocation_feed::list, __path_list, FOLLOWERS, None, Check),
        route!(erase::erase, __path_erase, ADMINS, Json, Change),
        route!(erase::show, __path_show, AUDITORS, None, Read),
        route!(backup::backup, __path_backup, ADMINS, Json, Change),
        route!(sessions::create, __path_create, ISSUERS, Json, Change),
        route!(sessions::list, __path_list, READERS, None, Read),
        route!(sessions::show, __path_show, READERS_AND_ITSELF, None, Read),
        route!(session_events::follow, __path_follow, ITSELF_EVEN_SUSPENDED, None, Read),
        route!(renew::renew, __path_renew, HOLDER, None, Change),
        route!(revoke::revoke, __path_revoke, REVOKERS_AND_ITSELF, None, End),
        route!(usage::record, __path_record, ISSUERS_AND_ITSELF, Json, Change),
        route!(introspect::introspect, __path_introspect, JUDGES, Json, Check),
        route!(access_tokens::mint, __path_mint, ITSELF, Json, Read),
        route!(keys::list, __path_list, PUBLIC, None, Check),
        route!(keys::rotate, __path_rotate, ADMINS, Json, End),
        route!(events::list, __path_list, RECORD, None, Read),
        route!(notices::list, __path_list, RECORD, None, Read),
        route!(audit::head, __path_head, RECORD, None, Read),
        route!(audit::proof, __path_proof, RECORD, None, Read),
        route!(audit::consistency, __path_consistency, RECORD, None, Read),
        route!(audit::check, __path_check, AUDITORS, None, Read),
        route!(audit_export::stream, __path_stream, AUDITORS, None, Read),
        route!(credentials::issue, __path_issue, ADMINS, Json, Change),
        route!(credentials::list, __path_list, AUDITORS, None, Read),
        route!(credentials::own, __path_own, KEYS, None, Read),
        route!(credentials::revoke, __path_revoke, ADMINS, None, End),
        route!(credentials::confirm, __path_confirm, ADMINS, None, Change),
        route!(webhooks::create, __path_create, SUBSCRIBERS, Json, Change),
        route!(webhooks::list, __path_list, RECORD, None, Read),
        route!(webhooks::show, __path_show, RECORD, None, Read),
        route!(webhooks::delete, __path_delete, SUBSCRIBERS, None, Change),
        route!(webhooks::deliveries, __path_deliveries, RECORD, None, Read),
        route!(webhooks::redeliver, __path_redeliver, SUBSCRIBERS, Json, Change),
        route!(webhooks::test, __path_test, SUBSCRIBERS, None, Change),
        route!(clock::show, __path_show, ADMINS, None, Read),
        route!(clock::set, __path_set, ADMINS, Json, Change),
        route!(handover::give, __path_give, ADMINS, None, Change),
        route!(operations::sweep, __path_sweep, ADMINS, None, Change),
        route!(operations::healthz, __path_healthz, PUBLIC, None, Read),
        route!(operations::readyz, __path_readyz, PUBLIC, None, Read),
        route!(operations::metrics, __path_metrics, METRICS, None, Check),
        route!(openapi::serve, __path_serve, PUBLIC, None, Read),
    ])
});

/// What a test may know of a route.
#[derive(Clone, Debug)]
pub struct RouteFacts {
    /// Its method.
    pub method: String,
    /// Its path, with `{names}` for what varies.
    pub path: String,
    /// The roles that it admits.
    pub roles: Vec<&'static str>,
    /// Whether a session token may be its credential.
    pub session_token: bool,
    /// Whether it needs no credential.
    pub public: bool,
}

/// The table of routes, for tests and documents.
pub fn route_facts() -> Vec<RouteFacts> {
    ROUTES
        .iter()
        .map(|route| RouteFacts {
            method: route.method.to_string(),
            path: route.path.clone(),
            roles: route.access.roles.iter().map(|role| role.name()).collect(),
            session_token: route.access.session != SessionAccess::No,
            public: route.access.public,
        })
        .collect()
}

/// What a node that follows answers by itself, and what the leader answers, as tables for documents.
pub fn followers_markdown() -> String {
    let mut text = "| a follower answers itself | but hands it on when |\n|---|---|\n".to_owned();
    for alike in OWN_ANSWERS.chunk_by(|one, next| one.unless == next.unless) {
        let paths = alike.iter().map(|own| format!("{} `{}`", own.method.unwrap_or("any"), own.path));
        let unless = if alike[0].unless.is_empty() { "never" } else { alike[0].unless };
        let paths = paths.collect::<Vec<_>>().join(", ");
        writeln!(text, "| {paths} | {unless} |").expect("a string takes all");
    }
    let is_own = |route: &&Route| {
        let same = |own: &OwnAnswer| {
            own.method.is_none_or(|method| method == route.method) && own.path == route.path
        };
        OWN_ANSWERS.iter().any(same)
    };
    let others = ROUTES.iter().filter(|route| !is_own(route));
    let others: Vec<_> = others.map(|route| format!("{} `{}`", route.method, route.path)).collect();
    write!(text, "\n| the leader answers |\n|---|\n| {} |\n", others.join(", ")).expect("a string takes all");
    text
}

/// The paths beside the table: they take every method, and have their own way of letting in. See `forward_auth`.
pub const PROXY_PATHS: [&str; 3] = [forward_auth::PATH, "/v1/forward-auth/", "/v1/forward-auth/{*below}"];

impl ApiContext {
    /// All routes. The server puts a [`PeerAddress`](super::request::peer::PeerAddress) into every request.
    pub fn router(self: &Arc<Self>) -> Router {
        router(self)
    }
}

/// The router of the table.
fn router(api: &Arc<ApiContext>) -> Router {
    let counted = ROUTES.iter().map(|route| (route.method.as_str(), route.path.as_str()));
    api.metrics.name(counted, forward_auth::PATH);
    let mut by_path: BTreeMap<&str, Vec<&'static Route>> = BTreeMap::new();
    for route in ROUTES.iter() {
        by_path.entry(&route.path).or_default().push(route);
    }
    let mut router = Router::new();
    for (path, routes) in by_path {
        router = router.route(path, methods(api, &routes));
    }
    for path in PROXY_PATHS {
        let api = Arc::clone(api);
        let serve = move |request: Request<Body>| forward_auth::serve(Arc::clone(&api), request);
        router = router.route(path, axum::routing::any(serve));
    }
    let api = Arc::clone(api);
    router.fallback(move |request: Request<Body>| {
        let api = Arc::clone(&api);
        async move { refuse(&api, &request, ProblemCode::NotFound) }
    })
}

/// By itself, axum would refuse a path without valid UTF-8 before a credential is asked for.
type PathParams = Result<RawPathParams, RawPathParamsRejection>;

fn methods(api: &Arc<ApiContext>, routes: &[&'static Route]) -> axum::routing::MethodRouter {
    let allow: Vec<_> = routes.iter().map(|route| route.method.as_str()).collect();
    let allow = allow.join(", ");
    let refusing = Arc::clone(api);
    let mut methods = axum::routing::MethodRouter::new();
    for route in routes {
        let api = Arc::clone(api);
        let route: &'static Route = route;
        let filter =
            MethodFilter::try_from(route.method.clone()).expect("the methods of the table are known ones");
        methods = methods.merge(on(filter, move |params: PathParams, request: Request<Body>| {
            serve(Arc::clone(&api), route, params.map_or(RouteParams::None, RouteParams::Named), request)
        }));
    }
    methods.fallback(move |request: Request<Body>| {
        let api = Arc::clone(&refusing);
        let allow = allow.clone();
        let problem = Problem { allow: Some(allow), ..ProblemCode::MethodNotAllowed.into() };
        async move { refuse(&api, &request, problem) }
    })
}
