//! One request over HTTP: a credential in the header and nowhere else, no redirect followed, every failure an
//! [`Error`].

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use url::Url;

use super::{
    error::{Error, Problem},
    time::Time,
};
use tenure_http_client::outbound::{self, Plaintext, Unread};
use tenure_protocol::{Secret, Timestamp};

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
    pub(super) fn new(url: &str, plaintext: Plaintext) -> Result<Self, Error> {
        let base = checked(url)?;
        plaintext.permits(&base).map_err(|unencrypted| Error::Unsendable(format!("{url}: {unencrypted}")))?;
        let builder = outbound::client_for(&base).map_err(|none| Error::Unsendable(none.to_string()))?;
        let builder = builder
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("tenure-client/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|error| Error::Unsendable(outbound::reason(&error)))?;
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
        if let Some(then) = outbound::time_there(&headers).and_then(Timestamp::parse) {
            time.heard(then);
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

    async fn read(&self, response: Response) -> Result<Vec<u8>, Error> {
        let status = response.status().as_u16();
        outbound::body(response, LONGEST_REPLY).await.map_err(|unread| match unread {
            Unread::TooLong => self.strange(status, "the reply does not end"),
            Unread::CutOff(error) => self.unreachable(&error),
        })
    }

    fn refusal(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
        let Some(problem) = serde_json::from_slice(body).ok().and_then(Problem::read) else {
            return self.strange(status, "its error is no problem document");
        };
        let retry_after = outbound::retry_after(headers).map(|seconds| Duration::from_secs(seconds.into()));
        Error::Refused(Box::new(Problem { retry_after, ..problem }))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        Error::Unreachable { url: self.url().to_owned(), why: outbound::reason(error) }
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

/// The header, marked so that no trace of the connection shows it.
fn bearer(credential: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", credential.expose()))
        .map_err(|_| Error::Unsendable("the credential has characters that no header can hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
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
            let error = Http::new(wrong, Plaintext::Allowed).unwrap_err();
            assert!(!error.is_transient() && !error.to_string().contains("password@"), "{error}");
        }
    }

    #[test]
    fn no_id_leaves_its_place_in_the_address() {
        let http = Http::new("http://h/under/", Plaintext::Allowed).unwrap();
        let mut request = Request::of(Method::GET, &["v1", "subjects", "a/../b?c=d#é"]);
        request.query.push(("device", "a b&c".to_owned()));
        let target = http.target(&request);
        assert_eq!(target.as_str(), "http://h/under/v1/subjects/a%2F..%2Fb%3Fc=d%23%C3%A9?device=a+b%26c");
        assert_eq!(http.url(), "http://h/under");
    }
}
