//! Where signed heads are kept: in the data directory, and in a further file that must not share its fate.
//!
//! In the data directory the newest head replaces the one before. The further file, `audit.head_file`, is only ever
//! appended to, so that storage which takes nothing back will do; each head begins with an empty line, so that one
//! which a crash cut short spoils no other. The last whole head of the file counts. That heads are in it is noted in the
//! data directory, so that a start notices when it is gone.
//!
//! Beside the newest head stands a *trail* of some of the earlier ones, for exports: a forged record can only be named
//! between two heads. A head joins the trail when it covers a sixty-fourth more than the one before, 256 events more at
//! the most, so that a short history has a dense trail, and a long one pays one byte of it for each event.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use tenure_core::Position;
use tenure_files::replacement::{self, PUBLIC, directory_of, sync_directory};
use tenure_log::RootHash;

use super::{key::VerifierKey, note::NoteError, signed_head::SignedHead, trusted_heads::heads_in};
use crate::verify::VerifiedExport;

/// The file in the data directory.
pub(crate) const FILE: &str = "head.note";
/// The key that the heads of an imported history were checked with.
pub(crate) const VERIFIER_KEY: &str = "head.vkey";
/// Which further file this log has appended heads to.
const FURTHER: &str = "head.further";
/// The trail beside it.
const TRAIL: &str = "heads.notes";
/// Maximum distance between heads of the trail, in events, provided that heads were signed as often.
const APART: u64 = 256;
/// Where the history is short, by such a part of it.
const PART: u64 = 64;
/// How many bytes at the end of a further file are searched for its last head.
const TAIL: u64 = 64 * 1024;

/// Why a kept head cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadStoreError {
    /// The operating system says no.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// What is in the file is not a head that our key has signed.
    #[error("{path}: {source}; put the file back as it was, or the head key that belongs to it", path = path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: NoteError,
    },
    /// There is something in the further file, and no head.
    #[error("{path} holds no signed head; audit.head_file must name a file of its own", path = path.display())]
    NoHead {
        /// The file.
        path: PathBuf,
    },
    /// The further file was there, and is gone.
    #[error(
        "{path} is missing or empty, and this log has appended its signed heads there: mount its disk, or put the file \
         back. To go on without it, let audit.head_file name another file",
        path = path.display()
    )]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// The further file would be lost, and put back, with the data directory.
    #[error(
        "{path} is in the data directory; audit.head_file must name a file outside of it, \
         where an older copy of the directory does not bring an older head with it",
        path = path.display()
    )]
    Inside {
        /// The file.
        path: PathBuf,
    },
}

/// The further file of heads that the log of this data directory was last appended to with; `None` if there is none.
pub fn further_head_file(data: &Path) -> Option<PathBuf> {
    let noted = fs::read_to_string(data.join(FURTHER)).ok()?;
    Some(noted.trim_end_matches('\n').into()).filter(|path: &PathBuf| path.is_absolute())
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> HeadStoreError + '_ {
    |source| HeadStoreError::Io { path: path.to_owned(), source }
}

/// The places in which each signed head is kept before it is shown.
#[derive(Debug)]
pub(crate) struct HeadStore {
    data: PathBuf,
    further: Option<PathBuf>,
    /// Whether heads of this log were appended to the further file before: then it is there, or something is wrong.
    has_further: AtomicBool,
    /// The size of the last head of the trail.
    trailed: AtomicU64,
}

impl HeadStore {
    /// Looks whether the further file is where it is of use. Writes nothing.
    pub(crate) fn new(data: &Path, further: Option<PathBuf>) -> Result<Self, HeadStoreError> {
        if let Some(path) = &further {
            let directory = directory_of(path).canonicalize().map_err(io(path))?;
            if directory.starts_with(data.canonicalize().map_err(io(data))?) {
                return Err(HeadStoreError::Inside { path: path.clone() });
            }
        }
        let mut kept =
            Self { data: data.to_owned(), further, has_further: false.into(), trailed: AtomicU64::new(0) };
        kept.expect_further()?;
        Ok(kept)
    }

