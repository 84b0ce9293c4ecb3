//! What an auditor brings along: the authority's key, and heads that were seen before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use crate::cli::failure::CommandError;
use tenure_audit::{SignedHead, VerifierKey, transparency::trusted_heads::heads_in, verify::TrustAnchors};

/// What is trusted before the history is opened.
#[derive(Debug, Args)]
#[command(next_help_heading = "What is trusted")]
pub(super) struct TrustArgs {
    /// The authority's verifier key, from a source you trust; without it nothing is proved
    #[arg(long, value_name = "VKEY")]
    verifier_key: Option<VerifierKey>,

    /// File with signed heads seen before, such as audit.head_file: the history must continue each
    #[arg(long, value_name = "FILE", requires = "verifier_key")]
    heads: Option<PathBuf>,
}

/// The key and the heads, read.
#[derive(Debug, Default)]
pub(super) struct TrustedHeads {
    pub(super) key: Option<VerifierKey>,
    pub(super) heads: Vec<SignedHead>,
}

impl TrustArgs {
    /// The key, if one was brought.
    pub(super) const fn key(&self) -> Option<&VerifierKey> {
        self.verifier_key.as_ref()
    }

    pub(super) fn read(&self) -> Result<TrustedHeads, CommandError> {
        let key = self.verifier_key.clone();
        let (Some(path), Some(known)) = (&self.heads, &key) else {
            return Ok(TrustedHeads { key, heads: vec![] });
        };
        let heads = heads_of(path, known)?;
        Ok(TrustedHeads { key, heads })
    }
}

/// The heads in a file that a key has signed; a file that was brought for them has some.
pub(super) fn heads_of(path: &Path, key: &VerifierKey) -> Result<Vec<SignedHead>, CommandError> {
    let text = fs::read(path).map_err(|source| CommandError::File { path: path.to_owned(), source })?;
    let heads = heads_in(&String::from_utf8_lossy(&text), key);
    if heads.is_empty() {
        let why = format!("{} holds no head that this key has signed", path.display());
        return Err(CommandError::Usage(why));
    }
    Ok(heads)
}

impl TrustedHeads {
    pub(super) fn as_trust(&self) -> TrustAnchors<'_> {
        TrustAnchors { key: self.key.as_ref(), known: &self.heads }
    }
}
