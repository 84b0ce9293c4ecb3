//! The routes that are asked most, for a server that has all of a request before it asks: it need not be matched with
//! the whole table, nor its body be waited for. From there on it goes the way of every request.

use std::sync::{Arc, LazyLock};

use axum::http::{HeaderMap, Method, Request, Uri};

use super::{
    api::ApiContext,
    request::{
        call::RouteParams,
        peer::PeerAddress,
        route::Route,
        serve::{SentBody, serve_in_bytes},
    },
    routes::ROUTES,
};

static INTROSPECT: LazyLock<&Route> = LazyLock::new(|| route(&Method::POST, "/v1/introspect"));
static INTROSPECT_URI: LazyLock<Uri> = LazyLock::new(|| Uri::from_static("/v1/introspect"));
static RENEW: LazyLock<&Route> = LazyLock::new(|| route(&Method::PUT, "/v1/sessions/{sessionId}/renew"));

fn route(method: &Method, path: &str) -> &'static Route {
    let found = ROUTES.iter().find(|route| route.method == *method && route.path == path);
    found.expect("it is in the table")
}

/// A request on one of these routes.
pub(crate) struct HotRequest {
    route: &'static Route,
    params: RouteParams,
    uri: Uri,
}

impl HotRequest {
    /// The request with this method and target; none on any other route, or if it is written in an unusual way.
    pub(crate) fn of(method: &str, target: &str) -> Option<Self> {
        if method == "POST" && target == "/v1/introspect" {
            return Some(Self { route: *INTROSPECT, params: RouteParams::None, uri: INTROSPECT_URI.clone() });
        }
        let session = target.strip_prefix("/v1/sessions/")?.strip_suffix("/renew")?;
        if method != "PUT" || session.len() != 36 {
            return None;
        }
        let params = RouteParams::Session(session.parse().ok()?);
        Some(Self { route: *RENEW, params, uri: Uri::try_from(target).ok()? })
    }
}

impl ApiContext {
    /// Answers a request with these headers and this body: writes the head of the answer, but for what the connection
    /// says of itself, and gives the body. Only headers that change no answer may be left out.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        hot: HotRequest,
        peer: &PeerAddress,
        headers: HeaderMap,
        body: Vec<u8>,
        head: &mut Vec<u8>,
    ) -> Vec<u8> {
        let HotRequest { route, params, uri } = hot;
        let (mut parts, ()) = Request::new(()).into_parts();
        (parts.method, parts.uri, parts.headers) = (route.method.clone(), uri, headers);
        serve_in_bytes(self, route, params, Some(peer), (parts, SentBody::Here(body)), head).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";

    #[test]
    fn only_what_the_table_would_find_as_well_is_known() {
        let renew = format!("/v1/sessions/{SESSION}/renew");
        assert!(HotRequest::of("POST", "/v1/introspect").is_some());
        assert!(HotRequest::of("PUT", &renew).is_some());
        for (method, target) in [
            ("GET", "/v1/introspect"),
            ("POST", "/v1/introspect?"),
            ("POST", "/v1/introspect/"),
            ("POST", &renew),
            ("PUT", &format!("{renew}?")),
            ("PUT", &format!("/v1/sessions/{SESSION}/revoke")),
            ("PUT", "/v1/sessions/me/renew"),
            ("PUT", &renew.replace('-', "/")),
        ] {
            assert!(HotRequest::of(method, target).is_none(), "{method} {target}");
        }
    }
}
