//! The lines of an export, in their one spelling.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::FORMAT;
use tenure_core::Position;
use tenure_log::{RecordHash, codec::MAX_COMMIT_BYTES};

/// The longest line that a reader takes, in bytes: that of the largest commit with the most events, and room for
/// notes with many cosignatures.
pub(crate) const LONGEST_LINE: usize = MAX_COMMIT_BYTES / 3 * 4 + MAX_COMMIT_BYTES / 8 * 67 + 64 * 1024;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BeginLine {
    /// Name and version of the format.
    pub format: String,
    /// The position of the first event in it.
    pub from: u64,
    /// Stands for the events before: the hashes of the fewest full subtrees, from left to right, in hex.
    pub before: Vec<String>,
    /// The C2SP vkey of the authority that signed the heads. It is stated for convenience: a verifier gets the
    /// key from elsewhere. None in an unsigned history.
    pub verifier_key: Option<String>,
}

/// A head, signed when the history had this length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeadLine {
    /// The C2SP tlog-checkpoint note.
    pub(crate) head: String,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// The position of the last event in it.
    pub to: u64,
    /// Stands for the events behind it, up to the head's size, as `before` does for those in front.
    pub after: Vec<String>,
    /// The C2SP tlog-checkpoint note that vouches for all.
    pub head: String,
}

/// One line, read.
pub(crate) enum ExportLine<'l> {
    Commit(CommitLine<'l>),
    Head(HeadLine),
    End(EndLine),
}

/// A commit as it stands in its line.
pub(crate) struct CommitLine<'l> {
    pub(crate) first: Position,
    /// The stated hashes with what is between them: 64 digits and `","`.
    records: &'l [u8],
    commit: &'l [u8],
}

const DIGITS: usize = 64;
const BETWEEN: &[u8] = b"\",\"";

impl BeginLine {
    /// Of a history from this position on.
    pub(crate) fn new(from: u64, before: Vec<String>, verifier_key: Option<String>) -> Self {
        Self { format: FORMAT.to_owned(), from, before, verifier_key }
    }

    /// Reads the first line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let begin: Self = exact(line).ok_or("is not the first line of an export")?;
        if begin.format == FORMAT {
            Ok(begin)
        } else {
            Err(format!("has format {:?}; this program reads {FORMAT:?}", begin.format))
        }
    }
}

impl<'l> ExportLine<'l> {
    /// Reads a line after the first; `None` unless it is a line of an export in its one spelling.
    pub(crate) fn read(line: &'l [u8]) -> Option<Self> {
        if line.starts_with(b"{\"first\":") {
            CommitLine::read(line).map(Self::Commit)
        } else if line.starts_with(b"{\"head\":") {
            exact(line).map(Self::Head)
        } else {
            exact(line).map(Self::End)
        }
    }
}

impl<'l> CommitLine<'l> {
    fn read(line: &'l [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"first\":")?;
        let (first, rest) = number(rest)?;
        let rest = rest.strip_prefix(b",\"records\":[\"")?;
        let mut end = DIGITS;
        while rest.get(end..)?.starts_with(BETWEEN) {
            end += BETWEEN.len() + DIGITS;
        }
        let (records, rest) = rest.split_at_checked(end)?;
        let commit = rest.strip_prefix(b"\"],\"commit\":\"")?.strip_suffix(b"\"}")?;
        Some(Self { first: Position(first), records, commit })
    }

    /// Decodes the bytes of the commit into `out`; false when they are not spelled as we spell them.
    pub(crate) fn decode(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        STANDARD.decode_vec(self.commit, out).is_ok()
    }

    /// Whether these are the hashes that the line states.
    pub(crate) fn states(&self, hashes: &[RecordHash]) -> bool {
        let mut rest = self.records;
        hashes.iter().enumerate().all(|(index, hash)| {
            if index > 0 {
                rest = rest.strip_prefix(BETWEEN).unwrap_or_default();
            }
            let is_stated = rest.starts_with(&hex(hash.as_bytes()));
            rest = rest.get(DIGITS..).unwrap_or_default();
            is_stated
        }) && rest.is_empty()
    }
}

