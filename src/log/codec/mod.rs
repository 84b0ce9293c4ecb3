//! The bytes of a commit (`docs/log-format.md`). There is one spelling: what decodes, encodes to the same
//! bytes.
//!
//! Anything else is an error, because the record hashes are over the stored bytes: a second spelling would
//! be a second hash of the same fact.

mod outline;

use std::{borrow::Cow, sync::LazyLock};

use blake3::{
    Hasher,
    hazmat::{ContextKey, HasherExt, hash_derive_key_context},
};
use minicbor::{Decode, Encode, Encoder, encode::Write};

pub(super) use self::outline::{CommitOutline, time_and_count};
use crate::{LogError, record::EncodedCommit, record::RecordHash, upcast};
use tenure_core::{
    Actor, Commit, CommitId, Event, EventKind, Position, StreamId, SubjectEvent, SubjectId, SystemEvent,
    Timestamp, commit::IdempotencyMark,
};

/// The most bytes of a commit: less than 64 KiB, the largest message of a `JetStream` stream, and small
/// enough that sled keeps it inline (`docs/log-format.md`, limits).
pub const MAX_COMMIT_BYTES: usize = 64 * 1024 - 1;

/// The version of the layout that this module writes; it reads those before too.
const FORMAT: u8 = 2;
/// The layout that also said which position of the system stream its writer had seen.
const FORMAT_1: u8 = 1;

/// Room for the commit of one renewal, so that its bytes are written without moving them.
const USUAL_COMMIT_BYTES: usize = 256;

/// Prefix of every record hash, so that it is the hash of nothing else.
const RECORD_CONTEXT: &str = "tenure v1 record";
static RECORD_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(RECORD_CONTEXT));

/// What a commit says of all its events. Field numbers are never given to another field.
#[derive(Encode, Decode)]
#[cbor(array)]
struct CommitHeader<'a> {
    #[n(0)]
    format: u8,
    #[n(1)]
    id: CommitId,
    /// None for the system stream.
    #[n(2)]
    stream: Option<Cow<'a, SubjectId>>,
    #[n(3)]
    expected: Position,
    // Number 4 was the last position of the system stream that the writer knew, in format 1.
    #[n(5)]
    recorded_at: Timestamp,
    #[n(6)]
    actor: Cow<'a, Actor>,
    #[n(7)]
    correlation_id: Option<Cow<'a, str>>,
    #[n(8)]
    idempotency: Option<IdempotencyMark>,
}

/// The same in format 1.
#[derive(Encode, Decode)]
#[cbor(array)]
struct HeaderV1<'a> {
    #[n(0)]
    format: u8,
    #[n(1)]
    id: CommitId,
    #[n(2)]
    stream: Option<Cow<'a, SubjectId>>,
    #[n(3)]
    expected: Position,
    #[n(4)]
    system_seen: Position,
    #[n(5)]
    recorded_at: Timestamp,
    #[n(6)]
    actor: Cow<'a, Actor>,
    #[n(7)]
    correlation_id: Option<Cow<'a, str>>,
    #[n(8)]
    idempotency: Option<IdempotencyMark>,
}

impl<'a> From<HeaderV1<'a>> for CommitHeader<'a> {
    fn from(old: HeaderV1<'a>) -> Self {
        let HeaderV1 { id, stream, expected, recorded_at, actor, correlation_id, idempotency, .. } = old;
        Self { format: FORMAT, id, stream, expected, recorded_at, actor, correlation_id, idempotency }
    }
}

