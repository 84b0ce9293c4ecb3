//! The keys of all subjects: in memory for use, in `DATA/keys/subjects` to last.

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::{HashMap, hash_map::Entry};
use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
use zeroize::Zeroizing;

use super::{
    key_disk::KeyDisk,
    key_slots::{HEADER, KeySlot, PAGE_SLOTS, SLOT, SlotBytes, SlotError, StreamTag},
    seal::SubjectKey,
};
use tenure_core::{Position, SealedText, StreamId};
use tenure_files::key_files::{KeyFileError, WriteHealth, open_private, private_directory, sync_directory};
use tenure_protocol::entropy::Entropy;

const EXPECTED: &str = "the keys of subjects";

/// Why a text cannot be sealed or forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TextError {
    /// There is no space for a new key. Nothing was changed; it may succeed later.
    #[error("{path}: {source}", path = path.display())]
    Full {
        /// The file of keys.
        path: PathBuf,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
    /// Writing or syncing failed, and what the disk holds is unknown. No key is made or forgotten again
    /// before a restart; the keys in memory go on working.
    #[error("{path}: {source}; nothing more is written to it before a restart", path = path.display())]
    Failed {
        /// The file of keys.
        path: PathBuf,
        /// What the operating system says.
        source: Arc<io::Error>,
    },
}

/// The keys that texts about people are sealed under. Shared by all threads.
///
/// What needs a new key, or forgets one, waits for the disk: not to be called from an async task then.
pub struct SubjectKeys {
    path: PathBuf,
    disk: Box<dyn KeyDisk>,
    live: RwLock<HashMap<StreamTag, SlottedKey>>,
    /// Whose keys were destroyed, and for which event the latest.
    forgotten: RwLock<HashMap<StreamTag, Position>>,
    /// How often one was, since the start.
    forgettings: AtomicU64,
    /// All erasures up to this position are done in the file.
    erased_through: AtomicU64,
    queue: Mutex<WriteQueue>,
    turn: Condvar,
    writes: WriteHealth,
}

#[derive(Clone)]
struct SlottedKey {
    number: u64,
    key: SubjectKey,
}

/// Who waits to write, and where.
#[derive(Default)]
struct WriteQueue {
    /// New keys in the order of their requests; the first ones are being written while `writing`.
    new: Vec<(StreamTag, SubjectKey)>,
    /// A thread is writing, without holding the lock.
    writing: bool,
    /// The first free slot.
    end: u64,
    /// How many writes failed, and why the latest did.
    failures: u64,
    failure: Option<TextError>,
}

impl TextError {
    /// What the operating system says, without the path.
    fn cause(&self) -> String {
        match self {
            Self::Full { source, .. } => source.to_string(),
            Self::Failed { source, .. } => {
                format!("{source}; nothing more is written to it before a restart")
            }
        }
    }
}

impl SubjectKeys {
    /// The file's name in `DATA/keys`.
    pub const FILE: &str = "subjects";

    /// Reads the keys below `keys` (`DATA/keys`); makes the file where there is none.
    ///
    /// A slot that a power cut left unfinished at the end is cut off: its key was never acknowledged. Any other
    /// slot that cannot be read is an error that names it.
    pub fn open(keys: &Path) -> Result<Self, KeyFileError> {
        private_directory(keys)?;
        let path = keys.join(Self::FILE);
        let file = open_private(&path)?;
        let (live, forgotten, end) = load(&path, &file)?;
        Ok(Self { forgotten: RwLock::new(forgotten), ..Self::of(path, Box::new(file), live, end) })
    }

    /// The stream's key, made when it has none. A new key is durable when this returns: no text is ever
    /// sealed under a key that a crash can take away. Threads that come together share a sync.
    pub fn key_for(&self, stream: &StreamId, entropy: &dyn Entropy) -> Result<SubjectKey, TextError> {
        let tag = StreamTag::of(stream);
        if let Some(key) = self.in_memory(tag) {
            return Ok(key);
        }
        let mut queue = self.queue.lock();
        let failures_before = queue.failures;
        loop {
            if let Some(key) = self.in_memory(tag) {
                return Ok(key);
            }
            // Not queued: just come, failed with its batch, or made and at once forgotten by another thread.
            if !queue.holds(tag) {
                queue.refuse_if_failed(failures_before)?;
                queue.new.push((tag, SubjectKey::draw(entropy)));
            }
            // A caller who finds no one writing writes for all.
            if queue.writing {
                self.turn.wait(&mut queue);
            } else {
                self.write_batch(&mut queue);
            }
        }
    }

