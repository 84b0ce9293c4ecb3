//! One call over HTTP, typed both ways; every failure is an [`Error`].

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::{
    error::{Error, Problem},
    time::AuthorityTime,
};
pub(super) use tenure_http_client::connection::HttpRequest;
use tenure_http_client::{
    connection::{ConnectionOptions, HttpConnection, ProxyPolicy, RequestError},
    outbound::{self, PlaintextPolicy},
    sse::SseStream,
};
use tenure_protocol::{Secret, Timestamp};
use tokio::time::timeout;

/// An authority that has not begun a stream by then begins none.
const BEGINNING: Duration = Duration::from_secs(10);
/// A stream is reopened after this time, if nothing ended it before.
const LONGEST_STREAM: Duration = Duration::from_hours(1);
/// No event of a session's stream is longer, in bytes.
const LONGEST_EVENT: usize = 64 * 1024;

const fn options(plaintext: PlaintextPolicy) -> ConnectionOptions {
    ConnectionOptions {
        connect: Duration::from_secs(5),
        // A renewal holds the lock of its file this long at most.
        whole: Some(Duration::from_secs(10)),
        silence: None,
        // 200 sessions with all that may be kept with them are below it.
        longest_reply: 16 * 1024 * 1024,
        user_agent: concat!("tenure-client/", env!("CARGO_PKG_VERSION")),
        plaintext,
        proxy: ProxyPolicy::OfEnvironment,
    }
}

/// Connections to one authority.
#[derive(Clone, Debug)]
pub(super) struct AuthorityHttp(HttpConnection);

impl AuthorityHttp {
    /// To the authority at this address. Opens no connection yet.
    pub(super) fn new(url: &str, plaintext: PlaintextPolicy) -> Result<Self, Error> {
        let unsendable = |why: RequestError| Error::Unsendable(why.to_string());
        let connection = HttpConnection::new(url, options(plaintext)).map_err(unsendable)?;
        let permitted = connection.permits_credential();
        permitted.map_err(|unencrypted| Error::Unsendable(format!("{url}: {unencrypted}")))?;
        Ok(Self(connection))
    }

    /// The authority's address.
    pub(super) fn url(&self) -> &str {
        self.0.url()
    }

    /// Asks once. The clock learns the time that the reply states.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: &HttpRequest,
        credential: Option<&Secret>,
        time: &dyn AuthorityTime,
    ) -> Result<T, Error> {
        let response = self.0.send(request, credential).await.map_err(|why| self.unanswered(why, 0))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(then) = outbound::time_there(&headers).and_then(Timestamp::parse) {
            time.note_server_time(then);
        }
        let body = self.0.body(response).await.map_err(|why| self.unanswered(why, status.as_u16()))?;
        if !status.is_success() {
            return Err(self.refusal(status.as_u16(), &headers, &body));
        }
        // What it says of the body may quote it, and a token with it.
        let strange = |_| self.strange(status.as_u16(), "the document is not of the form that it must have");
        serde_json::from_slice(&body).map_err(strange)
    }

    /// Opens a stream of events.
    pub(super) async fn follow(
        &self,
        request: HttpRequest,
        credential: Option<&Secret>,
        time: &dyn AuthorityTime,
    ) -> Result<SseStream, Error> {
        // It has no end: this waits for its beginning, and its reader watches that it goes on.
        let request =
            HttpRequest { timeout: Some(LONGEST_STREAM), ..request.header("accept", "text/event-stream") };
        let late = |_| Error::Unreachable { url: self.url().to_owned(), why: "it took too long".to_owned() };
        let sent = timeout(BEGINNING, self.0.send(&request, credential)).await.map_err(late)?;
        let response = sent.map_err(|why| self.unanswered(why, 0))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(then) = outbound::time_there(&headers).and_then(Timestamp::parse) {
            time.note_server_time(then);
        }
        if !status.is_success() {
            let body = self.0.body(response).await.map_err(|why| self.unanswered(why, status.as_u16()))?;
            return Err(self.refusal(status.as_u16(), &headers, &body));
        }
        SseStream::of(response, LONGEST_EVENT).ok_or_else(|| self.strange(status.as_u16(), "it is no stream"))
    }

    fn unanswered(&self, why: RequestError, status: u16) -> Error {
        match why {
            RequestError::Unsendable(why) => Error::Unsendable(why),
            RequestError::Unencrypted(unencrypted) => Error::Unsendable(unencrypted.to_string()),
            RequestError::Unreachable(why) => Error::Unreachable { url: self.url().to_owned(), why },
            RequestError::TooLong => self.strange(status, "the reply does not end"),
        }
    }

    fn refusal(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Error {
        let Some(problem) = serde_json::from_slice(body).ok().and_then(Problem::read) else {
            let why = format!("its error is no problem document{}", self.0.doubt(status));
            return self.strange(status, &why);
        };
        let retry_after = outbound::retry_after(headers).map(|seconds| Duration::from_secs(seconds.into()));
        Error::Refused(Box::new(Problem { retry_after, ..problem }))
    }

    fn strange(&self, status: u16, why: &str) -> Error {
        Error::Strange { url: self.url().to_owned(), status, why: why.to_owned() }
    }
}
