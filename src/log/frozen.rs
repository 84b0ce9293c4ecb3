//! The frozen samples in `fixtures/events/`: what was once written is read for ever.
//!
//! A sample is never edited. When a test here fails, the code is wrong, or a new version of the kind is due
//! (see `upcast`). `TENURE_WRITE_SAMPLES=1 cargo test -p tenure-log frozen` writes the samples that are missing.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf};

use minicbor::{Decoder, data::Type};

use super::{StoredCommit, codec::CommitOutline, encode, samples};
use tenure_core::{Event, EventKind, Position, StreamId};

fn dir() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("fixtures/events")
}

/// Something that was once written, with what it means today.
struct FrozenSample {
    name: String,
    event: Event,
    /// Whether it would be written like this today.
    is_current: bool,
}

impl FrozenSample {
    /// In the first layout of a commit, in which no kind had a second version. The end of a selection was a form of
    /// another kind then.
    fn of_format_1(event: Event) -> Self {
        let kind = event.kind();
        let is_selection = kind == EventKind::SelectionRevoked;
        let name = if is_selection { "SessionsRevoked.bulk.v1".into() } else { format!("{kind:?}.v1") };
        Self { name, event, is_current: false }
    }

    fn of_today(event: Event) -> Self {
        let name = format!("{:?}.v{}.format2", event.kind(), event.kind().version());
        Self { name, event, is_current: true }
    }

    /// With the fields that a kind got after it was first written.
    fn grown((what, event): (&str, Event)) -> Self {
        let name = format!("{:?}.{what}.v{}.format2", event.kind(), event.kind().version());
        Self { name, event, is_current: true }
    }

    fn read(&self, extension: &str) -> String {
        let path = dir().join(format!("{}.{extension}", self.name));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Every kind in every layout and version in which it was ever written.
fn expected() -> impl Iterator<Item = FrozenSample> {
    let of_kinds = samples::every_kind().into_iter().flat_map(|event| {
        // A kind that came after the first layout has no sample of it.
        let old =
            (event.kind() <= EventKind::SelectionRevoked).then(|| FrozenSample::of_format_1(event.clone()));
        old.into_iter().chain([FrozenSample::of_today(event)])
    });
    of_kinds.chain(samples::grown().into_iter().map(FrozenSample::grown))
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(40) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The bytes for a reader, from nothing but the bytes: it stays true whatever becomes of our types.
fn described(name: &str, bytes: &[u8]) -> String {
    let header_end = 4 + usize::try_from(u32::from_be_bytes(*bytes.first_chunk().unwrap())).unwrap();
    let stored = StoredCommit::decode(Position(1), bytes).unwrap();
    let header = shown(&bytes[4..header_end]);
    let event = shown(&bytes[header_end + 6..]);
    let hash = stored.record_hashes[0];
    format!("{name}, {} bytes\n\nheader\n{header}\n\nevent\n{event}\n\nrecord hash\n{hash}\n", bytes.len())
}

/// CBOR in the diagnostic notation of RFC 8949, section 8, as far as the log uses it.
fn shown(bytes: &[u8]) -> String {
    let mut decoder = Decoder::new(bytes);
    let mut out = String::new();
    show(&mut decoder, &mut out);
    assert_eq!(decoder.position(), bytes.len());
    out
}

fn show(d: &mut Decoder<'_>, out: &mut String) {
    let kind = d.datatype().unwrap();
    if kind == Type::Array {
        out.push('[');
        for element in 0..d.array().unwrap().unwrap() {
            out.push_str(if element == 0 { "" } else { ", " });
            show(d, out);
        }
        out.push(']');
    } else if kind == Type::Bytes {
        let hex = to_hex(d.bytes().unwrap()).replace('\n', "");
        write!(out, "h'{hex}'").unwrap();
    } else if kind == Type::String {
        write!(out, "{:?}", d.str().unwrap()).unwrap();
    } else if kind == Type::Null {
        d.null().unwrap();
        out.push_str("null");
    } else if kind == Type::Bool {
        write!(out, "{}", d.bool().unwrap()).unwrap();
    } else {
        write!(out, "{}", d.int().unwrap()).unwrap();
    }
}

/// An outline says the same of bytes of every format and version.
fn assert_is_outlined(stored: &StoredCommit, bytes: &[u8]) {
    let outline = CommitOutline::of(bytes).unwrap();
    assert_eq!(outline.recorded_at, stored.commit.recorded_at);
    assert_eq!(
        outline.subject.map(|id| StreamId::Subject(id.parse().unwrap())).as_ref(),
        Some(&stored.commit.stream)
    );
    assert_eq!(outline.record_hashes(), stored.record_hashes);
    let events: Vec<_> = outline.events(|_| true).map(|event| event.unwrap().unwrap()).collect();
    assert_eq!(events, stored.commit.events);
}

#[test]
fn every_sample_still_says_what_it_said() {
    for sample in expected() {
        let bytes = from_hex(&sample.read("hex"));
        let stored = StoredCommit::decode(Position(42), &bytes).unwrap();
        assert_eq!(stored.commit, samples::full(sample.event.clone()));
        assert_eq!(described(&sample.name, &bytes), sample.read("txt"));
        assert_is_outlined(&stored, &bytes);
        if sample.is_current {
            let encoded = encode(&stored.commit).unwrap();
            assert_eq!(encoded.bytes(), bytes);
            assert_eq!(encoded.record_hashes(), stored.record_hashes);
        }
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "adding a kind is stated by the environment")]
fn every_kind_and_version_has_a_sample_and_every_sample_a_kind() {
    if std::env::var("TENURE_WRITE_SAMPLES").is_ok() {
        write_missing_samples();
    }
    let kinds: BTreeSet<_> = samples::every_kind().iter().map(Event::kind).collect();
    assert_eq!(kinds, BTreeSet::from(EventKind::ALL));
    let wanted: BTreeSet<_> = expected()
        .flat_map(|sample| ["hex", "txt"].map(|extension| format!("{}.{extension}", sample.name)))
        .collect();
    let found = fs::read_dir(dir()).unwrap();
    let found: BTreeSet<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, wanted);
}

/// Writes missing samples, never over an existing one.
fn write_missing_samples() {
    fs::create_dir_all(dir()).unwrap();
    for FrozenSample { name, event, .. } in expected().filter(|sample| sample.is_current) {
        let bytes = encode(&samples::full(event)).unwrap().bytes().to_vec();
        for (extension, text) in [("hex", to_hex(&bytes)), ("txt", described(&name, &bytes))] {
            let path = dir().join(format!("{name}.{extension}"));
            if !path.exists() {
                fs::write(path, text).unwrap();
            }
        }
    }
}