/// Why bytes are not a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end before the commit does.
    #[error("the commit is cut short")]
    CutShort,
    /// They go on after the commit's end.
    #[error("{0} bytes follow the end of the commit")]
    Trailing(usize),
    /// More bytes than a commit may have.
    #[error("the commit has {0} bytes, more than {MAX_COMMIT_BYTES}")]
    TooLarge(usize),
    /// The commit is laid out in a way that this program does not know.
    #[error("the commit has format {0}; this program reads formats up to {FORMAT}: a newer one wrote it")]
    UnknownFormat(u8),
    /// A commit without events.
    #[error("the commit has no events")]
    NoEvents,
    /// An event of a kind that this program does not know.
    #[error("event kind {0} is not known: a newer program wrote it")]
    UnknownKind(u8),
    /// An event of a version that this program does not know.
    #[error("version {version} of {name} is not known: a newer program wrote it", name = kind.name())]
    UnknownVersion {
        /// Its kind.
        kind: EventKind,
        /// Its version.
        version: u8,
    },
    /// A part is not the CBOR that it should be.
    #[error("{part} cannot be read: {why}")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// What the decoder met.
        why: String,
    },
    /// A part says what could be said in fewer or in other bytes.
    #[error("{0} is not spelled as this program spells it")]
    NotCanonical(&'static str),
}

/// The bytes of a commit, with what the log must know to judge it.
///
/// # Errors
///
/// [`LogError::Empty`], [`LogError::TooLarge`].
pub fn encode(commit: &Commit) -> Result<EncodedCommit, LogError> {
    if commit.events.is_empty() {
        return Err(LogError::Empty);
    }
    // A part too large for its prefix makes the commit too large, whatever the prefix says.
    let mut bytes = Vec::with_capacity(USUAL_COMMIT_BYTES);
    put_prefixed(&mut bytes, |out| put(out, &header_of(commit)));
    let header_end = bytes.len();
    bytes.extend_from_slice(&u16::try_from(commit.events.len()).unwrap_or(u16::MAX).to_be_bytes());
    for event in &commit.events {
        put_prefixed(&mut bytes, |out| put_event(out, event));
    }
    // More events than can be counted are more bytes too.
    if bytes.len() > MAX_COMMIT_BYTES {
        return Err(LogError::TooLarge { bytes: bytes.len(), limit: MAX_COMMIT_BYTES });
    }
    let (header, mut rest) = (&bytes[..header_end], &bytes[header_end + 2..]);
    let events = commit.events.iter().map(|_| take_prefixed(&mut rest).expect("it was written above"));
    let record_hashes = record_hashes(header, events);
    Ok(EncodedCommit { id: commit.id, recorded_at: commit.recorded_at, bytes, record_hashes })
}

/// The commit of these bytes and the hash of each of its events.
///
/// # Errors
///
/// [`DecodeError`] unless the bytes are exactly those of one commit.
pub fn decode(bytes: &[u8]) -> Result<(Commit, Vec<RecordHash>), DecodeError> {
    if bytes.len() > MAX_COMMIT_BYTES {
        return Err(DecodeError::TooLarge(bytes.len()));
    }
    let mut rest = bytes;
    let header_bytes = take_prefixed(&mut rest)?;
    let header = decode_header(header_bytes)?;
    let count = take_count(&mut rest)?;
    let event_bytes = rest;
    for _ in 0..count {
        take_prefixed(&mut rest)?;
    }
    if !rest.is_empty() {
        return Err(DecodeError::Trailing(rest.len()));
    }
    let events = || {
        let mut rest = event_bytes;
        (0..count).map(move |_| take_prefixed(&mut rest).expect("it was taken above"))
    };
    let hashes = record_hashes(&bytes[..4 + header_bytes.len()], events());
    let events = events().map(decode_event).collect::<Result<_, _>>()?;
    Ok((commit_of(header, events), hashes))
}

/// The commit of these bytes, ready to be appended to another log exactly as it was written.
///
/// # Errors
///
/// [`DecodeError`] unless the bytes are exactly those of one commit.
pub fn adopt(bytes: Vec<u8>) -> Result<EncodedCommit, DecodeError> {
    let (commit, record_hashes) = decode(&bytes)?;
    Ok(EncodedCommit { id: commit.id, recorded_at: commit.recorded_at, bytes, record_hashes })
}

/// How many events the commit of these bytes has, without reading them.
pub(super) fn count(bytes: &[u8]) -> Result<u16, DecodeError> {
    let mut rest = bytes;
    take_prefixed(&mut rest)?;
    take_count(&mut rest)
}

/// A commit of a request that had an idempotency key: what its header says of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentCommit {
    /// The position of its first event.
    pub first: Position,
    /// When it was decided.
    pub recorded_at: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// The mark of the request.
    pub mark: IdempotencyMark,
}

