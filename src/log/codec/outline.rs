//! A commit by its outline: what sealing and its index need of it, read where it lies. Of the events only those are
//! decoded that are asked for.
//!
//! Whether the bytes are spelled as this program spells them is not asked here. Who reads an outline compares the
//! record hashes with the tree, and what is in the tree was judged when it was appended.

use minicbor::Decoder;

use super::{
    DecodeError, FORMAT, FORMAT_1, decode_event, event_kind, malformed, record_hashes, take_count,
    take_prefixed,
};
use crate::record::RecordHash;
use tenure_core::{Event, EventKind, Timestamp};

/// A commit, none of it decoded but what is named here.
pub(crate) struct CommitOutline<'b> {
    /// When it was recorded.
    pub(crate) recorded_at: Timestamp,
    /// The subject whose stream it is of; `None` of the authority's own.
    pub(crate) subject: Option<&'b str>,
    /// With its length.
    header: &'b [u8],
    events: Vec<&'b [u8]>,
}

impl<'b> CommitOutline<'b> {
    /// That of these bytes.
    ///
    /// # Errors
    /// They are not those of a commit.
    pub(crate) fn of(bytes: &'b [u8]) -> Result<Self, DecodeError> {
        let (header, mut rest) = split(bytes)?;
        let (recorded_at, subject) = read_header(&header[4..])?;
        let count = take_count(&mut rest)?;
        let events = (0..count).map(|_| take_prefixed(&mut rest)).collect::<Result<_, _>>()?;
        if !rest.is_empty() {
            return Err(DecodeError::Trailing(rest.len()));
        }
        Ok(Self { recorded_at, subject, header, events })
    }

    /// The hash of each of its events.
    pub(crate) fn record_hashes(&self) -> Vec<RecordHash> {
        record_hashes(self.header, self.events.iter().copied())
    }

    /// Its events, each decoded if it is of a kind that is wanted, and `None` otherwise.
    ///
    /// # Errors
    /// An event cannot be read, or this program does not know its kind or version.
    pub(crate) fn events(
        &self,
        is_wanted: fn(EventKind) -> bool,
    ) -> impl Iterator<Item = Result<Option<Event>, DecodeError>> {
        self.events.iter().map(move |bytes| {
            let (code, version) =
                event_kind(&mut Decoder::new(bytes)).map_err(|error| malformed("an event", &error))?;
            match EventKind::from_code(code) {
                Some(kind) if version == kind.version() && !is_wanted(kind) => Ok(None),
                Some(_) | None => decode_event(bytes).map(Some),
            }
        })
    }
}

/// When the commit of these bytes was recorded, and how many events it has.
pub(crate) fn time_and_count(bytes: &[u8]) -> Result<(Timestamp, u16), DecodeError> {
    let (header, mut rest) = split(bytes)?;
    Ok((read_header(&header[4..])?.0, take_count(&mut rest)?))
}

/// The header with its length, and what follows it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut rest = bytes;
    take_prefixed(&mut rest)?;
    Ok(bytes.split_at(bytes.len() - rest.len()))
}

/// When it was recorded, and of which subject it is. Both formats have these in the same places.
fn read_header(bytes: &[u8]) -> Result<(Timestamp, Option<&str>), DecodeError> {
    let mut fields = Decoder::new(bytes);
    let format = fields.array().and_then(|_| fields.u8()).map_err(|error| malformed("the header", &error))?;
    if ![FORMAT_1, FORMAT].contains(&format) {
        return Err(DecodeError::UnknownFormat(format));
    }
    let read = fields.bytes().and_then(|_id| {
        let subject = fields.decode()?;
        fields.u64()?;
        // What the writer knew of the system stream, or nothing.
        fields.skip()?;
        Ok((fields.decode()?, subject))
    });
    read.map_err(|error| malformed("the header", &error))
}
