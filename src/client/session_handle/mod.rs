//! The holder of a session: keeps it renewed, hands out its current token, says when it is over.

mod listening;

use std::{path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use self::listening::StreamListener;
use super::{
    backoff,
    call::{Client, fresh_key},
    error::{Error, HoldError, Problem},
    file::{FileError, FileStamp, SessionFile},
    grant::SessionGrant,
    pending_renewal::settled_by,
    renewal::{RenewalReason, step},
    state::{EndReason, LiveSession, SessionState},
};
use tenure_protocol::{
    Secret, Timestamp,
    wire::{NewSession, NewUse, RevokedSession, SessionView, UsageView},
};

/// How long to leave alone a session that has ended by our clock and not by the authority's.
const PAUSE: Duration = Duration::from_secs(10);

/// How a session is held.
#[derive(Clone, Debug, Default)]
pub struct HandleOptions {
    /// How often to ask the authority whether the session still stands, so that a veto is noticed while the session
    /// is not used. It also turns on listening to the session's own stream, by which a veto is noticed within a
    /// second; what the stream does not tell, such as that another holder has renewed a stolen token, only a check does.
    /// `None`: a veto is noticed at the next use or renewal.
    pub check_every: Option<Duration>,
}

/// Holds the session in a file, until it is dropped. Any number of holders, in any number of processes, may hold the
/// same one.
#[derive(Debug)]
pub struct SessionHandle {
    held: Arc<HandleInner>,
    task: JoinHandle<()>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct HandleInner {
    client: Client,
    file: SessionFile,
    options: HandleOptions,
    known: Mutex<ReadGrant>,
    /// One step at a time in this process; the file's lock does the same among processes.
    flight: tokio::sync::Mutex<()>,
    /// Something is to be done before the moment that the background waits for.
    news: Notify,
    ears: StreamListener,
    state: watch::Sender<SessionState>,
}

/// The file as it was last read.
#[derive(Debug)]
struct ReadGrant {
    grant: SessionGrant,
    stamp: FileStamp,
}

impl SessionHandle {
    /// Holds the session in this file, at the authority that the file names. Needs a Tokio runtime.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, HoldError> {
        let file = SessionFile::at(path);
        let client = Client::new(&file.read()?.url)?;
        Ok(Self::start(client, file, HandleOptions::default())?)
    }

    /// Holds the session in this file, by this client, whatever authority the file names.
    pub fn open_with(
        client: Client,
        path: impl AsRef<Path>,
        options: HandleOptions,
    ) -> Result<Self, HoldError> {
        Ok(Self::start(client, SessionFile::at(path), options)?)
    }

    /// Holds a session wherever it is kept, by this client.
    pub fn hold(client: Client, file: SessionFile, options: HandleOptions) -> Result<Self, HoldError> {
        Ok(Self::start(client, file, options)?)
    }

    /// Creates a session by a client that may (admin, issuer), writes it to this file and holds it. The client's
    /// credential is used for nothing else.
    pub async fn create(
        client: Client,
        new: &NewSession,
        path: impl AsRef<Path>,
        options: HandleOptions,
    ) -> Result<Self, HoldError> {
        let file = SessionFile::at(path);
        create_file(&client, new, &file).await?;
        Ok(Self::start(client, file, options)?)
    }

    fn start(client: Client, file: SessionFile, options: HandleOptions) -> Result<Self, FileError> {
        let (grant, stamp) = file.read_with_stamp()?;
        let state = watch::Sender::new(live(&grant, None));
        let known = Mutex::new(ReadGrant { grant, stamp });
        let (flight, news) = (tokio::sync::Mutex::default(), Notify::new());
        let ears = StreamListener::default();
        let held = Arc::new(HandleInner { client, file, options, known, flight, news, ears, state });
        let task = tokio::spawn(Arc::clone(&held).keep());
        let listens = held.options.check_every.is_some();
        let listening = listens.then(|| tokio::spawn(listening::listen(Arc::clone(&held))));
        Ok(Self { held, task, listening })
    }

    /// The token of this moment. Ask for it at each use, and keep it no longer: a renewal, by whatever process, makes
    /// it void.
    pub fn token(&self) -> Secret {
        self.held.token()
    }

    /// A token in place of one that a service refused as superseded; `None` if there is none, and the session is over
    /// or cannot be renewed at the moment.
    pub async fn token_instead_of(&self, refused: &Secret) -> Option<Secret> {
        let settled = self.held.step(refused, RenewalReason::Settled).await;
        let newer = settled.ok().map(|grant| grant.token).filter(|token| token != refused);
        if newer.is_none() {
            self.held.check_soon();
        }
        newer
    }

    /// What is known of the session.
    pub fn grant(&self) -> SessionGrant {
        self.held.reread_if_changed();
        self.held.known.lock().grant.clone()
    }

    /// How the session stands, and every change of it.
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.held.state.subscribe()
    }

    /// Returns when the session is over.
    pub async fn ended(&self) -> EndReason {
        let mut state = self.state();
        let ended = state.wait_for(|state| matches!(state, SessionState::Ended(_))).await;
        match &*ended.expect("the sender is held by this holder") {
            SessionState::Ended(end) => end.clone(),
            SessionState::Live(_) => unreachable!("it was waited for the end"),
        }
    }

    /// Calls the authority with the session's token. A token that turns out to be superseded is replaced from the file,
    /// and the call repeated. What it changes may have been done by then: draw an idempotency key outside of `call`.
    ///
    /// An error that ends the session also shows in [`SessionHandle::state`].
    pub async fn call<T, F, Fut>(&self, call: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        self.held.call(call).await
    }

    /// Reads the session.
    pub async fn session(&self) -> Result<SessionView, Error> {
        self.held.session().await
    }

    /// Records a use of the session, if its constraints allow it.
    pub async fn record_use(&self, used: &NewUse) -> Result<UsageView, Error> {
        let (id, key) = (self.held.id(), &fresh_key());
        self.call(|client| async move { client.record_use_under(id, used, key).await }).await
    }

    /// Ends the session. The file stays.
    pub async fn revoke(&self, reason: Option<&str>) -> Result<RevokedSession, Error> {
        let id = self.held.id();
        let revoked = self.call(|client| async move { client.revoke(id, reason).await }).await?;
        self.held.end(EndReason::Revoked);
        Ok(revoked)
    }
}

