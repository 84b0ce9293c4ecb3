//! One request over HTTP: a credential in the header and nowhere else, no redirect followed, every failure an
//! [`Error`].

use std::{error::Error as _, sync::Arc, time::Duration};

use jiff::fmt::rfc2822;
use reqwest::{
    Method, RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::de::DeserializeOwned;
use url::{Host, Url};

use super::{
    error::{Error, Problem},
    secret::Secret,
    time::Time,
};
use crate::domain::Timestamp;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a request may take in all; a renewal holds the lock of its file so long at most.
const WHOLE: Duration = Duration::from_secs(10);
/// The longest reply that is read, in bytes: 200 sessions with all that may be kept with them are below it.
const LONGEST_REPLY: usize = 16 * 1024 * 1024;

/// Connections to one authority.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    base: Url,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(&'static str, String)>,
    /// A JSON document.
    pub(super) body: Option<String>,
    /// One name for one effect, however often it is sent.
    pub(super) idempotency_key: Option<String>,
}

impl Request {
    pub(super) fn of(method: Method, path: &[&str]) -> Self {
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        Self { method, path, query: Vec::new(), body: None, idempotency_key: None }
    }
}

impl Http {
    /// To the authority at this address. Opens no connection yet.
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let base = checked(url)?;
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&base)?)
            // A redirect would carry the credential somewhere that nobody named.
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("tenure-client/", env!("CARGO_PKG_VERSION")));
        let builder = if is_local(&base) { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| Error::Unsendable(reason(&error)))?;
        Ok(Self { client, base })
    }

    /// The authority's address.
    pub(super) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks once. The clock is told what time the reply says it is.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: &Request,
        credential: Option<&Secret>,
        time: &dyn Time,
    ) -> Result<T, Error> {
        let sent = self.prepared(request, credential)?.send().await;
        let response = sent.map_err(|error| self.unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(date) = date(&headers) {
            time.heard(date);
        }
        let body = self.read(response).await?;
        if !status.is_success() {
            return Err(self.refusal(status.as_u16(), &headers, &body));
        }
        // What it says of the body may quote it, and a token with it.
        let strange = |_| self.strange(status.as_u16(), "the document is not of the form that it must have");
        serde_json::from_slice(&body).map_err(strange)
    }

    fn prepared(&self, request: &Request, credential: Option<&Secret>) -> Result<RequestBuilder, Error> {
        let mut builder = self.client.request(request.method.clone(), self.target(request));
        if let Some(credential) = credential {
            builder = builder.header(AUTHORIZATION, bearer(credential)?);
        }
        if let Some(key) = &request.idempotency_key {
            builder = builder.header("idempotency-key", key);
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        Ok(builder)
    }

    fn target(&self, request: &Request) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("an http address has a path").pop_if_empty().extend(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        url
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST_REPLY {
                return Err(self.strange(response.status().as_u16(), "the reply does not end"));
            }
        }
        Ok(body)
    }

    fn refusal(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return self.strange(status, "its error is no problem document");
        };
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        Error::Refused(Box::new(Problem { retry_after: seconds.map(Duration::from_secs), ..problem }))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable { url: self.url().to_owned(), why: reason(error) }
    }

    fn strange(&self, status: u16, why: &str) -> Error {
        Error::Strange { url: self.url().to_owned(), status, why: why.to_owned() }
    }
}

/// `http` or `https`, host, perhaps a port and a path.
fn checked(text: &str) -> Result<Url, Error> {
    let wrong = |why: &str| Error::Unsendable(format!("{text}: {why}"));
    let url = Url::parse(text).map_err(|_| wrong("is no URL such as http://127.0.0.1:7300"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Unsendable(
            "the address of the authority must not hold a name or password".into(),
        ));
    }
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() || !is_plain {
        return Err(wrong("must be http(s)://HOST[:PORT][/PATH]"));
    }
    Ok(url)
}

/// A proxy from the environment is not asked for what is on this host.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Trusts whom the system trusts, or those in `SSL_CERT_FILE`; nobody where nothing is encrypted.
fn tls(url: &Url) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if url.scheme() == "https" {
        let found = rustls_native_certs::load_native_certs();
        if roots.add_parsable_certificates(found.certs).0 == 0 {
            return Err(Error::Unsendable("this machine trusts no certificates: see SSL_CERT_FILE".into()));
        }
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The header, marked so that no trace of the connection shows it.
fn bearer(credential: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.expose()))
        .map_err(|_| Error::Unsendable("the credential has characters that no header can hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// An HTTP date (RFC 9110) is an e-mail date in GMT.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Timestamp::from_millis(date.as_millisecond()))
}

/// The innermost cause says what happened; the outer ones say that something did.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_perhaps_a_path() {
        for right in ["http://127.0.0.1:7300", "https://tenure.example/under/", "http://[::1]:1"] {
            assert!(checked(right).is_ok(), "{right}");
        }
        for wrong in ["tenure.example", "ftp://h", "http://h?a=b", "http://name:password@h", "unix:/x"] {
            let error = Http::new(wrong).unwrap_err();
            assert!(!error.is_transient() && !error.to_string().contains("password@"), "{error}");
        }
    }

    #[test]
    fn no_id_leaves_its_place_in_the_address() {
        let http = Http::new("http://h/under/").unwrap();
        let mut request = Request::of(Method::GET, &["v1", "subjects", "a/../b?c=d#é"]);
        request.query.push(("device", "a b&c".to_owned()));
        let target = http.target(&request);
        assert_eq!(target.as_str(), "http://h/under/v1/subjects/a%2F..%2Fb%3Fc=d%23%C3%A9?device=a+b%26c");
        assert_eq!(http.url(), "http://h/under");
    }
}
