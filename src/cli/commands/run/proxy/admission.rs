//! Which requests the proxy takes: those of its command, for its upstream, that can be passed on.

use http::{HeaderValue, Method, Request, StatusCode, header};
use reqwest::Url;

use super::upstream::Upstream;

/// What admits a request.
#[derive(Debug)]
pub(super) struct RequestGate {
    /// `127.0.0.1:PORT`.
    host: String,
    secret: String,
    upstream: Upstream,
}

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProxyRefusal {
    /// It is not the command's, or leads elsewhere.
    NotOurs,
    /// Its answer would show the token.
    Reflects,
    /// The connection would become another protocol's.
    Upgrades,
}

impl ProxyRefusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NotOurs => StatusCode::FORBIDDEN,
            Self::Reflects => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrades => StatusCode::NOT_IMPLEMENTED,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NotOurs => {
                "this proxy takes only what begins with its TENURE_PROXY_URL, and stays below it"
            }
            Self::Reflects => "TRACE is not passed on: its answer would show the token",
            Self::Upgrades => "upgrades (WebSocket, CONNECT) are not passed on",
        }
    }
}

impl RequestGate {
    pub(super) fn new(host: String, secret: String, upstream: Upstream) -> Self {
        Self { host, secret, upstream }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/{}", self.host, self.secret)
    }

    /// Where a request is to go.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Url, ProxyRefusal> {
        let target = self.below(request).ok_or(ProxyRefusal::NotOurs)?;
        if request.method() == Method::TRACE {
            return Err(ProxyRefusal::Reflects);
        }
        let mut upgrades = request.headers().get_all(header::UPGRADE).iter();
        if request.method() == Method::CONNECT || !upgrades.all(is_optional) {
            return Err(ProxyRefusal::Upgrades);
        }
        Ok(target)
    }

    fn below<B>(&self, request: &Request<B>) -> Option<Url> {
        let headers = request.headers();
        let mut hosts = headers.get_all(header::HOST).iter();
        let is_for_us = hosts.next().is_some_and(|host| host == self.host.as_str()) && hosts.next().is_none();
        if !is_for_us || headers.contains_key(header::ORIGIN) {
            return None;
        }
        let path = request.uri().path().strip_prefix('/')?;
        let (shown, below) = path.split_at_checked(self.secret.len())?;
        // Compared by digests, so that the time taken reveals nothing.
        let is_shown = blake3::hash(shown.as_bytes()) == blake3::hash(self.secret.as_bytes());
        if !is_shown || !(below.is_empty() || below.starts_with('/')) {
            return None;
        }
        self.upstream.target(below, request.uri().query())
    }

    /// A redirect within the upstream leads through the proxy again; any other one is the command's own to follow,
    /// without the token.
    pub(super) fn location(&self, from: &Url, location: &HeaderValue) -> Option<HeaderValue> {
        let url = from.join(location.to_str().ok()?).ok()?;
        HeaderValue::try_from(format!("{}{}", self.url(), self.upstream.below(&url)?)).ok()
    }

    /// Whether a value reveals how to get in here, as the `Referer` of a page that was read through here does.
    pub(super) fn is_told_by(&self, value: &HeaderValue) -> bool {
        value.as_bytes().windows(self.secret.len()).any(|part| part == self.secret.as_bytes())
    }
}

/// Another version of HTTP is a wish that may go unheard; anything else is what the client came for.
fn is_optional(upgrade: &HeaderValue) -> bool {
    let named = upgrade.to_str().unwrap_or("?").split(',').map(str::trim);
    named
        .into_iter()
        .all(|name| name.eq_ignore_ascii_case("h2c") || name.to_ascii_lowercase().starts_with("http/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::commands::run::proxy::upstream::upstream;

    fn gate() -> RequestGate {
        RequestGate::new("127.0.0.1:1".to_owned(), "s".repeat(32), upstream("https://h/v1").unwrap())
    }

    #[test]
    fn a_redirect_is_read_from_where_the_answer_comes() {
        let from = Url::parse("https://h/v1/a/b").unwrap();
        let led = |to: &'static str| gate().location(&from, &HeaderValue::from_static(to));
        let through = |below: &str| Some(HeaderValue::try_from(format!("{}{below}", gate().url())).unwrap());
        assert_eq!(led("c"), through("/a/c"));
        assert_eq!(led("../c?d#e"), through("/c?d#e"));
        assert_eq!(led("/v1/"), through("/"));
        for elsewhere in ["/v2", "/v1x", "//evil.example/v1/", "http://h/v1/", "https://h:1/v1/", "../../x"] {
            assert_eq!(led(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn an_upgrade_is_refused_unless_it_is_to_another_http() {
        let admitted = |upgrade: &str| {
            let request = Request::get(format!("/{}/a", "s".repeat(32))).header("host", "127.0.0.1:1");
            gate().admit(&request.header("upgrade", upgrade).body(()).unwrap()).map(|_| ())
        };
        assert_eq!(admitted("h2c"), Ok(()));
        for other in ["websocket", "h2c, websocket", "tcp"] {
            assert_eq!(admitted(other), Err(ProxyRefusal::Upgrades), "{other}");
        }
    }
}
