//! The way to one authority: its address, its connections, a credential in the header and nowhere else.

use std::time::Duration;

use reqwest::{
    Method, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use tenure_protocol::Secret;
use url::Url;

use crate::outbound::{self, BodyError, PlaintextPolicy};

/// What differs from one caller to another.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOptions {
    /// How long a connection may take.
    pub connect: Duration,
    /// How long a request may take in all, unless it says otherwise; `None` without a bound.
    pub whole: Option<Duration>,
    /// How long a reply may pause; `None` without a bound.
    pub silence: Option<Duration>,
    /// The longest reply read as a whole, in bytes.
    pub longest_reply: usize,
    /// The header `User-Agent`.
    pub user_agent: &'static str,
    /// Whether a credential may be sent unencrypted to another host.
    pub plaintext: PlaintextPolicy,
    /// Whether a proxy may be asked.
    pub proxy: ProxyPolicy,
}

/// Whether requests may go through a proxy that the environment names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyPolicy {
    /// They go straight to the authority.
    Direct,
    /// They may, when they are encrypted and leave this host.
    OfEnvironment,
}

/// An address at which no authority may be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitAddress {
    /// It is not the URL of an authority.
    #[error("the address of the authority must be http(s)://HOST[:PORT][/PATH]")]
    Malformed,
    /// It is one but for the scheme; with it, it would be this.
    #[error("the address of the authority must be http(s)://HOST[:PORT][/PATH]: did you mean {0}?")]
    NoScheme(String),
    /// It has a query or a fragment.
    #[error("the address of the authority must be http(s)://HOST[:PORT][/PATH]")]
    QueryOrFragment,
    /// It has a user or a password.
    #[error("the address of the authority must not hold a name or password")]
    Credentials,
}

/// Connections to one authority. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct HttpConnection {
    http: reqwest::Client,
    base: Url,
    longest_reply: usize,
    plaintext: PlaintextPolicy,
}

