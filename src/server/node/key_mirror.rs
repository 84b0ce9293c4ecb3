//! The files of `DATA/keys`, kept with the broker for the node that leads next.
//!
//! Each file is cut into pages, and each page is sealed under the secret that all nodes share. Before an event is
//! appended, every key that was made since is there; when a page is replaced, the one before is overwritten in the
//! broker's files, so that a destroyed key goes there too (`docs/cluster.md` says when). A node that takes the lead
//! makes its files what is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use tenure_files::{
    key_files::{KEY_DIRECTORIES, key_files_below, private_directory},
    replacement::{self, PRIVATE},
};
use tenure_log::jetstream::{BrokerError, BrokerSecrets, StoredSecret};
use tenure_protocol::entropy::{self, Entropy};
use zeroize::Zeroizing;

use super::no_keys::NoKeys;
use crate::personal_data::SubjectKeys;
use crate::tokens::TokenKeyring;

const CONTEXT: &str = "tenure 2026 keys of a cluster at its broker";
/// Bytes of a file sealed together.
const PAGE: usize = 4_096;
const NONCE: usize = 24;
/// The file that grows with the subjects; all others are written whole.
const SUBJECTS: &str = "subjects";

/// What is known of a page at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MirroredPage {
    sequence: u64,
    digest: [u8; 32],
}

/// What can be seen of the files without reading them.
type FileStamps = (Vec<Option<SystemTime>>, u64);

/// The keys of this node, and what the broker has of them.
pub(super) struct KeyMirror {
    secrets: BrokerSecrets,
    keys: PathBuf,
    cipher: XChaCha20Poly1305,
    term: u64,
    entropy: Arc<dyn Entropy>,
    pages: BTreeMap<String, MirroredPage>,
    /// Pages that were replaced, and are to be erased.
    replaced: BTreeSet<u64>,
    seen: Option<FileStamps>,
    /// The newest page that was read, and written here.
    last: u64,
    /// Whether keys of tokens were written here that are not known to be there yet.
    is_unread: bool,
    /// All erasures up to this position are done in what the broker has.
    erased_through: Arc<AtomicU64>,
    /// The same keys, at work; none before the node is open.
    at_work: Option<OpenKeys>,
}

/// The keys of an open node, which have their files open.
struct OpenKeys {
    texts: Arc<SubjectKeys>,
    keyring: TokenKeyring,
}

impl KeyMirror {
    /// Makes the files below `keys` what the broker has; where it has none, those that are there stay.
    pub(super) fn take_over(
        secrets: BrokerSecrets,
        keys: PathBuf,
        secret: &str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, NoKeys> {
        let key = Zeroizing::new(blake3::derive_key(CONTEXT, secret.as_bytes()));
        let cipher = XChaCha20Poly1305::new(key.as_slice().try_into().expect("it has 32 bytes"));
        let (pages, replaced) = (BTreeMap::new(), BTreeSet::new());
        let mut mirror = Self {
            secrets,
            keys,
            cipher,
            term: 0,
            entropy,
            pages,
            replaced,
            seen: None,
            last: 0,
            is_unread: false,
            erased_through: Arc::default(),
            at_work: None,
        };
        let files = mirror.read_all()?;
        if !files.is_empty() {
            mirror.write(&files).map_err(|error| error.to_string())?;
        }
        Ok(mirror)
    }

    /// Whether the broker has this file.
    pub(super) fn has(&self, file: &str) -> bool {
        self.pages.contains_key(&page_name(file, 0))
    }

    /// Up to which position all erasures are done in what the broker has, as far as this node knows.
    pub(super) fn erased_through(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.erased_through)
    }

    /// From now on the keys are at work.
    pub(super) fn attach(&mut self, texts: Arc<SubjectKeys>, keyring: TokenKeyring) {
        self.at_work = Some(OpenKeys { texts, keyring });
    }

    /// From now on this node brings its keys to the broker, in this term.
    pub(super) fn lead(&mut self, term: u64) {
        (self.term, self.seen) = (term, None);
    }

    /// Reads what every file is, as the broker has it.
    fn read_all(&mut self) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, NoKeys> {
        let (kept, replaced) = self.secrets.all()?;
        self.replaced.extend(replaced);
        self.pages.clear();
        let mut files: BTreeMap<String, Zeroizing<Vec<u8>>> = BTreeMap::new();
        for (name, kept) in kept {
            let (file, _, page) = self.opened(&name, &kept)?;
            self.note(name, &kept, &page);
            files.entry(file).or_default().extend_from_slice(&page);
        }
        Ok(files)
    }

    /// Opens a page: its file, its number, its bytes.
    fn opened(&self, name: &str, kept: &StoredSecret) -> Result<(String, u64, Zeroizing<Vec<u8>>), String> {
        let page = self.open(name, &kept.data).ok_or_else(|| {
            format!("the key page {name} does not open: the cluster's secret is another one on this node")
        })?;
        let place = file_of(name).zip(number_of(name));
        let (file, number) = place.ok_or_else(|| format!("{name} is no name of a key page"))?;
        Ok((file, number, page))
    }

