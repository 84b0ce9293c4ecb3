//! A segment in the making. It is written under another name, and is a segment only once it is renamed.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use super::{
    BLOCK_BYTES, BlockEntry, check_of_block,
    header::{HEADER_BYTES, SegmentHeader},
};
use crate::{record::RecordHash, tail::LogTail};
use tenure_core::{Position, Timestamp};

/// Takes commits, one after the other.
pub(crate) struct SegmentWriter {
    file: BufWriter<File>,
    base: LogTail,
    offset: u64,
    blocks: Vec<BlockEntry>,
    block: Vec<u8>,
    /// Of the block being filled.
    begin: (Position, Timestamp),
    commits: u64,
}

impl SegmentWriter {
    /// Begins the segment behind this end of the log, in this file.
    pub(crate) fn begin(path: &Path, base: LogTail) -> io::Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&[0; HEADER_BYTES])?;
        let begin = (base.position().next(), base.recorded_at());
        let (blocks, block) = (Vec::new(), Vec::new());
        Ok(Self { file, base, offset: HEADER_BYTES as u64, blocks, block, begin, commits: 0 })
    }

    /// Adds a commit by its stored bytes.
    pub(crate) fn add(&mut self, first: Position, recorded_at: Timestamp, bytes: &[u8]) -> io::Result<()> {
        if self.block.is_empty() {
            self.begin = (first, recorded_at);
        }
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.block.extend_from_slice(&length.to_be_bytes());
        self.block.extend_from_slice(bytes);
        self.commits += 1;
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        self.file.write_all(&self.block)?;
        let (first, recorded_at) = self.begin;
        let length = u32::try_from(self.block.len()).map_err(io::Error::other)?;
        let check = check_of_block(&self.block);
        self.blocks.push(BlockEntry { first, recorded_at, offset: self.offset, length, check });
        self.offset += u64::from(length);
        self.block.clear();
        Ok(())
    }

    /// Ends it at this end of the log, and brings it to disk.
    pub(crate) fn end(mut self, log_id: RecordHash, end: LogTail) -> io::Result<SegmentHeader> {
        self.end_block()?;
        let mut index = Vec::with_capacity(self.blocks.len() * BlockEntry::BYTES);
        for block in &self.blocks {
            block.put(&mut index);
        }
        self.file.write_all(&index)?;
        let header = SegmentHeader {
            log_id,
            base: self.base,
            end,
            commits: self.commits,
            index_at: self.offset,
            blocks: self.blocks.len() as u64,
            index_digest: blake3::hash(&index).into(),
        };
        let bytes = header.bytes().ok_or_else(|| io::Error::other("the header does not fit"))?;
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        Ok(header)
    }
}
