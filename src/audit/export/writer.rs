//! Writes an export, line by line.

use std::io::{self, Write};

use super::line::{BeginLine, EndLine, HeadLine, write_commit, write_line};
use tenure_core::Position;
use tenure_log::{RecordHash, StoredBytes, StoredCommit};

/// Writes an export. It is finished by [`ExportWriter::end`]; one that breaks off before says of itself that it
/// was cut.
#[derive(Debug)]
pub struct ExportWriter<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> ExportWriter<W> {
    /// Begins an export of a whole history.
    ///
    /// # Errors
    /// What writing to `out` comes to, as of every function here.
    pub fn begin(out: W, verifier_key: Option<String>) -> io::Result<Self> {
        Self::begin_at(out, 1, vec![], verifier_key)
    }

    /// Begins an export from a position on; `before` stands for what is in front of it.
    pub(super) fn begin_at(
        out: W,
        from: u64,
        before: Vec<String>,
        verifier_key: Option<String>,
    ) -> io::Result<Self> {
        let mut writer = Self { out, line: Vec::new() };
        write_line(&mut writer.line, &BeginLine::new(from, before, verifier_key));
        writer.flush_line()?;
        Ok(writer)
    }

    /// Adds a commit, as it is stored. Gives back the hashes of its records.
    pub fn commit(&mut self, stored: &StoredBytes) -> io::Result<Vec<RecordHash>> {
        let decoded = StoredCommit::decode(stored.first, &stored.bytes);
        let hashes =
            decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?.record_hashes;
        self.known_commit(stored.first, &hashes, &stored.bytes)?;
        Ok(hashes)
    }

    /// Adds a commit whose hashes are known.
    pub fn known_commit(&mut self, first: Position, hashes: &[RecordHash], bytes: &[u8]) -> io::Result<()> {
        write_commit(&mut self.line, first, hashes, bytes);
        self.flush_line()
    }

    /// Adds a head that was signed of what has been written so far.
    pub fn head(&mut self, note: &str) -> io::Result<()> {
        write_line(&mut self.line, &HeadLine { head: note.to_owned() });
        self.flush_line()
    }

    /// Ends the export with the head that vouches for all; `after` stands for the events behind the last one.
    pub fn end(mut self, end: &EndLine) -> io::Result<W> {
        write_line(&mut self.line, end);
        self.flush_line()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn flush_line(&mut self) -> io::Result<()> {
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}