impl Drop for SessionHandle {
    /// A renewal under way is left as it is: the file has its key.
    fn drop(&mut self) {
        self.task.abort();
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Creates a session and writes it to a file. A file that cannot be written is found out before.
pub(super) async fn create_file(
    client: &Client,
    new: &NewSession,
    file: &SessionFile,
) -> Result<SessionGrant, HoldError> {
    let locked = file.locked().await?;
    locked.prepare()?;
    let grant = SessionGrant::created(client.url(), &client.create(new).await?);
    locked.write(&grant)?;
    Ok(grant)
}

fn live(grant: &SessionGrant, trouble: Option<String>) -> SessionState {
    SessionState::Live(LiveSession { expires_at: grant.expires_at, renew_at: grant.renew_at, trouble })
}

/// What the background is to do, and when.
#[derive(Debug, PartialEq, Eq)]
enum NextStep {
    Renew,
    Check,
    Wait(Timestamp),
    End,
}

/// How the background gets on.
#[derive(Debug, Default)]
struct BackgroundState {
    failures: u32,
    /// Not before then, after a failure.
    not_before: Option<Timestamp>,
    checked: Option<Timestamp>,
    trouble: Option<String>,
}

impl BackgroundState {
    fn next(&self, grant: &SessionGrant, options: &HandleOptions, now: Timestamp) -> NextStep {
        if now >= grant.over_at() {
            return NextStep::End;
        }
        let renewal = if grant.renewal_key.is_some() { Some(now) } else { grant.renew_at };
        let renewal = renewal.map(|at| at.max(self.not_before.unwrap_or(at)));
        if renewal.is_some_and(|at| at <= now) {
            return NextStep::Renew;
        }
        let check =
            options.check_every.map(|every| self.checked.map_or(now, |checked| after(checked, every)));
        if check.is_some_and(|at| at <= now) {
            return NextStep::Check;
        }
        NextStep::Wait([renewal, check].into_iter().flatten().fold(grant.over_at(), Timestamp::min))
    }

    fn went_well(&mut self) {
        (self.failures, self.not_before, self.trouble) = (0, None, None);
    }

    fn failed(&mut self, error: &HoldError, now: Timestamp) {
        self.failures += 1;
        let (wish, at) = match error {
            HoldError::Call(error) => (error.retry_after(), error.asks_once_more_at()),
            HoldError::File(_) | HoldError::UnknownSession { .. } => (None, None),
        };
        let backed_off = after(now, backoff::wait(self.failures, wish));
        self.not_before = Some(at.map_or(backed_off, |at| at.max(backed_off)));
        self.trouble = Some(error.to_string());
    }
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    at.plus_millis(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

impl HandleInner {
    fn id(&self) -> tenure_protocol::SessionId {
        self.known.lock().grant.session_id
    }

    /// Reads the file if it is another one than was read last; while it cannot be read, the last one counts.
    fn reread_if_changed(&self) {
        let mut known = self.known.lock();
        if self.file.stamp().is_ok_and(|stamp| stamp == known.stamp) {
            return;
        }
        if let Ok((grant, stamp)) = self.file.read_with_stamp() {
            *known = ReadGrant { grant, stamp };
        }
    }

    fn token(&self) -> Secret {
        self.reread_if_changed();
        self.known.lock().grant.token.clone()
    }

    /// See [`step`]; what the file then holds is what is known.
    async fn step(&self, seen: &Secret, want: RenewalReason) -> Result<SessionGrant, HoldError> {
        let _one = self.flight.lock().await;
        let stepped = step(&self.client, &self.file, seen, want).await;
        self.reread_if_changed();
        stepped
    }

    async fn call<T, F, Fut>(&self, call: F) -> Result<T, Error>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        loop {
            let token = self.token();
            let error = match call(self.client.clone().with_credential(token.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Error::Refused(problem) = &error else { return Err(error) };
            // Each further round has another token.
            if problem.status != 401 || !self.is_replaced(&token, problem).await? {
                return Err(error);
            }
        }
    }

    /// Whether there is another token in place of one that the authority refused. When there is none, the refusal is
    /// the end.
    async fn is_replaced(&self, refused: &Secret, problem: &Problem) -> Result<bool, Error> {
        if problem.code == "SESSION_REVOKED" {
            self.end(EndReason::Refused(Box::new(problem.clone())));
            return Ok(false);
        }
        let want =
            if problem.code == "TOKEN_SUPERSEDED" { RenewalReason::Replaced } else { RenewalReason::Settled };
        match self.step(refused, want).await {
            Ok(grant) if grant.token != *refused => Ok(true),
            Err(HoldError::Call(error)) if error.is_transient() => {
                self.news.notify_one();
                // While it may still turn up, that it was superseded says more than that it cannot be renewed now.
                if error.asks_once_more_at().is_some() { Ok(false) } else { Err(error) }
            }
            Err(HoldError::Call(error)) if error.code() != Some("SESSION_RENEWAL_MISMATCH") => {
                Err(self.judged(error))
            }
            Ok(_) | Err(HoldError::Call(_)) => {
                self.end(EndReason::Refused(Box::new(problem.clone())));
                Ok(false)
            }
            // Nothing can be said while the file cannot be read.
            Err(HoldError::File(_) | HoldError::UnknownSession { .. }) => Ok(false),
        }
    }

    /// Reports the end of the session, if this error of a renewal is one.
    fn judged(&self, error: Error) -> Error {
        let goes_on = error.is_transient() || settled_by(&error).is_some();
        if let (Error::Refused(problem), false) = (&error, goes_on) {
            self.end(EndReason::Refused(problem.clone()));
        }
        error
    }

    async fn session(&self) -> Result<SessionView, Error> {
        let id = self.id();
        self.call(|client| async move { client.session(id).await }).await
    }

    fn end(&self, end: EndReason) {
        self.state.send_if_modified(|state| match state {
            SessionState::Ended(_) => false,
            SessionState::Live(_) => {
                *state = SessionState::Ended(end);
                true
            }
        });
    }

    fn report(&self, trouble: Option<String>) {
        let now = live(&self.known.lock().grant, trouble);
        self.state.send_if_modified(|state| {
            let is_news = matches!(state, SessionState::Live(_)) && *state != now;
            if is_news {
                *state = now;
            }
            is_news
        });
    }

    /// Something calls for a check.
    fn check_soon(&self) {
        self.ears.note();
        self.news.notify_one();
    }

    fn has_ended(&self) -> bool {
        matches!(*self.state.borrow(), SessionState::Ended(_))
    }

    /// The background: does what is next until the session is over.
    async fn keep(self: Arc<Self>) {
        let mut course = BackgroundState::default();
        while !self.has_ended() {
            self.reread_if_changed();
            if self.ears.take_change() {
                course.checked = None;
            }
            let now = self.client.time().now();
            let grant = self.known.lock().grant.clone();
            match course.next(&grant, &self.options, now) {
                NextStep::Renew => self.renew(&mut course, &grant).await,
                NextStep::Check => self.check(&mut course).await,
                NextStep::Wait(at) => tokio::select! {
                    () = self.client.time().until(at) => {}
                    () = self.news.notified() => {}
                },
                NextStep::End => self.question(&mut course, &grant).await,
            }
            self.report(course.trouble.clone());
        }
    }

    async fn renew(&self, course: &mut BackgroundState, grant: &SessionGrant) {
        let error = match self.step(&grant.token, RenewalReason::Due).await {
            Ok(_) => return course.went_well(),
            Err(HoldError::Call(error)) => HoldError::Call(self.judged(error)),
            Err(error @ (HoldError::File(_) | HoldError::UnknownSession { .. })) => error,
        };
        course.failed(&error, self.client.time().now());
    }

    /// The session is over by our clock; the authority decides whether the clock is right.
    async fn question(&self, course: &mut BackgroundState, grant: &SessionGrant) {
        match self.session().await {
            Ok(_) => {
                self.renew(course, grant).await;
                let later = after(self.client.time().now(), PAUSE);
                self.client.time().until(course.not_before.unwrap_or(later).min(later)).await;
            }
            Err(Error::Refused(problem)) if problem.status < 500 && !problem.retryable => {
                self.end(EndReason::Refused(problem));
            }
            Err(error) => {
                let trouble = course.trouble.take().unwrap_or_else(|| error.to_string());
                self.end(EndReason::Expired { trouble });
            }
        }
    }

    async fn check(&self, course: &mut BackgroundState) {
        // A failure to ask is not a fault yet, and an end was reported.
        drop(self.session().await);
        course.checked = Some(self.client.time().now());
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::grant::tests::{grant, moment},
        *,
    };

    const NEVER: HandleOptions = HandleOptions { check_every: None };
    const EVERY_MINUTE: HandleOptions = HandleOptions { check_every: Some(Duration::from_mins(1)) };

    #[test]
    fn a_holder_waits_for_its_renewal_and_then_renews() {
        let (early, due) = (moment("2026-11-21T01:00:00Z"), moment("2026-11-21T01:40:00Z"));
        let course = BackgroundState::default();
        assert_eq!(course.next(&grant(), &NEVER, early), NextStep::Wait(due));
        assert_eq!(course.next(&grant(), &NEVER, due), NextStep::Renew);
        let begun = SessionGrant { renewal_key: Some("k1".to_owned()), ..grant() };
        assert_eq!(course.next(&begun, &NEVER, early), NextStep::Renew, "what was begun is finished at once");
    }

    #[test]
    fn after_a_failure_it_waits_and_then_renews() {
        let now = moment("2026-11-21T01:40:00Z");
        let mut course = BackgroundState::default();
        let gone = Error::Unreachable { url: "http://h".to_owned(), why: "refused".to_owned() };
        course.failed(&gone.into(), now);
        let NextStep::Wait(at) = course.next(&grant(), &NEVER, now) else { panic!("it renews at once") };
        assert!((500..=1_000).contains(&at.millis_since(now)), "{at}");
        assert_eq!(course.next(&grant(), &NEVER, at), NextStep::Renew);
        assert!(course.trouble.as_ref().is_some_and(|trouble| trouble.contains("refused")));
        course.went_well();
        assert_eq!((course.failures, course.trouble), (0, None));
    }

    #[test]
    fn it_asks_now_and_then_whether_the_session_stands_and_a_renewal_comes_first() {
        let (early, due) = (moment("2026-11-21T01:00:00Z"), moment("2026-11-21T01:40:00Z"));
        assert_eq!(BackgroundState::default().next(&grant(), &EVERY_MINUTE, early), NextStep::Check);
        assert_eq!(BackgroundState::default().next(&grant(), &EVERY_MINUTE, due), NextStep::Renew);
        let checked = BackgroundState { checked: Some(early), ..BackgroundState::default() };
        assert_eq!(
            checked.next(&grant(), &EVERY_MINUTE, early),
            NextStep::Wait(moment("2026-11-21T01:01:00Z"))
        );
    }

    #[test]
    fn without_a_renewal_left_it_waits_for_the_end_of_the_period() {
        let last = SessionGrant { renew_at: None, ..grant() };
        let end = moment("2026-11-21T02:00:00Z");
        let course = BackgroundState::default();
        assert_eq!(course.next(&last, &NEVER, end.plus_millis(-1)), NextStep::Wait(end));
        assert_eq!(course.next(&last, &NEVER, end), NextStep::End);
    }
}
