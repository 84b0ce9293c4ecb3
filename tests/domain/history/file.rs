//! A history written down, as an export that nobody has signed: `tenure audit replay --file` opens it.

use std::{
    fs::{self, File},
    io::BufReader,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use tenure::{
    audit::{
        export::ExportWriter,
        verify::{TrustAnchors, VerifyError, verify},
    },
    core::{Commit, Position},
};

/// The commits of a history, each written before it is applied.
pub(super) struct HistoryFile {
    pub(super) path: PathBuf,
    writer: ExportWriter<File>,
    next: Position,
}

impl HistoryFile {
    pub(super) fn create(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{name}.export"));
        let file = File::create(&path).expect("the directory of the tests can be written to");
        let writer = ExportWriter::begin(file, None).expect("the directory of the tests can be written to");
        Self { path, writer, next: Position(1) }
    }

    pub(super) fn write(&mut self, commit: &Commit) {
        let encoded = tenure::log::encode(commit).expect("what was decided fits into the log");
        self.writer
            .known_commit(self.next, encoded.record_hashes(), encoded.bytes())
            .expect("the directory of the tests can be written to");
        self.next = self.next.plus(encoded.count());
    }

    /// All that has been written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("it was written before")
    }

    pub(super) fn read(path: &Path) -> Vec<Commit> {
        let file = BufReader::new(File::open(path).expect("it was written before"));
        let mut commits = Vec::new();
        let read = verify(file, TrustAnchors::default(), &mut |stored, _| {
            commits.push(stored.commit);
            ControlFlow::Continue(())
        });
        assert!(
            matches!(read, Err(VerifyError::Cut { .. })),
            "nobody signs the histories of tests: {read:?}"
        );
        commits
    }
}
