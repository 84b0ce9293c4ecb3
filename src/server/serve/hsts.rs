//! Browsers that have been here by TLS come by TLS from then on (RFC 6797), also where a link or a habit says `http`.

use axum::{
    Router,
    http::{HeaderName, HeaderValue},
    middleware::map_response,
    response::Response,
};

use crate::config::ServerConfig;

pub(super) const NAME: HeaderName = HeaderName::from_static("strict-transport-security");

/// The value sent with every answer. Without TLS it is not said, and would not be heard.
pub(super) fn value(server: &ServerConfig) -> Option<HeaderValue> {
    let seconds = server.hsts.0;
    let is_said = server.tls_cert.is_some() && seconds != 0;
    is_said
        .then(|| HeaderValue::try_from(format!("max-age={seconds}")).expect("digits are visible characters"))
}

/// Adds the header to every answer of a router.
pub(super) fn with_header(router: Router, value: Option<HeaderValue>) -> Router {
    let Some(value) = value else { return router };
    router.layer(map_response(move |mut response: Response| {
        response.headers_mut().insert(NAME, value.clone());
        async move { response }
    }))
}
