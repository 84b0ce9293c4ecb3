//! When API keys were last used: to the full hour, in memory, and in a file of its own. It is not a fact in the log: a
//! call by a key records no event.
//!
//! The file, `credentials.used`, begins with the digest of what follows (BLAKE3, hexadecimal): a line for each key, with
//! its id, a blank, and the hour in milliseconds since 1970. It is written when an hour has changed, so a crash forgets
//! a second of uses at most. Nothing is decided by it, so a missing or damaged one is begun again.

use std::{
    cmp::Reverse,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hashbrown::HashMap;
use parking_lot::RwLock;

use tenure_core::{CredentialId, Timestamp};
use tenure_files::replacement::{self, PUBLIC};

const FILE: &str = "credentials.used";
const HOUR: i64 = 3_600_000;

/// The hours in which API keys were last used.
#[derive(Default)]
pub(crate) struct KeyUses {
    hours: RwLock<HashMap<CredentialId, Timestamp>>,
    is_unsaved: AtomicBool,
    /// How often one of them has changed.
    changes: AtomicU64,
    file: OnceLock<PathBuf>,
}

impl KeyUses {
    /// Reads what was saved in this directory, and saves there from now on.
    pub(crate) fn open(&self, data: &Path) {
        let path = data.join(FILE);
        match fs::read(&path).map(|bytes| read(&bytes)) {
            Ok(Some(hours)) => self.hours.write().extend(hours),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(None) | Err(_) => {
                let path = path.display();
                tracing::warn!(%path, "damaged or unreadable: when API keys were last used is begun again");
            }
        }
        // A second one would be a bug, and the first file serves as well.
        let _ = self.file.set(path);
    }

    /// Notes a use.
    pub(crate) fn note(&self, id: CredentialId, now: Timestamp) {
        let hour = Timestamp::from_millis(now.as_millis().div_euclid(HOUR) * HOUR);
        if self.hour_of(id).is_none_or(|known| known < hour) {
            let mut hours = self.hours.write();
            let latest = hours.entry(id).or_insert(hour);
            *latest = hour.max(*latest);
            self.is_unsaved.store(true, Ordering::Release);
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// How often one of the hours has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The latest hours, up to so many.
    pub(crate) fn latest(&self, most: usize) -> Vec<(CredentialId, Timestamp)> {
        let mut hours: Vec<_> = self.hours.read().iter().map(|(id, hour)| (*id, *hour)).collect();
        hours.sort_unstable_by_key(|(id, hour)| (Reverse(*hour), *id));
        hours.truncate(most);
        hours
    }

    /// The full hour before the last use.
    pub(crate) fn hour_of(&self, id: CredentialId) -> Option<Timestamp> {
        self.hours.read().get(&id).copied()
    }

    /// Saves what has changed since the last time.
    pub(crate) fn save(&self) -> io::Result<()> {
        let Some(path) = self.file.get() else { return Ok(()) };
        if !self.is_unsaved.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let saved = write(path, &self.lines());
        if saved.is_err() {
            self.is_unsaved.store(true, Ordering::Release);
        }
        saved
    }

    fn lines(&self) -> String {
        let hours = self.hours.read();
        let mut lines: Vec<_> =
            hours.iter().map(|(id, hour)| format!("{id} {}\n", hour.as_millis())).collect();
        lines.sort_unstable();
        lines.concat()
    }
}

/// What was saved; `None` for a damaged file.
fn read(bytes: &[u8]) -> Option<Vec<(CredentialId, Timestamp)>> {
    let (digest, lines) = str::from_utf8(bytes).ok()?.split_once('\n')?;
    let is_whole = blake3::hash(lines.as_bytes()).to_hex().as_str() == digest;
    is_whole.then(|| lines.lines().map(read_line).collect())?
}

fn read_line(line: &str) -> Option<(CredentialId, Timestamp)> {
    let (id, hour) = line.split_once(' ')?;
    Some((id.parse().ok()?, hour.parse().ok().map(Timestamp::from_millis)?))
}

fn write(path: &Path, lines: &str) -> io::Result<()> {
    let digest = blake3::hash(lines.as_bytes()).to_hex();
    replacement::replace(path, ".new", PUBLIC, format!("{digest}\n{lines}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: CredentialId = CredentialId::from_bytes([7; 16]);

    #[test]
    fn a_use_is_known_by_its_full_hour_also_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let uses = KeyUses::default();
        uses.open(data.path());
        assert_eq!(uses.hour_of(ID), None);
        for at in [HOUR + 1, 2 * HOUR - 1, 3 * HOUR, HOUR] {
            uses.note(ID, Timestamp::from_millis(at));
            uses.save().unwrap();
        }
        let again = KeyUses::default();
        again.open(data.path());
        assert_eq!(again.hour_of(ID), Some(Timestamp::from_millis(3 * HOUR)));
    }

    #[test]
    fn an_hour_is_written_once() {
        let data = tempfile::tempdir().unwrap();
        let uses = KeyUses::default();
        uses.open(data.path());
        uses.note(ID, Timestamp::from_millis(1));
        uses.save().unwrap();
        fs::remove_file(data.path().join(FILE)).unwrap();
        uses.note(ID, Timestamp::from_millis(HOUR - 1));
        uses.save().unwrap();
        assert!(!data.path().join(FILE).exists());
    }

    #[test]
    fn a_file_with_one_flipped_byte_is_begun_again() {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(FILE);
        let saved = |at: i64| {
            let uses = KeyUses::default();
            uses.open(data.path());
            let found = uses.hour_of(ID);
            uses.note(ID, Timestamp::from_millis(at));
            uses.save().unwrap();
            (found, fs::read(&path).unwrap())
        };
        let (_, good) = saved(HOUR);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(saved(HOUR), (None, good.clone()), "byte {place}");
        }
        assert_eq!(saved(HOUR).0, Some(Timestamp::from_millis(HOUR)));
    }
}
