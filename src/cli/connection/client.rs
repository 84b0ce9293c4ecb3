//! The HTTP client: one request at a time, a key or token in the header and nowhere else, every error a
//! [`CommandError`].

use std::{
    fmt::Display,
    io,
    sync::{OnceLock, mpsc},
    time::Duration,
};

use parking_lot::Mutex;
use reqwest::{Method, Response};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tokio::runtime::Runtime;

use super::retry::patiently;
use crate::cli::{
    failure::{CommandError, RefusedRequest},
    files::secret::Secret,
    output::exact_json,
};
use tenure_client::Error;
use tenure_core::Timestamp;
use tenure_http_client::{
    connection::{self, ConnectionOptions, HttpConnection, ProxyPolicy, RequestError, UnfitAddress, checked},
    outbound::{self, PlaintextPolicy},
};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a request may take in all. A read with `minPosition` waits 5 s by itself.
const WHOLE: Duration = Duration::from_secs(30);
/// How long a reply of any length may pause: a stream has a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// The longest reply accepted, in bytes: 200 sessions with 4 KiB of metadata each are far below it.
const LONGEST_REPLY: usize = 64 * 1024 * 1024;

fn written(body: impl Serialize) -> Value {
    serde_json::to_value(body).expect("a body is a JSON object with names of members")
}

/// What is asked of the server.
#[derive(Clone, Debug)]
pub(crate) struct ApiRequest {
    whole: connection::HttpRequest,
    body: Option<Value>,
    /// Members of the body that go as they were written.
    raw: Vec<(&'static str, Box<RawValue>)>,
}

impl ApiRequest {
    /// A read of the resource at these path segments.
    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::of(Method::GET, segments)
    }

    /// A POST with this body.
    pub(crate) fn post(segments: &[&str], body: impl Serialize) -> Self {
        Self { body: Some(written(body)), ..Self::of(Method::POST, segments) }
    }

    /// A POST without a body.
    pub(crate) fn post_without_body(segments: &[&str]) -> Self {
        Self::of(Method::POST, segments)
    }

    /// A PUT with this body.
    pub(crate) fn put(segments: &[&str], body: impl Serialize) -> Self {
        Self { body: Some(written(body)), ..Self::of(Method::PUT, segments) }
    }

    /// A PUT without a body: a renewal.
    pub(crate) fn put_without_body(segments: &[&str]) -> Self {
        Self::of(Method::PUT, segments)
    }

    /// A PATCH with this merge patch (RFC 7396): what it names is changed, and null removes.
    pub(crate) fn patch(segments: &[&str], body: impl Serialize) -> Self {
        Self { body: Some(written(body)), ..Self::of(Method::PATCH, segments) }
    }

    /// A DELETE.
    pub(crate) fn delete(segments: &[&str]) -> Self {
        Self::of(Method::DELETE, segments)
    }

    fn of(method: Method, segments: &[&str]) -> Self {
        Self { whole: connection::HttpRequest::of(method, segments), body: None, raw: Vec::new() }
    }

    /// Sets a query parameter, in place of an earlier one of this name; without a value, it sets none.
    #[must_use]
    pub(crate) fn query<T: Display>(mut self, name: &'static str, value: Option<T>) -> Self {
        if let Some(value) = value {
            self = self.without(name);
            self.whole.query.push((name, value.to_string()));
        }
        self
    }

