//! The keys of one use on disk and in memory: `DATA/keys/<use>/<number>.paserk`.
//!
//! Which key is for what, the recorded facts say ([`KeyHistory`](tenure_core::keys::KeyHistory)); the files hold what the keys
//! are made of. A key's file is written before the event that admits it, so a crash between the two leaves a file that
//! no fact names: the next start removes it. A key's file is removed once all its tokens have stopped working.
//!
//! Readers see the keys through a [`WorkingKeys`], which is swapped whole: no reader waits, and none sees half of a rotation.

use std::{
    fmt::{self, Debug},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use tenure_core::{KeyId, Timestamp, keys::KeyRecord};
use tenure_files::key_files::{
    KeyFileError, WriteHealth, private_directory, read_private, sync_directory, write_private,
};
use tenure_protocol::entropy::Entropy;

/// What a key is made of.
pub(super) trait KeyMaterial: Sized + Debug {
    /// The directory of its kind.
    const DIRECTORY: &str;
    /// The same, below the data directory.
    const NAME: &str;
    /// What a file of its kind must hold.
    const EXPECTED: &str;
    /// A new key.
    fn draw(entropy: &dyn Entropy) -> Self;
    /// The key of a PASERK text.
    fn from_paserk(text: &str) -> Option<Self>;
    /// As PASERK: the key itself, in the clear.
    fn to_paserk(&self) -> Zeroizing<String>;
    /// Its PASERK id, which gives nothing of it away.
    fn id(&self) -> &KeyId;
}

/// A key and its place among the facts: the how many-eth of its use it is.
#[derive(Debug)]
pub(super) struct NumberedKey<K> {
    pub(super) place: u32,
    pub(super) key: Arc<K>,
    /// When it stops opening tokens; `None` for the one that seals.
    retire_at: Option<Timestamp>,
}

/// The keys that work: the one that seals, and those whose tokens still open.
#[derive(Debug)]
pub(super) struct WorkingKeys<K> {
    pub(super) active: NumberedKey<K>,
    retiring: Vec<NumberedKey<K>>,
}

impl<K: KeyMaterial> WorkingKeys<K> {
    /// The key of this id, if its tokens open now.
    pub(super) fn key(&self, id: &str, now: impl Fn() -> Timestamp) -> Option<&NumberedKey<K>> {
        let found = self.all().find(|placed| placed.key.id().as_str() == id)?;
        self.opens(found.place, now).then_some(found)
    }

    /// Whether there is a key of this id.
    pub(super) fn has(&self, id: &str) -> bool {
        self.all().any(|placed| placed.key.id().as_str() == id)
    }

    /// Whether tokens of the key at this place open now. The time matters only for a retiring key.
    pub(super) fn opens(&self, place: u32, now: impl Fn() -> Timestamp) -> bool {
        let is_open = |placed: &NumberedKey<K>| placed.retire_at.is_none_or(|over| now() < over);
        place == self.active.place
            || self.retiring.iter().any(|placed| placed.place == place && is_open(placed))
    }

    /// The ids of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.all().map(|placed| placed.key.id())
    }

    fn all(&self) -> impl Iterator<Item = &NumberedKey<K>> {
        std::iter::once(&self.active).chain(&self.retiring)
    }
}

/// The keys of one use.
pub(super) struct KeyStore<K> {
    directory: PathBuf,
    /// What is on disk. Hold it to change the ring or the files.
    kept: Mutex<Vec<StoredKey<K>>>,
    ring: ArcSwap<WorkingKeys<K>>,
    pub(super) writes: WriteHealth,
}

struct StoredKey<K> {
    number: u32,
    key: Arc<K>,
}