    /// A further file that heads were appended to must still be there: the disk that it is on may not be mounted.
    fn expect_further(&mut self) -> Result<(), HeadStoreError> {
        let Some(path) = &self.further else { return Ok(()) };
        let noted = self.data.join(FURTHER);
        let known = read_if_there(&noted).map_err(io(&noted))?;
        let place = absolute(path).map_err(io(path))?;
        let is_known = known.is_some_and(|known| known == place);
        let is_there = fs::metadata(path).is_ok_and(|file| file.len() > 0);
        if is_known && !is_there {
            return Err(HeadStoreError::Vanished { path: path.clone() });
        }
        self.has_further = is_known.into();
        Ok(())
    }

    /// The last head of each place that has one, with the file that it is in.
    pub(crate) fn read(
        &self,
        key: &VerifierKey,
        former: &[(String, Position)],
    ) -> Result<Vec<(PathBuf, SignedHead)>, HeadStoreError> {
        let own = self.data.join(FILE);
        let mut found = Vec::new();
        if let Some(note) = read_if_there(&own).map_err(io(&own))? {
            found.push((own, note));
        }
        if let Some(path) = &self.further
            && let Some(text) = read_tail(path).map_err(io(path))?
        {
            match last_note(&text, key.name()) {
                Some(note) => found.push((path.clone(), note)),
                // One that was only ever appended to in earlier epochs.
                None if former.iter().any(|(name, _)| last_note(&text, name).is_some()) => {}
                // So long ago that it is not searched for that: an epoch that was lost signed on there.
                None if names_any(path, former).map_err(io(path))? => {}
                None => return Err(HeadStoreError::NoHead { path: path.clone() }),
            }
        }
        let trail = self.data.join(TRAIL);
        // One that holds no whole head was begun by a crash, and says nothing.
        if let Some(text) = read_tail(&trail).map_err(io(&trail))?
            && let Some(note) = last_note(&text, key.name())
        {
            found.push((trail, note));
        }
        let opened = found.into_iter().map(|(path, note)| match SignedHead::open(&note, key) {
            Ok(head) => Ok((path, head)),
            Err(source) => Err(HeadStoreError::Note { path, source }),
        });
        let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
        let trailed = opened.iter().filter(|(path, _)| path.ends_with(TRAIL)).map(|(_, head)| head.size);
        self.trailed.fetch_max(trailed.max().unwrap_or_default(), Ordering::Relaxed);
        Ok(opened)
    }

    /// What the further file states of earlier epochs, as far as this history shares it: a file, a size and a root. Of
    /// what came after the fork nothing is here to be compared.
    pub(crate) fn former(
        &self,
        former: &[(String, Position)],
    ) -> Result<Vec<(PathBuf, u64, RootHash)>, HeadStoreError> {
        let Some(path) = &self.further else { return Ok(vec![]) };
        let Some(text) = read_tail(path).map_err(io(path))? else { return Ok(vec![]) };
        let last = former.iter().filter_map(|(name, from)| {
            let (size, root) = SignedHead::stated(&last_note(&text, name)?)?;
            (size <= from.0).then(|| (path.clone(), size, root))
        });
        Ok(last.collect())
    }

    /// Keeps a head everywhere; it is durable when this returns.
    pub(crate) fn keep(&self, head: &SignedHead) -> Result<(), HeadStoreError> {
        let own = self.data.join(FILE);
        replace(&own, head.note()).map_err(io(&own))?;
        self.keep_further(head)?;
        self.keep_in_trail(head)
    }

    fn keep_in_trail(&self, head: &SignedHead) -> Result<(), HeadStoreError> {
        let before = self.trailed.load(Ordering::Relaxed);
        if head.size < before + (before / PART).clamp(1, APART) {
            return Ok(());
        }
        let path = self.data.join(TRAIL);
        append(&path, head.note()).map_err(io(&path))?;
        self.trailed.store(head.size, Ordering::Relaxed);
        Ok(())
    }

    /// The heads of the trail, ascending, each size once.
    pub(crate) fn trail(&self, key: &VerifierKey) -> Result<Vec<SignedHead>, HeadStoreError> {
        let path = self.data.join(TRAIL);
        let text = read_if_there(&path).map_err(io(&path))?.unwrap_or_default();
        let mut heads = heads_in(&text, key);
        heads.dedup_by_key(|head| head.size);
        Ok(heads)
    }

