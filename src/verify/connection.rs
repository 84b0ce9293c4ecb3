//! The way to the authority: where it is, the key that it knows us by, and how long it may take.
//!
//! Only `https://`, and `http://` to this machine itself: anyone who can change an answer on its way can hide a
//! revocation or show a key of their own. No redirect is followed and no proxy is asked. Connections are kept.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH},
};
use zeroize::Zeroizing;

use super::{
    checked::{self, FeedPage},
    key_set::VerificationKey,
};
use tenure_http_client::{
    outbound::{self, BodyError, NoRootCertificates, PlaintextPolicy, UnencryptedUrl},
    sse::SseStream,
};
use tenure_protocol::{
    EpochPosition, Position, Secret, Timestamp, epoch,
    token::API_KEY_PREFIX,
    wire::{IntrospectRequest, TokenStatus},
};
use tokio::time::timeout;

/// An authority that takes no connection by then is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// An authority that has not answered by then gives no answer.
const WHOLE: Duration = Duration::from_secs(4);
/// A stream is reopened after this time, if nothing ended it before.
const LONGEST_STREAM: Duration = Duration::from_hours(1);
/// No answer is longer. The longest are pages of the feed.
const LONGEST_ANSWER: usize = 8 << 20;

/// The way to an authority. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct AuthorityConnection {
    base: Url,
    key: HeaderValue,
    http: reqwest::Client,
    /// The epoch in which the authority named the last position that it gave out.
    epoch: Arc<AtomicU32>,
}

/// An address at which no authority may be asked, or an invalid key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitConnection {
    /// It is not an address.
    #[error("the authority's address must be a URL such as https://tenure.example.com")]
    NoAddress,
    /// It has parts that mean nothing here.
    #[error("the authority's address must have no user, password, query or fragment")]
    TooMuch,
    /// A third party on the way could change the answers.
    #[error("the authority's address must begin with https://, or lead to this machine")]
    Unprotected,
    /// It cannot be written into a header.
    #[error("the API key must be one that begins with {API_KEY_PREFIX}")]
    NoKey,
    /// The address is one of `https://`, and the system trusts no certificate authority.
    #[error("{NoRootCertificates}")]
    NoRoots,
}

/// Why there is no answer. It quotes neither the address nor the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthorityCallError {
    /// No answer comes in time.
    #[error("it cannot be reached")]
    Unreachable,
    /// It does not want to, or cannot.
    #[error("it answers with status {status}")]
    Status { status: u16, retry_after: Option<u32> },
    /// Its history ends before the position from which it was to go on.
    #[error("its history ends before what was read of it")]
    BeyondEnd {
        /// The time there, if the answer has it.
        now: Option<Timestamp>,
    },
    /// What came back is not what was asked for.
    #[error("its answer is not understood")]
    NotUnderstood,
}

/// An answer about the keys.
pub(super) enum KeysAnswer {
    Changed {
        keys: Vec<VerificationKey>,
        etag: Option<HeaderValue>,
    },
    /// They are those of the answer with this tag.
    Unchanged,
}

impl AuthorityConnection {
    /// To the authority at this address, with an API key of the role `verifier`.
    ///
    /// # Errors
    /// Says what an address or a key must be.
    pub fn to(address: &str, key: &str) -> Result<Self, UnfitConnection> {
        let base = base(address)?;
        let bearer = Zeroizing::new(["Bearer ", key].concat());
        let header = HeaderValue::from_str(&bearer).ok().filter(|_| key.starts_with(API_KEY_PREFIX));
        let mut key = header.ok_or(UnfitConnection::NoKey)?;
        key.set_sensitive(true);
        Ok(Self { http: client(&base)?, base, key, epoch: Arc::new(AtomicU32::new(epoch::FIRST)) })
    }

    /// The keys that it shows. With the tag of an earlier answer it may say that they are the same.
    pub(super) async fn keys(&self, known: Option<&HeaderValue>) -> Result<KeysAnswer, AuthorityCallError> {
        let mut request = self.http.get(self.url("v1/keys"));
        if let Some(etag) = known {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = send(request).await?;
        if known.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(KeysAnswer::Unchanged);
        }
        let etag = response.headers().get(ETAG).cloned();
        let keys = checked::keys(&body(response).await?).ok_or(AuthorityCallError::NotUnderstood)?;
        Ok(KeysAnswer::Changed { keys, etag })
    }

    /// The revocations after this position, up to `limit`.
    pub(super) async fn feed(&self, after: Position, limit: u32) -> Result<FeedPage, AuthorityCallError> {
        let mut url = self.url("v1/revocations/feed");
        url.query_pairs_mut()
            .append_pair("after", &self.named(after).to_string())
            .append_pair("limit", &limit.to_string());
        let answer = send(self.authorized(Method::GET, url)).await;
        if let Err(AuthorityCallError::BeyondEnd { .. }) = answer {
            self.epoch.store(epoch::FIRST, Ordering::Relaxed);
        }
        let page = body(answer?).await?;
        let page = FeedPage::read(&page, after).ok_or(AuthorityCallError::NotUnderstood)?;
        self.epoch.store(page.epoch, Ordering::Relaxed);
        Ok(page)
    }

    /// A position in the epoch of the history that was read last.
    fn named(&self, position: Position) -> EpochPosition {
        EpochPosition { epoch: self.epoch.load(Ordering::Relaxed), position }
    }

