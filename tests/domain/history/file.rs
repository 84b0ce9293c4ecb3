//! A history written down.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use tenure::domain::Commit;

/// The commits of a history, each written before it is applied: four bytes of length, then the record.
pub(super) struct HistoryFile {
    pub(super) path: PathBuf,
    file: File,
    pub(super) bytes: Vec<u8>,
}

impl HistoryFile {
    pub(super) fn create(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{name}.commits"));
        let file = File::create(&path).expect("the directory of the tests can be written to");
        Self { path, file, bytes: Vec::new() }
    }

    pub(super) fn write(&mut self, commit: &Commit) {
        let record = encoded(commit);
        let length = u32::try_from(record.len()).expect("a commit is small").to_be_bytes();
        for part in [&length[..], &record] {
            self.file.write_all(part).expect("the directory of the tests can be written to");
            self.bytes.extend_from_slice(part);
        }
    }

    pub(super) fn read(path: &Path) -> Vec<Commit> {
        let bytes = std::fs::read(path).expect("it was written before");
        let mut rest = bytes.as_slice();
        let mut commits = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (record, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            commits.push(decoded(record));
            rest = after;
        }
        commits
    }
}

/// The bytes of a commit, as the log stores them.
fn encoded(commit: &Commit) -> Vec<u8> {
    tenure::log::encode(commit).expect("what was decided fits into the log").bytes().to_vec()
}

fn decoded(record: &[u8]) -> Commit {
    tenure::log::codec::decode(record).expect("it was encoded before").0
}
