//! All that the facts up to some position say: what a rebuild gives, what a snapshot holds.

use std::collections::HashMap;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use triomphe::Arc;

use super::{
    activity::{SessionsSeen, mark_seen},
    bulk::{self, Bulk},
    event::{Event, SessionsRevoked, TokensPresented},
    evolve::{IllegalEvent, evolve, evolve_system, mark_presented},
    id::{Position, SessionId, SubjectId},
    record::{Commit, RecordedAs, Stream},
    session::Session,
    subject::Subject,
    system::System,
    time::Timestamp,
};

/// The state of every stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The last position that it reflects; 0 for the empty log.
    pub position: Position,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// The authority's own.
    pub system: System,
    /// The subjects.
    pub subjects: HashMap<SubjectId, Subject>,
    /// Whose each session is.
    pub holders: HashMap<SessionId, SubjectId>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            position: Position::ZERO,
            recorded_at: Timestamp::ZERO,
            system: System::default(),
            subjects: HashMap::new(),
            holders: HashMap::new(),
        }
    }
}

impl State {
    /// Adds one commit, whose first event stands at the next position.
    ///
    /// # Errors
    /// An illegal event; the state is not to be used any more.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), IllegalEvent> {
        for event in &commit.events {
            let recorded = RecordedAs { position: self.position.next(), at: commit.recorded_at };
            self.apply_event(&commit.stream, event, recorded)?;
            self.position = recorded.position;
        }
        self.recorded_at = commit.recorded_at;
        Ok(())
    }

    fn apply_event(
        &mut self,
        stream: &Stream,
        event: &Event,
        recorded: RecordedAs,
    ) -> Result<(), IllegalEvent> {
        match stream {
            Stream::System => {
                evolve_system(&mut self.system, event, recorded)?;
                match event {
                    Event::TokensPresented(marks) => self.mark(marks, recorded),
                    Event::SessionsRevoked(event) => self.end_matching(event, recorded),
                    Event::SessionsSeen(marks) => self.mark_seen(marks, recorded),
                    Event::SubjectRegistered(_)
                    | Event::SessionCreated(_)
                    | Event::SessionRenewed(_)
                    | Event::SessionRefreshed(_)
                    | Event::RenewalRejected(_)
                    | Event::SessionRevoked(_)
                    | Event::CredentialIssued(_)
                    | Event::CredentialRevoked(_)
                    | Event::PolicyChanged(_)
                    | Event::KeyRotated(_)
                    | Event::SessionExpired(_)
                    | Event::SubjectErased(_)
                    | Event::UsageRecorded(_)
                    | Event::WebhookCreated(_)
                    | Event::WebhookDeleted(_) => Ok(()),
                }
            }
            Stream::Subject(id) => {
                self.expect_new_session(id, event, recorded)?;
                let subject = self.subjects.entry(id.clone()).or_insert_with(|| Subject::new(id.clone()));
                evolve(subject, event, recorded)?;
                if let Event::SessionCreated(created) = event {
                    self.holders.insert(created.session_id, id.clone());
                }
                Ok(())
            }
        }
    }

    /// A session has one holder: within a subject `evolve` sees to it, and this between subjects.
    fn expect_new_session(
        &self,
        subject: &SubjectId,
        event: &Event,
        recorded: RecordedAs,
    ) -> Result<(), IllegalEvent> {
        let Event::SessionCreated(created) = event else { return Ok(()) };
        match self.holders.get(&created.session_id) {
            Some(holder) if holder != subject => Err(IllegalEvent {
                position: recorded.position,
                kind: event.kind(),
                why: "the session is another subject's",
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn mark(&mut self, marks: &TokensPresented, recorded: RecordedAs) -> Result<(), IllegalEvent> {
        for mark in &marks.presented {
            let subject = self.holders.get(&mark.session_id).and_then(|id| self.subjects.get_mut(id));
            if !subject.is_some_and(|subject| mark_presented(subject, mark.session_id, mark.generation)) {
                return Err(IllegalEvent {
                    position: recorded.position,
                    kind: super::EventKind::TokensPresented,
                    why: "no such token was ever issued",
                });
            }
        }
        Ok(())
    }

    /// Here a bulk revocation is settled at once, in every subject.
    fn end_matching(&mut self, event: &SessionsRevoked, recorded: RecordedAs) -> Result<(), IllegalEvent> {
        let Some(bulk) = Bulk::of(event, recorded) else { return Ok(()) };
        let bulks = [bulk];
        let matched: u32 = match &bulks[0].selector.subject_id {
            Some(id) => self.subjects.get_mut(id).map_or(0, |subject| bulk::settle(&bulks, subject)),
            None => self.subjects.values_mut().map(|subject| bulk::settle(&bulks, subject)).sum(),
        };
        if matched == event.matched {
            return Ok(());
        }
        Err(IllegalEvent {
            position: recorded.position,
            kind: super::EventKind::SessionsRevoked,
            why: "it matches another number of sessions than it says",
        })
    }

    fn mark_seen(&mut self, marks: &SessionsSeen, recorded: RecordedAs) -> Result<(), IllegalEvent> {
        for mark in &marks.seen {
            let subject = self.holders.get(&mark.session_id).and_then(|id| self.subjects.get_mut(id));
            let marked = subject.map_or(Err("there is no such session"), |it| mark_seen(it, *mark, recorded));
            let (position, kind) = (recorded.position, super::EventKind::SessionsSeen);
            marked.map_err(|why| IllegalEvent { position, kind, why })?;
        }
        Ok(())
    }

    /// Its canonical bytes: the same state always gives the same ones.
    pub fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to memory does not fail")
    }

    /// The state of these canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, decode::Error> {
        minicbor::decode(bytes)
    }
}

impl<C> Encode<C> for State {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.encode_with(self.position, ctx)?.encode_with(self.recorded_at, ctx)?;
        e.encode_with(&self.system, ctx)?;
        let mut subjects: Vec<_> = self.subjects.values().collect();
        subjects.sort_by(|a, b| a.id.cmp(&b.id));
        e.array(subjects.len() as u64)?;
        for subject in subjects {
            subject.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for State {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let mut state = Self {
            position: d.decode_with(ctx)?,
            recorded_at: d.decode_with(ctx)?,
            system: d.decode_with(ctx)?,
            ..Self::default()
        };
        for _ in 0..counted(d)? {
            let subject = Subject::decode(d, ctx)?;
            for session in &subject.sessions {
                state.holders.insert(session.id, subject.id.clone());
            }
            state.subjects.insert(subject.id.clone(), subject);
        }
        Ok(state)
    }
}

impl<C> Encode<C> for Subject {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(4)?.encode_with(&self.id, ctx)?.encode_with(self.registration.as_ref(), ctx)?;
        e.encode_with(self.version, ctx)?.array(self.sessions.len() as u64)?;
        for session in &self.sessions {
            session.as_ref().encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Subject {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let id = d.decode_with(ctx)?;
        let registration = d.decode_with(ctx)?;
        let version = d.decode_with(ctx)?;
        let mut sessions = Vec::new();
        for _ in 0..counted(d)? {
            sessions.push(Arc::new(Session::decode(d, ctx)?));
        }
        Ok(Self { id, registration, version, sessions })
    }
}

fn counted(d: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    d.array()?.ok_or_else(|| decode::Error::message("an array of known length is expected"))
}

fn expect_array(d: &mut Decoder<'_>, length: u64) -> Result<(), decode::Error> {
    if counted(d)? == length { Ok(()) } else { Err(decode::Error::message("an array of another length")) }
}
