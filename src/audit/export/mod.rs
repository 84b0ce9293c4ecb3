//! An export: a history, or a part of it, in a file that proves itself (`docs/export-format.md`).
//!
//! It is text, a JSON object in each line, written and read as a stream:
//!
//! ```text
//! {"format":"tenure-export 1","from":1,"before":[],"verifierKey":"…"}    what it is
//! {"first":1,"records":["…"],"commit":"…"}                               a commit: hashes of its events, its bytes
//! {"head":"…"}                                                           a head that was signed here
//! {"to":7,"after":[],"head":"…"}                                         the end, and the head that vouches for all
//! ```
//!
//! There is one spelling of an export, so that no byte of it can be changed unnoticed. The hashes of the records
//! are derived from the bytes beside them; they are there so that a change is found where it was made, and so
//! that a record with a known hash is found by searching for it.

mod exporter;
mod line;
mod writer;

pub use exporter::{ExportError, ExportSignatures, ExportSpan, export};
pub use line::from_hex;
pub use line::{BeginLine, EndLine};
pub(crate) use line::{CommitLine, ExportLine, LONGEST_LINE};
pub use writer::ExportWriter;

/// The name and version in the first line.
pub const FORMAT: &str = "tenure-export 1";
