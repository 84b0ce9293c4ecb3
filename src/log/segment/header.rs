//! The first 4 KiB of a segment.

use crate::{record::RecordHash, tail::LogTail, tree::TreeEdge};
use tenure_core::{Position, Timestamp};

/// The bytes of the header, with its check at the end.
pub(super) const HEADER_BYTES: usize = 4096;
const CHECK_AT: usize = HEADER_BYTES - 32;
const MAGIC: &[u8; 8] = b"TENURES1";
const CONTEXT: &str = "tenure v1 segment header";

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The record hash at position 1: which log this is.
    pub(crate) log_id: RecordHash,
    /// The log up to its first event.
    pub(crate) base: LogTail,
    /// The log up to its last event.
    pub(crate) end: LogTail,
    /// How many commits it has.
    pub(crate) commits: u64,
    /// Where the index begins.
    pub(super) index_at: u64,
    /// How many blocks there are.
    pub(super) blocks: u64,
    pub(super) index_digest: [u8; 32],
}

impl SegmentHeader {
    /// The position of its first event.
    pub(crate) fn first(&self) -> Position {
        self.base.position().next()
    }

    /// The position of its last event.
    pub(crate) fn last(&self) -> Position {
        self.end.position()
    }

    /// The check of its bytes, which stands for the whole segment.
    pub(super) fn check(&self) -> [u8; 32] {
        let bytes = self.bytes().expect("it was read, or is written");
        *bytes.last_chunk().expect("a header has a check")
    }

    /// Its bytes; `None` if they do not fit, which takes more than 2⁵⁰ events.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(self.log_id.as_bytes());
        for number in [self.commits, self.index_at, self.blocks] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.index_digest);
        for tail in [&self.base, &self.end] {
            out.extend_from_slice(&tail.position().0.to_be_bytes());
            out.extend_from_slice(&tail.recorded_at().as_millis().to_be_bytes());
            for peak in tail.tree().peaks() {
                out.extend_from_slice(peak);
            }
        }
        if out.len() > CHECK_AT {
            return None;
        }
        out.resize(CHECK_AT, 0);
        let check = check(&out);
        out.extend_from_slice(&check);
        Some(out)
    }

    /// The header of these bytes; `None` if they are not exactly those of one.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (body, stated) = bytes.split_at_checked(CHECK_AT)?;
        if stated != check(body) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let log_id = RecordHash::from_bytes(take(&mut rest)?);
        let [commits, index_at, blocks] = [number(&mut rest)?, number(&mut rest)?, number(&mut rest)?];
        let index_digest = take(&mut rest)?;
        let (base, end) = (tail(&mut rest)?, tail(&mut rest)?);
        Some(Self { log_id, base, end, commits, index_at, blocks, index_digest })
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

fn tail(rest: &mut &[u8]) -> Option<LogTail> {
    let size = number(rest)?;
    let recorded_at = Timestamp::from_millis(i64::from_be_bytes(take(rest)?));
    let peaks = (0..size.count_ones()).map(|_| take(rest)).collect::<Option<_>>()?;
    Some(LogTail::of(recorded_at, TreeEdge::from_peaks(size, peaks)?))
}
