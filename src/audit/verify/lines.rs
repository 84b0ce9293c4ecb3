//! An export, line by line.

use std::io::{self, BufRead};

use crate::export::LONGEST_LINE;

/// The lines of the file, none longer than an export has.
pub(super) struct ExportLines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> ExportLines<R> {
    pub(super) const fn of(input: R) -> Self {
        Self { input, line: Vec::new() }
    }

    /// The next line without its end; a line that has no end was cut, and is none.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let limit = LONGEST_LINE as u64;
        io::Read::take(&mut self.input, limit).read_until(b'\n', &mut self.line)?;
        match self.line.pop() {
            Some(b'\n') => Ok(Some(&self.line)),
            Some(last) if self.line.len() + 1 == LONGEST_LINE => {
                // It is not one of our lines; its reader refuses it.
                self.line.push(last);
                Ok(Some(&self.line))
            }
            Some(_) | None => Ok(None),
        }
    }
}
