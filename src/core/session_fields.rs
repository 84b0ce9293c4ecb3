//! A session field by field: as it is written, and as a check may change it.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::{
    commit::EventMeta,
    event::SessionTerms,
    id::{Generation, Position, SessionId, SubjectId},
    interned::Interned,
    session::{
        GrantedPeriod, LatestRenewal, OneTimeFlags, RefusedCodes, RenewAfter, Session, SessionDetails,
        SessionRevocation,
    },
    time::Timestamp,
};

/// What a [`Session`] says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionFields {
    /// Its name.
    #[n(0)]
    pub id: SessionId,
    /// Who holds it.
    #[n(1)]
    pub subject: SubjectId,
    /// Its limits, fixed at creation.
    #[n(2)]
    pub terms: Interned<SessionTerms>,
    /// When it began.
    #[n(3)]
    pub created_at: Timestamp,
    /// The position of the event that began it.
    #[n(4)]
    pub created: Position,
    /// The generation whose tokens work.
    #[n(5)]
    pub generation: Generation,
    /// The end of its period.
    #[n(6)]
    pub expires_at: Timestamp,
    /// When its holder should renew.
    #[n(7)]
    pub renew_after: Option<RenewAfter>,
    /// The position of the event that fixed its generation and the end of its period.
    #[n(8)]
    pub granted: Position,
    /// Its latest renewal.
    #[n(9)]
    pub renewal: Option<LatestRenewal>,
    /// The refusals already recorded for its generation.
    #[n(10)]
    pub refused: RefusedCodes,
    /// What only some sessions have.
    #[n(11)]
    pub details: Option<Box<SessionDetails>>,
    /// How it was ended, once it was.
    #[n(12)]
    pub revocation: Option<Box<SessionRevocation>>,
    /// What was announced of it already.
    #[n(13)]
    pub said: OneTimeFlags,
}

impl From<&Session> for SessionFields {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            subject: session.subject.clone(),
            terms: session.terms.clone(),
            created_at: session.created_at(),
            created: session.created(),
            generation: session.generation(),
            expires_at: session.expires_at(),
            renew_after: session.renew_after,
            granted: session.granted(),
            renewal: session.renewal().cloned(),
            refused: session.refused,
            details: session.details().cloned().map(Box::new),
            revocation: session.revocation().cloned().map(Box::new),
            said: session.said,
        }
    }
}

/// The error says what no session has.
impl TryFrom<SessionFields> for Session {
    type Error = &'static str;

    fn try_from(fields: SessionFields) -> Result<Self, Self::Error> {
        let began = EventMeta { position: fields.created, at: fields.created_at };
        let period = GrantedPeriod::of(began, fields.expires_at, None)?;
        let none = SessionDetails::default();
        let mut session = Self::begun(fields.id, fields.subject, fields.terms, period, none);
        session.renew_after = fields.renew_after;
        (session.refused, session.said) = (fields.refused, fields.said);
        let last = (fields.generation, fields.granted, fields.renewal);
        session.restore(last, fields.details, fields.revocation)?;
        Ok(session)
    }
}

impl<C> Encode<C> for Session {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        SessionFields::from(self).encode(e, ctx)
    }
}

impl<'b, C> Decode<'b, C> for Session {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        SessionFields::decode(d, ctx)?.try_into().map_err(decode::Error::message)
    }
}