    /// The revocations after this position as they happen; `None` if the authority has no stream of them.
    pub(super) async fn follow(&self, after: Position) -> Result<Option<SseStream>, AuthorityCallError> {
        let mut url = self.url("v1/revocations/feed");
        url.query_pairs_mut().append_pair("after", &self.named(after).to_string());
        let request = self.authorized(Method::GET, url).header(ACCEPT, "text/event-stream");
        // It has no end: its reader watches that it began and goes on.
        let response = timeout(WHOLE, send(request.timeout(LONGEST_STREAM))).await;
        let response = response.map_err(|_| AuthorityCallError::Unreachable)??;
        Ok(SseStream::of(response, LONGEST_ANSWER))
    }

    /// What it says of a session token.
    pub(super) async fn introspect(&self, token: &str) -> Result<TokenStatus, AuthorityCallError> {
        let asked = IntrospectRequest::of(Secret::new(token));
        let asked = serde_json::to_string(&asked).expect("a token is text");
        let request = self.authorized(Method::POST, self.url("v1/introspect"));
        let request = request.header(CONTENT_TYPE, "application/json").body(asked);
        serde_json::from_slice(&body(send(request).await?).await?)
            .map_err(|_| AuthorityCallError::NotUnderstood)
    }

    fn authorized(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url).header(AUTHORIZATION, self.key.clone())
    }

    fn url(&self, path: &str) -> Url {
        self.base.join(path).expect("a path follows every base")
    }
}

impl fmt::Debug for AuthorityConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(to {})", self.base)
    }
}

async fn send(request: RequestBuilder) -> Result<Response, AuthorityCallError> {
    let response = request.send().await.map_err(|_| AuthorityCallError::Unreachable)?;
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    if response.status() == StatusCode::CONFLICT {
        return Err(AuthorityCallError::BeyondEnd { now: time(&response) });
    }
    let retry_after = outbound::retry_after(response.headers());
    Err(AuthorityCallError::Status { status: response.status().as_u16(), retry_after })
}

/// The authority's time, if it made this answer now.
fn time(response: &Response) -> Option<Timestamp> {
    let headers = response.headers();
    let time = headers.get("x-tenure-time").filter(|_| !headers.contains_key(AGE))?;
    Timestamp::parse(time.to_str().ok()?)
}

async fn body(response: Response) -> Result<Vec<u8>, AuthorityCallError> {
    outbound::body(response, LONGEST_ANSWER).await.map_err(|unread| match unread {
        BodyError::TooLong => AuthorityCallError::NotUnderstood,
        BodyError::CutOff(_) => AuthorityCallError::Unreachable,
    })
}

/// The address, ending in `/`, so that paths follow it.
fn base(address: &str) -> Result<Url, UnfitConnection> {
    let mut url = Url::parse(address).map_err(|_| UnfitConnection::NoAddress)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        return Err(UnfitConnection::TooMuch);
    }
    match url.scheme() {
        "http" | "https" => {
            PlaintextPolicy::Refused.permits(&url).map_err(|UnencryptedUrl| UnfitConnection::Unprotected)?;
        }
        _ => return Err(UnfitConnection::NoAddress),
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn client(base: &Url) -> Result<reqwest::Client, UnfitConnection> {
    let roots = outbound::roots_for(base).map_err(|NoRootCertificates| UnfitConnection::NoRoots)?;
    let client = outbound::client(roots)
        .https_only(base.scheme() == "https")
        .no_proxy()
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .user_agent(concat!("Tenure-verifier/", env!("CARGO_PKG_VERSION")));
    Ok(client.build().expect("a client with all settings given reads none from elsewhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_asked_where_nobody_can_change_its_answers() {
        for right in [
            "https://tenure.example.com",
            "https://example.com/tenure/",
            "http://127.0.0.1:7300",
            "http://[::1]:7300",
            "http://localhost:7300",
        ] {
            assert!(base(right).is_ok(), "{right}");
        }
        for (wrong, why) in [
            ("http://tenure.example.com", UnfitConnection::Unprotected),
            ("http://127.0.0.1.example.com", UnfitConnection::Unprotected),
            ("http://10.0.0.1", UnfitConnection::Unprotected),
            ("ftp://localhost", UnfitConnection::NoAddress),
            ("tenure.example.com", UnfitConnection::NoAddress),
            ("https://me@example.com", UnfitConnection::TooMuch),
            ("https://example.com/?x", UnfitConnection::TooMuch),
        ] {
            assert_eq!(AuthorityConnection::to(wrong, "tnr_key_x").err(), Some(why), "{wrong}");
        }
    }

    #[test]
    fn paths_follow_the_address() {
        let connection = AuthorityConnection::to("http://127.0.0.1:7300/tenure", "tnr_key_x").unwrap();
        assert_eq!(connection.url("v1/keys").as_str(), "http://127.0.0.1:7300/tenure/v1/keys");
    }

    #[test]
    fn the_key_is_an_api_key_and_is_not_shown() {
        let address = "http://127.0.0.1:7300";
        for wrong in ["", "tnr_sess_x", "tnr_key_\n"] {
            assert_eq!(AuthorityConnection::to(address, wrong).err(), Some(UnfitConnection::NoKey));
        }
        let shown = format!("{:?}", AuthorityConnection::to(address, "tnr_key_secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