    /// The mark that distinguishes this file from that of any other log; `None` if it has none. The mark is made of
    /// the key of the system's stream, which is never destroyed, and reveals nothing of that key.
    pub fn mark(&self) -> Option<String> {
        self.get(&StreamId::System).map(|key| key.mark())
    }

    /// The same, made where there is none.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn mark_made(&self, entropy: &dyn Entropy) -> Result<String, TextError> {
        self.key_for(&StreamId::System, entropy).map(|key| key.mark())
    }

    /// How the writing of the file has been going.
    pub fn writes(&self) -> &WriteHealth {
        &self.writes
    }

    /// The stream's key, when it has one.
    pub fn get(&self, stream: &StreamId) -> Option<SubjectKey> {
        self.in_memory(StreamTag::of(stream))
    }

    /// Whether the stream's key was destroyed, and none was made since: nothing of it can be read.
    pub fn is_forgotten(&self, stream: &StreamId) -> bool {
        let tag = StreamTag::of(stream);
        self.in_memory(tag).is_none() && self.forgotten.read().contains_key(&tag)
    }

    /// Whether the key that the stream had at this position was destroyed for the event there, or a later one.
    pub fn was_forgotten_at(&self, stream: &StreamId, erased: Position) -> bool {
        self.forgotten.read().get(&StreamTag::of(stream)).is_some_and(|latest| *latest >= erased)
    }

    /// For which event the stream's key was last destroyed.
    pub fn forgotten_by(&self, stream: &StreamId) -> Option<Position> {
        self.forgotten.read().get(&StreamTag::of(stream)).copied()
    }

    /// How often a key was destroyed since the start. A cache of an opened text keeps this with it.
    pub fn forgettings(&self) -> u64 {
        self.forgettings.load(Ordering::Acquire)
    }

    /// All erasures up to this position are done in this file. It is the position of one, or zero.
    pub fn erased_through(&self) -> Position {
        Position(self.erased_through.load(Ordering::Acquire))
    }

    /// From now on that is so.
    pub fn has_erased_through(&self, position: Position) {
        self.erased_through.fetch_max(position.0, Ordering::AcqRel);
    }

    /// The whole file as it would be written now: every key, and the mark of every destroyed one. During its
    /// destruction a key is present as itself or as its mark, never as neither.
    pub fn written(&self) -> Zeroizing<Vec<u8>> {
        let mut queue = self.queue.lock();
        while queue.writing {
            self.turn.wait(&mut queue);
        }
        let (live, forgotten) = (self.live.read(), self.forgotten.read());
        let keys = live.iter().map(|(tag, held)| KeySlot::Live(*tag, held.key.clone()));
        let marks = forgotten.iter().map(|(tag, erased)| KeySlot::Forgotten(*tag, *erased));
        file_of(keys.chain(marks), live.len() + forgotten.len())
    }

    /// A file of keys with the marks of erasures beyond a position set back to it. The restored history ends
    /// there; an erasure of that history at a later position must not seem to be done.
    pub fn with_marks_cut(bytes: &[u8], end: Position) -> Option<Zeroizing<Vec<u8>>> {
        let mut slots = Vec::new();
        for (number, slot) in (0..).zip(bytes.chunks_exact(HEADER.len())).skip(1) {
            slots.push(match KeySlot::decode(number, slot.try_into().ok()?) {
                Ok(KeySlot::Forgotten(tag, erased)) => KeySlot::Forgotten(tag, erased.min(end)),
                Ok(live @ KeySlot::Live(..)) => live,
                // What a crash left there was never a key.
                Err(SlotError::Unfinished) if is_in_last_page(number, bytes.len() as u64) => break,
                Err(SlotError::Unfinished | SlotError::Damaged) => return None,
            });
        }
        let count = slots.len();
        bytes.starts_with(&HEADER).then(|| file_of(slots.into_iter(), count))
    }

    /// Destroys the stream's key for the event at this position; all texts sealed under it are unreadable from then
    /// on. A stream without a key gets a mark all the same, so that the next start does not mistake a later key for
    /// the one it should destroy. A later [`SubjectKeys::key_for`] makes a new key.
    ///
    /// The key is overwritten where it is. Copies that a file system or a disk keeps (snapshots, spare
    /// blocks), and backups of this file, are out of reach.
    ///
    /// # Errors
    /// The disk does not do it. The key is gone from memory all the same.
    pub fn forget(&self, stream: &StreamId, erased: Position) -> Result<(), TextError> {
        let tag = StreamTag::of(stream);
        let mut queue = self.queue.lock();
        while queue.writing || queue.holds(tag) {
            self.turn.wait(&mut queue);
        }
        let held = self.live.write().remove(&tag);
        self.forgettings.fetch_add(1, Ordering::Release);
        queue.refuse_if_failed(queue.failures)?;
        let slot = KeySlot::Forgotten(tag, erased);
        let end = queue.end;
        queue.writing = true;
        let done = MutexGuard::unlocked(&mut queue, || match held {
            Some(held) => self.overwrite(held.number, &slot),
            None => self.append(end, &[slot]),
        });
        queue.writing = false;
        self.writes.note(done.as_ref().err().map(TextError::cause));
        match &done {
            Err(error) => queue.fail(error.clone()),
            Ok(added) => {
                queue.end += added;
                self.forgotten.write().insert(tag, erased);
            }
        }
        self.turn.notify_all();
        done.map(drop)
    }

    /// Seals a text about the stream's subject, making its key when it has none.
    pub fn seal(
        &self,
        stream: &StreamId,
        field: &'static str,
        text: &str,
        entropy: &dyn Entropy,
    ) -> Result<SealedText, TextError> {
        Ok(self.key_for(stream, entropy)?.seal(field, text))
    }

    /// The text; `None` if it was sealed under a lost key, or is damaged.
    pub fn open_text(&self, stream: &StreamId, field: &'static str, sealed: &SealedText) -> Option<String> {
        self.get(stream)?.open(field, sealed)
    }

    fn of(path: PathBuf, disk: Box<dyn KeyDisk>, live: HashMap<StreamTag, SlottedKey>, end: u64) -> Self {
        let queue = Mutex::new(WriteQueue { end, ..WriteQueue::default() });
        let (live, forgotten) = (RwLock::new(live), RwLock::default());
        let (forgettings, turn) = (AtomicU64::new(0), Condvar::new());
        let erased_through = AtomicU64::new(0);
        Self {
            path,
            disk,
            live,
            forgotten,
            forgettings,
            erased_through,
            queue,
            turn,
            writes: WriteHealth::of("keys/subjects"),
        }
    }

    fn in_memory(&self, tag: StreamTag) -> Option<SubjectKey> {
        self.live.read().get(&tag).map(|held| held.key.clone())
    }

    /// Writes the first of the queue, as many as the page has room for (see `slots`).
    fn write_batch(&self, queue: &mut MutexGuard<'_, WriteQueue>) {
        let first = queue.end;
        let room = usize::try_from(PAGE_SLOTS - first % PAGE_SLOTS).unwrap_or(1);
        let batch: Vec<_> = queue.new.iter().take(room).cloned().collect();
        let slots: Vec<_> = batch.iter().map(|(tag, key)| KeySlot::Live(*tag, key.clone())).collect();
        queue.writing = true;
        let done = MutexGuard::unlocked(queue, || self.append(first, &slots));
        queue.writing = false;
        self.writes.note(done.as_ref().err().map(TextError::cause));
        queue.new.drain(..batch.len());
        if let Err(error) = done {
            queue.fail(error);
        } else {
            queue.end += batch.len() as u64;
            let held = (first..).zip(batch).map(|(number, (tag, key))| (tag, SlottedKey { number, key }));
            self.live.write().extend(held);
        }
        self.turn.notify_all();
    }

    /// Adds slots behind the last one, and says how many.
    fn append(&self, first: u64, slots: &[KeySlot]) -> Result<u64, TextError> {
        let bytes: Vec<u8> = (first..).zip(slots).flat_map(|(number, slot)| slot.encode(number)).collect();
        let bytes = zeroize::Zeroizing::new(bytes);
        if let Err(error) = self.disk.write_all_at(&bytes, first * SLOT) {
            return Err(self.take_back(first, error));
        }
        self.disk.sync().map_err(|error| self.failed(error))?;
        Ok(slots.len() as u64)
    }

    /// Cuts off what a failed write may have left. Only a full disk, or want of memory, passes.
    fn take_back(&self, first: u64, error: io::Error) -> TextError {
        let passes = matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::OutOfMemory
        );
        match self.disk.truncate(first * SLOT) {
            Ok(()) if passes => TextError::Full { path: self.path.clone(), source: Arc::new(error) },
            Ok(()) | Err(_) => self.failed(error),
        }
    }

    /// Replaces a slot: none is added.
    fn overwrite(&self, number: u64, slot: &KeySlot) -> Result<u64, TextError> {
        let written = self.disk.write_all_at(&slot.encode(number), number * SLOT);
        written.and_then(|()| self.disk.sync()).map_err(|error| self.failed(error))?;
        Ok(0)
    }

    pub(super) fn failed(&self, error: io::Error) -> TextError {
        TextError::Failed { path: self.path.clone(), source: Arc::new(error) }
    }
}