    /// Drops a query parameter.
    #[must_use]
    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.whole.query.retain(|(other, _)| *other != name);
        self
    }

    /// Adds a member to the body, an object, as it was written: every number keeps its digits.
    #[must_use]
    pub(crate) fn member(mut self, name: &'static str, value: Option<Box<RawValue>>) -> Self {
        self.raw.extend(value.map(|value| (name, value)));
        self
    }

    /// The body as it goes over the wire.
    pub(crate) fn body_text(&self) -> Option<String> {
        let mut text = self.body.as_ref()?.to_string();
        for (name, value) in &self.raw {
            text.pop();
            let comma = if text.ends_with('{') { "" } else { "," };
            text.extend([comma, "\"", name, "\":", value.get(), "}"]);
        }
        Some(text)
    }

    /// Names the request, so that a repeat has no second effect.
    #[must_use]
    pub(crate) fn idempotency_key(self, key: String) -> Self {
        self.header("idempotency-key", key)
    }

    /// Sets a header; there is none of its name yet.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.whole = self.whole.header(name, value);
        self
    }

    /// What is not there when this is refused so, such as `no subject "ghost"`.
    fn missing(&self, code: &str) -> Option<String> {
        let behind = |noun: &str| self.whole.path.iter().skip_while(|part| *part != noun).nth(1).cloned();
        let asked = |name: &str| Some(self.whole.query.iter().find(|(other, _)| *other == name)?.1.clone());
        let given = |name: &str| Some(self.body.as_ref()?[name].as_str()?.to_owned());
        let (noun, id) = match code {
            "SUBJECT_NOT_FOUND" => ("subject", behind("subjects").or_else(|| given("subjectId"))),
            "SESSION_NOT_FOUND" => (
                "session",
                asked("exceptSessionId").or_else(|| behind("sessions")).filter(|id| !id.is_empty()),
            ),
            "WEBHOOK_NOT_FOUND" => ("webhook", behind("webhooks")),
            "NOT_FOUND" => ("API key", behind("credentials").filter(|id| id != "self")),
            _ => return None,
        };
        id.map(|id| format!("no {noun} \"{id}\""))
    }

    /// As it goes over the wire, answered within this time.
    fn within(&self, timeout: Option<Duration>) -> connection::HttpRequest {
        connection::HttpRequest { body: self.body_text(), timeout, ..self.whole.clone() }
    }
}

/// What the server said, when it was not an error.
#[derive(Clone, Debug)]
pub(crate) struct ApiReply {
    /// The document; a text if it was not JSON, null if it was empty.
    pub body: Value,
}

/// Talks to one server with one key. A call blocks until there is an answer.
#[derive(Debug)]
pub(crate) struct ApiClient {
    connection: HttpConnection,
    runtime: &'static Runtime,
    key: Option<Secret>,
    /// What time the server's last reply said it is.
    heard: Mutex<Option<Timestamp>>,
}

impl ApiClient {
    /// For the server at `url` (see [`checked_url`]). Opens no connection yet.
    pub(crate) fn new(
        url: &str,
        key: Option<Secret>,
        plaintext: PlaintextPolicy,
    ) -> Result<Self, CommandError> {
        let options = ConnectionOptions {
            connect: CONNECT,
            whole: None,
            silence: Some(SILENCE),
            longest_reply: LONGEST_REPLY,
            user_agent: concat!("tenure/", env!("CARGO_PKG_VERSION")),
            plaintext,
            proxy: ProxyPolicy::OfEnvironment,
        };
        let connection =
            HttpConnection::new(url, options).map_err(|why| CommandError::Usage(why.to_string()))?;
        Ok(Self { connection, runtime: runtime()?, key, heard: Mutex::default() })
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        self.connection.url()
    }

    /// The API key that requests carry.
    pub(crate) const fn key(&self) -> Option<&Secret> {
        self.key.as_ref()
    }

    /// The time in the server's last reply; `None` if no reply had one yet.
    pub(crate) fn server_time(&self) -> Option<Timestamp> {
        *self.heard.lock()
    }

    /// Whether there is a key to show.
    pub(crate) const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Asks with the key that the user configured.
    pub(crate) fn send(&self, request: &ApiRequest) -> Result<ApiReply, CommandError> {
        self.ask(request, self.key.as_ref())
    }

    /// The same for a history, which the server gives to a few at once.
    pub(crate) fn export(&self, request: &ApiRequest) -> Result<ReplyStream, CommandError> {
        patiently(|| self.stream(request))
    }

