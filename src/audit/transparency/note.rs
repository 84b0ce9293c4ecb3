//! Signed notes (<https://c2sp.org/signed-note>): a text, an empty line, and who has signed it.
//!
//! ```text
//! tenure/6b1f0a7d92c4e385
//! 42
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — tenure/6b1f0a7d92c4e385 <base64 of the key's id and the signature>
//! ```
//!
//! A note is read strictly: a malformed one is an error, not a note without signatures. Signatures of others,
//! such as witnesses, are ignored; a wrong one in our key's name is an error.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::key::{HeadKey, VerifierKey, is_name};

/// What a signature's line begins with: an em dash and a space.
const DASH: &str = "— ";
/// The longest note accepted. Ours have some 250 bytes; each witness adds some 150.
const LONGEST: usize = 64 * 1024;

/// Why a text is not a note, or not one that this key has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than any note has.
    #[error("a note of {0} bytes is longer than {LONGEST}")]
    TooLong(usize),
    /// A character that no note has.
    #[error("a note has no control character but the end of a line")]
    ControlCharacter,
    /// There is no empty line in front of signature lines.
    #[error("the note has no signature: an empty line and `— name signature` must follow its text")]
    NoSignature,
    /// A line after the empty one is not a signature line.
    #[error("line {line} is no signature: it must be `— name signature`")]
    MalformedSignature {
        /// Its number, from 1.
        line: usize,
    },
    /// It has no signature under this key's name and id.
    #[error("the note is not signed by {name}, key {id:08x}")]
    NotSigned {
        /// Whose signature was expected.
        name: String,
        /// The id of the key.
        id: u32,
    },
    /// The text is not what was signed, or another key has signed it.
    #[error("the signature of {name} does not fit: the note was changed, or another key has signed it")]
    WrongSignature {
        /// In whose name it was made.
        name: String,
    },
    /// The text of the note is not a tree head.
    #[error("line {line} of the head is not {expected}")]
    NoHead {
        /// Its number, from 1.
        line: usize,
        /// What it must be.
        expected: &'static str,
    },
    /// It is the head of another log.
    #[error("the head is of {given}, and this key is that of {right}")]
    OtherLog {
        /// The origin that it names.
        given: String,
        /// The log whose key was given.
        right: String,
    },
}

/// The text with this key's signature under it. The text ends with the end of a line.
pub(crate) fn sign(text: &str, key: &HeadKey) -> String {
    let verifier = key.verifier();
    let signature = [&verifier.id().to_be_bytes()[..], &key.sign(text.as_bytes())].concat();
    format!("{text}\n{DASH}{} {}\n", verifier.name(), STANDARD.encode(signature))
}

/// A note of this text, with another key's signature under those that it has.
pub(crate) fn cosign(note: &str, text: &str, key: &HeadKey) -> String {
    let signed = sign(text, key);
    let (_, signature) = signed.rsplit_once("\n\n").expect("a note has an empty line");
    format!("{note}{signature}")
}

/// The text of a note that this key has signed.
///
/// # Errors
/// See [`NoteError`].
pub(crate) fn open<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, signatures) = split(note)?;
    let first_line = text.lines().count() + 2;
    let mut is_signed = false;
    for (line, signature) in (first_line..).zip(signatures.lines()) {
        let signature = NoteSignature::parse(signature).ok_or(NoteError::MalformedSignature { line })?;
        if signature.name == key.name() && signature.id == key.id() {
            let fits = signature
                .bytes
                .as_slice()
                .try_into()
                .is_ok_and(|bytes| key.has_signed(text.as_bytes(), bytes));
            if !fits {
                return Err(NoteError::WrongSignature { name: key.name().to_owned() });
            }
            is_signed = true;
        }
    }
    if is_signed { Ok(text) } else { Err(NoteError::NotSigned { name: key.name().to_owned(), id: key.id() }) }
}

/// The text with the end of its last line, and the lines of signatures.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    if note.len() > LONGEST {
        return Err(NoteError::TooLong(note.len()));
    }
    if note.contains(|c: char| c < ' ' && c != '\n') {
        return Err(NoteError::ControlCharacter);
    }
    // The last empty line: a text may have some of its own.
    let end = note.rfind("\n\n").ok_or(NoteError::NoSignature)? + 1;
    let signatures = &note[end + 1..];
    if signatures.is_empty() || !signatures.ends_with('\n') {
        return Err(NoteError::NoSignature);
    }
    Ok((&note[..end], signatures))
}

struct NoteSignature<'a> {
    name: &'a str,
    id: u32,
    bytes: Vec<u8>,
}

impl<'a> NoteSignature<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = decoded.split_first_chunk()?;
        let is_whole = is_name(name) && !bytes.is_empty();
        is_whole.then(|| Self { name, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_protocol::entropy::SeededEntropy;

    /// From the documentation of Go's `golang.org/x/mod/sumdb/note`.
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn key() -> HeadKey {
        HeadKey::draw(&SeededEntropy::new(1))
    }

    #[test]
    fn a_note_of_another_tool_opens() {
        let text = open(NOTE, &PETER.parse().unwrap()).unwrap();
        assert!(text.starts_with("If you think") && text.ends_with("problem is.\n"));
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_noticed() {
        let note = sign("tenure/0\n1\nAA==\n", &key());
        assert!(open(&note, key().verifier()).is_ok());
        for at in 0..note.len() * 8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(open(&changed, key().verifier()).is_err(), "bit {at}: {changed:?}");
        }
    }

    #[test]
    fn signatures_of_others_are_let_stand_but_must_be_signatures() {
        let note = sign("a\n\nb\n", &key());
        let other = HeadKey::draw(&SeededEntropy::new(2));
        let both = [&note, sign("a\n\nb\n", &other).rsplit_once("\n\n").unwrap().1].concat();
        for key in [&key(), &other] {
            assert_eq!(open(&both, key.verifier()), Ok("a\n\nb\n"));
        }
        let lines = note.lines().count();
        for wrong in
            ["— \n", "— name\n", "— name AAAA\n", "— na+me AAAAAAA=\n", "-- name AAAAAAA=\n", "\n— x\n"]
        {
            let said = open(&[&note, wrong].concat(), key().verifier()).unwrap_err();
            let is_named = matches!(said, NoteError::MalformedSignature { line } if line > lines);
            assert!(is_named, "{wrong:?}: {said}");
        }
    }

    #[test]
    fn what_is_no_note_is_said_to_be_none() {
        let note = sign("a\n", &key());
        let not = |text: &str| open(text, key().verifier()).unwrap_err();
        assert_eq!(not(""), NoteError::NoSignature);
        assert_eq!(not("a\n\n"), NoteError::NoSignature);
        assert_eq!(not(note.trim_end()), NoteError::NoSignature);
        assert_eq!(not(&note.replace('\n', "\r\n")), NoteError::ControlCharacter);
        assert_eq!(not(&"a".repeat(LONGEST + 1)), NoteError::TooLong(LONGEST + 1));
        let other = HeadKey::draw(&SeededEntropy::new(2));
        assert!(matches!(not(&sign("a\n", &other)), NoteError::NotSigned { .. }));
        assert!(matches!(not(&note.replace("a\n\n", "b\n\n")), NoteError::WrongSignature { .. }));
    }
}
