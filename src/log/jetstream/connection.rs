//! A connection to the broker, and the requests that go over it.
//!
//! The client is asynchronous and the log is not, so each connection has a runtime on a thread of its own. Callers wait
//! for the answer, on any thread.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::Duration,
};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Request, Subscriber};
use futures_util::{StreamExt, future::join_all};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};

use super::{
    BrokerError, IdentityFile,
    broker_reply::{self, StoredMessage},
    identity,
};

/// The oldest server without the faults that lose messages.
const LEAST: (u64, u64) = (2, 15);
const LEAST_TEXT: &str = "2.15";
/// How long a look may take.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// A connection that has answered nothing so often is given up for another one: its server may be frozen.
const TIMEOUTS: u32 = 2;
/// Messages of a subscription that wait for their reader; what does not fit is fetched again.
const WAITING: usize = 1_024;

/// How the broker is reached.
#[derive(Clone, Debug, Default)]
pub struct BrokerAccess {
    /// Its servers, `nats://a,b,c` or `tls://a,b,c`.
    pub url: String,
    /// What this node shows of itself.
    pub identity: Option<IdentityFile>,
    /// The certificates that vouch for the servers.
    pub tls_ca: Option<PathBuf>,
    /// This node's certificate.
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    pub tls_key: Option<PathBuf>,
}

/// A connection with a thread of its own.
pub struct BrokerConnection {
    client: Client,
    heard: Arc<ConnectionEvents>,
    /// Taken only by drop.
    runtime: Option<Runtime>,
}

/// What the server says without being asked.
#[derive(Default)]
struct ConnectionEvents {
    denied: Mutex<Option<String>>,
    timeouts: AtomicU32,
}

/// A stored message that the broker says again.
pub(super) struct ReplayedMessage {
    /// Under which of the subjects that are listened to.
    pub(super) subject: usize,
    /// Its sequence in its stream.
    pub(super) sequence: u64,
    pub(super) data: Vec<u8>,
}

impl BrokerConnection {
    /// Connects, and asks the server who it is.
    ///
    /// # Errors
    /// See [`BrokerError`]; those that pass may be tried again.
    pub fn open(access: &BrokerAccess, name: &str) -> Result<Self, BrokerError> {
        let thread = |error: std::io::Error| BrokerError::Thread { why: error.to_string() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tenure-broker")
            .enable_all()
            .build()
            .map_err(thread)?;
        let heard = Arc::new(ConnectionEvents::default());
        let (options, servers) = (options(access, name, &heard)?, servers(&access.url)?);
        let connected = wait(&runtime, async move { options.connect(servers).await });
        let client = connected
            .ok_or_else(|| BrokerError::Thread { why: "the connection's thread is gone".into() })?
            .map_err(|error| refused(&access.url, &error))?;
        let connection = Self { client, heard, runtime: Some(runtime) };
        connection.check_version()?;
        Ok(connection)
    }

    fn check_version(&self) -> Result<(), BrokerError> {
        let version = self.client.server_info().version;
        if is_new_enough(&version) { Ok(()) } else { Err(BrokerError::TooOld { version, least: LEAST_TEXT }) }
    }

    /// The name and version of the server at the other end.
    pub fn server(&self) -> (String, String) {
        let info = self.client.server_info();
        (info.server_name, info.version)
    }

    /// What the broker has denied this node since the connection began.
    pub(super) fn denied(&self) -> Option<String> {
        self.heard.denied.lock().clone()
    }

    /// Asks the broker's API, and reads the answer.
    pub(super) fn ask(&self, subject: &str, question: &Value) -> Result<Value, BrokerError> {
        let answered = self.request(subject, HeaderMap::new(), question.to_string().into_bytes(), LOOK)?;
        broker_reply::value(subject, &answered)
    }

    /// The same of what takes the broker longer.
    pub(super) fn ask_patiently(&self, subject: &str, question: &Value) -> Result<Value, BrokerError> {
        let body = question.to_string().into_bytes();
        let answered = self.request(subject, HeaderMap::new(), body, 20 * LOOK)?;
        broker_reply::value(subject, &answered)
    }

    /// The message of a stream that this asks for; `None` when there is none.
    pub(super) fn message(
        &self,
        stream: &str,
        question: &Value,
    ) -> Result<Option<StoredMessage>, BrokerError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let answered = self.request(&subject, HeaderMap::new(), question.to_string().into_bytes(), LOOK)?;
        broker_reply::message(&subject, &answered)
    }

