//! Sessions that ended long before a checkpoint stand apart in it, so that a start need not read them, however many they
//! are. Which they are follows from the history alone.

use std::ops::Range;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use tenure_core::{Seconds, SubjectId, eviction::EvictionHorizon, session::Session, subject::Subject};
use tenure_log::SegmentEnd;

/// How long before a checkpoint a session must have ended to stand apart in it. The default of `retention.memory`: such
/// a start finds in the rest of the checkpoint whatever it keeps in memory.
pub(super) const KEPT: Seconds = Seconds(86_400);

/// Behind which sessions stand apart in a checkpoint at this end of a segment.
pub(super) fn horizon_at(end: &SegmentEnd) -> EvictionHorizon {
    let moment = end.recorded_at.plus_millis(-i64::from(KEPT.0) * 1_000);
    EvictionHorizon { position: end.position, moment }
}

/// A subject without the sessions that stand apart, and what is known of these.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct KeptSubject {
    #[n(0)]
    pub(super) subject: Subject,
    #[n(1)]
    pub(super) ended: EndedOfSubject,
}

/// What is known of the sessions of a subject that stand apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct EndedOfSubject {
    /// How many they are.
    #[n(0)]
    pub(super) count: u64,
    /// Whether there is text about people in one of them.
    #[n(1)]
    pub(super) has_text: bool,
}

impl EndedOfSubject {
    /// These stand apart, too.
    pub(super) fn add(&mut self, sessions: &[Session]) {
        self.count += sessions.len() as u64;
        self.has_text |= sessions.iter().any(Session::has_text);
    }
}

/// Adds sessions to a subject that has none of them.
pub(super) fn join(subject: &mut Subject, mut sessions: Vec<Session>) {
    subject.sessions.append(&mut sessions);
    subject.sessions.sort_unstable_by_key(|session| session.id);
}

/// The sessions of a subject that stand apart, by id.
pub(super) fn bytes_of(id: &SubjectId, sessions: &[Session]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    let written = written(&mut encoder, id, sessions);
    written.expect("writing to memory does not fail");
    bytes
}

fn written<W: encode::Write>(
    e: &mut Encoder<W>,
    id: &SubjectId,
    sessions: &[Session],
) -> Result<(), encode::Error<W::Error>> {
    e.array(2)?.encode(id)?.array(sessions.len() as u64)?;
    sessions.iter().try_for_each(|session| e.encode(session).map(drop))
}

/// Those that these bytes are of.
pub(super) fn sessions_of(bytes: &[u8]) -> Result<Vec<Session>, decode::Error> {
    let mut d = Decoder::new(bytes);
    d.array()?;
    let _: SubjectId = d.decode()?;
    let count = d.array()?.unwrap_or_default();
    (0..count).map(|_| d.decode()).collect()
}

/// Whose sessions stand where in the bytes of a section.
pub(super) fn places(bytes: &[u8]) -> Result<Vec<(SubjectId, Range<usize>)>, decode::Error> {
    let (mut d, mut places) = (Decoder::new(bytes), Vec::new());
    while d.position() < bytes.len() {
        let begin = d.position();
        if d.array()? != Some(2) {
            return Err(decode::Error::message("an array of another length"));
        }
        let id = d.decode()?;
        d.skip()?;
        places.push((id, begin..d.position()));
    }
    Ok(places)
}
