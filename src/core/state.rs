//! All that the facts up to some position say, or what a part of them says: what a rebuild gives, what a snapshot
//! holds.

use std::{collections::HashMap, ops::Range};

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{
    bulk::{self, BulkRevocation},
    commit::Commit,
    eviction::EvictionHorizon,
    evolve::IllegalEvent,
    fold::{self, FoldTarget},
    id::{Position, SessionId, SubjectId},
    scope::FoldScope,
    session::Session,
    subject::{ProfileAndSuspension, Subject, SubjectRegistration},
    system::SystemState,
    time::Timestamp,
};

/// For more sessions of a subject than this there is no room before they are read.
const MANY: usize = 64;

/// The state of every stream, or of those in its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityState {
    /// What part of the history it is of.
    pub scope: FoldScope,
    /// The last position that it reflects; 0 for the empty log.
    pub position: Position,
    /// When that was recorded.
    pub recorded_at: Timestamp,
    /// The authority's own.
    pub system: SystemState,
    /// The subjects.
    pub subjects: HashMap<SubjectId, Subject>,
    /// Whose each session is.
    pub holders: HashMap<SessionId, SubjectId>,
    /// Behind which ended sessions were taken out of it; not part of its canonical bytes.
    pub horizon: EvictionHorizon,
}

impl Default for AuthorityState {
    fn default() -> Self {
        Self {
            scope: FoldScope::Everything,
            position: Position::ZERO,
            recorded_at: Timestamp::ZERO,
            system: SystemState::default(),
            subjects: HashMap::new(),
            holders: HashMap::new(),
            horizon: EvictionHorizon::default(),
        }
    }
}

impl AuthorityState {
    /// Of nothing yet, to fold this part of the history into.
    pub fn of(scope: FoldScope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Adds one commit, whose first event stands at the next position.
    ///
    /// # Errors
    /// An illegal event; the state must not be used any more.
    pub fn apply(&mut self, commit: &Commit) -> Result<(), IllegalEvent> {
        self.apply_at(self.position.next(), commit)
    }

    /// Adds one commit, whose first event stands at this position. A state of a part of the history need not be shown
    /// the commits of other parts.
    ///
    /// # Errors
    /// As [`AuthorityState::apply`].
    pub fn apply_at(&mut self, first: Position, commit: &Commit) -> Result<(), IllegalEvent> {
        self.apply_part(first, commit, 0..commit.events.len())
    }

    /// Adds some neighbouring events of a commit whose first event stands at this position; those before them were
    /// added.
    ///
    /// # Errors
    /// As [`AuthorityState::apply`].
    pub fn apply_part(
        &mut self,
        first: Position,
        commit: &Commit,
        part: Range<usize>,
    ) -> Result<(), IllegalEvent> {
        let end = first.plus(part.end as u64);
        fold::apply_part(self, commit, first, part)?;
        self.position = Position(end.0 - 1);
        self.recorded_at = commit.recorded_at;
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

/// Here the end of a selection is written into the sessions at once.
impl FoldTarget for AuthorityState {
    fn covers(&self, id: &SubjectId) -> bool {
        self.scope.covers(id)
    }

    fn keeps(&self, session: SessionId) -> bool {
        self.scope.keeps(session)
    }

    fn is_whole(&self) -> bool {
        self.scope == FoldScope::Everything
    }

    fn subject_of(&self, id: SessionId) -> Option<SubjectId> {
        self.holders.get(&id).cloned()
    }

    fn lets_go(&self) -> bool {
        self.horizon.is_there()
    }

    fn change<T>(&mut self, id: &SubjectId, change: impl FnOnce(&mut Subject) -> T) -> T {
        // Most are known: their key is not made again.
        match self.subjects.get_mut(id) {
            Some(subject) => change(subject),
            None => change(self.subjects.entry(id.clone()).or_insert_with(|| Subject::new(id.clone()))),
        }
    }

    fn begin(&mut self, session: SessionId, id: &SubjectId) {
        self.holders.insert(session, id.clone());
    }

    fn system(&mut self) -> Option<&mut SystemState> {
        self.scope.has_system().then_some(&mut self.system)
    }

    fn end_selected(&mut self, bulk: BulkRevocation) {
        let bulks = [bulk];
        match &bulks[0].selector.subject_id {
            Some(id) => {
                if let Some(subject) = self.subjects.get_mut(id) {
                    bulk::settle(&bulks, subject);
                }
            }
            None => self.subjects.values_mut().for_each(|subject| bulk::settle(&bulks, subject)),
        }
    }
}

impl<C> Encode<C> for AuthorityState {
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

impl<'b, C> Decode<'b, C> for AuthorityState {
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
        e.array(4)?.encode_with(&self.id, ctx)?.encode_with(self.registration(), ctx)?;
        e.encode_with(self.version(), ctx)?.array(self.sessions.len() as u64)?;
        for session in &self.sessions {
            session.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Subject {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        expect_array(d, 4)?;
        let mut subject = Self::new(d.decode_with(ctx)?);
        if let Some(registration) = d.decode_with(ctx)? {
            subject.register(registration).map_err(decode::Error::message)?;
        }
        subject.advance_to(d.decode_with(ctx)?).map_err(decode::Error::message)?;
        let count = counted(d)?;
        let mut sessions = Vec::with_capacity(usize::try_from(count).unwrap_or(MANY).min(MANY));
        for _ in 0..count {
            let mut session = Session::decode(d, ctx)?;
            // All of them share the name of their subject.
            if session.subject == subject.id {
                session.subject = subject.id.clone();
            }
            sessions.push(session);
        }
        sessions.shrink_to_fit();
        subject.sessions = sessions;
        Ok(subject)
    }
}

/// An unsuspended subject is written as before there were suspensions.
impl<C> Encode<C> for SubjectRegistration {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let ProfileAndSuspension { profile, suspension } = &*self.standing;
        e.array(if suspension.is_some() { 5 } else { 4 })?.encode_with(profile, ctx)?;
        e.encode_with(self.created_at, ctx)?.encode_with(self.updated_at, ctx)?;
        e.encode_with(self.created, ctx)?;
        suspension.as_ref().map_or(Ok(()), |suspension| suspension.encode(e, ctx))
    }
}

impl<'b, C> Decode<'b, C> for SubjectRegistration {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let length = counted(d)?;
        let profile = d.decode_with(ctx)?;
        let (created_at, updated_at, created) =
            (d.decode_with(ctx)?, d.decode_with(ctx)?, d.decode_with(ctx)?);
        let suspension = match length {
            4 => None,
            5 => Some(d.decode_with(ctx)?),
            _ => return Err(decode::Error::message("an array of another length")),
        };
        Ok(Self {
            standing: ProfileAndSuspension { profile, suspension }.into(),
            created_at,
            updated_at,
            created,
        })
    }
}

fn counted(d: &mut Decoder<'_>) -> Result<u64, decode::Error> {
    d.array()?.ok_or_else(|| decode::Error::message("an array of known length is expected"))
}

fn expect_array(d: &mut Decoder<'_>, length: u64) -> Result<(), decode::Error> {
    if counted(d)? == length { Ok(()) } else { Err(decode::Error::message("an array of another length")) }
}