/// A request of the API.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: Method,
    /// The segments of the path, as they are before they are encoded.
    pub path: Vec<String>,
    /// The query's parameters.
    pub query: Vec<(&'static str, String)>,
    /// Headers beside `Authorization` and `Content-Type`.
    pub headers: Vec<(&'static str, String)>,
    /// A JSON document.
    pub body: Option<String>,
    /// How long it may take in all, if not as long as the connection's requests usually may.
    pub timeout: Option<Duration>,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It cannot be sent as it is; says what would be right.
    #[error("{0}")]
    Unsendable(String),
    /// A credential would travel unencrypted to another host.
    #[error(transparent)]
    Unencrypted(#[from] outbound::UnencryptedUrl),
    /// The network failed, in its words. What was asked may have been done all the same.
    #[error("{0}")]
    Unreachable(String),
    /// The reply is longer than any that the authority gives.
    #[error("the reply does not end")]
    TooLong,
}

impl HttpRequest {
    /// With this method, of the resource at these path segments.
    pub fn of(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        Self { method, path, query: Vec::new(), headers: Vec::new(), body: None, timeout: None }
    }

    /// The same, named so that a repeat has no second effect.
    #[must_use]
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl HttpConnection {
    /// To the authority at this address. Opens no connection yet.
    ///
    /// # Errors
    /// [`RequestError::Unsendable`] says what an address must be. It does not quote one that holds a password.
    pub fn new(address: &str, options: ConnectionOptions) -> Result<Self, RequestError> {
        let base = checked(address).map_err(|why| RequestError::Unsendable(why.to_string()))?;
        let unfit = |why: String| RequestError::Unsendable(format!("{address}: {why}"));
        let mut builder = outbound::client_for(&base).map_err(|none| unfit(none.to_string()))?;
        if options.proxy == ProxyPolicy::Direct {
            builder = builder.no_proxy();
        }
        builder = builder.connect_timeout(options.connect).user_agent(options.user_agent);
        if let Some(whole) = options.whole {
            builder = builder.timeout(whole);
        }
        if let Some(silence) = options.silence {
            builder = builder.read_timeout(silence);
        }
        let http = builder.build().map_err(|error| unfit(outbound::reason(&error)))?;
        let ConnectionOptions { longest_reply, plaintext, .. } = options;
        Ok(Self { http, base, longest_reply, plaintext })
    }

    /// The authority's address.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Whether a credential may be sent there.
    ///
    /// # Errors
    /// It would travel unencrypted.
    pub fn permits_credential(&self) -> Result<(), outbound::UnencryptedUrl> {
        self.plaintext.permits(&self.base)
    }

    /// Asks once; gives back the head of the reply, whatever its status.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn send(
        &self,
        request: &HttpRequest,
        credential: Option<&Secret>,
    ) -> Result<Response, RequestError> {
        let mut builder = self.http.request(request.method.clone(), self.target(request)?);
        if let Some(credential) = credential {
            self.permits_credential()?;
            builder = builder.header(AUTHORIZATION, bearer(credential)?);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(timeout) = request.timeout {
            builder = builder.timeout(timeout);
        }
        builder.send().await.map_err(|error| self.unanswered(&error))
    }

    /// The whole body of a reply.
    ///
    /// # Errors
    /// It does not end, or the connection failed on the way.
    pub async fn body(&self, response: Response) -> Result<Vec<u8>, RequestError> {
        outbound::body(response, self.longest_reply).await.map_err(|unread| match unread {
            BodyError::TooLong => RequestError::TooLong,
            BodyError::CutOff(error) => self.unanswered(&error),
        })
    }

    fn unanswered(&self, error: &reqwest::Error) -> RequestError {
        let why = outbound::reason(error);
        if error.is_builder() {
            return RequestError::Unsendable(format!("the request cannot be sent: {why}"));
        }
        let doubt = match self.base.scheme() {
            "https" if NOT_TLS.iter().any(|sign| why.contains(sign)) => self.speaks_plain_http(),
            "http" if NOT_HTTP.iter().any(|sign| why.contains(sign)) => self.speaks_tls(),
            _ => String::new(),
        };
        RequestError::Unreachable(why + &doubt)
    }

    /// What to add about a reply of this status that is not the authority's: a port for TLS answers what is not
    /// encrypted with 400.
    pub fn doubt(&self, status: u16) -> String {
        if status == 400 && self.base.scheme() == "http" { self.speaks_tls() } else { String::new() }
    }

    fn speaks_tls(&self) -> String {
        format!("; it seems to speak TLS: try {}", self.url().replacen("http:", "https:", 1))
    }

    fn speaks_plain_http(&self) -> String {
        if outbound::leads_here(&self.base) {
            format!("; it seems to speak plain HTTP: try {}", self.url().replacen("https:", "http:", 1))
        } else {
            "; it seems to speak plain HTTP, which keys and tokens are not sent by: it needs TLS".to_owned()
        }
    }

    /// Where a request goes. An address has no place for an id of dots: they lead up in it.
    ///
    /// # Errors
    /// One of the segments is such an id.
    pub fn target(&self, request: &HttpRequest) -> Result<Url, RequestError> {
        if let Some(dots) = request.path.iter().find(|segment| [".", ".."].contains(&segment.as_str())) {
            return Err(RequestError::Unsendable(format!("`{dots}` is no id")));
        }
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        Ok(url)
    }
}

/// What rustls says of an answer that is not TLS.
const NOT_TLS: [&str; 1] = ["received corrupt message"];
/// What hyper says of an answer that is not HTTP/1.1, such as the alert of a TLS server.
const NOT_HTTP: [&str; 2] = ["invalid HTTP version", "invalid HTTP status-line"];

/// `http` or `https`, host, perhaps a port and a path.
///
/// # Errors
/// What an address must be.
pub fn checked(address: &str) -> Result<Url, UnfitAddress> {
    if let Some(meant) = with_scheme(address) {
        return Err(UnfitAddress::NoScheme(meant));
    }
    let url = Url::parse(address).map_err(|_| UnfitAddress::Malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UnfitAddress::Credentials);
    }
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(UnfitAddress::Malformed);
    }
    let is_plain = url.query().is_none() && url.fragment().is_none();
    if is_plain { Ok(url) } else { Err(UnfitAddress::QueryOrFragment) }
}

/// The address with its scheme, if nothing else is missing: a host, perhaps a port and a path.
fn with_scheme(address: &str) -> Option<String> {
    let authority = address.split('/').next().filter(|authority| !authority.is_empty())?;
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "0"));
    let is_host = !host.contains([':', '@']) || host.starts_with('[');
    if !is_host || port.parse::<u16>().is_err() || address.contains(['?', '#', '@']) {
        return None;
    }
    let url = Url::parse(&format!("https://{address}")).ok()?;
    let scheme = if outbound::leads_here(&url) { "http" } else { "https" };
    Some(format!("{scheme}://{address}"))
}