    /// The messages of a stream at these places, all asked for at once.
    pub(super) fn messages(
        &self,
        stream: &str,
        places: impl Iterator<Item = u64>,
    ) -> Result<Vec<Option<StoredMessage>>, BrokerError> {
        self.messages_for(stream, places.map(|sequence| serde_json::json!({ "seq": sequence })))
    }

    /// The message of a stream that each of these asks for, all asked for at once.
    pub(super) fn messages_for(
        &self,
        stream: &str,
        questions: impl Iterator<Item = Value>,
    ) -> Result<Vec<Option<StoredMessage>>, BrokerError> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let asked: Vec<_> = questions
            .map(|question| {
                let (client, subject) = (self.client.clone(), subject.clone());
                async move {
                    let request = Request::new().payload(question.to_string().into());
                    client.send_request(subject, request.timeout(Some(4 * LOOK))).await
                }
            })
            .collect();
        let answered = self.wait(&subject, join_all(asked))?;
        let read = answered.into_iter().map(|answered| {
            let answered = answered.map_err(|error| self.unanswered(&subject, &error))?;
            broker_reply::message(&subject, &answered.payload)
        });
        read.collect()
    }

    /// Sends a message, and gives back what comes as the answer.
    pub(super) fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        patience: Duration,
    ) -> Result<Vec<u8>, BrokerError> {
        let (client, to) = (self.client.clone(), subject.to_owned());
        let answered = self.wait(subject, async move {
            let request = Request::new().payload(body.into()).timeout(Some(patience));
            let request = if headers.is_empty() { request } else { request.headers(headers) };
            client.send_request(to, request).await
        })?;
        let answered = answered.map_err(|error| self.unanswered(subject, &error))?;
        self.heard.timeouts.store(0, Ordering::Relaxed);
        Ok(answered.payload.to_vec())
    }

    /// What the broker says under these subjects from now on.
    pub(super) fn listen(&self, subjects: &[String]) -> Result<Receiver<ReplayedMessage>, BrokerError> {
        let (tell, told) = mpsc::sync_channel(WAITING);
        for (number, subject) in subjects.iter().enumerate() {
            let mut subscribed = self.subscribe(subject)?;
            let tell = tell.clone();
            self.runtime().spawn(async move {
                while let Some(message) = subscribed.next().await {
                    if !tell_of(&tell, number, &message) {
                        break;
                    }
                }
            });
        }
        Ok(told)
    }

    fn subscribe(&self, subject: &str) -> Result<Subscriber, BrokerError> {
        let (client, to) = (self.client.clone(), subject.to_owned());
        let subscribing = async move {
            let subscribed = client.subscribe(to).await;
            // Or else what is asked for next could be answered before it.
            let flushed = client.flush().await;
            subscribed
                .map_err(|error| error.to_string())
                .and_then(|it| flushed.map(|()| it).map_err(|e| e.to_string()))
        };
        // Without a connection it would wait for one.
        let subscribed = self.wait(subject, async move { timeout(4 * LOOK, subscribing).await })?;
        let subscribed = subscribed.unwrap_or_else(|late| Err(late.to_string()));
        subscribed.map_err(|why| BrokerError::NoAnswer { what: subject.to_owned(), why })
    }

    /// Notes that nothing came. A frozen server keeps its connections, so only the client can notice.
    fn unanswered(&self, what: &str, error: &async_nats::RequestError) -> BrokerError {
        if let Some(why) = self.denied() {
            return BrokerError::Denied { why };
        }
        if self.heard.timeouts.fetch_add(1, Ordering::Relaxed) + 1 >= TIMEOUTS {
            self.heard.timeouts.store(0, Ordering::Relaxed);
            let client = self.client.clone();
            self.runtime().spawn(async move { drop(client.force_reconnect().await) });
        }
        BrokerError::NoAnswer { what: what.to_owned(), why: error.to_string() }
    }

    fn wait<T: Send + 'static>(
        &self,
        what: &str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, BrokerError> {
        wait(self.runtime(), work).ok_or_else(|| BrokerError::NoAnswer {
            what: what.to_owned(),
            why: "the connection's thread is gone".to_owned(),
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only by drop")
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped in a task, which must not wait.
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for BrokerConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection(…)")
    }
}

/// Has the runtime do it, and waits; `None` if the runtime ends first.
fn wait<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::sync_channel(1);
    runtime.spawn(async move { drop(tell.send(work.await)) });
    told.recv().ok()
}