/// Writes the line of a commit.
pub(super) fn write_commit(out: &mut Vec<u8>, first: Position, hashes: &[RecordHash], bytes: &[u8]) {
    out.extend_from_slice(b"{\"first\":");
    out.extend_from_slice(first.0.to_string().as_bytes());
    out.extend_from_slice(b",\"records\":[\"");
    for (index, hash) in hashes.iter().enumerate() {
        out.extend_from_slice(if index > 0 { BETWEEN } else { b"" });
        out.extend_from_slice(&hex(hash.as_bytes()));
    }
    out.extend_from_slice(b"\"],\"commit\":\"");
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Writes any other line.
pub(super) fn write_line(out: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(&mut *out, line).expect("our own lines are always JSON");
    out.push(b'\n');
}

/// A hash as it is written: lower-case hex.
pub(crate) fn hex(bytes: &[u8; 32]) -> [u8; DIGITS] {
    const DIGIT: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; DIGITS];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGIT[usize::from(byte >> 4)];
        pair[1] = DIGIT[usize::from(byte & 15)];
    }
    out
}

/// A hash from its hex; `None` unless the text is 64 lower-case digits.
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; DIGITS] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// The value of exactly this line.
fn exact<T: DeserializeOwned + Serialize>(line: &[u8]) -> Option<T> {
    let value: T = serde_json::from_slice(line).ok()?;
    (serde_json::to_vec(&value).ok()? == line).then_some(value)
}

/// A number as we write it, and what follows.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at(end);
    let is_plain = !digits.is_empty() && (digits[0] != b'0' || digits.len() == 1);
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    is_plain.then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(hashes: usize) -> (Vec<RecordHash>, Vec<u8>) {
        let hashes: Vec<_> = (0..hashes).map(|n| RecordHash::from_bytes([n.to_le_bytes()[0]; 32])).collect();
        let mut out = Vec::new();
        write_commit(&mut out, Position(907), &hashes, b"five!");
        assert_eq!(out.pop(), Some(b'\n'));
        (hashes, out)
    }

    #[test]
    fn a_commit_is_read_back() {
        for count in 1..4 {
            let (hashes, line) = line(count);
            let read = CommitLine::read(&line).unwrap();
            let mut bytes = Vec::new();
            assert!(read.decode(&mut bytes));
            assert_eq!((read.first, &bytes[..]), (Position(907), &b"five!"[..]));
            assert!(read.states(&hashes));
            assert!(!read.states(&hashes[1..]) && !read.states(&[&hashes[..], &hashes[..1]].concat()));
        }
    }

    #[test]
    fn no_flipped_bit_leaves_the_same_statement() {
        let (hashes, line) = line(2);
        for (at, bit) in (0..line.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut flipped = line.clone();
            flipped[at] ^= 1 << bit;
            let mut bytes = Vec::new();
            let is_same = CommitLine::read(&flipped).is_some_and(|read| {
                read.decode(&mut bytes) && bytes == b"five!" && read.first.0 == 907 && read.states(&hashes)
            });
            assert!(!is_same, "bit {bit} of byte {at}");
        }
    }

    #[test]
    fn hex_has_one_spelling() {
        let bytes = [0x5a; 32];
        let text = String::from_utf8(hex(&bytes).to_vec()).unwrap();
        assert_eq!(from_hex(&text), Some(bytes));
        assert_eq!(from_hex(&text.to_uppercase()), None);
        assert_eq!(from_hex(&text[1..]), None);
    }

    #[test]
    fn a_line_with_a_space_or_a_field_more_is_none_of_ours() {
        let end = EndLine { to: 7, after: vec![], head: "n".into() };
        let mut line = Vec::new();
        write_line(&mut line, &end);
        line.pop();
        assert!(matches!(ExportLine::read(&line), Some(ExportLine::End(read)) if read == end));
        let text = String::from_utf8(line).unwrap();
        for other in [text.replace(',', ", "), text.replace('}', ",\"x\":1}"), text.replace('7', "07")] {
            assert!(ExportLine::read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
