//! Browsers that have been here by TLS come by TLS from then on (RFC 6797), also where a link or a habit says `http`.

use axum::{
    Router,
    http::{HeaderName, HeaderValue},
    middleware::map_response,
    response::Response,
};

use crate::config::Server;

const NAME: HeaderName = HeaderName::from_static("strict-transport-security");

/// Tells them with every answer. Without TLS it is not said, and would not be heard.
pub(super) fn telling(router: Router, server: &Server) -> Router {
    let seconds = server.hsts.0;
    if server.tls_cert.is_none() || seconds == 0 {
        return router;
    }
    let value = HeaderValue::try_from(format!("max-age={seconds}")).expect("digits are visible characters");
    router.layer(map_response(move |mut response: Response| {
        response.headers_mut().insert(NAME, value.clone());
        async move { response }
    }))
}