    /// Asks for a reply of any length, to be read as it comes. Silence for longer than [`SILENCE`] is its end.
    pub(crate) fn stream(&self, request: &ApiRequest) -> Result<ReplyStream, CommandError> {
        let response = self.call_within(request, self.key.as_ref(), None)?;
        if response.status().is_success() {
            return Ok(ReplyStream { response, runtime: self.runtime, unread: Vec::new(), at: 0 });
        }
        Err(self.refusal(request, response, self.key.is_some())?)
    }

    /// Asks with another credential: a session's own token.
    pub(crate) fn send_as(
        &self,
        credential: &Secret,
        request: &ApiRequest,
    ) -> Result<ApiReply, CommandError> {
        self.ask(request, Some(credential))
    }

    fn ask(&self, request: &ApiRequest, credential: Option<&Secret>) -> Result<ApiReply, CommandError> {
        if request.whole.method == Method::GET {
            patiently(|| self.ask_once(request, credential))
        } else {
            self.ask_once(request, credential)
        }
    }

    fn ask_once(&self, request: &ApiRequest, credential: Option<&Secret>) -> Result<ApiReply, CommandError> {
        let response = self.call_within(request, credential, Some(WHOLE))?;
        if !response.status().is_success() {
            return Err(self.refusal(request, response, credential.is_some())?);
        }
        Ok(ApiReply { body: self.read(response)? })
    }

    /// What an answer other than 2xx says.
    fn refusal(
        &self,
        request: &ApiRequest,
        response: Response,
        with_credential: bool,
    ) -> Result<CommandError, CommandError> {
        let status = response.status().as_u16();
        let retry_after = outbound::retry_after(response.headers());
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
        let body = self.read(response)?;
        let Some(mut said) = tenure_client::Problem::read(body.clone()) else {
            let (told, doubt) = (excerpt(&body), self.connection.doubt(status));
            return Ok(self.strange(status, &format!("its error is no problem document: {told}{doubt}")));
        };
        said.retry_after = retry_after;
        let missing = request.missing(&said.code).or_else(|| self.doubtful_path(&said.code, request));
        let problem = RefusedRequest::of(said, with_credential).about(missing);
        Ok(CommandError::Problem(Box::new(problem.at(self.server_time()))))
    }

    /// What may be wrong where there is no such route.
    fn doubtful_path(&self, code: &str, request: &ApiRequest) -> Option<String> {
        let (url, asked) = (self.url(), request.whole.path.join("/"));
        let has_path = url.split_once("://").is_some_and(|(_, place)| place.contains('/'));
        (code == "NOT_FOUND" && has_path).then(|| {
            format!("there is nothing at {url}/{asked}; does the server's address have a path too much?")
        })
    }

    fn call_within(
        &self,
        request: &ApiRequest,
        credential: Option<&Secret>,
        time: Option<Duration>,
    ) -> Result<Response, CommandError> {
        let (connection, request) = (self.connection.clone(), request.within(time));
        let credential = credential.cloned();
        let response = self.wait(async move { connection.send(&request, credential.as_ref()).await });
        let response = response.map_err(|why| self.unanswered(why, 0))?;
        if let Some(time) = outbound::time_there(response.headers()).and_then(Timestamp::parse) {
            *self.heard.lock() = Some(time);
        }
        Ok(response)
    }

