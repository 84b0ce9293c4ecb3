//! Signed heads: size and root of the tree, as a checkpoint of <https://c2sp.org/tlog-checkpoint>.
//!
//! The text of the note is the log's name, the number of records in decimal and the root in base64, a line each.
//! There is no time in it: what was recorded when is in the records, and a witness says when it saw the head.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    key::{HeadKey, VerifierKey},
    note::{self, NoteError},
};
use tenure_core::Position;
use tenure_log::RootHash;

/// A head with the signature that makes it one: the log had these records, in this order, and no others before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// How many records the tree has; the position of the last of them.
    pub size: u64,
    /// Its RFC 6962 root.
    pub root: RootHash,
    note: String,
}

impl SignedHead {
    /// Signs a head. Two that do not agree are a fork of the log, which anyone can show.
    pub fn sign(size: u64, root: RootHash, key: &HeadKey) -> Self {
        Self { size, root, note: note::sign(&text_of(size, root, key), key) }
    }

    /// The head at an orderly stop: nothing was acknowledged after it, until another start signs one without this line.
    pub fn sign_closed(size: u64, root: RootHash, key: &HeadKey) -> Self {
        let text = format!("{}{CLOSED}\n", text_of(size, root, key));
        Self { size, root, note: note::sign(&text, key) }
    }

    /// The first head of an epoch: under its new name, and signed by the former key too. It says where the history
    /// forked, so that the heads of the new name are not taken for those of another log.
    pub fn sign_first(size: u64, root: RootHash, key: &HeadKey, former: &HeadKey, epoch: u32) -> Self {
        let former_name = former.verifier().name();
        let text = format!("{}epoch {epoch} from {size} of {former_name}\n", text_of(size, root, key));
        Self { size, root, note: note::cosign(&note::sign(&text, key), &text, former) }
    }

    /// The number of the epoch that a head with this line begins; `None` for any other line.
    pub fn epoch_begun_in(line: &str) -> Option<u32> {
        let (number, from) = line.strip_prefix("epoch ")?.split_once(" from ")?;
        from.contains(" of ").then(|| number.parse().ok())?
    }

    /// Whether it was signed at an orderly stop.
    pub fn is_closed(&self) -> bool {
        let (text, _) = self.note.rsplit_once("\n\n").unwrap_or_default();
        text.lines().skip(3).any(|line| line == CLOSED)
    }

    /// The size and root that a note states, whatever its signatures; `None` if it is not a head.
    pub(crate) fn stated(note: &str) -> Option<(u64, RootHash)> {
        let mut lines = note.lines().skip(1);
        Some((decimal(lines.next()?)?, hash(lines.next()?)?))
    }

    /// The head in a note that this key has signed.
    ///
    /// # Errors
    /// [`NoteError`]: no note, no signature of this key, one that does not fit, or no head of this key's log.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let text = note::open(note, key)?;
        let mut lines = text.lines();
        let origin = lines.next().unwrap_or_default();
        if origin != key.name() {
            return Err(NoteError::OtherLog { given: origin.to_owned(), right: key.name().to_owned() });
        }
        let size = lines.next().and_then(decimal);
        let size = size.ok_or(NoteError::NoHead { line: 2, expected: "a number of records" })?;
        let root = lines.next().and_then(hash);
        let root = root.ok_or(NoteError::NoHead { line: 3, expected: "a root, 32 bytes in base64" })?;
        // Lines of later versions may follow; the signature covers them.
        if let Some(empty) = lines.position(str::is_empty) {
            return Err(NoteError::NoHead { line: 4 + empty, expected: "an extension; none is empty" });
        }
        Ok(Self { size, root, note: note.to_owned() })
    }

    /// The last position that it covers.
    pub const fn position(&self) -> Position {
        Position(self.size)
    }

    /// The note, signatures included: what is handed on.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// The line of a head that was signed at an orderly stop.
const CLOSED: &str = "closed";

