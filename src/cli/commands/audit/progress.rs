//! How far the reading of a history is. What a total is taken from is a claim, and good for nothing else.

use std::{
    fs::{self, File},
    io::{IsTerminal, Read, Seek, SeekFrom, stderr},
    path::Path,
};

use indicatif::ProgressBar;
use serde_json::Value;

use crate::cli::{connection::client::ApiRequest, context::GlobalArgs, output::Output};
use tenure_core::Position;

/// Events between two moves of the bar.
const EVERY: u64 = 4_096;
/// The last line of an export has the fewest hashes that stand for a tree, and one note: it is shorter.
const LAST_LINE: u64 = 96 * 1024;

/// A bar over the events of a history.
#[derive(Debug)]
pub(super) struct HistoryProgress(ProgressBar);

impl HistoryProgress {
    /// A bar; the total is asked for on a terminal only.
    pub(super) fn new(output: Output, total: impl FnOnce() -> Option<u64>) -> Self {
        let total = if stderr().is_terminal() { total() } else { None };
        Self(output.bar(total))
    }

    /// Events up to this position were read.
    pub(super) fn at(&self, position: Position) {
        if position.0 >= self.0.position() + EVERY {
            self.0.set_position(position.0);
        }
    }
}

impl Drop for HistoryProgress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The last position of an export, as its last line has it.
pub(super) fn end_of_export(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_LINE))).ok()?;
    let mut bytes = Vec::new();
    file.take(LAST_LINE).read_to_end(&mut bytes).ok()?;
    let line = bytes.trim_ascii_end().rsplit(|byte| *byte == b'\n').next()?;
    serde_json::from_slice::<Value>(line).ok()?["to"].as_u64()
}

/// The size of the last head in a data directory.
pub(super) fn size_of_head(data: &Path) -> Option<u64> {
    fs::read_to_string(data.join("head.note")).ok()?.lines().nth(1)?.parse().ok()
}

/// The size of the head that a server shows.
pub(super) fn size_of_server(global: &GlobalArgs) -> Option<u64> {
    let head = global.context().ok()?.client.send(&ApiRequest::get(&["v1", "audit", "head"])).ok()?;
    head.body["size"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_what_the_last_line_says() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/exports/incident.export");
        assert_eq!(end_of_export(&fixture), Some(22));
        let cut = tempfile::NamedTempFile::new().unwrap();
        fs::write(cut.path(), &fs::read(fixture).unwrap()[..4_000]).unwrap();
        assert_eq!(end_of_export(cut.path()), None);
        assert_eq!(end_of_export(Path::new("/nowhere")), None);
    }
}