    /// What the broker has of a page. It is not read again.
    fn note(&mut self, name: String, kept: &StoredSecret, page: &[u8]) {
        let known = MirroredPage { sequence: kept.sequence, digest: digest(page) };
        self.replaced.extend(self.pages.insert(name, known).map(|before| before.sequence));
        self.last = self.last.max(kept.sequence);
    }

    /// Takes over what is new at the broker, while another node leads. What cannot be written here now is read again by
    /// the next call: who leads without a key takes it for one that was destroyed.
    pub(super) fn pull(&mut self) -> Result<(), NoKeys> {
        for (name, kept) in self.secrets.since(self.last)? {
            let (file, number, page) = self.opened(&name, &kept)?;
            match &self.at_work {
                Some(keys) if file == SUBJECTS => {
                    keys.texts.adopt(number, &page).map_err(|error| error.to_string())?;
                }
                _ => self.splice(&file, number, &page).map_err(|error| error.to_string())?,
            }
            self.is_unread |= file.ends_with(".paserk");
            self.note(name, &kept, &page);
        }
        if let Some(keys) = self.at_work.as_ref().filter(|_| self.is_unread) {
            keys.keyring.recheck().map_err(|error| error.to_string())?;
            self.is_unread = false;
        }
        Ok(())
    }

    /// Gives up all keys that the broker does not have: they were made for what was never recorded.
    pub(super) fn begin_again(&mut self) -> Result<(), NoKeys> {
        self.term = 0;
        let mut files = self.read_all()?;
        let subjects = self.at_work.is_some().then(|| files.remove(SUBJECTS)).flatten();
        if let (Some(keys), Some(bytes)) = (&self.at_work, &subjects) {
            keys.texts.adopt_all(bytes).map_err(|error| error.to_string())?;
        }
        self.write(&files).map_err(|error| error.to_string())?;
        let look = |keys: &OpenKeys| keys.keyring.recheck().map_err(|error| error.to_string());
        Ok(self.at_work.as_ref().map_or(Ok(()), look)?)
    }

