//! The keys of a data directory: that they are those which the log speaks of, and all of them.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use super::{StartError, key_binding::KeyBinding, startup_replay::StartupState};
use crate::authority::AuthorityKeys;
use crate::personal_data::SubjectKeys;
use crate::tokens::{KeyedDigests, TokenKeyring, TokenSealer};
use tenure_core::{
    KeyUse, Position, SealedText, StreamId, SubjectId, Timestamp, state::AuthorityState, subject::Subject,
};
use tenure_files::key_files::{self, KEY_DIRECTORIES, KeyFileError};
use tenure_protocol::entropy::Entropy;

/// Verified tokens remembered, at about 80 bytes each.
const REMEMBERED_TOKENS: usize = 1_000_000;

/// The keys of a data directory.
pub(super) struct OpenedKeys {
    pub(super) secrets: AuthorityKeys,
    /// The subjects whose keys were destroyed in a history that was lost, while the text is still in this one.
    pub(super) erased: Vec<SubjectId>,
}

pub(super) fn open_secrets(
    data: &Path,
    folded: &StartupState,
    binding: &KeyBinding,
    now: Timestamp,
    entropy: &dyn Entropy,
    is_epoch_begun: bool,
) -> Result<OpenedKeys, StartError> {
    let keys = data.join("keys");
    if folded.state.position > Position::ZERO {
        // They were there before the first event was.
        let mut expected = vec![keys.join("session"), keys.join("digests.key"), keys.join("subjects")];
        // But for these, which logs of the time before access tokens do not know.
        if folded.state.system.keys.active(KeyUse::Access).is_some() {
            expected.push(keys.join("access"));
        }
        if let Some(path) = expected.iter().find(|path| is_missing(path)) {
            return Err(StartError::KeysMissing { path: path.display().to_string() });
        }
    }
    let open = if is_epoch_begun { TokenKeyring::open_to_rotate } else { TokenKeyring::open };
    let keyring = open(&keys, &folded.state.system.keys, now, entropy)?;
    let texts = SubjectKeys::open(&keys)?;
    binding.check(SubjectKeys::FILE, texts.mark().as_deref())?;
    let digests = KeyedDigests::open(&keys, entropy)?;
    binding.check(KeyedDigests::FILE, Some(&digests.mark()))?;
    complete_erasures(&folded.erased, &texts)?;
    let erased = check_texts(folded, &texts, &keys, is_epoch_begun)?;
    if binding.is_new() {
        check_names(&folded.state, &texts, &keys)?;
    }
    let secrets = AuthorityKeys {
        tokens: Arc::new(TokenSealer::new(keyring, REMEMBERED_TOKENS, entropy)),
        digests,
        texts: Arc::new(texts),
    };
    Ok(OpenedKeys { secrets, erased })
}

/// Removes key files that a crash left unfinished: nothing was ever sealed with what is in them.
pub(super) fn remove_unfinished(data: &Path) -> Result<(), KeyFileError> {
    let keys = data.join("keys");
    KEY_DIRECTORIES.iter().try_for_each(|directory| key_files::remove_unfinished(&keys.join(directory)))
}

/// Whether there is no such file or directory, or nothing in it.
pub(super) fn is_missing(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => fs::metadata(path).is_ok_and(|file| file.len() == 0) || !path.exists(),
    }
}

/// Destroys the keys that the log says are destroyed, and are not: a crash came between the event and its key, or
/// the file of keys was put back from an older copy.
fn complete_erasures(erased: &HashMap<SubjectId, Position>, texts: &SubjectKeys) -> Result<(), StartError> {
    for (subject, position) in erased {
        let stream = StreamId::Subject(subject.clone());
        if !texts.was_forgotten_at(&stream, *position) {
            tracing::warn!(%subject, %position, "the key of an erased subject was still there; it is destroyed now");
            texts.forget(&stream, *position).map_err(StartError::Forgetting)?;
        }
    }
    texts.has_erased_through(erased.values().max().copied().unwrap_or(Position::ZERO));
    Ok(())
}

/// Names opened to see whether the keys are those of this log.
const NAMES: usize = 100;

/// Whether names open under these keys: those of another log are found by the same ids, and open nothing.
fn check_names(state: &AuthorityState, texts: &SubjectKeys, keys: &Path) -> Result<(), StartError> {
    let named =
        state.subjects.values().filter_map(|subject| Some((subject, subject.profile()?.name.as_ref()?)));
    let mut named = named.take(NAMES);
    let opens = |(subject, name): (&Subject, &SealedText)| {
        let stream = StreamId::Subject(subject.id.clone());
        texts.is_forgotten(&stream) || texts.open_text(&stream, "name", name).is_some()
    };
    if named.all(opens) {
        return Ok(());
    }
    let path = keys.join(SubjectKeys::FILE);
    Err(KeyFileError::Foreign { path, whose: "this log, or was damaged" }.into())
}

/// What was erased is no text any more. For all other text there must be a key: an older copy of the file would
/// make it unreadable, unnoticed. Where another epoch begins, a key may have been destroyed for an event
/// that was lost; the subjects concerned are given back. A key that such a subject got since opens none of this text.
fn check_texts(
    folded: &StartupState,
    texts: &SubjectKeys,
    keys: &Path,
    is_epoch_begun: bool,
) -> Result<Vec<SubjectId>, StartError> {
    let in_memory = folded.state.subjects.values().filter(|subject| subject.has_text());
    // An erasure since has taken the text from what was not read, too.
    let StartupState { left, erased, .. } = folded;
    let is_as_then = |id: &&SubjectId| erased.get(*id).is_none_or(|position| *position <= left.position);
    let not_read = left.with_text.iter().filter(is_as_then);
    let with_text = in_memory.map(|subject| &subject.id).chain(not_read);
    // What was destroyed for an event behind the end is marked with the end.
    let end = folded.state.position;
    let is_replaced = |id: &SubjectId, stream: &StreamId| {
        is_epoch_begun && texts.forgotten_by(stream) == Some(end) && erased.get(id) != Some(&end)
    };
    let has_lost = |id: &&SubjectId| {
        let stream = StreamId::Subject((*id).clone());
        texts.get(&stream).is_none() || is_replaced(id, &stream)
    };
    let is_erased = |id: &SubjectId| {
        let stream = StreamId::Subject(id.clone());
        is_epoch_begun && (texts.is_forgotten(&stream) || is_replaced(id, &stream))
    };
    let mut erased = Vec::new();
    for id in with_text.filter(has_lost) {
        if !is_erased(id) {
            let path = keys.join("subjects").display().to_string();
            return Err(StartError::SubjectKeyMissing { path, subject: id.to_string() });
        }
        erased.push(id.clone());
    }
    Ok(erased)
}