impl<K: KeyMaterial> KeyStore<K> {
    /// Reads the keys below `keys` (`DATA/keys`) that the facts name, and removes all others. Where the facts name
    /// none, the one with the highest number seals, and is made where there is none at all.
    pub(super) fn open(
        keys: &Path,
        known: &[KeyRecord],
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyFileError> {
        let (directory, mut kept) = read_below(keys)?;
        if kept.is_empty() && known.is_empty() {
            kept.push(write(&directory, 1, K::draw(entropy))?);
        }
        refuse_changed(&directory, &kept, known, now)?;
        let ring = ring_of(&kept, known, now).ok_or_else(|| KeyFileError::NoSuchKey {
            path: directory.clone(),
            id: known.last().map_or_else(String::new, |key| key.id.to_string()),
        })?;
        Ok(Self::of(directory, kept, ring, known))
    }

    /// The same where the facts are about to name another key, and no token of those before works any more. The one that
    /// sealed may have been retired in a history that was lost: then one that no fact names stands in for it.
    pub(super) fn open_to_rotate(
        keys: &Path,
        known: &[KeyRecord],
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyFileError> {
        let (directory, mut kept) = read_below::<K>(keys)?;
        let is_there = |key: &KeyRecord| kept.iter().any(|kept| *kept.key.id() == key.id);
        if known.last().is_none_or(is_there) {
            return Self::open(keys, known, now, entropy);
        }
        let number = kept.iter().map(|kept| kept.number).max().unwrap_or(0) + 1;
        let stand_in = write(&directory, number, K::draw(entropy))?;
        let place = u32::try_from(known.len()).expect("no authority has four billion keys");
        let active = NumberedKey { place, key: Arc::clone(&stand_in.key), retire_at: None };
        kept.push(stand_in);
        Ok(Self::of(directory, kept, WorkingKeys { active, retiring: Vec::new() }, known))
    }

    fn of(directory: PathBuf, kept: Vec<StoredKey<K>>, ring: WorkingKeys<K>, known: &[KeyRecord]) -> Self {
        let (ring, writes) = (ArcSwap::from_pointee(ring), WriteHealth::of(K::NAME));
        let store = Self { directory, kept: Mutex::new(kept), ring, writes };
        if !known.is_empty() {
            store.remove_all_but_the_ring(&mut store.kept.lock());
        }
        store
    }

    /// The keys that work.
    pub(super) fn ring(&self) -> Guard<Arc<WorkingKeys<K>>> {
        self.ring.load()
    }

    /// Writes a key that seals from the next fact on. It is durable when this returns, and seals nothing yet.
    pub(super) fn keep(&self, key: K) -> Result<(), KeyFileError> {
        let mut kept = self.kept.lock();
        let number = kept.iter().map(|kept| kept.number).max().unwrap_or(0) + 1;
        let written = write(&self.directory, number, key);
        self.writes.note(written.as_ref().err().map(KeyFileError::cause));
        kept.push(written?);
        Ok(())
    }

    /// Reads the files again: another machine's keys may have been put there.
    pub(super) fn recheck(&self) -> Result<(), KeyFileError> {
        let mut kept = self.kept.lock();
        *kept = read_all(&self.directory)?;
        Ok(())
    }

    /// Lets those keys work that the facts name now. Returns whether the one that seals is there.
    pub(super) fn follow(&self, known: &[KeyRecord], now: Timestamp) -> bool {
        let mut kept = self.kept.lock();
        let Some(ring) = ring_of(&kept, known, now) else { return false };
        self.ring.store(Arc::new(ring));
        self.remove_all_but_the_ring(&mut kept);
        true
    }

    /// Lets the key seal that the facts name, where it came here after its fact. No file is removed: what no fact names
    /// yet may be the next key.
    pub(super) fn catch_up(&self, known: &[KeyRecord], now: Timestamp) {
        let kept = self.kept.lock();
        let is_behind = known.last().is_some_and(|active| active.id != *self.ring().active.key.id());
        if let Some(ring) = ring_of(&kept, known, now).filter(|_| is_behind) {
            self.ring.store(Arc::new(ring));
        }
    }

    /// Removes the keys whose time is over.
    pub(super) fn remove_over(&self, now: Timestamp) {
        let is_over = |placed: &NumberedKey<K>| placed.retire_at.is_some_and(|over| now >= over);
        if !self.ring.load().retiring.iter().any(is_over) {
            return;
        }
        let mut kept = self.kept.lock();
        let ring = self.ring.load_full();
        let copy = |placed: &NumberedKey<K>| NumberedKey {
            place: placed.place,
            key: Arc::clone(&placed.key),
            retire_at: placed.retire_at,
        };
        let over: Vec<_> = ring.retiring.iter().filter(|placed| is_over(placed)).collect();
        let retiring = ring.retiring.iter().filter(|placed| !is_over(placed)).map(copy).collect();
        self.ring.store(Arc::new(WorkingKeys { active: copy(&ring.active), retiring }));
        let is_over = |kept: &StoredKey<K>| over.iter().any(|placed| placed.key.id() == kept.key.id());
        self.remove(&mut kept, is_over);
    }

    fn remove_all_but_the_ring(&self, kept: &mut Vec<StoredKey<K>>) {
        let ring = self.ring.load_full();
        let is_out = |kept: &StoredKey<K>| !ring.all().any(|placed| placed.key.id() == kept.key.id());
        self.remove(kept, is_out);
    }

    /// A file that cannot be removed stays on the list, and is tried again with the next one; it opens nothing.
    fn remove(&self, kept: &mut Vec<StoredKey<K>>, is_out: impl Fn(&StoredKey<K>) -> bool) {
        let before = kept.len();
        kept.retain(|kept| {
            let path = path_of(&self.directory, kept.number);
            let removed = !is_out(kept) || fs::remove_file(&path).is_ok();
            if !removed {
                tracing::warn!(path = %path.display(), "the file of a key that works no more could not be removed");
            }
            !is_out(kept) || !removed
        });
        if kept.len() < before
            && let Err(error) = sync_directory(&self.directory)
        {
            tracing::warn!(%error, "that the file of a key was removed may not outlast a power cut");
        }
    }
}

impl<K: KeyMaterial> Debug for KeyStore<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyStore({:?})", self.ring.load())
    }
}