/// The header, marked so that no trace of the connection shows it.
fn bearer(credential: &Secret) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.expose())).map_err(|_| {
        RequestError::Unsendable("the credential has characters that no header can hold".into())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(address: &str) -> Result<HttpConnection, RequestError> {
        let second = Duration::from_secs(1);
        HttpConnection::new(
            address,
            ConnectionOptions {
                connect: second,
                whole: Some(second),
                silence: None,
                longest_reply: 1024,
                user_agent: "tenure-test",
                plaintext: PlaintextPolicy::Refused,
                proxy: ProxyPolicy::OfEnvironment,
            },
        )
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
        for right in ["http://127.0.0.1:7300", "https://tenure.example/under/", "http://[::1]:1"] {
            assert!(checked(right).is_ok(), "{right}");
        }
        for wrong in
            ["tenure.example", "ftp://h", "http://h?a=b", "http://name:password@h", "unix:/x", "/v1", ""]
        {
            let error = connection(wrong).unwrap_err().to_string();
            assert!(!error.contains("password@"), "{error}");
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_told_with_the_one_it_needs() {
        for (given, meant) in [
            ("localhost:7300", "http://localhost:7300"),
            ("127.0.0.1:7300/under", "http://127.0.0.1:7300/under"),
            ("[::1]:7300", "http://[::1]:7300"),
            ("tenure.example", "https://tenure.example"),
            ("tenure:7300", "https://tenure:7300"),
        ] {
            assert_eq!(checked(given), Err(UnfitAddress::NoScheme(meant.to_owned())), "{given}");
        }
        for wrong in ["", "/v1", "unix:/x", "http:", "mailto:a@b", "name:password@h", "h?a=b", "a b"] {
            assert_eq!(checked(wrong), Err(UnfitAddress::Malformed), "{wrong}");
        }
    }

    #[test]
    fn no_id_leaves_its_place_in_the_address() {
        let connection = connection("http://h/under/").unwrap();
        let mut request = HttpRequest::of(Method::GET, &["v1", "subjects", "a/../b?c=d#é"]);
        request.query.push(("device", "a b&c".to_owned()));
        let target = connection.target(&request).unwrap();
        assert_eq!(target.as_str(), "http://h/under/v1/subjects/a%2F..%2Fb%3Fc=d%23%C3%A9?device=a+b%26c");
        assert_eq!(connection.url(), "http://h/under");
        for dots in [".", ".."] {
            let error =
                connection.target(&HttpRequest::of(Method::DELETE, &["v1", "subjects", dots])).unwrap_err();
            assert_eq!(error.to_string(), format!("`{dots}` is no id"));
        }
    }

    #[test]
    fn a_header_never_shows_the_key() {
        assert!(!format!("{:?}", bearer(&Secret::new("tnr_key_x")).unwrap()).contains("tnr_key"));
        assert!(bearer(&Secret::new("a\nb")).is_err());
    }

    #[test]
    fn a_credential_stays_where_it_cannot_be_read() {
        assert!(connection("http://h").unwrap().permits_credential().is_err());
        assert!(connection("http://127.0.0.1:1").unwrap().permits_credential().is_ok());
    }
}
