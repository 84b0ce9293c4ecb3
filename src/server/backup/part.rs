//! The files of a backup: written with a digest, and read back against it.
//!
//! A *part* holds consecutive commits as the log stores them: the line `tenure-backup-part 1`, then for each commit its
//! length, four bytes little-endian, and its bytes. Or it is a segment of the log, byte for byte. It never changes once
//! it is there, so an increment adds parts.

use std::io::{self, BufReader, Read, Write};

use super::{
    BackupError,
    destination::BackupDestination,
    manifest::{BackupPart, FileEntry},
    pace::BackupPace,
};
use tenure_core::Position;
use tenure_log::{EventLog, SealedFile, SegmentStream, StoredCommit, codec::MAX_COMMIT_BYTES};

const MAGIC: &[u8] = b"tenure-backup-part 1\n";
/// A part ends with the commit that reaches this length.
const LONG: u64 = 64 << 20;
/// Events read from the log at a time.
const PAGE: usize = 1_000;

/// Counts and digests what passes.
struct DigestingWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W> DigestingWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), bytes: 0 }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn entry(&self, file: &str) -> FileEntry {
        let blake3 = self.hasher.finalize().to_hex().to_string();
        FileEntry { file: file.to_owned(), bytes: self.bytes, blake3 }
    }
}

impl<W: Write> Write for DigestingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.note(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for DigestingWriter<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.note(&buffer[..read]);
        Ok(read)
    }
}

/// Writes a file of these bytes.
pub(super) fn write(to: &dyn BackupDestination, file: &str, bytes: &[u8]) -> Result<FileEntry, BackupError> {
    let mut entry = DigestingWriter::new(io::sink());
    entry.note(bytes);
    to.put(file, &mut |out| out.write_all(bytes)).map_err(BackupError::io(file))?;
    Ok(entry.entry(file))
}

/// Reads a file whole, as it was written.
pub(super) fn read(from: &dyn BackupDestination, entry: &FileEntry) -> Result<Vec<u8>, BackupError> {
    let mut bytes = Vec::new();
    let mut file = opened(from, entry)?;
    file.read_to_end(&mut bytes).map_err(BackupError::io(&entry.file))?;
    check(&file, entry)?;
    Ok(bytes)
}

/// Reads a file to its end, for nothing but its digest.
pub(super) fn read_through(from: &dyn BackupDestination, entry: &FileEntry) -> Result<(), BackupError> {
    let mut file = opened(from, entry)?;
    io::copy(&mut file, &mut io::sink()).map_err(BackupError::io(&entry.file))?;
    check(&file, entry)
}

/// No more than a byte beyond what it must hold.
fn opened(
    from: &dyn BackupDestination,
    entry: &FileEntry,
) -> Result<DigestingWriter<impl Read>, BackupError> {
    let file = from.open(&entry.file).map_err(|error| {
        let is_missing = error.kind() == io::ErrorKind::NotFound;
        if is_missing { missing(&entry.file) } else { BackupError::io(&entry.file)(error) }
    })?;
    Ok(DigestingWriter::new(file.take(entry.bytes + 1)))
}

fn check<R>(file: &DigestingWriter<R>, entry: &FileEntry) -> Result<(), BackupError> {
    if file.entry(&entry.file) == *entry {
        Ok(())
    } else {
        Err(damaged(&entry.file, "it is not as it was written"))
    }
}

/// What is said of a file that is named and not there.
pub(super) fn missing(file: &str) -> BackupError {
    damaged(file, "it is missing")
}

fn damaged(file: &str, why: &str) -> BackupError {
    BackupError::Damaged { file: file.to_owned(), why: why.to_owned() }
}

impl BackupPart {
    /// Prefix of the name of a file with a segment of the log.
    pub(super) const SEGMENT: &str = "segment-";

    /// Whether it is a segment of the log, and not commits in a file of our own.
    pub(super) fn is_segment(&self) -> bool {
        self.entry.file.starts_with(Self::SEGMENT)
    }
}

/// Takes a segment of the log as it is, once it was found to be sound: a copy of it, or a second name where it is
/// wanted and the place can.
pub(super) fn take_segment(
    to: &dyn BackupDestination,
    sealed: &SealedFile,
    is_linked: bool,
    pace: &mut BackupPace,
) -> Result<BackupPart, BackupError> {
    let file = format!("{}{:020}", BackupPart::SEGMENT, sealed.first().0);
    if is_linked && to.link(&file, sealed.path()).map_err(BackupError::io(&file))? {
        let entry = read_sealed(sealed, &file, &mut io::sink(), pace)?;
        return Ok(BackupPart { from: sealed.first().0, to: sealed.last().0, entry });
    }
    let entry = put(to, &file, &mut |out| read_sealed(sealed, &file, out, pace))?;
    Ok(BackupPart { from: sealed.first().0, to: sealed.last().0, entry })
}

/// Reads a segment once, for its own checks, for the digest and for the copy. A copy of what is not sound is given up.
fn read_sealed(
    sealed: &SealedFile,
    file: &str,
    out: &mut dyn Write,
    pace: &mut BackupPace,
) -> Result<FileEntry, BackupError> {
    let mut out = DigestingWriter::new(out);
    sealed.read(&mut |piece| {
        pace.passed(piece.len() as u64);
        out.write_all(piece).map_err(BackupError::io(file))
    })?;
    Ok(out.entry(file))
}