/// What these bytes of a commit say of the request behind it, without reading the events; `None` if it had no key.
pub(super) fn decode_idempotency(
    first: Position,
    bytes: &[u8],
) -> Result<Option<IdempotentCommit>, DecodeError> {
    let mut rest = bytes;
    let CommitHeader { recorded_at, actor, idempotency, .. } = decode_header(take_prefixed(&mut rest)?)?;
    let of = |mark| IdempotentCommit { first, recorded_at, actor: actor.into_owned(), mark };
    Ok(idempotency.map(of))
}

fn header_of(commit: &Commit) -> CommitHeader<'_> {
    CommitHeader {
        format: FORMAT,
        id: commit.id,
        stream: match &commit.stream {
            StreamId::System => None,
            StreamId::Subject(id) => Some(Cow::Borrowed(id)),
        },
        expected: commit.expected,
        recorded_at: commit.recorded_at,
        actor: Cow::Borrowed(&commit.actor),
        correlation_id: commit.correlation_id.as_deref().map(Cow::Borrowed),
        idempotency: commit.idempotency,
    }
}

fn commit_of(header: CommitHeader<'_>, events: Vec<Event>) -> Commit {
    Commit {
        id: header.id,
        stream: header.stream.map_or(StreamId::System, |id| StreamId::Subject(id.into_owned())),
        expected: header.expected,
        recorded_at: header.recorded_at,
        actor: header.actor.into_owned(),
        correlation_id: header.correlation_id.map(Cow::into_owned),
        idempotency: header.idempotency,
        events,
    }
}

fn decode_header(bytes: &[u8]) -> Result<CommitHeader<'_>, DecodeError> {
    // The format comes first, so that a newer layout is called newer and not malformed.
    let format = minicbor::Decoder::new(bytes).array_iter::<u8>().ok().and_then(|mut fields| fields.next());
    match format {
        Some(Ok(FORMAT)) => exact(bytes, "the header"),
        Some(Ok(FORMAT_1)) => exact::<HeaderV1<'_>>(bytes, "the header").map(CommitHeader::from),
        Some(Ok(other)) => Err(DecodeError::UnknownFormat(other)),
        Some(Err(error)) => Err(malformed("the header", &error)),
        None => Err(DecodeError::NotCanonical("the header")),
    }
}

fn put_event(out: &mut Vec<u8>, event: &Event) {
    let written = put_event_prefix(&mut *out, event.kind() as u8, event.kind().version());
    written.expect("a Vec takes every byte");
    match event {
        Event::Subject(event) => put_subject_event(out, event),
        Event::System(event) => put_system_event(out, event),
    }
}

fn put_subject_event(out: &mut Vec<u8>, event: &SubjectEvent) {
    match event {
        SubjectEvent::SubjectRegistered(data) => put(out, data),
        SubjectEvent::SessionCreated(data) => put(out, data),
        SubjectEvent::SessionRenewed(data) => put(out, data),
        SubjectEvent::RenewalRejected(data) => put(out, data),
        SubjectEvent::SessionRevoked(data) => put(out, data),
        SubjectEvent::SessionsRevoked(data) => put(out, data),
        SubjectEvent::SessionExpired(data) => put(out, data),
        SubjectEvent::SubjectErased(data) => put(out, data),
        SubjectEvent::SessionRefreshed(data) => put(out, data),
        SubjectEvent::UsageRecorded(data) => put(out, data),
        SubjectEvent::SubjectSuspended(data) => put(out, data),
        SubjectEvent::SubjectResumed(data) => put(out, data),
    }
}

fn put_system_event(out: &mut Vec<u8>, event: &SystemEvent) {
    match event {
        SystemEvent::SelectionRevoked(data) => put(out, data),
        SystemEvent::TokensPresented(data) => put(out, data),
        SystemEvent::SessionsSeen(data) => put(out, data),
        SystemEvent::CredentialIssued(data) => put(out, data),
        SystemEvent::CredentialRevoked(data) => put(out, data),
        SystemEvent::PolicyChanged(data) => put(out, data),
        SystemEvent::KeyRotated(data) => put(out, data),
        SystemEvent::WebhookCreated(data) => put(out, data),
        SystemEvent::WebhookDeleted(data) => put(out, data),
        SystemEvent::EpochBegan(data) => put(out, data),
        SystemEvent::CredentialConfirmed(data) => put(out, data),
        SystemEvent::LogSegmented(data) => put(out, data),
    }
}

