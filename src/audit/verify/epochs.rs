//! A history of several epochs, read by a verifier with the key of an earlier one.
//!
//! A restore that may have lost events goes on under another key. What the former key signed up to the fork it still
//! proves; that the rest continues it is the word of the history itself.

use std::io::BufRead;

use serde::Serialize;

use super::{
    CommitVisitor, ExportVerifier, TrustAnchors, VerifiedExport, VerifyError, at_header, lines::ExportLines,
    other_key, trusted_key,
};
use crate::{
    export::BeginLine,
    transparency::{compact_range::CompactRange, key::VerifierKey, signed_head::SignedHead},
};
use tenure_core::{Event, SystemEvent};
use tenure_log::StoredCommit;

/// Where the history left the one that a former key has signed: another epoch began there, under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochFork {
    /// The last position that the former key vouches for.
    pub from: u64,
    /// The last epoch of the history.
    pub epoch: u32,
}

/// As `verify`. The trusted key may also be one that signed the history in an earlier epoch: then the history is proved
/// up to the fork, which is given back, and what follows is the word of the key that the export names.
///
/// # Errors
/// The first [`VerifyError`].
pub fn verify_through_epochs(
    input: impl BufRead,
    trust: TrustAnchors<'_>,
    take: &mut CommitVisitor<'_>,
) -> Result<Option<(VerifiedExport, Option<EpochFork>)>, VerifyError> {
    let mut lines = ExportLines::of(input);
    let begin = match lines.next()? {
        Some(line) => BeginLine::read(line).map_err(at_header)?,
        None => return Err(at_header("is missing: the file is empty".into())),
    };
    let mut former = match (trust.key, trusted_key(&begin, trust.key)) {
        (Some(key), Err(_)) if trusted_key(&begin, None).is_ok_and(|stated| stated.is_some()) => {
            Some(FormerKey::of(key))
        }
        (_, Err(fault)) => return Err(fault),
        (_, Ok(_)) => None,
    };
    let key = if former.is_some() { None } else { trust.key };
    let mut check = ExportVerifier::new(&begin, TrustAnchors { key, ..trust })?;
    check.former = former.take();
    let read = check.read(&mut lines, take).map_err(|fault| fault.found(check.unproved()))?;
    let Some(verdict) = read else { return Ok(None) };
    match &check.former {
        None => Ok(Some((verdict, None))),
        Some(FormerKey { fork: Some(fork), .. }) => Ok(Some((verdict, Some(*fork)))),
        Some(FormerKey { fork: None, .. }) => Err(other_key()),
    }
}

/// A key that signed in an earlier epoch, and where its epoch ended once that was met.
#[derive(Clone, Copy)]
pub(super) struct FormerKey<'t> {
    key: &'t VerifierKey,
    fork: Option<EpochFork>,
}

impl<'t> FormerKey<'t> {
    pub(super) const fn of(key: &'t VerifierKey) -> Self {
        Self { key, fork: None }
    }

    pub(super) const fn fork(&self) -> Option<EpochFork> {
        self.fork
    }

    /// Looks whether an epoch begins with this commit. The head at the fork must be the one that this very history had.
    pub(super) fn look(&mut self, stored: &StoredCommit, range: &CompactRange) -> bool {
        let Some(Event::System(SystemEvent::EpochBegan(began))) = stored.commit.events.first() else {
            return false;
        };
        if let Some(fork) = &mut self.fork {
            fork.epoch = began.epoch;
            return false;
        }
        let head = began.previous_head.as_ref().and_then(|note| SignedHead::open(note, self.key).ok());
        let fits = |head: &SignedHead| head.size == range.end() && range.root() == Some(head.root);
        if !head.is_some_and(|head| fits(&head)) {
            return false;
        }
        self.fork = Some(EpochFork { from: range.end(), epoch: began.epoch });
        true
    }
}