    /// Puts a page into its file.
    fn splice(&self, file: &str, number: u64, page: &[u8]) -> io::Result<()> {
        let path = self.keys.join(file);
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Zeroizing::default(),
            read => Zeroizing::new(read?),
        };
        let begin = usize::try_from(number).unwrap_or(usize::MAX).saturating_mul(PAGE);
        if bytes.len() < begin {
            return Err(io::Error::other(format!("{} ends before page {number} of it", path.display())));
        }
        bytes.truncate(begin);
        bytes.extend_from_slice(page);
        replace(&path, &bytes)
    }

    /// Writes these files, and removes all others: nothing was ever recorded that needs them.
    fn write(&self, files: &BTreeMap<String, Zeroizing<Vec<u8>>>) -> io::Result<()> {
        for directory in KEY_DIRECTORIES {
            let path = self.keys.join(directory);
            private_directory(&path).map_err(io::Error::other)?;
        }
        let is_open = |file: &String| self.at_work.is_some() && file == SUBJECTS;
        let there = key_files_below(&self.keys).map_err(io::Error::other)?;
        for file in there.keys().filter(|file| !files.contains_key(*file) && !is_open(file)) {
            let path = self.keys.join(file);
            let gone = fs::File::options().write(true).open(&path)?;
            fs::remove_file(path)?;
            overwrite(&gone)?;
        }
        for (file, bytes) in files {
            let path = self.keys.join(file);
            if fs::read(&path).map(Zeroizing::new).ok().as_deref() != Some(bytes) {
                replace(&path, bytes)?;
            }
        }
        Ok(())
    }

    /// Brings what is new to the broker, if anything seems to be.
    pub(super) fn look_for_new(&mut self) -> Result<(), BrokerError> {
        if self.term == 0 {
            return Ok(());
        }
        let now = self.look();
        if self.seen.as_ref() == Some(&now) {
            return Ok(());
        }
        let is_growth_only = self.seen.as_ref().is_some_and(|(times, _)| *times == now.0);
        if is_growth_only {
            let path = self.keys.join(SUBJECTS);
            let from = self.seen.as_ref().map_or(0, |(_, length)| *length) / PAGE as u64;
            self.bring(SUBJECTS, &path, from)?;
            self.erase_replaced()?;
        } else {
            self.bring_all()?;
        }
        self.seen = Some(now);
        Ok(())
    }

    /// Compares every page, whatever seems to be.
    pub(super) fn look_at_all(&mut self) -> Result<(), BrokerError> {
        if self.term == 0 || self.pages.is_empty() && self.seen.is_none() {
            // Another node leads, or nothing was recorded yet, and the keys may be half made.
            return Ok(());
        }
        self.bring_all()
    }

    fn look(&self) -> FileStamps {
        let changed =
            |directory: &&str| fs::metadata(self.keys.join(directory)).and_then(|it| it.modified()).ok();
        let length = fs::metadata(self.keys.join(SUBJECTS)).map_or(0, |file| file.len());
        (KEY_DIRECTORIES.iter().map(changed).collect(), length)
    }

    fn bring_all(&mut self) -> Result<(), BrokerError> {
        // Before the files are read: what is destroyed in them by now is in no page that is brought.
        let erased = self.at_work.as_ref().map(|keys| keys.texts.erased_through().0);
        let files = key_files_below(&self.keys).map_err(|error| self.unreadable(&error))?;
        for (name, path) in &files {
            self.bring(name, path, 0)?;
        }
        let gone: Vec<_> = self
            .pages
            .keys()
            .filter(|page| file_of(page).is_none_or(|file| !files.contains_key(&file)))
            .cloned()
            .collect();
        for page in gone {
            self.replaced.extend(self.pages.remove(&page).map(|page| page.sequence));
        }
        self.erase_replaced()?;
        if let Some(erased) = erased.filter(|_| self.replaced.is_empty()) {
            self.erased_through.fetch_max(erased, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Brings the pages of a file that are not as the broker has them, from this one on.
    fn bring(&mut self, name: &str, path: &Path, from: u64) -> Result<(), BrokerError> {
        let mut bytes = Zeroizing::new(Vec::new());
        let read = fs::File::open(path).and_then(|mut file| {
            io::Seek::seek(&mut file, io::SeekFrom::Start(from * PAGE as u64))?;
            file.read_to_end(&mut bytes)
        });
        match read {
            // It was removed just now; the next look sees that.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.unreadable(&error)),
            Ok(_) => {}
        }
        for (number, page) in (from..).zip(bytes.chunks(PAGE)) {
            let (name, digest) = (page_name(name, number), digest(page));
            let before = self.pages.get(&name).copied();
            if before.is_some_and(|before| before.digest == digest) {
                continue;
            }
            let sealed = self.seal(&name, page);
            let expect = before.map_or(0, |before| before.sequence);
            let sequence = self.secrets.put(&name, &sealed, self.term, expect)?;
            self.pages.insert(name, MirroredPage { sequence, digest });
            self.replaced.extend(before.map(|before| before.sequence));
        }
        Ok(())
    }

    /// What is brought is with the broker by now. To overwrite a page takes a busy broker longer than a write may wait:
    /// it is tried again every second.
    fn erase_replaced(&mut self) -> Result<(), BrokerError> {
        while let Some(sequence) = self.replaced.first().copied() {
            match self.secrets.erase(sequence) {
                Ok(()) => drop(self.replaced.remove(&sequence)),
                Err(error) if error.passes() => {
                    tracing::debug!(%error, "a key page that was replaced is not overwritten at the broker yet");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn seal(&self, name: &str, page: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = entropy::bytes(&*self.entropy);
        let payload = Payload { msg: page, aad: name.as_bytes() };
        let sealed = self.cipher.encrypt(&nonce.into(), payload).expect("a page is far below any limit");
        [&nonce[..], &sealed].concat()
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: name.as_bytes() };
        self.cipher.decrypt(&(*nonce).into(), payload).ok().map(Zeroizing::new)
    }

    fn unreadable(&self, error: &dyn std::error::Error) -> BrokerError {
        BrokerError::File { path: self.keys.clone(), why: error.to_string() }
    }
}

impl std::fmt::Debug for KeyMirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyMirror({} pages)", self.pages.len())
    }
}

/// Replaces a file of keys. What was there had keys that are destroyed by now, perhaps: it is overwritten, for its blocks
/// are on the disk as before once they have no name.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let before = fs::File::options().write(true).open(path).ok();
    replacement::replace(path, ".tmp", PRIVATE, bytes)?;
    before.as_ref().map_or(Ok(()), overwrite)
}

fn overwrite(file: &fs::File) -> io::Result<()> {
    let (mut left, nothing) = (file.metadata()?.len(), [0; PAGE]);
    let mut file = file;
    while left > 0 {
        let part = &nothing[..usize::try_from(left).map_or(PAGE, |left| left.min(PAGE))];
        file.write_all(part)?;
        left -= part.len() as u64;
    }
    file.sync_data()
}

fn digest(page: &[u8]) -> [u8; 32] {
    blake3::hash(page).into()
}

/// `session/0001.paserk`, page 0: `session.0001~paserk.00000000`. A dot would begin another part of a subject.
fn page_name(file: &str, number: u64) -> String {
    let (directory, name) = file.rsplit_once('/').unwrap_or(("keys", file));
    format!("{directory}.{}.{number:08}", name.replace('.', "~"))
}

fn number_of(page: &str) -> Option<u64> {
    page.rsplit('.').next()?.parse().ok()
}

fn file_of(page: &str) -> Option<String> {
    let mut parts = page.split('.');
    let (directory, name) = (parts.next()?, parts.next()?.replace('~', "."));
    Some(if directory == "keys" { name } else { format!("{directory}/{name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_named_after_its_file() {
        for file in ["digests.key", "bound", "session/0001.paserk", "webhooks/01a.secret"] {
            let name = page_name(file, 7);
            assert_eq!((file_of(&name).as_deref(), number_of(&name)), (Some(file), Some(7)));
            assert!(name.ends_with(".00000007"));
        }
    }
}