/// Writes a file, and gives what was made of it.
fn put<T>(
    to: &dyn BackupDestination,
    file: &str,
    write: &mut dyn FnMut(&mut dyn Write) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    let mut done = None;
    let put = to.put(file, &mut |out| {
        let made = write(out);
        let told = made.as_ref().map(drop).map_err(|error| io::Error::other(error.to_string()));
        done = Some(made);
        told
    });
    match (put, done) {
        (Ok(()), Some(made)) | (Err(_), Some(made @ Err(_))) => made,
        (Err(error), Some(Ok(_)) | None) => Err(BackupError::io(file)(error)),
        (Ok(()), None) => Err(damaged(file, "nothing was written")),
    }
}

/// Writes the commits after a position, up to another, as parts.
pub(super) fn write_parts(
    log: &dyn EventLog,
    mut after: Position,
    to: Position,
    destination: &dyn BackupDestination,
) -> Result<Vec<BackupPart>, BackupError> {
    let mut parts = Vec::new();
    while after < to {
        let part = write_part(log, after, to, destination)?;
        after = Position(part.to);
        parts.push(part);
    }
    Ok(parts)
}

/// What the manifest names now is not written over, or a crash before the next manifest would leave no whole backup:
/// keys and accounts change while the history does not, and a part begins where an older one did once some of that is in
/// a segment.
pub(super) fn fresh_name(to: &dyn BackupDestination, what: &str, from: u64) -> Result<String, BackupError> {
    let names = to.list().map_err(BackupError::io("the place of the backup"))?;
    let mut candidates = (0..).map(|number: u32| format!("{what}-{from:020}-{number}"));
    Ok(candidates.find(|name| !names.contains(name)).expect("there are more names than files"))
}

fn write_part(
    log: &dyn EventLog,
    after: Position,
    to: Position,
    destination: &dyn BackupDestination,
) -> Result<BackupPart, BackupError> {
    let from = after.next();
    let file = fresh_name(destination, "part", from.0)?;
    put(destination, &file, &mut |out| {
        let mut out = DigestingWriter::new(out);
        let last = fill(log, after, to, &mut out)?;
        Ok(BackupPart { from: from.0, to: last.0, entry: out.entry(&file) })
    })
}

/// The last position that was written.
fn fill(
    log: &dyn EventLog,
    mut after: Position,
    to: Position,
    out: &mut DigestingWriter<&mut dyn Write>,
) -> Result<Position, BackupError> {
    let failed = |error: io::Error| BackupError::io("a part")(error);
    out.write_all(MAGIC).map_err(failed)?;
    while after < to && out.bytes < LONG {
        for stored in log.read_bytes(after, PAGE)? {
            let decoded = StoredCommit::decode(stored.first, &stored.bytes);
            let decoded =
                decoded.map_err(|error| BackupError::Undecodable(stored.first, error.to_string()))?;
            if decoded.last() > to || out.bytes >= LONG {
                return Ok(after);
            }
            let length = u32::try_from(stored.bytes.len()).expect("a commit is small");
            out.write_all(&length.to_le_bytes()).map_err(failed)?;
            out.write_all(&stored.bytes).map_err(failed)?;
            after = decoded.last();
        }
    }
    Ok(after)
}

/// Reads the commits of a part, each with its bytes. The digest is judged at its end: who acts on a commit before has
/// not checked it.
pub(super) fn read_part(
    from: &dyn BackupDestination,
    part: &BackupPart,
    take: &mut dyn FnMut(StoredCommit, Vec<u8>) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let file = &part.entry.file;
    let mut input = BufReader::with_capacity(1 << 20, opened(from, &part.entry)?);
    if part.is_segment() {
        return read_segment(input, part, take);
    }
    let mut magic = [0; MAGIC.len()];
    let cut = |_| damaged(file, "it was cut short");
    input.read_exact(&mut magic).map_err(cut)?;
    if magic != MAGIC {
        return Err(damaged(file, "it is no part of a backup"));
    }
    let mut next = Position(part.from);
    while next.0 <= part.to {
        let mut length = [0; 4];
        input.read_exact(&mut length).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_COMMIT_BYTES {
            return Err(damaged(file, "a commit in it is too long"));
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes).map_err(cut)?;
        let stored = StoredCommit::decode(next, &bytes).map_err(|error| damaged(file, &error.to_string()))?;
        next = stored.last().next();
        take(stored, bytes)?;
    }
    check_rest(input, &part.entry)
}

fn read_segment<R: Read>(
    input: BufReader<DigestingWriter<R>>,
    part: &BackupPart,
    take: &mut dyn FnMut(StoredCommit, Vec<u8>) -> Result<(), BackupError>,
) -> Result<(), BackupError> {
    let file = &part.entry.file;
    let unread = |error: io::Error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return damaged(file, "it was cut short");
        }
        let is_damaged = error.kind() == io::ErrorKind::InvalidData;
        if is_damaged { damaged(file, &error.to_string()) } else { BackupError::io(file)(error) }
    };
    let mut commits = SegmentStream::open(input).map_err(unread)?;
    if commits.position().0 != part.from {
        return Err(damaged(file, "it is another segment"));
    }
    while let Some((first, bytes)) = commits.next_commit().map_err(unread)? {
        let stored =
            StoredCommit::decode(first, &bytes).map_err(|error| damaged(file, &error.to_string()))?;
        take(stored, bytes)?;
    }
    let end = commits.position();
    check_rest(commits.into_rest(), &part.entry)?;
    if end.0 == part.to + 1 { Ok(()) } else { Err(damaged(file, "it ends elsewhere")) }
}

fn check_rest<R: Read>(
    mut input: BufReader<DigestingWriter<R>>,
    entry: &FileEntry,
) -> Result<(), BackupError> {
    io::copy(&mut input, &mut io::sink()).map_err(BackupError::io(&entry.file))?;
    check(input.get_ref(), entry)
}