impl fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubjectKeys({} at {})", self.live.read().len(), self.path.display())
    }
}

impl WriteQueue {
    fn holds(&self, tag: StreamTag) -> bool {
        self.new.iter().any(|(queued, _)| *queued == tag)
    }

    /// Fails when a write failed after the first `before` failures, or when any failure left it unknown what
    /// the disk holds: nothing more is promised then.
    fn refuse_if_failed(&self, before: u64) -> Result<(), TextError> {
        match &self.failure {
            Some(failed @ TextError::Failed { .. }) => Err(failed.clone()),
            Some(full @ TextError::Full { .. }) if self.failures > before => Err(full.clone()),
            Some(TextError::Full { .. }) | None => Ok(()),
        }
    }

    fn fail(&mut self, error: TextError) {
        if matches!(error, TextError::Failed { .. }) {
            self.new.clear();
        }
        self.failures += 1;
        self.failure = Some(error);
    }
}

/// The bytes of a file with these slots.
fn file_of(slots: impl Iterator<Item = KeySlot>, count: usize) -> Zeroizing<Vec<u8>> {
    // It must not grow: what is left behind would not be overwritten.
    let mut bytes = Zeroizing::new(Vec::with_capacity((count + 1) * HEADER.len()));
    bytes.extend_from_slice(&HEADER);
    for (number, slot) in (1..).zip(slots) {
        bytes.extend_from_slice(&slot.encode(number));
    }
    bytes
}

