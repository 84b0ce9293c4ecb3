//! `log.head`: what the log held, written down outside the store.
//!
//! A store whose file was cut opens as a shorter store and looks whole. Only something outside of it can
//! say that there was more. The record is written after the log is durable, so it is never ahead of it; it
//! may be behind by what a power cut took from it.
//!
//! Two slots, in blocks of their own. One is rewritten with every batch; the other keeps what the last sync
//! made durable. They change places at a sync, so there is at no time more than one slot that a
//! power cut could tear.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::record::{RootHash, first_half};
use tenure_core::{Position, Timestamp};

const MAGIC: &[u8; 8] = b"TENUREH1";
const CONTEXT: &str = "tenure v1 head";
/// Far enough apart that one torn block does not take both.
const SLOT_AT: [u64; 2] = [0, 4096];
const BODY: usize = 80;
const SLOT: usize = BODY + 16;

/// How many batches may pass before the record is synced, and how much recorded time.
///
/// What is at stake: after a power cut, a tail that someone then cuts off goes unnoticed if it is younger
/// than the synced record. What it costs: a second disk sync for the batch that does it.
const SYNC_EVERY_BATCHES: u32 = 128;
const SYNC_EVERY_MILLIS: i64 = 5_000;

/// What the log held when all of it was durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadRecord {
    pub(super) position: Position,
    pub(super) recorded_at: Timestamp,
    pub(super) root: RootHash,
    /// The sum of all frames: the store's file cannot be shorter, whatever the store rearranges.
    pub(super) frame_bytes: u64,
    /// How long the store's file was.
    pub(super) file_bytes: u64,
}

/// The open file, which is also the lock of the data directory.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    /// Of the last record written.
    sequence: u64,
    /// The slot that is rewritten; the other is durable.
    slot: usize,
    unsynced: u32,
    synced_at: Option<Timestamp>,
    last: Option<HeadRecord>,
}

impl HeadFile {
    /// Reads what the file says. `None` if it never said anything: it is empty.
    ///
    /// # Errors
    ///
    /// `InvalidData` if no slot can be believed.
    pub(super) fn read(file: File) -> io::Result<Self> {
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let newest = [0, 1]
            .into_iter()
            .filter(|slot| slots[*slot].is_some())
            .max_by_key(|slot| slots[*slot].map_or(0, |(sequence, _)| sequence));
        let (slot, found) = match newest {
            Some(slot) => (slot, slots[slot]),
            None if file.metadata()?.len() == 0 => (1, None),
            None => {
                let why = "neither of its two records can be believed: a checksum does not match";
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        };
        // What was read may be in memory only. It must be durable before the other slot is touched.
        file.sync_data()?;
        Ok(Self {
            file,
            sequence: found.map_or(0, |(sequence, _)| sequence),
            slot: 1 - slot,
            unsynced: 0,
            synced_at: None,
            last: found.map(|(_, record)| record),
        })
    }

    /// What it says; none if it is new.
    pub(super) const fn record(&self) -> Option<HeadRecord> {
        self.last
    }

    /// Writes the record of a log that is durable so far, and syncs it when it is time to.
    pub(super) fn write(&mut self, record: HeadRecord) -> io::Result<()> {
        self.sequence += 1;
        self.file.write_all_at(&encode(self.sequence, &record), SLOT_AT[self.slot])?;
        self.last = Some(record);
        self.unsynced += 1;
        if self.is_sync_due(record.recorded_at) { self.sync() } else { Ok(()) }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced > 0 {
            self.file.sync_data()?;
            self.unsynced = 0;
            self.slot = 1 - self.slot;
        }
        self.synced_at = self.last.map(|record| record.recorded_at);
        Ok(())
    }

    /// The first record after a start is always synced: the shorter a log, the more a stale record would
    /// hide.
    fn is_sync_due(&self, now: Timestamp) -> bool {
        let waited = self.synced_at.is_none_or(|then| now.millis_since(then) >= SYNC_EVERY_MILLIS);
        waited || self.unsynced >= SYNC_EVERY_BATCHES
    }
}

fn encode(sequence: u64, record: &HeadRecord) -> [u8; SLOT] {
    let mut out = [0; SLOT];
    out[..8].copy_from_slice(MAGIC);
    out[8..16].copy_from_slice(&sequence.to_be_bytes());
    out[16..24].copy_from_slice(&record.position.0.to_be_bytes());
    out[24..32].copy_from_slice(&record.recorded_at.as_millis().to_be_bytes());
    out[32..64].copy_from_slice(record.root.as_bytes());
    out[64..72].copy_from_slice(&record.frame_bytes.to_be_bytes());
    out[72..BODY].copy_from_slice(&record.file_bytes.to_be_bytes());
    let check = check(&out[..BODY]);
    out[BODY..].copy_from_slice(&check);
    out
}

/// The record of a slot with its sequence number; none if it cannot be believed.
fn read_slot(file: &File, slot: usize) -> io::Result<Option<(u64, HeadRecord)>> {
    let mut bytes = [0; SLOT];
    match file.read_exact_at(&mut bytes, SLOT_AT[slot]) {
        Ok(()) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn decode(bytes: &[u8; SLOT]) -> Option<(u64, HeadRecord)> {
    if !bytes.starts_with(MAGIC) || bytes[BODY..] != check(&bytes[..BODY]) {
        return None;
    }
    let number = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_be_bytes);
    let millis = bytes[24..].first_chunk().copied().map(i64::from_be_bytes)?;
    let record = HeadRecord {
        position: Position(number(16)?),
        recorded_at: Timestamp::from_millis(millis),
        root: RootHash::from_bytes(*bytes[32..].first_chunk()?),
        frame_bytes: number(64)?,
        file_bytes: number(72)?,
    };
    Some((number(8)?, record))
}

fn check(body: &[u8]) -> [u8; 16] {
    first_half(&blake3::Hasher::new_derive_key(CONTEXT).update(body).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> HeadRecord {
        HeadRecord {
            position: Position(n),
            recorded_at: Timestamp::from_millis(0),
            root: RootHash::from_bytes([7; 32]),
            frame_bytes: n * 10,
            file_bytes: n * 20,
        }
    }

    fn reread(file: &File) -> io::Result<HeadFile> {
        HeadFile::read(file.try_clone().unwrap())
    }

    #[test]
    fn the_last_record_is_read_back() {
        let file = tempfile::tempfile().unwrap();
        let mut head = reread(&file).unwrap();
        assert_eq!(head.record(), None);
        for n in 1..=300 {
            head.write(record(n)).unwrap();
            assert_eq!(reread(&file).unwrap().record(), Some(record(n)));
        }
    }

    #[test]
    fn a_torn_slot_leaves_what_was_synced_before() {
        let file = tempfile::tempfile().unwrap();
        let mut head = reread(&file).unwrap();
        head.write(record(1)).unwrap();
        for n in 2..=50 {
            head.write(record(n)).unwrap();
        }
        let torn = SLOT_AT[head.slot] + 20;
        file.write_all_at(&[0xff; 8], torn).unwrap();
        assert_eq!(reread(&file).unwrap().record(), Some(record(1)));
    }

    #[test]
    fn without_a_slot_to_believe_it_is_refused() {
        let file = tempfile::tempfile().unwrap();
        let mut head = reread(&file).unwrap();
        for n in 1..=2 {
            head.write(record(n)).unwrap();
            head.sync().unwrap();
        }
        for at in SLOT_AT {
            file.write_all_at(b"x", at).unwrap();
        }
        assert_eq!(reread(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
