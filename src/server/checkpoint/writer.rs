//! A checkpoint in the making. It is written under another name, and is a checkpoint only once it is renamed.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

use minicbor::Encode;

use super::{
    format::{CheckpointHeader, HEADER_BYTES, SectionEntry, SectionKind},
    rows::{EndedRow, ROWS},
};
use tenure_core::SubjectId;
use tenure_log::SegmentEnd;

/// A section of subjects ends with the one that fills it to this many bytes: few enough that one subject is found in no
/// time, and enough that the table stays small.
const SECTION_BYTES: usize = 256 * 1024;
/// Bytes between two syncs: the log's own sync waits for no more than that.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// Takes the sections in their order.
pub(super) struct CheckpointWriter {
    file: File,
    offset: u64,
    /// Not synced yet.
    unsynced: usize,
    table: Vec<SectionEntry>,
    /// The section being filled, and the first subject in it.
    filling: Vec<u8>,
    first: Option<SubjectId>,
}

impl CheckpointWriter {
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        file.write_all(&[0; HEADER_BYTES])?;
        let (offset, unsynced) = (HEADER_BYTES as u64, HEADER_BYTES);
        Ok(Self { file, offset, unsynced, table: Vec::new(), filling: Vec::new(), first: None })
    }

    /// Adds the section of this value.
    pub(super) fn value<T: Encode<()>>(&mut self, kind: SectionKind, value: &T) -> io::Result<()> {
        let bytes = minicbor::to_vec(value).map_err(io::Error::other)?;
        self.section(kind, &bytes, None, Vec::new())
    }

    /// Adds what is said of a subject to sections of this kind; it is behind all before.
    pub(super) fn of_subject(&mut self, kind: SectionKind, id: &SubjectId, encoded: &[u8]) -> io::Result<()> {
        self.first.get_or_insert_with(|| id.clone());
        self.filling.extend_from_slice(encoded);
        if self.filling.len() >= SECTION_BYTES { self.end_filling(kind) } else { Ok(()) }
    }

    /// Adds a row, which is behind all before.
    pub(super) fn row(&mut self, row: &EndedRow) -> io::Result<()> {
        self.filling.extend_from_slice(row.as_bytes());
        if self.filling.len() == ROWS * EndedRow::BYTES {
            self.end_filling(SectionKind::Rows)
        } else {
            Ok(())
        }
    }

    /// That was the last one of this kind.
    pub(super) fn end_filling(&mut self, kind: SectionKind) -> io::Result<()> {
        if self.filling.is_empty() {
            return Ok(());
        }
        let (bytes, first) = (std::mem::take(&mut self.filling), self.first.take());
        let row = if kind == SectionKind::Rows { bytes[..EndedRow::BYTES].to_vec() } else { Vec::new() };
        self.section(kind, &bytes, first, row)
    }

    fn section(
        &mut self,
        kind: SectionKind,
        bytes: &[u8],
        first: Option<SubjectId>,
        row: Vec<u8>,
    ) -> io::Result<()> {
        let (offset, length) = (self.offset, bytes.len() as u64);
        let digest = blake3::hash(bytes).into();
        self.put(bytes)?;
        self.table.push(SectionEntry { kind, offset, length, digest, first, row });
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(PART_BYTES) {
            self.file.write_all(part)?;
            self.offset += part.len() as u64;
            self.unsynced += part.len();
            if self.unsynced >= PART_BYTES {
                self.file.sync_data()?;
                self.unsynced = 0;
            }
        }
        Ok(())
    }

    /// Ends it as of this end of a segment, and brings it to disk.
    pub(super) fn end(mut self, end: SegmentEnd) -> io::Result<()> {
        let table = minicbor::to_vec(&self.table).map_err(io::Error::other)?;
        let (table_at, table_bytes) = (self.offset, table.len() as u64);
        self.put(&table)?;
        self.file.sync_data()?;
        let table_digest = blake3::hash(&table).into();
        let header = CheckpointHeader { end, table_at, table_bytes, table_digest };
        let bytes = header.bytes().ok_or_else(|| io::Error::other("the header does not fit"))?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)?;
        self.file.sync_all()
    }
}