    /// The caller may be on a runtime of its own, where none may be entered.
    fn wait<T: Send + 'static>(&self, answer: impl Future<Output = T> + Send + 'static) -> T {
        let (done, answered) = mpsc::sync_channel(1);
        self.runtime.spawn(async move { drop(done.send(answer.await)) });
        answered.recv().expect("what is waited for ends")
    }

    /// A reply without JSON is kept as text: `/healthz` may say `ok`.
    fn read(&self, response: Response) -> Result<Value, CommandError> {
        let status = response.status().as_u16();
        let connection = self.connection.clone();
        let body = self.wait(async move { connection.body(response).await });
        let body = body.map_err(|why| self.unanswered(why, status))?;
        let text = String::from_utf8(body).map_err(|_| self.strange(status, "the reply is no text"))?;
        if text.trim().is_empty() {
            return Ok(Value::Null);
        }
        Ok(exact_json::read(&text).unwrap_or(Value::String(text)))
    }

    fn unanswered(&self, why: RequestError, status: u16) -> CommandError {
        let url = self.url();
        match why {
            RequestError::Unsendable(why) => CommandError::Usage(why),
            RequestError::Unencrypted(why) => {
                CommandError::Usage(format!("{url}: {why}; --allow-plaintext sends them all the same"))
            }
            RequestError::Unreachable(why) => {
                CommandError::Unanswered(Error::Unreachable { url: url.to_owned(), why })
            }
            RequestError::TooLong => self.strange(status, "the reply does not end"),
        }
    }

    /// A reply that Tenure would not give.
    pub(crate) fn strange(&self, status: u16, why: &str) -> CommandError {
        CommandError::Unanswered(Error::Strange { url: self.url().to_owned(), status, why: why.to_owned() })
    }
}

/// What connections run on. It lasts as long as the process: to end it would be to wait for name lookups.
fn runtime() -> Result<&'static Runtime, CommandError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    match RUNTIME.get() {
        Some(runtime) => Ok(runtime),
        None => super::runtime::runtime().map(|made| RUNTIME.get_or_init(|| made)),
    }
}

/// Enough of a document to recognise it.
fn excerpt(body: &Value) -> String {
    let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    text.chars().take(200).collect()
}

/// A reply of any length, read as it comes. Not to be read on a runtime.
#[derive(Debug)]
pub(crate) struct ReplyStream {
    response: Response,
    runtime: &'static Runtime,
    /// What has come, and how much of it was read.
    unread: Vec<u8>,
    at: usize,
}

impl io::Read for ReplyStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.unread.len() {
            let chunk = self.runtime.block_on(self.response.chunk());
            match chunk.map_err(|error| io::Error::other(outbound::reason(&error)))? {
                Some(chunk) => (self.unread, self.at) = (chunk.into(), 0),
                None => return Ok(0),
            }
        }
        let read = io::Read::read(&mut &self.unread[self.at..], out)?;
        self.at += read;
        Ok(read)
    }
}

