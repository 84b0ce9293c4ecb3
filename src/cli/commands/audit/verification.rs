//! What a history was found to be, in words: *proved* only by a key that the reader brought.

use serde::{Serialize, Serializer};

use super::trust::TrustedHeads;
use crate::cli::{failure::CommandError, output::Output};
use tenure_audit::verify::{EpochFork, VerifiedExport, VerifyError};
use tenure_core::Timestamp;
use tenure_log::RootHash;

/// How the reading of a history ended.
#[derive(Debug)]
pub(super) enum ReadEnding {
    /// It was read to its end, and is consistent.
    Whole(Box<Verification>),
    /// Nothing more was wanted of it; what is behind was not looked at.
    Enough,
    /// A file that ends without a signed head, as a history does while it is being written.
    Unsigned(VerifyError),
}

/// Who says which key has signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyOrigin {
    /// The reader, and so something is proved.
    Reader,
    /// The server itself.
    Server,
    /// The export itself.
    File,
    /// The data directory itself.
    Directory,
}

/// A consistent history whose heads fit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verification {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Up to this position a signed head vouches for it.
    pub(super) vouched_to: u64,
    /// Of the last head.
    pub(super) size: Option<u64>,
    pub(super) root_hash: RootHash,
    pub(super) commits: u64,
    pub(super) heads: u64,
    pub(super) known_heads: usize,
    pub(super) recorded_at: Timestamp,
    pub(super) signed_head: Option<String>,
    pub(super) verifier_key: Option<String>,
    #[serde(rename = "keyFrom")]
    pub(super) whose: KeyOrigin,
    /// Where another epoch began, when the reader's key is one of an earlier epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fork: Option<EpochFork>,
}

/// Why a history was not read to its end.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// It is not what was signed or written.
    Untrue(VerifyError),
    /// Something else.
    Failed(CommandError),
}

impl From<CommandError> for ReadFailure {
    fn from(failure: CommandError) -> Self {
        Self::Failed(failure)
    }
}

impl From<ReadFailure> for CommandError {
    fn from(unread: ReadFailure) -> Self {
        match unread {
            ReadFailure::Untrue(fault) => untrue(&fault),
            ReadFailure::Failed(failure) => failure,
        }
    }
}

/// A fault as this program exits with it.
pub(super) fn untrue(fault: &VerifyError) -> CommandError {
    match fault {
        VerifyError::Untrue { .. } | VerifyError::Cut { .. } => CommandError::damaged(fault.to_string()),
        VerifyError::Unreadable(_) => CommandError::Server(fault.to_string()),
    }
}

impl KeyOrigin {
    const fn name(self) -> &'static str {
        match self {
            Self::Reader => "you",
            Self::Server => "the server itself",
            Self::File => "the file itself",
            Self::Directory => "the directory itself",
        }
    }

    /// The last line of an answer: what is proved of it, or that nothing is.
    pub(super) fn report(self, key: &str, proved: &str, output: Output) {
        let name = key.split('+').next().unwrap_or_default();
        match self {
            Self::Reader => output.hint(&format!("Proved by your key {name}: {proved}.")),
            Self::Server | Self::File | Self::Directory => output.info(&format!(
                "Consistent, and signed by {name} \u{2014} a key that {} brought: this proves nothing about who wrote \
                 it. Give --verifier-key.",
                self.name()
            )),
        }
    }
}

impl Serialize for KeyOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reader => serializer.serialize_str(self.name()),
            Self::Server | Self::File | Self::Directory => {
                let told = format!("{}: give --verifier-key to prove that it is the right one", self.name());
                serializer.serialize_str(&told)
            }
        }
    }
}

impl Verification {
    pub(super) fn of_export(verdict: VerifiedExport, trusted: &TrustedHeads, whose: KeyOrigin) -> Self {
        Self {
            from: verdict.from,
            to: verdict.to,
            vouched_to: verdict.to,
            size: Some(verdict.size),
            root_hash: verdict.root_hash,
            commits: verdict.commits,
            heads: verdict.heads,
            known_heads: trusted.heads.len(),
            recorded_at: verdict.recorded_at,
            signed_head: Some(verdict.signed_head),
            verifier_key: Some(verdict.verifier_key),
            whose,
            fork: None,
        }
    }

    /// A former key vouches for what is before the fork, and for nothing behind it.
    pub(super) fn forked(self, fork: Option<EpochFork>) -> Self {
        let vouched_to = fork.map_or(self.vouched_to, |fork| fork.from);
        Self { vouched_to, fork, ..self }
    }

    /// Whether a key that the reader brought has signed all of it, or its beginning.
    pub(super) fn is_proved(&self) -> bool {
        self.whose == KeyOrigin::Reader
    }

    fn report(&self, output: Output) {
        if let Some(fork) = &self.fork {
            return output.info(&format!(
                "Proved by your key: positions {} to {}. There another epoch began, and epoch {} is signed by {}: compare \
                 that key with the one that the restore told.",
                self.from,
                fork.from,
                fork.epoch,
                self.verifier_key.as_deref().unwrap_or_default()
            ));
        }
        match (&self.verifier_key, self.size) {
            (Some(key), Some(size)) => {
                let proved =
                    format!("positions {} to {}, by the head of size {size}", self.from, self.vouched_to);
                self.whose.report(key, &proved, output);
                if self.vouched_to < self.to {
                    output.info(&format!(
                        "Positions {} to {} were recorded after the last signed head: nothing vouches for them.",
                        self.vouched_to + 1,
                        self.to
                    ));
                }
            }
            (None, _) | (_, None) => output.info(
                "Consistent, and nothing more: it holds no signed head, or no key to check one with. Give \
                 --verifier-key.",
            ),
        }
    }
}

impl ReadEnding {
    /// Says how far the answer is proved: the last line of each command.
    pub(super) fn report(&self, output: Output) {
        match self {
            Self::Unsigned(_) => output.info(
                "Not proved: the file ends without a signed head. Each record is as it was written, and nothing proves \
                 that they are all, or the authority's.",
            ),
            Self::Whole(found) => found.report(output),
            Self::Enough => {
                output.info("Not proved: this is the word of the server that was asked. Give --verifier-key.");
            }
        }
    }
}
