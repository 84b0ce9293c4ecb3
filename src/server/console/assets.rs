//! What the pages load: a style sheet, a few modules and an icon, all of them part of the binary.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};

const ASSETS: [(&str, &str, &str); 7] = [
    ("console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("as_of.js", "text/javascript; charset=utf-8", include_str!("assets/as_of.js")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("assets/live.js")),
    ("log.js", "text/javascript; charset=utf-8", include_str!("assets/log.js")),
    ("proof.js", "text/javascript; charset=utf-8", include_str!("assets/proof.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// By which a browser knows whether it has this version of them.
pub(super) fn version() -> &'static str {
    static VERSION: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let mut hasher = blake3::Hasher::new();
        for (name, _, text) in ASSETS {
            hasher.update(name.as_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex()[..12].to_owned()
    });
    &VERSION
}

/// An asset. Its address has the version in it, so it may be kept for a year; it says nothing of anyone.
pub(super) fn serve(name: &str) -> Response {
    let Some((_, content_type, text)) = ASSETS.iter().find(|(known, ..)| *known == name) else {
        let mut missing = Response::new(Body::from("not found"));
        *missing.status_mut() = StatusCode::NOT_FOUND;
        return missing;
    };
    let mut response = Response::new(Body::from(*text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
