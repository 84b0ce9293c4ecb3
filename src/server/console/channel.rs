//! By what way a browser came: whether a key and a cookie may travel on it, and which origin its pages have.

use std::net::IpAddr;

use axum::http::{HeaderMap, header, request::Parts};

use crate::http::PeerAddress;

use super::Console;

/// A connection that cannot be overheard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SecureChannel {
    /// HTTPS, to this server or to a proxy in front.
    Secure {
        /// The origins that its pages may have.
        origins: Vec<String>,
    },
    /// Plain HTTP that does not leave this machine.
    Local {
        /// The origin of its pages.
        origin: String,
    },
}

/// Shown if a key would travel in the clear.
pub(super) const WHY_NOT: &str = "This connection is plain HTTP and leaves the machine, so anyone on the way could \
    read your key and your sign-in. Open the console by HTTPS: put a proxy with TLS in front, set server.public_url \
    to its https:// address, or let it send X-Forwarded-Proto and name it in server.trusted_proxies; or give the \
    server a certificate by server.tls_cert and server.tls_key. \
    On the machine itself, open it at http://localhost.";

impl SecureChannel {
    /// The channel of this request; `None` if others may listen.
    pub(super) fn of(console: &Console, parts: &Parts) -> Option<Self> {
        let host = host(&parts.headers)?;
        let peer = parts.extensions.get::<PeerAddress>();
        let is_encrypted = peer.is_some_and(PeerAddress::is_encrypted);
        let peer = peer.map(PeerAddress::address);
        let public =
            console.public_url.as_deref().filter(|url| url.starts_with("https://")).and_then(origin_of);
        let own = format!("https://{host}");
        if is_encrypted || comes_by_https(console, &parts.headers, peer) || public.as_deref() == Some(&own) {
            return Some(Self::Secure { origins: public.into_iter().chain([own]).collect() });
        }
        let is_local = is_loopback_host(host) && peer.is_none_or(|peer| peer.to_canonical().is_loopback());
        is_local.then(|| Self::Local { origin: format!("http://{host}") })
    }

    /// The cookie of a sign-in.
    pub(super) const fn cookie_name(&self) -> &'static str {
        match self {
            Self::Secure { .. } => "__Host-tenure_console",
            Self::Local { .. } => "tenure_console",
        }
    }

    /// The other attributes of the cookie.
    pub(super) const fn cookie_attributes(&self) -> &'static str {
        match self {
            Self::Secure { .. } => "Path=/; HttpOnly; Secure; SameSite=Lax",
            Self::Local { .. } => "Path=/; HttpOnly; SameSite=Lax",
        }
    }

    /// Whether a form was sent by a page of this console. Every browser sends the origin with every POST.
    pub(super) fn is_own_form(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
        is_same_site && text("origin").is_some_and(|origin| self.has_origin(origin))
    }

    fn has_origin(&self, origin: &str) -> bool {
        match self {
            Self::Secure { origins } => origins.iter().any(|own| own.eq_ignore_ascii_case(origin)),
            Self::Local { origin: own } => own.eq_ignore_ascii_case(origin),
        }
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

/// Only a trusted proxy is believed when it says how the browser came.
fn comes_by_https(console: &Console, headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
    let proto = headers.get("x-forwarded-proto").and_then(|value| value.to_str().ok());
    peer.is_some_and(|peer| console.api.is_trusted_proxy(peer)) && proto == Some("https")
}

fn origin_of(url: &str) -> Option<String> {
    Some(url::Url::parse(url).ok()?.origin().ascii_serialization())
}

/// A name that no stranger's name server can point to this machine.
fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["localhost", "LOCALHOST:7300", "127.0.0.1:7300", "127.8.8.8", "[::1]:7300", "[::1]"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in
            ["localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1", "[::2]", "", "evil.example:127"]
        {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn a_form_counts_only_with_its_own_origin() {
        let local = SecureChannel::Local { origin: "http://localhost:7300".into() };
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        assert!(local.is_own_form(&headers(&[("origin", "http://localhost:7300")])));
        let own = [("origin", "http://localhost:7300"), ("sec-fetch-site", "same-origin")];
        assert!(local.is_own_form(&headers(&own)));
        for wrong in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "http://localhost:7301")],
            &[("origin", "https://localhost:7300")],
            &[("origin", "http://localhost:7300"), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://localhost:7300"), ("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "same-origin")],
        ] {
            assert!(!local.is_own_form(&headers(wrong)), "{wrong:?}");
        }
    }
}