/// Passes a message on, if there is room and it says its place; whether a reader is left.
fn tell_of(tell: &SyncSender<ReplayedMessage>, subject: usize, message: &async_nats::Message) -> bool {
    let sequence = message.headers.as_ref().and_then(|headers| headers.get("Nats-Sequence"));
    let Some(sequence) = sequence.and_then(|sequence| sequence.as_str().parse().ok()) else { return true };
    let said = ReplayedMessage { subject, sequence, data: message.payload.to_vec() };
    !matches!(tell.try_send(said), Err(mpsc::TrySendError::Disconnected(_)))
}

fn options(
    access: &BrokerAccess,
    name: &str,
    heard: &Arc<ConnectionEvents>,
) -> Result<ConnectOptions, BrokerError> {
    let heard = Arc::clone(heard);
    let mut options = identity::options(access)?
        .name(format!("tenure {name}"))
        // In parts, so that a permission can name those of all nodes, or of one.
        .custom_inbox_prefix(format!("_INBOX.tenure.{}", name.replace('_', ".")))
        .connection_timeout(LOOK)
        .ping_interval(Duration::from_secs(1))
        .request_timeout(Some(LOOK))
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .event_callback(move |event| {
            let heard = Arc::clone(&heard);
            async move { heard.note(&event) }
        });
    if let Some(path) = &access.tls_ca {
        options = options.add_root_certificates(readable(path)?);
    }
    if let (Some(cert), Some(key)) = (&access.tls_cert, &access.tls_key) {
        options = options.add_client_certificate(readable(cert)?, readable(key)?);
    }
    Ok(options.require_tls(access.url.starts_with("tls://") || access.tls_ca.is_some()))
}

impl ConnectionEvents {
    /// A publication without permission gets no answer; it is only said here.
    fn note(&self, event: &Event) {
        tracing::debug!(%event, "the broker");
        if let Event::ServerError(error) = event {
            let why = error.to_string();
            if why.to_lowercase().contains("permissions violation") {
                tracing::error!(why, "the broker denies this node what it must do");
                *self.denied.lock() = Some(why);
            }
        }
    }
}

fn readable(path: &Path) -> Result<PathBuf, BrokerError> {
    let opened = fs::File::open(path).map(|_| path.to_owned());
    opened.map_err(|error| BrokerError::File { path: path.to_owned(), why: error.to_string() })
}

/// The servers of `nats://a,b,c`.
pub(super) fn servers(url: &str) -> Result<Vec<async_nats::ServerAddr>, BrokerError> {
    let no = |why: &str| BrokerError::Address { url: url.to_owned(), why: why.to_owned() };
    let (scheme, hosts) = url.split_once("://").ok_or_else(|| no("it must begin with nats:// or tls://"))?;
    if !["nats", "tls"].contains(&scheme) {
        return Err(no("it must begin with nats:// or tls://"));
    }
    if hosts.contains('@') {
        return Err(no("names and passwords do not belong in it: use log.nkey_file or log.creds_file"));
    }
    if hosts.split(',').any(|host| host.trim().is_empty()) {
        return Err(no("one of its servers has no name"));
    }
    let parsed = hosts.split(',').map(|host| format!("{scheme}://{}", host.trim()).parse());
    parsed.collect::<Result<Vec<_>, _>>().map_err(|error: std::io::Error| no(&error.to_string()))
}

fn refused(url: &str, error: &async_nats::ConnectError) -> BrokerError {
    let (url, why) = (url.to_owned(), error.to_string());
    match error.kind() {
        ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation
        | ConnectErrorKind::Tls => BrokerError::Refused { url, why },
        ConnectErrorKind::ServerParse => BrokerError::Address { url, why },
        ConnectErrorKind::Dns
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => BrokerError::Unreachable { url, why },
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= LEAST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_with_known_faults_are_too_old() {
        for good in ["2.15.0", "2.16.1-beta", "3.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for old in ["2.14.9", "1.99.0", "2", "", "main"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }

    #[test]
    fn an_address_names_its_servers_and_no_secrets() {
        assert_eq!(servers("nats://a:1, b:2,c").unwrap().len(), 3);
        for wrong in ["a:1", "http://a:1", "nats://me:secret@a:1", "nats://"] {
            assert!(servers(wrong).is_err(), "{wrong}");
        }
    }
}
