//! Which key files go with this log: `DATA/keys/bound`.
//!
//! A key file that was damaged in one digit, or is another authority's, is a key like any other. Devices would be known
//! by other digests, repeats would have a second effect, no name would open, and nothing would say so. So once
//! the log has its first event, a mark of each key is written down beside the keys, together with the log that they
//! are of. A mark gives nothing of its key away.
//!
//! Keys of session and access tokens need no mark: the log names them by digests of the keys. The file of
//! a webhook has a check of its own. A directory of the time before this file is taken over at its first start.

use std::path::{Path, PathBuf};

use tenure_files::key_files::{KeyFileError, read_private, write_private};
use tenure_log::RecordHash;

const TITLE: &str = "tenure key marks 1";
const EXPECTED: &str =
    "the marks of the keys, as they were written; without the file a start takes the keys as they are";

/// What is known of the keys that go with this log.
pub(super) struct KeyBinding {
    path: PathBuf,
    marks: Vec<(String, String)>,
}

impl KeyBinding {
    /// The file's name in `DATA/keys`.
    pub(super) const FILE: &str = "bound";

    /// Reads the marks, if there are any, and compares the log that they are of with this one.
    pub(super) fn open(keys: &Path, first: Option<RecordHash>) -> Result<Self, KeyFileError> {
        let path = keys.join(Self::FILE);
        let Some(text) = read_private(&path, EXPECTED)? else { return Ok(Self { path, marks: vec![] }) };
        let marks = parse(&text).ok_or_else(|| KeyFileError::damaged(&path, EXPECTED))?;
        let binding = Self { path, marks };
        if binding.of("log") != Some(mark_of(first).as_str()) {
            return Err(KeyFileError::Foreign { path: binding.path, whose: "the log beside it" });
        }
        Ok(binding)
    }

    /// Whether the keys are yet to be marked.
    pub(super) fn is_new(&self) -> bool {
        self.marks.is_empty()
    }

    /// Compares the mark of a key file with the one that was written down.
    pub(super) fn check(&self, file: &str, mark: Option<&str>) -> Result<(), KeyFileError> {
        if self.is_new() || self.of(file) == mark {
            return Ok(());
        }
        let path = self.path.with_file_name(file);
        Err(KeyFileError::Foreign { path, whose: "this log, or was damaged" })
    }

    /// Writes down the marks of the keys. A crash leaves all of them or none.
    pub(super) fn bind(
        &self,
        first: Option<RecordHash>,
        marks: &[(&str, String)],
    ) -> Result<(), KeyFileError> {
        let of_log = ("log", mark_of(first));
        let lines = std::iter::once(&of_log).chain(marks).map(|(name, mark)| format!("{name} {mark}\n"));
        let text = format!("{TITLE}\n{}", lines.collect::<String>());
        write_private(&self.path, &format!("{text}{}", check_of(&text)))
    }

    fn of(&self, name: &str) -> Option<&str> {
        self.marks.iter().find(|(known, _)| known == name).map(|(_, mark)| mark.as_str())
    }
}

fn mark_of(first: Option<RecordHash>) -> String {
    first.map_or_else(
        || "empty".to_owned(),
        |hash| blake3::Hash::from_bytes(*hash.as_bytes()).to_hex().to_string(),
    )
}

fn check_of(text: &str) -> String {
    format!("check {}", blake3::hash(text.as_bytes()).to_hex())
}

fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let (body, check) = text.rsplit_once('\n')?;
    let body = format!("{body}\n");
    let lines = body.strip_prefix(TITLE)?.strip_prefix('\n')?;
    if check_of(&body) != check {
        return None;
    }
    lines.lines().map(|line| line.split_once(' ').map(|(name, mark)| (name.into(), mark.into()))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: Option<RecordHash> = Some(RecordHash::from_bytes([7; 32]));

    fn bound(keys: &Path) -> KeyBinding {
        let binding = KeyBinding::open(keys, LOG).unwrap();
        assert!(binding.is_new());
        binding.bind(LOG, &[("a.key", "one".into()), ("b.key", "two".into())]).unwrap();
        KeyBinding::open(keys, LOG).unwrap()
    }

    #[test]
    fn a_key_with_another_mark_is_refused_by_the_name_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let binding = bound(dir.path());
        binding.check("a.key", Some("one")).unwrap();
        for wrong in [Some("two"), None] {
            let said = binding.check("a.key", wrong).unwrap_err().to_string();
            assert!(said.contains("a.key does not go with this log"), "{said}");
        }
    }

    #[test]
    fn keys_of_another_log_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        bound(dir.path());
        for other in [None, Some(RecordHash::from_bytes([8; 32]))] {
            let said = KeyBinding::open(dir.path(), other).err().unwrap().to_string();
            assert!(said.contains("bound does not go with the log beside it"), "{said}");
        }
    }

    #[test]
    fn marks_with_any_byte_changed_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        bound(dir.path());
        let path = dir.path().join(KeyBinding::FILE);
        let whole = fs::read(&path).unwrap();
        // The last byte ends the last line, and says nothing.
        for place in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(KeyBinding::open(dir.path(), LOG).is_err(), "byte {place}");
        }
    }
}