/// Refuses a key that the facts do not name where one that they name is missing: it was that one before it was damaged.
/// What a crash leaves comes after all named ones.
fn refuse_changed<K: KeyMaterial>(
    directory: &Path,
    kept: &[StoredKey<K>],
    known: &[KeyRecord],
    now: Timestamp,
) -> Result<(), KeyFileError> {
    let is_named = |kept: &&StoredKey<K>| known.iter().any(|key| key.id == *kept.key.id());
    let is_there = |key: &KeyRecord| kept.iter().any(|kept| kept.key.id() == &key.id);
    if known.iter().all(|key| key.is_over(now) || is_there(key)) {
        return Ok(());
    }
    let newest = kept.iter().filter(is_named).map(|kept| kept.number).max().unwrap_or(u32::MAX);
    let changed = kept.iter().find(|kept| !is_named(kept) && kept.number < newest);
    changed.map_or(Ok(()), |changed| {
        let path = path_of(directory, changed.number);
        Err(KeyFileError::Foreign { path, whose: "any key that the log names" })
    })
}

/// The ring that the facts ask for; `None` if the sealing key is missing.
fn ring_of<K: KeyMaterial>(
    kept: &[StoredKey<K>],
    known: &[KeyRecord],
    now: Timestamp,
) -> Option<WorkingKeys<K>> {
    let Some((active, before)) = known.split_last() else {
        let key = Arc::clone(&kept.iter().max_by_key(|kept| kept.number)?.key);
        return Some(WorkingKeys {
            active: NumberedKey { place: 0, key, retire_at: None },
            retiring: Vec::new(),
        });
    };
    let found = |id: &KeyId| kept.iter().find(|kept| kept.key.id() == id).map(|kept| Arc::clone(&kept.key));
    let mut retiring = Vec::new();
    for (place, fact) in (0..).zip(before).filter(|(_, fact)| !fact.is_over(now)) {
        if let Some(key) = found(&fact.id) {
            retiring.push(NumberedKey { place, key, retire_at: fact.retire_at });
        } else {
            // It may have been over by a clock that was ahead.
            tracing::warn!(key = %fact.id, "a retiring key is not there: no token of it works");
        }
    }
    let place = u32::try_from(before.len()).expect("no authority has four billion keys");
    Some(WorkingKeys { active: NumberedKey { place, key: found(&active.id)?, retire_at: None }, retiring })
}

/// The directory of these keys below `keys`, and what is in it. Both are made where they are not there.
fn read_below<K: KeyMaterial>(keys: &Path) -> Result<(PathBuf, Vec<StoredKey<K>>), KeyFileError> {
    private_directory(keys)?;
    let directory = keys.join(K::DIRECTORY);
    private_directory(&directory)?;
    let kept = read_all(&directory)?;
    Ok((directory, kept))
}

/// The keys on disk, by number. What a crash left beside them (`*.tmp`) is none.
fn read_all<K: KeyMaterial>(directory: &Path) -> Result<Vec<StoredKey<K>>, KeyFileError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(KeyFileError::io(directory))? {
        let path = entry.map_err(KeyFileError::io(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "paserk") {
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            let number = number.filter(|number| path_of(directory, *number) == path);
            let number = number.ok_or_else(|| KeyFileError::damaged(&path, "a key, named by its number"))?;
            found.push(StoredKey { number, key: Arc::new(read(&path)?) });
        }
    }
    found.sort_by_key(|kept| kept.number);
    Ok(found)
}

fn read<K: KeyMaterial>(path: &Path) -> Result<K, KeyFileError> {
    let text = read_private(path, K::EXPECTED)?;
    text.and_then(|text| K::from_paserk(&text)).ok_or_else(|| KeyFileError::damaged(path, K::EXPECTED))
}

fn write<K: KeyMaterial>(directory: &Path, number: u32, key: K) -> Result<StoredKey<K>, KeyFileError> {
    write_private(&path_of(directory, number), &key.to_paserk())?;
    Ok(StoredKey { number, key: Arc::new(key) })
}

fn path_of(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:04}.paserk"))
}
