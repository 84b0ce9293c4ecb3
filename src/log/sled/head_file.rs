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

use super::frame::{FrameCheck, NO_FRAME};
use crate::{
    record::{RootHash, first_half},
    tail::LogTail,
    tree::TreeEdge,
};
use tenure_core::{Position, Timestamp};

const MAGIC: &[u8; 8] = b"TENUREH2";
const CONTEXT: &str = "tenure v2 head";
/// The first version: no more than the end of the one store, and how long it was.
const MAGIC_1: &[u8; 8] = b"TENUREH1";
const CONTEXT_1: &str = "tenure v1 head";
const BODY_1: usize = 80;
const CHECK: usize = 16;
/// What a slot may take: a block of its own.
const SLOT: usize = 4096;
/// Far enough apart that one torn block does not take both.
const SLOT_AT: [u64; 2] = [0, 4096];

/// How many batches may pass before the record is synced, and how much recorded time.
///
/// What is at stake: after a power cut, a tail that someone then cuts off goes unnoticed if it is younger
/// than the synced record. What it costs: a second disk sync for the batch that does it.
const SYNC_EVERY_BATCHES: u32 = 128;
const SYNC_EVERY_MILLIS: i64 = 5_000;

/// What the log held when all of it was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeadRecord {
    pub(super) position: Position,
    pub(super) recorded_at: Timestamp,
    pub(super) root: RootHash,
    /// The check of the last frame; `None` where a program of the first version wrote the record.
    pub(super) check: Option<FrameCheck>,
    /// In which leadership it was written; 0 where one machine writes.
    pub(super) term: u64,
    /// The number of its last frame in a log of several machines; 0 where one machine writes.
    pub(super) sequence: u64,
    /// By how many events segments are cut; 0 until the first one is.
    pub(super) segment_events: u64,
    pub(super) store: StoreRecord,
}

/// What the store held to which commits are appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreRecord {
    pub(super) number: u64,
    /// The log up to its first event: with this the store can be checked without anything in front of it.
    pub(super) base: LogTail,
    /// The check of the frame before its first one.
    pub(super) base_check: FrameCheck,
    /// The sum of its frames: its file cannot be shorter, whatever the store rearranges.
    pub(super) frame_bytes: u64,
    /// How long its file was.
    pub(super) file_bytes: u64,
}

impl StoreRecord {
    /// A store without a frame, behind this end of the log.
    pub(super) const fn new(number: u64, base: LogTail, base_check: FrameCheck) -> Self {
        Self { number, base, base_check, frame_bytes: 0, file_bytes: 0 }
    }
}

/// The open file, which is also the lock of the data directory.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    /// Of the last record written.
    number: u64,
    /// The slot to rewrite; the other is durable.
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
        let slots = [0, 1].map(|slot| read_slot(&file, slot).map(|found| found.map(|found| (slot, found))));
        let [first, second] = slots;
        let newest = first?.into_iter().chain(second?).max_by_key(|(_, (number, _))| *number);
        let (slot, found) = match newest {
            Some((slot, found)) => (slot, Some(found)),
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
            number: found.as_ref().map_or(0, |(number, _)| *number),
            slot: 1 - slot,
            unsynced: 0,
            synced_at: None,
            last: found.map(|(_, record)| record),
        })
    }

    /// What it says; `None` if it is new.
    pub(super) const fn record(&self) -> Option<&HeadRecord> {
        self.last.as_ref()
    }

    /// Writes the record of a log durable up to here, and syncs it when due.
    pub(super) fn write(&mut self, record: HeadRecord) -> io::Result<()> {
        self.number += 1;
        self.file.write_all_at(&encode(self.number, &record), SLOT_AT[self.slot])?;
        let recorded_at = record.recorded_at;
        self.last = Some(record);
        self.unsynced += 1;
        if self.is_sync_due(recorded_at) { self.sync() } else { Ok(()) }
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced > 0 {
            self.file.sync_data()?;
            self.unsynced = 0;
            self.slot = 1 - self.slot;
        }
        self.synced_at = self.last.as_ref().map(|record| record.recorded_at);
        Ok(())
    }

    /// The first record after a start is always synced: the shorter a log, the more a stale record would
    /// hide.
    fn is_sync_due(&self, now: Timestamp) -> bool {
        let waited = self.synced_at.is_none_or(|then| now.millis_since(then) >= SYNC_EVERY_MILLIS);
        waited || self.unsynced >= SYNC_EVERY_BATCHES
    }
}

fn encode(number: u64, record: &HeadRecord) -> Vec<u8> {
    let HeadRecord { position, recorded_at, root, check: last, term, sequence, segment_events, store } =
        record;
    let mut out = MAGIC.to_vec();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(&number.to_be_bytes());
    put(&position.0.to_be_bytes());
    put(&recorded_at.as_millis().to_be_bytes());
    put(root.as_bytes());
    put(&last.unwrap_or(NO_FRAME));
    let StoreRecord { number, base, base_check, frame_bytes, file_bytes } = store;
    for number in [term, sequence, segment_events, number, frame_bytes, file_bytes] {
        put(&number.to_be_bytes());
    }
    put(base_check);
    put(&base.position().0.to_be_bytes());
    put(&base.recorded_at().as_millis().to_be_bytes());
    for peak in base.tree().peaks() {
        put(peak);
    }
    let check = check(CONTEXT, &out);
    out.extend_from_slice(&check);
    out
}