fn decode_event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let (kind, version) = event_kind(&mut decoder).map_err(|error| malformed("an event", &error))?;
    let mut prefix = ExpectedBytes(bytes);
    put_event_prefix(&mut prefix, kind, version).map_err(|_| DecodeError::NotCanonical("an event"))?;
    let ExpectedBytes(data) = prefix;
    upcast::read(kind, version, data)
}

fn event_kind(decoder: &mut minicbor::Decoder<'_>) -> Result<(u8, u8), minicbor::decode::Error> {
    decoder.array()?;
    Ok((decoder.u8()?, decoder.u8()?))
}

/// The begin of `[kind, version, data]`.
fn put_event_prefix<W: Write>(
    out: W,
    kind: u8,
    version: u8,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    Encoder::new(out).array(3)?.u8(kind)?.u8(version)?.ok()
}

/// The hash of every event: over the header with its length, the event's index, and the event.
fn record_hashes<'a>(header: &[u8], events: impl Iterator<Item = &'a [u8]>) -> Vec<RecordHash> {
    // One hasher is cleared for each event: a copy of one that has met the header would cost more than the header.
    let mut hasher = Hasher::new_from_context_key(&RECORD_KEY);
    let hash = |(index, event): (u16, &[u8])| {
        hasher.reset().update(header).update(&index.to_be_bytes()).update(event);
        RecordHash::from_bytes(hasher.finalize().into())
    };
    (0_u16..).zip(events).map(hash).collect()
}

fn put<T: Encode<()>>(out: &mut Vec<u8>, value: &T) {
    minicbor::encode(value, out).expect("a Vec takes every byte");
}

/// The value of exactly these bytes.
///
/// CBOR may spell one value in many ways, and a decoder skips array elements that it does not know.
/// Encoding again and comparing leaves one spelling, and makes a field of a newer program an error rather
/// than a silent loss.
pub(super) fn exact<'b, T>(bytes: &'b [u8], part: &'static str) -> Result<T, DecodeError>
where
    T: Decode<'b, ()> + Encode<()>,
{
    let value = minicbor::decode(bytes).map_err(|error| malformed(part, &error))?;
    let mut expected = ExpectedBytes(bytes);
    let is_spelled_so = minicbor::encode(&value, &mut expected).is_ok() && expected.0.is_empty();
    if is_spelled_so { Ok(value) } else { Err(DecodeError::NotCanonical(part)) }
}

/// Takes what is written only if it is what these bytes begin with, and leaves of them what follows.
struct ExpectedBytes<'b>(&'b [u8]);

/// Something else was written than was expected.
struct OtherBytes;

impl Write for ExpectedBytes<'_> {
    type Error = OtherBytes;

    fn write_all(&mut self, written: &[u8]) -> Result<(), OtherBytes> {
        self.0 = self.0.strip_prefix(written).ok_or(OtherBytes)?;
        Ok(())
    }
}

fn malformed(part: &'static str, error: &minicbor::decode::Error) -> DecodeError {
    DecodeError::Malformed { part, why: error.to_string() }
}

/// What `part` writes, behind its length.
fn put_prefixed(out: &mut Vec<u8>, part: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    part(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn take_prefixed<'b>(rest: &mut &'b [u8]) -> Result<&'b [u8], DecodeError> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(DecodeError::CutShort)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecodeError::CutShort)?;
    let (bytes, after) = after.split_at_checked(length).ok_or(DecodeError::CutShort)?;
    *rest = after;
    Ok(bytes)
}

fn take_count(rest: &mut &[u8]) -> Result<u16, DecodeError> {
    let (count, after) = rest.split_first_chunk::<2>().ok_or(DecodeError::CutShort)?;
    *rest = after;
    match u16::from_be_bytes(*count) {
        0 => Err(DecodeError::NoEvents),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests;