fn text_of(size: u64, root: RootHash, key: &HeadKey) -> String {
    format!("{}\n{size}\n{}\n", key.verifier().name(), STANDARD.encode(root.as_bytes()))
}

/// Decimal without a sign and without leading zeros, of which there is one spelling.
fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn hash(text: &str) -> Option<RootHash> {
    let bytes = STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(RootHash::from_bytes)
}

#[cfg(test)]
mod tests {
    use signed_note::{StandardVerifier, VerifierList};
    use tlog_tiles::Checkpoint;

    use super::*;
    use tenure_protocol::entropy::SeededEntropy;

    fn key() -> HeadKey {
        HeadKey::draw(&SeededEntropy::new(1))
    }

    fn root() -> RootHash {
        RootHash::from_bytes([7; 32])
    }

    fn signed(text: &str) -> Result<SignedHead, NoteError> {
        SignedHead::open(
            &note::sign(&text.replace("NAME", key().verifier().name()), &key()),
            key().verifier(),
        )
    }

    #[test]
    fn a_head_says_that_it_was_signed_at_a_stop_and_no_other_line_says_so() {
        let closed = SignedHead::sign_closed(7, root(), &key());
        assert!(closed.is_closed() && !SignedHead::sign(7, root(), &key()).is_closed());
        assert_eq!(SignedHead::open(closed.note(), key().verifier()), Ok(closed.clone()));
        assert!(
            !signed(&format!("NAME\n7\n{}\nnot closed\n", STANDARD.encode([7; 32]))).unwrap().is_closed()
        );
    }

    #[test]
    fn the_first_head_of_an_epoch_opens_under_both_keys() {
        let former = HeadKey::draw(&SeededEntropy::new(2));
        let first = SignedHead::sign_first(7, root(), &key(), &former, 2);
        assert_eq!(SignedHead::open(first.note(), key().verifier()), Ok(first.clone()));
        assert!(note::open(first.note(), former.verifier()).unwrap().contains("epoch 2 from 7 of tenure/"));
    }

    #[test]
    fn a_signed_head_opens_again() {
        let head = SignedHead::sign(20_852_163, root(), &key());
        assert_eq!(SignedHead::open(head.note(), key().verifier()), Ok(head));
    }

    #[test]
    fn another_implementation_opens_it_and_reads_the_same() {
        let head = SignedHead::sign(20_852_163, root(), &key());
        let vkey = key().verifier().to_string();
        let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(&vkey).unwrap())]);
        let note = signed_note::Note::from_bytes(head.note().as_bytes()).unwrap();
        let (verified, unknown) = note.verify(&verifiers).unwrap();
        assert_eq!((verified.len(), unknown.len()), (1, 0));
        let theirs = Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!((theirs.origin(), theirs.size()), (key().verifier().name(), head.size));
        assert_eq!(&theirs.hash().0, head.root.as_bytes());
    }

    #[test]
    fn lines_of_a_later_version_are_covered_and_passed_over() {
        let with = signed(&format!("NAME\n1\n{}\nlater 1\n", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!((with.size, with.root), (1, root()));
    }

    #[test]
    fn what_is_signed_but_no_head_is_refused_with_its_line() {
        let root = STANDARD.encode([7; 32]);
        let not = |text: &str| signed(text).unwrap_err().to_string();
        for size in ["", "01", "+1", "-1", "1 ", "0x1", "18446744073709551616"] {
            assert_eq!(
                not(&format!("NAME\n{size}\n{root}\n")),
                "line 2 of the head is not a number of records"
            );
        }
        for root in ["", "AAAA", &root.replace('=', ""), &format!("{root} ")] {
            assert!(not(&format!("NAME\n1\n{root}\nx\n")).starts_with("line 3 of the head"), "{root}");
        }
        assert!(not(&format!("NAME\n1\n{root}\n\nx\n")).starts_with("line 4 of the head"));
        assert!(
            not(&format!("other/log\n1\n{root}\n")).starts_with("the head is of other/log, and this key")
        );
        assert!(not("NAME\n").starts_with("line 2"));
    }
}