/// The record of a slot with its number; `None` if it cannot be believed.
fn read_slot(file: &File, slot: usize) -> io::Result<Option<(u64, HeadRecord)>> {
    let mut bytes = vec![0; SLOT];
    let mut length = 0;
    while length < SLOT {
        match file.read_at(&mut bytes[length..], SLOT_AT[slot] + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(decode(&bytes[..length]))
}

fn decode(bytes: &[u8]) -> Option<(u64, HeadRecord)> {
    let mut parts = SlotReader { slot: bytes, at: 8 };
    match bytes.first_chunk::<8>()? {
        MAGIC => parts.record(),
        MAGIC_1 => parts.record_of_version_1(),
        _ => None,
    }
}

/// A slot, read from its beginning to its check.
struct SlotReader<'b> {
    slot: &'b [u8],
    at: usize,
}

impl SlotReader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let part = *self.slot.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(part)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn moment(&mut self) -> Option<Timestamp> {
        self.take().map(i64::from_be_bytes).map(Timestamp::from_millis)
    }

    /// That what was read so far is followed by its check.
    fn expect_check(&mut self, context: &str) -> Option<()> {
        let right = check(context, &self.slot[..self.at]);
        (self.take()? == right).then_some(())
    }

    fn record(&mut self) -> Option<(u64, HeadRecord)> {
        let number = self.number()?;
        let (position, recorded_at, root) = (self.number()?, self.moment()?, self.take()?);
        let last = Some(self.take()?);
        let (term, sequence, segment_events) = (self.number()?, self.number()?, self.number()?);
        let store = self.store()?;
        self.expect_check(CONTEXT)?;
        let (position, root) = (Position(position), RootHash::from_bytes(root));
        let record =
            HeadRecord { position, recorded_at, root, check: last, term, sequence, segment_events, store };
        Some((number, record))
    }

    fn store(&mut self) -> Option<StoreRecord> {
        let (number, frame_bytes, file_bytes) = (self.number()?, self.number()?, self.number()?);
        let base_check = self.take()?;
        let (size, recorded_at) = (self.number()?, self.moment()?);
        let peaks = (0..size.count_ones()).map(|_| self.take()).collect::<Option<_>>()?;
        let base = LogTail::of(recorded_at, TreeEdge::from_peaks(size, peaks)?);
        Some(StoreRecord { number, base, base_check, frame_bytes, file_bytes })
    }

    fn record_of_version_1(&mut self) -> Option<(u64, HeadRecord)> {
        let number = self.number()?;
        let (position, recorded_at, root) = (Position(self.number()?), self.moment()?, self.take()?);
        let (frame_bytes, file_bytes) = (self.number()?, self.number()?);
        debug_assert_eq!(self.at, BODY_1);
        self.expect_check(CONTEXT_1)?;
        let store = StoreRecord { frame_bytes, file_bytes, ..StoreRecord::new(1, LogTail::new(), NO_FRAME) };
        let root = RootHash::from_bytes(root);
        let (term, sequence, segment_events) = (0, 0, 0);
        let record =
            HeadRecord { position, recorded_at, root, check: None, term, sequence, segment_events, store };
        Some((number, record))
    }
}

fn check(context: &str, body: &[u8]) -> [u8; CHECK] {
    first_half(&blake3::Hasher::new_derive_key(context).update(body).finalize())
}

/// A slot as a program of data format 1 wrote it.
#[cfg(test)]
pub(super) fn encode_as_version_1(number: u64, record: &HeadRecord) -> Vec<u8> {
    let mut out = MAGIC_1.to_vec();
    for number in [number, record.position.0, record.recorded_at.as_millis().cast_unsigned()] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(record.root.as_bytes());
    for number in [record.store.frame_bytes, record.store.file_bytes] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    let check = check(CONTEXT_1, &out);
    out.extend_from_slice(&check);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecordHash;

    fn record(n: u64) -> HeadRecord {
        let mut base = LogTail::new();
        base.follow(Timestamp::from_millis(5), &vec![RecordHash::from_bytes([3; 32]); 1_023]).unwrap();
        let store = StoreRecord::new(n / 100, base, [4; 16]);
        HeadRecord {
            position: Position(n),
            recorded_at: Timestamp::from_millis(0),
            root: RootHash::from_bytes([7; 32]),
            check: Some([5; 16]),
            term: n * 3,
            sequence: n * 4,
            segment_events: n * 5,
            store: StoreRecord { frame_bytes: n * 10, file_bytes: n * 20, ..store },
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
            assert_eq!(reread(&file).unwrap().record(), Some(&record(n)));
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
        assert_eq!(reread(&file).unwrap().record(), Some(&record(1)));
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

    #[test]
    fn a_record_of_the_first_version_is_read() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&encode_as_version_1(8, &record(6)), 0).unwrap();
        let mut head = reread(&file).unwrap();
        let read = head.record().unwrap().clone();
        assert_eq!((read.position, read.root, read.check), (Position(6), record(6).root, None));
        assert_eq!((read.store.number, read.store.frame_bytes, read.store.file_bytes), (1, 60, 120));
        // The next one is newer, whatever its version.
        head.write(record(7)).unwrap();
        assert_eq!(reread(&file).unwrap().record(), Some(&record(7)));
    }
}
