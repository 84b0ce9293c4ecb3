//! What a node that follows answers by itself. Everything else is the leader's: a new route stays with it until its author
//! has thought about what an older state may say.

use axum::http::Method;

/// Something that a follower answers by itself.
pub(in crate::http) struct OwnAnswer {
    /// The method; none for all.
    pub(in crate::http) method: Option<&'static str>,
    /// The path, in which `{names}` stand for one part each, and `{*names}` for all that follow.
    pub(in crate::http) path: &'static str,
    /// When the leader answers instead; empty for never.
    pub(in crate::http) unless: &'static str,
    /// Whether it is a read of the state and nothing else.
    pub(super) is_plain: bool,
}

/// A read of the state, which a leader answers without more ado as well.
const fn read(path: &'static str, unless: &'static str) -> OwnAnswer {
    OwnAnswer { method: Some("GET"), path, unless, is_plain: true }
}

/// What a leader may have to decide on.
const fn tried(method: Option<&'static str>, path: &'static str, unless: &'static str) -> OwnAnswer {
    OwnAnswer { method, path, unless, is_plain: false }
}

const NOT_YET: &str = "it is about a moment that may not be here yet";
const UNKNOWN: &str = "there is no such thing here, or it is about a moment that may not be here yet";
const UNCOVERED: &str = "the newest head here does not cover what is asked for";
const NOT_FINAL: &str = "the session is to be refreshed, or seems to be over for want of it";
const PAGE: &str =
    "the sign-in is not known here or is to be refreshed, or the page needs what the leader alone answers";
const GET: Option<&str> = Some("GET");

/// All of it.
pub(in crate::http) static OWN_ANSWERS: [OwnAnswer; 27] = [
    read("/v1/subjects", NOT_YET),
    read("/v1/subjects/{subjectId}", UNKNOWN),
    read("/v1/sessions", NOT_YET),
    read("/v1/sessions/{sessionId}", UNKNOWN),
    read("/v1/sessions/{sessionId}/events", "there is no such session here"),
    tried(Some("POST"), INTROSPECT, "it is asked for strictly"),
    read("/v1/events", ""),
    read("/v1/notices", ""),
    read("/v1/revocations/feed", ""),
    read("/v1/keys", ""),
    tried(GET, "/v1/audit/head", "something was recorded since the newest head here"),
    tried(GET, "/v1/audit/proof", UNCOVERED),
    tried(GET, "/v1/audit/consistency", UNCOVERED),
    tried(GET, "/v1/audit/check", ""),
    tried(GET, "/v1/audit/export", UNCOVERED),
    read("/readyz", ""),
    read("/openapi.json", ""),
    read("/healthz", ""),
    read("/metrics", ""),
    tried(None, "/v1/forward-auth", NOT_FINAL),
    tried(None, "/v1/forward-auth/", NOT_FINAL),
    tried(None, "/v1/forward-auth/{*below}", NOT_FINAL),
    tried(GET, "/console", PAGE),
    tried(GET, "/console/", PAGE),
    tried(GET, "/console/{*below}", PAGE),
    tried(Some("HEAD"), "/console", PAGE),
    tried(Some("HEAD"), "/console/{*below}", PAGE),
];

/// Where strict questions are asked too: they are the leader's.
pub(super) const INTROSPECT: &str = "/v1/introspect";
/// The credential of these pages is in their address, and is judged by the leader.
const LINKS: &str = "/console/veto/";

/// What a follower answers by itself, or tries to, of requests like this.
pub(super) fn own_answer(method: &Method, path: &str) -> Option<&'static OwnAnswer> {
    let is_this = |own: &&OwnAnswer| own.method.is_none_or(|known| known == method.as_str());
    let mut own = OWN_ANSWERS.iter().filter(is_this).filter(|own| is_of(own.path, path));
    own.next().filter(|_| !path.starts_with(LINKS))
}

/// Whether a follower answers this by itself, or tries to.
pub(crate) fn is_own_answer(method: &Method, path: &str) -> bool {
    own_answer(method, path).is_some()
}

/// Whether a path is of this pattern.
fn is_of(pattern: &str, path: &str) -> bool {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return true,
            (Some(wanted), Some(given)) if wanted.starts_with("{*") => return !given.is_empty(),
            (Some(wanted), Some(given)) if wanted == given => {}
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
            (Some(_) | None, Some(_) | None) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_follower_answers_are_routes() {
        let (facts, proxies) = (crate::http::route_facts(), crate::http::PROXY_PATHS);
        for own in OWN_ANSWERS.iter().filter(|own| !own.path.starts_with("/console")) {
            let is_route = match own.method {
                Some(method) => facts.iter().any(|fact| fact.path == own.path && fact.method == method),
                None => proxies.contains(&own.path),
            };
            assert!(is_route, "{}", own.path);
        }
        // What is signed here must be signed by who knows of every end.
        assert!(!is_own_answer(&Method::POST, "/v1/access-tokens"));
    }

    #[test]
    fn a_part_of_a_path_stands_for_a_name() {
        let is_own = |method: &str, path: &str| is_own_answer(&method.parse().unwrap(), path);
        for (method, path) in [
            ("GET", "/v1/sessions/7/events"),
            ("POST", "/v1/introspect"),
            ("DELETE", "/v1/forward-auth"),
            ("GET", "/v1/forward-auth/any/path"),
            ("GET", "/console/subjects/veto"),
            ("HEAD", "/console/agents"),
        ] {
            assert!(is_own(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("PUT", "/v1/sessions/7"),
            ("GET", "/v1/sessions/7/renew"),
            ("GET", "/v1/sessions/"),
            ("POST", "/v1/access-tokens"),
            ("GET", "/console/veto/tnr_veto_1"),
            ("POST", "/console/sign-in"),
            ("GET", "/consoles"),
        ] {
            assert!(!is_own(method, path), "{method} {path}");
        }
    }
}
