//! Which host a request is for: it says so, once (RFC 9112, 3.2). Of two, a proxy may obey one and the server the other.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Version, header},
    middleware::{Next, from_fn},
};

use super::serve::refuse_unjudged;
use crate::http::{api::ApiContext, reply::problem::Problem};

/// Refuses every request that does not say for which host it is, or says it twice.
pub(crate) fn with_host_checked(router: Router, api: &Arc<ApiContext>) -> Router {
    let api = Arc::clone(api);
    router.layer(from_fn(move |request: Request<Body>, next: Next| {
        let api = Arc::clone(&api);
        async move {
            match fault(&request) {
                None => next.run(request).await,
                Some(message) => refuse_unjudged(&api, &request, Problem::invalid("Host", message)),
            }
        }
    }))
}

fn fault(request: &Request<Body>) -> Option<&'static str> {
    let mut hosts = request.headers().get_all(header::HOST).iter().map(HeaderValue::as_bytes);
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some("must be given once"),
        (Some(host), None) => (!is_host(host)).then_some("must be a host, with or without a port"),
        (None, _) => (request.version() == Version::HTTP_11).then_some("must be given"),
    }
}

/// Whether this has the characters of a host, with or without a port. It may be empty.
pub(crate) fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}
