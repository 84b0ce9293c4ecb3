//! `GET /v1/sessions/{sessionId}/events`: what others do to a session, sent to its holder as it happens.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use crate::notify::{EndWatcher, WatchTarget};
use tenure_core::{
    EpochPosition, Event, Position, SessionId, SubjectEvent, Timestamp, event::EndTrigger, session::Session,
};
use tenure_log::{StoredCommit, waiting_for_disk};
use tenure_protocol::{clock::stopwatch, wire::SessionNews};

use crate::http::{
    record::{
        EventReader, RecordScope,
        stream::{HEARTBEAT, StreamStay, resumed},
    },
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{access::Caller, admission, call::ApiCall},
};

/// Commits of the subject per read.
const STRIDE: usize = 64;
/// It is looked no sooner whether the session has ended by itself.
const SOON: Duration = Duration::from_millis(10);

/// Follow a session by its own token: a stream that reports when its subject is suspended or resumed, and when it ends.
///
/// Opening it presents the token, and is no use of the session. It needs the current token, outlives renewals, reports
/// nothing else, and closes once the session has ended, or once its tokens have stopped working with their key. The token
/// of a suspended subject opens it too. A session has four such streams at once; a further one ends the oldest.
#[utoipa::path(get, path = "/v1/sessions/{sessionId}/events", tag = "sessions", operation_id = "followSession",
    params(("sessionId" = String, Path, description = "The session."),
        ("after" = Option<EpochPosition>, Query, description = "Also what was recorded after this position; by default what is so now."),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` that was heard last; it goes before `after`.")),
    responses((status = 200, description = "Events `suspended`, `resumed` and `ended`, each with its position as `id` and `{position, at, sessionId, trigger, until}` as `data`; a comment every 15 s.",
        body = String, content_type = "text/event-stream")))]
pub(crate) async fn follow(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let after = resumed(&call, &mut query);
    // A caller that expects an answer would wait for the end of the session.
    if !call.accepts("text/event-stream") {
        query.fault("Accept", "must be text/event-stream: this is a stream and nothing else");
    }
    query.finish()?;
    if let Some(after) = after {
        call.api.check_resumable(after)?;
    }
    let place = admission::stream(&call.api, &call.caller, call.is_exempt)?;
    let Caller::Session(holder) = &call.caller else { return Err(ProblemCode::Forbidden.into()) };
    let (id, subject) = (holder.session.id, holder.session.subject.clone());
    // From now on nothing is missed: what happens while the past is sent wakes it.
    let watcher = call.api.authority.watch(WatchTarget::Subject(subject));
    // What became of its subject before there was a session is no news of it.
    let begun = Position(holder.session.created().0.saturating_sub(1));
    let heard = after.map_or_else(|| call.api.authority.live().position(), |after| after.position.max(begun));
    let follower = SessionStream {
        stay: StreamStay::of(&call, place),
        watcher,
        viewer: EventReader::of(Arc::clone(&call.api), call.caller.clone(), RecordScope::session(id)).await?,
        session: id,
        heard,
        is_new: after.is_none(),
        is_over: false,
        heartbeat: stopwatch().into(),
    };
    Ok(HttpReply::stream("text/event-stream", Body::from_stream(unfold(follower, SessionStream::piece))))
}

/// A holder that follows its session.
struct SessionStream {
    stay: StreamStay,
    watcher: EndWatcher,
    viewer: EventReader,
    session: SessionId,
    /// Everything up to here was sent.
    heard: Position,
    /// Whether the present state is still to be sent.
    is_new: bool,
    /// Whether the end was sent.
    is_over: bool,
    heartbeat: Instant,
}

impl SessionStream {
    /// What is sent next; `None` ends the stream.
    async fn piece(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        while !self.is_over {
            let now: Instant = stopwatch().into();
            if !self.stay.may_go_on(now) {
                return None;
            }
            let news = waiting_for_disk(|| self.news()).inspect_err(|problem| {
                tracing::error!(
                    problem = problem.code.name(),
                    "the stream of a session ends: the log cannot be read"
                );
            });
            let mut text = news.ok()?;
            if now >= self.heartbeat {
                self.heartbeat = now + HEARTBEAT;
                text.extend([": ", &self.viewer.api.named_now(self.heard).to_string(), "\n\n"]);
            }
            if !text.is_empty() {
                return Some((Ok(text.into()), self));
            }
            // A rotation of keys wakes it. The next stream needs a token that is good.
            if !self.viewer.api.authority.has_open_tokens(self.session) {
                return None;
            }
            let look_again = self.heartbeat.min(now + self.left());
            tokio::select! {
                () = self.stay.over() => return None,
                woken = self.watcher.woken() => woken?,
                () = sleep_until(look_again) => {}
            }
        }
        None
    }

    /// What has happened since.
    fn news(&mut self) -> Result<String, Problem> {
        let mut text = self.how_things_stand();
        loop {
            let stride = self.viewer.stride(self.heard, STRIDE)?;
            let Some(last) = stride.last() else { break };
            let heard = std::mem::replace(&mut self.heard, last.last());
            for stored in &stride {
                text.extend(self.suspensions(stored, heard));
            }
        }
        text.push_str(&self.end());
        Ok(text)
    }

    /// A suspension that was there before.
    fn how_things_stand(&mut self) -> String {
        if !std::mem::take(&mut self.is_new) {
            return String::new();
        }
        let authority = &self.viewer.api.authority;
        let Some(session) = authority.live().session(self.session) else { return String::new() };
        let suspension = authority.live().suspension(&session.subject);
        // One that came since is sent in its turn.
        let before = suspension.filter(|it| it.is_in_force(authority.now()) && it.position <= self.heard);
        before.map_or(String::new(), |it| self.message("suspended", it.position, it.at, None, it.until))
    }

    /// What a commit says of the subject being suspended, after this position.
    fn suspensions(&self, stored: &StoredCommit, heard: Position) -> Vec<String> {
        let at = stored.commit.recorded_at;
        let events = stored.positions().zip(&stored.commit.events).filter(|(position, _)| *position > heard);
        let told = events.filter_map(|(position, event)| match event {
            Event::Subject(SubjectEvent::SubjectSuspended(event)) => {
                Some(self.message("suspended", position, at, None, event.until))
            }
            Event::Subject(SubjectEvent::SubjectResumed(_)) => {
                Some(self.message("resumed", position, at, None, None))
            }
            Event::Subject(_) | Event::System(_) => None,
        });
        told.collect()
    }

    /// That the session has ended, if it has.
    fn end(&mut self) -> String {
        let authority = &self.viewer.api.authority;
        let now = authority.now();
        let Some(session) = authority.live().session(self.session) else {
            self.is_over = true;
            return String::new();
        };
        let told = match session.revocation() {
            Some(end) => self.message("ended", end.position, end.at, Some(end.trigger), None),
            None if session.has_ended(now) => {
                self.message("ended", cause(&session, now), session.ends_at(), None, None)
            }
            None => return String::new(),
        };
        self.is_over = true;
        told
    }

    fn message(
        &self,
        name: &str,
        position: Position,
        at: Timestamp,
        trigger: Option<EndTrigger>,
        until: Option<Timestamp>,
    ) -> String {
        let trigger = trigger.map(|trigger| trigger.name().into());
        let told = SessionNews { position, at, session_id: self.session, trigger, until };
        let data = serde_json::to_string(&told).expect("our own documents are always JSON");
        let id = self.viewer.api.named_now(position);
        format!("id: {id}\nevent: {name}\ndata: {data}\n\n")
    }

    /// How long the session lives if nothing happens to it. The stream looks again then; moving a test clock records
    /// the end, which wakes the stream.
    fn left(&self) -> Duration {
        let authority = &self.viewer.api.authority;
        let Some(session) = authority.live().session(self.session) else { return Duration::ZERO };
        let millis = session.ends_at().millis_since(authority.now());
        Duration::from_millis(u64::try_from(millis).unwrap_or(0)).max(SOON)
    }
}

/// The event by which it has ended by itself.
fn cause(session: &Session, now: Timestamp) -> Position {
    let fault = session.judge(session.generation(), None, now).err();
    fault.map_or(session.granted(), |fault| session.cause_of(fault))
}