/// What the file holds: the live keys, whose were destroyed, and the first free slot.
type LoadedKeys = (HashMap<StreamTag, SlottedKey>, HashMap<StreamTag, Position>, u64);

/// Reads the whole file.
fn load(path: &Path, file: &File) -> Result<LoadedKeys, KeyFileError> {
    let length = file.metadata().map_err(KeyFileError::io(path))?.len();
    let mut reader = BufReader::with_capacity(1 << 16, file);
    if !read_header(path, &mut reader, length)? {
        write_header(path, file)?;
        return Ok((HashMap::new(), HashMap::new(), 1));
    }
    let (mut live, mut forgotten) = (HashMap::new(), HashMap::<StreamTag, Position>::new());
    let end = length / SLOT;
    let mut bytes: SlotBytes = HEADER;
    for number in 1..end {
        reader.read_exact(&mut bytes).map_err(KeyFileError::io(path))?;
        match KeySlot::decode(number, &bytes) {
            Ok(KeySlot::Live(tag, key)) => match live.entry(tag) {
                Entry::Vacant(place) => _ = place.insert(SlottedKey { number, key }),
                // Two keys of one subject: half of its texts would not open. We never write that.
                Entry::Occupied(_) => return Err(damaged_slot(path, number)),
            },
            Ok(KeySlot::Forgotten(tag, erased)) => {
                let latest = forgotten.entry(tag).or_insert(erased);
                *latest = erased.max(*latest);
            }
            Err(SlotError::Unfinished) if is_in_last_page(number, length) => {
                return cut(path, file, number).map(|()| (live, forgotten, number));
            }
            Err(SlotError::Unfinished | SlotError::Damaged) => return Err(damaged_slot(path, number)),
        }
    }
    if length != end * SLOT {
        cut(path, file, end)?;
    }
    Ok((live, forgotten, end))
}

/// Whether the file has its header. A new file has no header; nor has one whose beginning a crash took away before
/// the first key was made.
fn read_header(path: &Path, reader: &mut impl Read, length: u64) -> Result<bool, KeyFileError> {
    let mut header = Vec::new();
    reader.take(SLOT).read_to_end(&mut header).map_err(KeyFileError::io(path))?;
    if header == HEADER {
        return Ok(true);
    }
    let begun = HEADER.starts_with(&header) || header.iter().all(|byte| *byte == 0);
    if length <= SLOT && begun { Ok(false) } else { Err(KeyFileError::damaged(path, EXPECTED)) }
}

fn write_header(path: &Path, file: &File) -> Result<(), KeyFileError> {
    KeyDisk::write_all_at(file, &HEADER, 0).and_then(|()| file.sync_all()).map_err(KeyFileError::io(path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn is_in_last_page(number: u64, length: u64) -> bool {
    number / PAGE_SLOTS == (length - 1) / (PAGE_SLOTS * SLOT)
}

fn cut(path: &Path, file: &File, number: u64) -> Result<(), KeyFileError> {
    tracing::warn!(path = %path.display(), slot = number, "cut off what a crash left of an unfinished key");
    file.truncate(number * SLOT).and_then(|()| file.sync()).map_err(KeyFileError::io(path))
}

fn damaged_slot(path: &Path, number: u64) -> KeyFileError {
    KeyFileError::DamagedSlot { path: path.to_owned(), slot: number, offset: number * SLOT }
}

mod follower_copy;
#[cfg(test)]
mod tests;
