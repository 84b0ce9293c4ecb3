//! The bytes of a checkpoint beside its content: header and table.

use minicbor::{Decode, Encode};

use tenure_core::{Position, Seconds, SubjectId, Timestamp};
use tenure_log::{RecordHash, SegmentEnd, TreeEdge};

/// The bytes of the header, with its check at the end.
pub(super) const HEADER_BYTES: usize = 4096;
const CHECK_AT: usize = HEADER_BYTES - 32;
const MAGIC: &[u8; 8] = b"TENUREC2";
const CONTEXT: &str = "tenure v1 checkpoint header";

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckpointHeader {
    /// The end of the segment at which it stands.
    pub(super) end: SegmentEnd,
    pub(super) table_at: u64,
    pub(super) table_bytes: u64,
    pub(super) table_digest: [u8; 32],
}

/// Subjects that were erased, each with the position that says so last.
pub(super) type ErasedSubjects = Vec<(SubjectId, Position)>;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub(super) enum SectionKind {
    /// The authority's own state.
    #[n(0)]
    System,
    /// Neighbouring subjects, in the order of their ids, with their sessions but for those that ended long ago; of these
    /// there are many.
    #[n(1)]
    Subjects,
    /// The subjects that were erased, in the order of their ids, each with the position that says so last.
    #[n(2)]
    Erased,
    /// What happened in the last day.
    #[n(3)]
    Pulse,
    /// The sessions of neighbouring subjects that ended long ago, in the order of the subjects' ids; of these there are
    /// many.
    #[n(4)]
    Ended,
    /// The rows by which those are listed, in their order; of these there are many.
    #[n(5)]
    Rows,
    /// What is said of all of them together.
    #[n(6)]
    Past,
}

/// What is said of all sessions together that ended long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct EndedSummary {
    /// How many there are.
    #[n(0)]
    pub(super) count: u64,
    /// The longest period that one of them was granted.
    #[n(1)]
    pub(super) longest_ttl: Seconds,
}

impl SectionKind {
    pub(super) const ALL: [Self; 7] =
        [Self::System, Self::Subjects, Self::Ended, Self::Rows, Self::Past, Self::Erased, Self::Pulse];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Subjects => "subjects",
            Self::Erased => "erased",
            Self::Pulse => "pulse",
            Self::Ended => "ended",
            Self::Rows => "rows",
            Self::Past => "past",
        }
    }
}

/// Where a section is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(super) struct SectionEntry {
    #[n(0)]
    pub(super) kind: SectionKind,
    #[n(1)]
    pub(super) offset: u64,
    #[n(2)]
    pub(super) length: u64,
    /// BLAKE3 of its bytes.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(super) digest: [u8; 32],
    /// The first of its subjects.
    #[n(4)]
    pub(super) first: Option<SubjectId>,
    /// The first of its rows.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(super) row: Vec<u8>,
}

impl CheckpointHeader {
    /// Its bytes; `None` if they do not fit, which takes more positions than there are.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let SegmentEnd { log_id, position, recorded_at, tree } = &self.end;
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(log_id.as_bytes());
        out.extend_from_slice(&position.0.to_be_bytes());
        out.extend_from_slice(&recorded_at.as_millis().to_be_bytes());
        out.extend_from_slice(&self.table_at.to_be_bytes());
        out.extend_from_slice(&self.table_bytes.to_be_bytes());
        out.extend_from_slice(&self.table_digest);
        for peak in tree.peaks() {
            out.extend_from_slice(peak);
        }
        if out.len() > CHECK_AT {
            return None;
        }
        out.resize(CHECK_AT, 0);
        let check = check(&out);
        out.extend_from_slice(&check);
        Some(out)
    }

    /// The header of these bytes; or why they are not exactly those of one.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let (body, stated) = bytes.split_at_checked(CHECK_AT).ok_or("is cut short")?;
        let Some(rest) = body.strip_prefix(MAGIC) else {
            return Err("is of another version, or no checkpoint");
        };
        if stated != check(body) {
            return Err("the header's check does not match its bytes");
        }
        let header = Self::parse(rest).ok_or("the header is none of this program's")?;
        if header.bytes().is_some_and(|own| own == bytes) {
            return Ok(header);
        }
        Err("the header is none of this program's")
    }

    fn parse(mut rest: &[u8]) -> Option<Self> {
        let log_id = RecordHash::from_bytes(take(&mut rest)?);
        let size = number(&mut rest)?;
        let recorded_at = Timestamp::from_millis(i64::from_be_bytes(take(&mut rest)?));
        let (table_at, table_bytes) = (number(&mut rest)?, number(&mut rest)?);
        let table_digest = take(&mut rest)?;
        let peaks = (0..size.count_ones()).map(|_| take(&mut rest)).collect::<Option<_>>()?;
        let tree = TreeEdge::from_peaks(size, peaks)?;
        let end = SegmentEnd { log_id, position: Position(size), recorded_at, tree };
        Some(Self { end, table_at, table_bytes, table_digest })
    }
}

fn check(body: &[u8]) -> [u8; 32] {
    blake3::Hasher::new_derive_key(CONTEXT).update(body).finalize().into()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*part)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}
