//! The files of a node's history that never change, for another node that joins.
//!
//! Every node makes the same bytes, so what one has begun to fetch from one node it may go on to fetch from another. A
//! node that asks, and the one that answers, prove that they have the secret that all nodes share.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tenure_log::{EventLog, JetStreamLog};

use super::node_mac::NodeMac;
use crate::checkpoint::TrustedCheckpoints;

/// Where they are asked for.
pub(crate) const PATH: &str = "/v1/cluster/history";
/// Shows that a node has said it.
pub(crate) const CODE: &str = "tenure-node-code";
/// Bytes of a file in one answer.
pub(super) const PART: usize = 4 << 20;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HistoryRequest {
    /// Drawn for this request, so that no answer fits another one.
    pub(super) nonce: String,
    /// The file; none for the list of all.
    #[serde(default)]
    pub(super) file: Option<String>,
    /// The first byte that is wanted.
    #[serde(default)]
    pub(super) from: u64,
}

impl HistoryRequest {
    /// Which file is wanted.
    pub(crate) fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

/// What there is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct HistoryList {
    /// Where the checkpoint stands.
    pub(super) position: u64,
    /// The files, the checkpoint last; `None` while there is no checkpoint.
    pub(super) files: Vec<HistoryFile>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HistoryFile {
    /// Below the data directory.
    pub(super) name: String,
    pub(super) bytes: u64,
}

/// The files of one node.
pub(crate) struct HistoryFiles {
    data: PathBuf,
    log: Arc<JetStreamLog>,
    known: Arc<TrustedCheckpoints>,
}

impl HistoryFiles {
    pub(super) const fn of(data: PathBuf, log: Arc<JetStreamLog>, known: Arc<TrustedCheckpoints>) -> Self {
        Self { data, log, known }
    }

    /// Below which directory they are.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// What is answered to a request.
    ///
    /// # Errors
    /// A file cannot be read, or there is none of this name.
    pub(crate) fn answer(&self, asked: &HistoryRequest) -> io::Result<Vec<u8>> {
        let list = self.list()?;
        let Some(name) = &asked.file else { return Ok(serde_json::to_vec(&list)?) };
        let found = list.files.iter().find(|file| file.name == *name).ok_or(io::ErrorKind::NotFound)?;
        let left = found.bytes.saturating_sub(asked.from);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(PART).min(PART)];
        File::open(self.data.join(&found.name))?.read_exact_at(&mut bytes, asked.from)?;
        Ok(bytes)
    }

    /// A node that is not sure of its history gives none of it away, nor does it say that there is none.
    fn list(&self) -> io::Result<HistoryList> {
        if !self.log.damage().is_empty() || self.known.suspects_memory() {
            return Err(io::Error::other("this node is not sure of its history"));
        }
        let (indexed, newest) = (self.log.indexed().end(), self.known.newest());
        let newest = newest.filter(|newest| newest.end().position <= indexed);
        let Some(newest) = newest else { return Ok(HistoryList::default()) };
        let mut files = Vec::new();
        for segment in self.log.sealed_files().into_iter().filter(|segment| segment.last() <= indexed) {
            let name = segment.path().file_stem().unwrap_or_default().to_string_lossy();
            files.push(self.file(format!("segments/{name}.segment"))?);
            files.push(self.file(format!("indexes/{name}.index"))?);
        }
        files.push(self.file(newest.name().to_owned())?);
        Ok(HistoryList { position: newest.end().position.0, files })
    }

    fn file(&self, name: String) -> io::Result<HistoryFile> {
        let bytes = self.data.join(&name).metadata()?.len();
        Ok(HistoryFile { name, bytes })
    }
}

/// The code of an answer to this request.
pub(crate) fn code_of(mac: &NodeMac, request: &str, answer: &[u8]) -> String {
    mac.code(&[PATH, request, blake3::hash(answer).to_hex().as_str()])
}

/// Whether a name is of a file that a node may give, and so may be written by one that joins.
pub(super) fn is_name(name: &str) -> bool {
    let kinds = [("segments", "segment"), ("indexes", "index"), ("checkpoints", "checkpoint")];
    let path = Path::new(name);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    kinds.iter().any(|(folder, ending)| name == format!("{folder}/{stem}.{ending}"))
        && stem.len() == 20
        && stem.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_history_have_names_that_are_taken() {
        for good in ["segments/00000000000000000001.segment", "checkpoints/00000000000000250000.checkpoint"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "keys/subjects",
            "segments/../keys/0000000.segment",
            "/segments/00000000000000000001.segment",
            "segments/00000000000000000001.index",
            "checkpoints/00000000000000250000.damaged",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn an_answer_fits_its_request_only() {
        let mac = NodeMac::of("a secret");
        let code = code_of(&mac, "one", b"answer");
        assert_ne!(code, code_of(&mac, "other", b"answer"));
        assert_ne!(code, code_of(&mac, "one", b"another"));
        assert_ne!(code, code_of(&NodeMac::of("another"), "one", b"answer"));
    }
}