    /// Keeps a head in the further file only.
    pub(crate) fn keep_further(&self, head: &SignedHead) -> Result<(), HeadStoreError> {
        let Some(path) = &self.further else { return Ok(()) };
        if self.has_further.load(Ordering::Relaxed) {
            // A new file here would hide that the one with all heads before is gone.
            return append_to(path, head.note(), false).map_err(io(path));
        }
        append(path, head.note()).map_err(io(path))?;
        let noted = self.data.join(FURTHER);
        replace(&noted, &absolute(path).map_err(io(path))?).map_err(io(&noted))?;
        self.has_further.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Keeps the heads of a history that was imported, and the key that they were checked with.
pub(crate) fn adopt(data: &Path, verdict: &VerifiedExport) -> io::Result<()> {
    for head in &verdict.earlier {
        append(&data.join(TRAIL), head.note())?;
    }
    replace(&data.join(FILE), &verdict.signed_head)?;
    replace(&data.join(VERIFIER_KEY), &format!("{}\n", verdict.verifier_key))
}

/// A path as it is noted: from the root on, whatever directory the process is started in.
fn absolute(path: &Path) -> io::Result<String> {
    let directory = directory_of(path).canonicalize()?;
    Ok(directory.join(path.file_name().unwrap_or_default()).display().to_string())
}

fn read_if_there(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        // Bytes other than text are not a note, and are reported as such.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The end of a file; `None` if it is missing or empty.
fn read_tail(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether a file holds a head under one of these names, wherever it is.
fn names_any(path: &Path, former: &[(String, Position)]) -> io::Result<bool> {
    let is_one = |line: &[u8]| former.iter().any(|(name, _)| name.as_bytes() == line);
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        if is_one(&line?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The last note in a text whose first line is the log's name. What follows its last signature line is a head that
/// was cut short, and no one has seen that one.
fn last_note(text: &str, name: &str) -> Option<String> {
    let signature = text.rfind("\n\n— ")?;
    let signed = &text[signature + 2..];
    let Some(line) = signed.find('\n') else {
        return last_note(&text[..signature], name);
    };
    // Later signatures, of witnesses, belong to it.
    let end = signed[line + 1..]
        .split_inclusive('\n')
        .take_while(|line| line.starts_with("— ") && line.ends_with('\n'));
    let end = signature + 2 + line + 1 + end.map(str::len).sum::<usize>();
    let first_line = format!("{name}\n");
    let start = text[..signature].rfind(&format!("\n{first_line}")).map(|at| at + 1);
    let start = start.or_else(|| text.starts_with(&first_line).then_some(0))?;
    Some(text[start..end].to_owned())
}

fn replace(path: &Path, note: &str) -> io::Result<()> {
    replacement::replace(path, ".new", PUBLIC, note.as_bytes())
}

fn append(path: &Path, note: &str) -> io::Result<()> {
    append_to(path, note, true)
}

fn append_to(path: &Path, note: &str, may_make: bool) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().append(true).create(may_make).open(path)?;
    file.write_all(format!("\n{note}").as_bytes())?;
    file.sync_all()?;
    if is_new { sync_directory(directory_of(path)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadKey;
    use tenure_protocol::entropy::SeededEntropy;

    fn key() -> HeadKey {
        HeadKey::draw(&SeededEntropy::new(1))
    }

    fn head(size: u64) -> SignedHead {
        SignedHead::sign(size, RootHash::from_bytes([7; 32]), &key())
    }

    fn kept(dir: &Path) -> HeadStore {
        fs::create_dir_all(dir.join("data")).unwrap();
        HeadStore::new(&dir.join("data"), Some(dir.join("heads"))).unwrap()
    }

    fn sizes(kept: &HeadStore) -> Vec<u64> {
        kept.read(key().verifier(), &[]).unwrap().into_iter().map(|(_, head)| head.size).collect()
    }

    #[test]
    fn the_last_head_is_read_back_from_both_places() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        assert_eq!(sizes(&kept), [0; 0]);
        // More than is searched.
        let many: Vec<_> =
            (1..1_000).flat_map(|size| ["\n".to_owned(), head(size).note().to_owned()]).collect();
        fs::write(dir.path().join("heads"), many.concat()).unwrap();
        for size in 1_000..1_010 {
            kept.keep(&head(size)).unwrap();
            assert_eq!(sizes(&kept)[..2], [size, size]);
        }
    }

    /// A second restore of the same backup was refused, as if the file held no heads at all.
    #[test]
    fn a_file_to_which_an_epoch_that_was_lost_has_appended_much_still_holds_those_before() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, lost) = (kept(dir.path()), HeadKey::draw(&SeededEntropy::new(2)));
        let much = (8..1_000).map(|size| SignedHead::sign(size, RootHash::from_bytes([8; 32]), &lost));
        let all = std::iter::once(head(7)).chain(much);
        let notes: Vec<_> = all.flat_map(|head| ["\n".to_owned(), head.note().to_owned()]).collect();
        fs::write(dir.path().join("heads"), notes.concat()).unwrap();
        let next = HeadKey::draw(&SeededEntropy::new(3));
        let former = [(key().verifier().name().to_owned(), Position(7))];
        assert!(kept.read(next.verifier(), &former).unwrap().is_empty());
        assert!(matches!(kept.read(next.verifier(), &[]), Err(HeadStoreError::NoHead { .. })));
    }

    /// A crash may leave any beginning of what was being appended.
    #[test]
    fn a_head_that_was_cut_short_spoils_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        let path = dir.path().join("heads");
        kept.keep(&head(1)).unwrap();
        let first = fs::read(&path).unwrap();
        let second = format!("\n{}", head(2).note());
        for cut in 0..second.len() {
            fs::write(&path, [&first, &second.as_bytes()[..cut]].concat()).unwrap();
            assert_eq!(sizes(&kept), [1, 1, 1], "{cut}");
            kept.keep_further(&head(3)).unwrap();
            assert_eq!(sizes(&kept), [1, 3, 1], "{cut}");
        }
    }

    #[test]
    fn the_trail_is_dense_where_the_history_is_short_and_goes_on_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let trail = |kept: &HeadStore| -> Vec<u64> {
            kept.trail(key().verifier()).unwrap().iter().map(|head| head.size).collect()
        };
        let kept_first = kept(dir.path());
        (1..=130).for_each(|size| kept_first.keep_in_trail(&head(size)).unwrap());
        let dense: Vec<_> = (1..=128).chain([130]).collect();
        assert_eq!(trail(&kept_first), dense);
        let path = dir.path().join("data/heads.notes");
        let torn = fs::read(&path).unwrap();
        fs::write(&path, &torn[..torn.len() - 9]).unwrap();
        let again = kept(dir.path());
        assert_eq!(again.read(key().verifier(), &[]).unwrap(), [(path, head(128))]);
        (131..=133).for_each(|size| again.keep_in_trail(&head(size)).unwrap());
        assert_eq!(trail(&again)[126..], [127, 128, 131, 133]);
        for size in [100_000, 100_255, 100_256] {
            again.keep_in_trail(&head(size)).unwrap();
        }
        assert_eq!(trail(&again)[130..], [100_000, 100_256]);
    }

    #[test]
    fn a_trail_without_a_whole_head_is_no_reason_to_refuse() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        fs::write(dir.path().join("data/heads.notes"), &head(1).note()[..40]).unwrap();
        assert_eq!(sizes(&kept), [0; 0]);
        kept.keep_in_trail(&head(2)).unwrap();
        assert_eq!(sizes(&kept), [2]);
    }

    #[test]
    fn a_changed_head_is_refused_with_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        kept.keep(&head(15)).unwrap();
        let text = fs::read_to_string(dir.path().join("heads")).unwrap();
        fs::write(dir.path().join("heads"), text.replace("\n15\n", "\n14\n")).unwrap();
        let said = kept.read(key().verifier(), &[]).unwrap_err().to_string();
        assert!(said.contains("heads: the signature of tenure/") && said.contains("does not fit"), "{said}");
        fs::write(dir.path().join("heads"), "shopping list\n").unwrap();
        let said = kept.read(key().verifier(), &[]).unwrap_err().to_string();
        assert!(said.contains("heads holds no signed head"), "{said}");
    }

    #[test]
    fn a_further_file_in_the_data_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let said = HeadStore::new(dir.path(), Some(dir.path().join("heads"))).unwrap_err().to_string();
        assert!(said.contains("must name a file outside"), "{said}");
        let said =
            HeadStore::new(dir.path(), Some(dir.path().join("missing/heads"))).unwrap_err().to_string();
        assert!(said.contains("missing/heads: No such file"), "{said}");
    }
}