/// Checks the address of a server: `http` or `https`, host, perhaps a port and a path.
pub(crate) fn checked_url(text: &str) -> Result<String, UnfitAddress> {
    checked(text).map(|_| text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread::JoinHandle};

    use serde_json::json;

    use super::*;
    use crate::cli::{connection::fake_server, failure::ExitStatus};

    /// A client whose server answers one request so.
    fn server(head: &'static str, body: &'static str) -> (ApiClient, JoinHandle<Vec<String>>) {
        let (url, asked) = fake_server::answering(vec![Some((head, body))]);
        (ApiClient::new(&url, Some(Secret::new("tnr_key_test")), PlaintextPolicy::Refused).unwrap(), asked)
    }

    #[test]
    fn a_request_carries_key_agent_body_and_idempotency_key() {
        let (client, asked) = server("201 Created", "{\"token\":\"t\"}");
        let request =
            ApiRequest::post(&["v1", "sessions"], json!({"subjectId": "a"})).idempotency_key("k1".into());
        assert_eq!(client.send(&request).unwrap().body, json!({"token": "t"}));
        let asked = asked.join().unwrap().remove(0);
        assert!(asked.starts_with("post /v1/sessions http/1.1\r\n"), "{asked}");
        for part in [
            "authorization: bearer tnr_key_test\r\n",
            concat!("user-agent: tenure/", env!("CARGO_PKG_VERSION"), "\r\n"),
            "idempotency-key: k1\r\n",
            "content-type: application/json\r\n",
            "{\"subjectid\":\"a\"}",
        ] {
            assert!(asked.contains(part), "{part:?} in {asked}");
        }
    }

    #[test]
    fn a_renewal_has_no_body_and_the_sessions_own_token() {
        let (client, asked) = server("200 OK", "{}");
        let request = ApiRequest::put_without_body(&["v1", "sessions", "x", "renew"]);
        client.send_as(&Secret::new("tnr_sess_mine"), &request).unwrap();
        let asked = asked.join().unwrap().remove(0);
        assert!(asked.contains("authorization: bearer tnr_sess_mine\r\n"), "{asked}");
        assert!(!asked.contains("content-type") && asked.ends_with("\r\n\r\n"), "{asked}");
    }

    #[test]
    fn a_problem_is_read_with_its_retry_after() {
        let (client, _asked) = server(
            "503 Service Unavailable\r\nretry-after: 2\r\ncontent-type: application/problem+json",
            r#"{"type":"about:blank","title":"Too busy","status":503,"code":"OVERLOADED","errors":[]}"#,
        );
        let failure = client.send(&ApiRequest::post_without_body(&["v1", "sessions"])).unwrap_err();
        let CommandError::Problem(problem) = failure else { panic!("{failure:?}") };
        assert_eq!(
            (problem.code.as_str(), problem.retry_after),
            ("OVERLOADED", Some(Duration::from_secs(2)))
        );
    }

    #[test]
    fn an_error_page_of_something_else_is_strange() {
        let (client, _asked) = server("404 Not Found", "nginx");
        let failure = client.send(&ApiRequest::get(&["healthz"])).unwrap_err();
        assert!(
            matches!(failure, CommandError::Unanswered(Error::Strange { status: 404, .. })),
            "{failure:?}"
        );
        assert_eq!(failure.exit(), ExitStatus::Server);
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let (client, _asked) = server("302 Found\r\nlocation: http://127.0.0.1:1/", "");
        let failure = client.send(&ApiRequest::get(&["healthz"])).unwrap_err();
        assert!(
            matches!(failure, CommandError::Unanswered(Error::Strange { status: 302, .. })),
            "{failure:?}"
        );
    }

    #[test]
    fn nobody_there_is_a_network_failure() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let client =
            ApiClient::new(&format!("http://127.0.0.1:{port}"), None, PlaintextPolicy::Refused).unwrap();
        let failure = client.send(&ApiRequest::get(&["healthz"])).unwrap_err();
        assert_eq!(failure.exit(), ExitStatus::Server);
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one_and_none_changes_nothing() {
        let request = ApiRequest::get(&["v1"]).query("cursor", Some("a")).query("cursor", Some("b"));
        assert_eq!(request.query("cursor", None::<&str>).whole.query, [("cursor", "b".to_owned())]);
    }

    #[test]
    fn an_address_has_a_scheme_a_host_and_no_secret() {
        assert_eq!(checked_url("http://localhost:7300/").unwrap(), "http://localhost:7300");
        assert_eq!(checked_url("https://t.example/auth").unwrap(), "https://t.example/auth");
        for wrong in ["localhost:7300", "ftp://a", "http://u:p@a", "http://a?b=c", "/v1", ""] {
            assert!(checked_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_id_of_dots_leads_nowhere() {
        let client = ApiClient::new("http://127.0.0.1:1", None, PlaintextPolicy::Refused).unwrap();
        for dots in [".", ".."] {
            let failure =
                client.send(&ApiRequest::delete(&["v1", "subjects", dots, "sessions"])).unwrap_err();
            assert_eq!(
                (failure.exit(), failure.to_string()),
                (ExitStatus::Usage, format!("`{dots}` is no id"))
            );
        }
    }

    #[test]
    fn a_stream_is_read_to_its_end_also_by_who_has_let_the_client_go() {
        let (client, _asked) = server("200 OK", "one\ntwo\n");
        let mut stream = client.stream(&ApiRequest::get(&["v1", "events"])).unwrap();
        drop(client);
        let mut read = String::new();
        io::Read::read_to_string(&mut stream, &mut read).unwrap();
        assert_eq!(read, "one\ntwo\n");
    }

    #[tokio::test]
    async fn who_is_on_a_runtime_may_ask_too() {
        let (client, _asked) = server("200 OK", "{}");
        client.send(&ApiRequest::get(&["healthz"])).unwrap();
    }
}
