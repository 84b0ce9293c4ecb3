//! The head of a plain request. What is not plain is left to hyper, so nothing is refused here.

use std::mem::MaybeUninit;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, Request, Status};

use crate::http::{HotRequest, is_host};

/// A request with more headers is not for here.
const HEADERS: usize = 32;
/// How plain requests begin.
const BEGINS: [&[u8]; 2] = [b"POST /v1/introspect ", b"PUT /v1/sessions/"];
/// What says nothing to any hot route. All other headers are handed on, whatever they are.
const UNHEARD: [&str; 2] = ["user-agent", "accept-encoding"];
/// What changes how a connection is read.
const NEGOTIATED: [&str; 6] = ["transfer-encoding", "expect", "upgrade", "te", "trailer", "proxy-connection"];

/// What has come is not a plain request, nor will become one.
pub(super) struct NotPlain;

/// The head of a plain request.
pub(super) struct RequestHead {
    pub(super) request: HotRequest,
    pub(super) headers: HeaderMap,
    /// Its own bytes.
    pub(super) length: usize,
    /// Those of the body behind it.
    pub(super) body: usize,
    /// Whether the client wants no other answer on this connection.
    pub(super) is_last: bool,
}

impl RequestHead {
    /// The head with which this begins; `None` while not all of it has come.
    pub(super) fn of(read: &[u8]) -> Result<Option<Self>, NotPlain> {
        if !BEGINS.iter().any(|begin| read.starts_with(begin) || begin.starts_with(read)) {
            return Err(NotPlain);
        }
        let mut lines = [const { MaybeUninit::uninit() }; HEADERS];
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(read, &mut lines) {
            Ok(Status::Complete(length)) => Self::plain(&request, length).ok_or(NotPlain).map(Some),
            Ok(Status::Partial) => Ok(None),
            Err(_) => Err(NotPlain),
        }
    }

    fn plain(request: &Request<'_, '_>, length: usize) -> Option<Self> {
        if request.version != Some(1) {
            return None;
        }
        let asked = HotRequest::of(request.method?, request.path?)?;
        let mut headers = HeaderMap::with_capacity(4);
        let (mut host, mut body, mut is_last) = (None, None, false);
        for Header { name, value } in &*request.headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("host") {
                host = Some(*value).filter(|value| host.is_none() && is_host(value));
                host?;
            } else if is("content-length") {
                body = Some(number(value).filter(|_| body.is_none())?);
            } else if is("connection") {
                is_last |= value.eq_ignore_ascii_case(b"close");
                (is_last || value.eq_ignore_ascii_case(b"keep-alive")).then_some(())?;
            } else if NEGOTIATED.into_iter().any(is) {
                return None;
            } else if !UNHEARD.into_iter().any(is) {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                headers.append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        host?;
        Some(Self { request: asked, headers, length, body: body.unwrap_or(0), is_last })
    }
}

/// A number of bytes, in digits alone.
fn number(text: &[u8]) -> Option<usize> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    str::from_utf8(text).ok().filter(|_| is_plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "POST /v1/introspect HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer k\r\nX-Any: 1\r\nx-any: 2\r\n\
        Content-Length: 12\r\nConnection: Keep-Alive\r\n\r\n";

    fn is_plain(text: &str) -> bool {
        matches!(RequestHead::of(text.as_bytes()), Ok(Some(_)))
    }

    #[test]
    fn a_plain_head_is_known_when_all_of_it_has_come_and_not_before() {
        for length in 0..PLAIN.len() {
            assert!(matches!(RequestHead::of(&PLAIN.as_bytes()[..length]), Ok(None)), "{length}");
        }
        let Ok(Some(head)) = RequestHead::of(format!("{PLAIN}{{}} and more").as_bytes()) else {
            panic!("it is plain")
        };
        assert_eq!((head.length, head.body, head.is_last), (PLAIN.len(), 12, false));
        assert_eq!(head.headers.get("authorization").unwrap(), "Bearer k");
        assert_eq!(head.headers.get_all("x-any").iter().count(), 2);
        assert!(head.headers.get("host").is_none());
    }

    #[test]
    fn whatever_would_have_to_be_negotiated_or_is_unusual_is_not_plain() {
        assert!(is_plain(PLAIN) && is_plain(&PLAIN.replace("Content-Length: 12\r\n", "")));
        assert!(is_plain(&PLAIN.replace("Keep-Alive", "Close")));
        for (from, to) in [
            ("POST", "GET"),
            ("/v1/introspect", "/v1/introspect?a=1"),
            ("/v1/introspect", "http://a/v1/introspect"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("Keep-Alive", "close, te"),
            ("Keep-Alive", "upgrade"),
            ("X-Any: 1", "Transfer-Encoding: chunked"),
            ("X-Any: 1", "Expect: 100-continue"),
            ("X-Any: 1", "Upgrade: h2c"),
            ("X-Any: 1", "Content-Length: 12"),
            ("X-Any: 1", "X Any: 1"),
            ("Content-Length: 12", "Content-Length: +12"),
            ("Content-Length: 12", "Content-Length: 12, 12"),
            ("Content-Length: 12", "Content-Length: 99999999999999999999"),
            ("Host: a\r\n", "Host: a\r\n continued\r\n"),
            ("Host: a\r\n", ""),
            ("Host: a", "Host: a b"),
            ("X-Any: 1", "host: a"),
        ] {
            assert!(PLAIN.contains(from) && !is_plain(&PLAIN.replace(from, to)), "{to}");
        }
        assert!(!is_plain(&PLAIN.replace("X-Any: 1\r\n", &"X-Any: 1\r\n".repeat(HEADERS))));
    }
}
