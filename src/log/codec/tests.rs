use proptest::prelude::*;

use super::*;
use crate::samples;
use tenure_core::{Digest16, commit::ActorKind};

fn actors() -> impl Strategy<Value = Actor> {
    let kinds = [
        ActorKind::Authority,
        ActorKind::Credential,
        ActorKind::Session,
        ActorKind::Operator,
        ActorKind::Link,
    ];
    (proptest::sample::select(kinds.to_vec()), any::<Option<String>>())
        .prop_map(|(kind, id)| Actor { kind, id })
}

fn streams() -> impl Strategy<Value = StreamId> {
    prop_oneof![
        Just(StreamId::System),
        "[A-Za-z0-9_:@-]{1,128}".prop_map(|id| StreamId::Subject(id.parse().unwrap())),
    ]
}

fn idempotency() -> impl Strategy<Value = IdempotencyMark> {
    any::<([u8; 16], [u8; 16])>().prop_map(|(key, request)| IdempotencyMark {
        key: Digest16::from_bytes(key),
        request: Digest16::from_bytes(request),
    })
}

fn commits() -> impl Strategy<Value = Commit> {
    let events = prop::collection::vec(proptest::sample::select(samples::every_kind()), 1..20);
    let places = (any::<[u8; 16]>(), any::<u64>(), any::<i64>());
    let told = (actors(), any::<Option<String>>(), prop::option::of(idempotency()));
    (places, streams(), told, events).prop_map(
        |((id, expected, at), stream, (actor, correlation_id, idempotency), events)| Commit {
            id: CommitId::from_bytes(id),
            stream,
            expected: Position(expected),
            recorded_at: Timestamp::from_millis(at),
            actor,
            correlation_id,
            idempotency,
            events,
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(commit in commits()) {
        let encoded = encode(&commit).unwrap();
        let (decoded, hashes) = decode(encoded.bytes()).unwrap();
        prop_assert_eq!(decoded, commit);
        prop_assert_eq!(hashes, encoded.record_hashes());
        prop_assert_eq!(usize::from(count(encoded.bytes()).unwrap()), encoded.record_hashes().len());
    }

    #[test]
    fn an_outline_says_what_the_whole_commit_says(commit in commits()) {
        let encoded = encode(&commit).unwrap();
        let outline = CommitOutline::of(encoded.bytes()).unwrap();
        let subject = match &commit.stream {
            StreamId::System => None,
            StreamId::Subject(id) => Some(id.as_str()),
        };
        prop_assert_eq!((outline.recorded_at, outline.subject), (commit.recorded_at, subject));
        prop_assert_eq!(outline.record_hashes(), encoded.record_hashes());
        let events = u16::try_from(commit.events.len()).unwrap();
        prop_assert_eq!(time_and_count(encoded.bytes()), Ok((commit.recorded_at, events)));
        let all: Vec<_> = outline.events(|_| true).map(Result::unwrap).collect();
        prop_assert_eq!(all, commit.events.iter().cloned().map(Some).collect::<Vec<_>>());
        let renewals: Vec<_> = outline.events(|kind| kind == EventKind::SessionRenewed).map(Result::unwrap).collect();
        let is_renewal = |event: &&Event| event.kind() == EventKind::SessionRenewed;
        let expected: Vec<_> =
            commit.events.iter().map(|event| Some(event).filter(is_renewal).cloned()).collect();
        prop_assert_eq!(renewals, expected);
    }

    #[test]
    fn an_outline_cut_short_or_lengthened_is_an_error(commit in commits()) {
        let encoded = encode(&commit).unwrap();
        for length in 0..encoded.bytes().len() {
            prop_assert!(CommitOutline::of(&encoded.bytes()[..length]).is_err());
        }
        prop_assert!(CommitOutline::of(&[encoded.bytes(), &[0]].concat()).is_err());
    }

    /// One commit has one spelling: bytes that decode are the bytes that encode.
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        commit in commits(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&commit).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((decoded, hashes)) = decode(&bytes) {
            let again = encode(&decoded).unwrap();
            prop_assert_eq!(again.bytes(), &bytes);
            prop_assert_eq!(again.record_hashes(), hashes);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}

fn bytes() -> Vec<u8> {
    encode(&samples::commit(1, StreamId::System, 0, 0, 2)).unwrap().bytes().to_vec()
}

#[test]
fn a_commit_that_is_cut_short_anywhere_is_none() {
    let bytes = bytes();
    for length in 0..bytes.len() {
        assert_eq!(decode(&bytes[..length]), Err(DecodeError::CutShort), "{length}");
    }
}

#[test]
fn bytes_behind_a_commit_are_no_part_of_it() {
    let mut bytes = bytes();
    bytes.push(0);
    assert_eq!(decode(&bytes), Err(DecodeError::Trailing(1)));
}

#[test]
fn a_newer_layout_is_called_newer() {
    let mut bytes = bytes();
    // Behind the length and the array's head.
    assert_eq!(bytes[5], FORMAT);
    bytes[5] = FORMAT + 1;
    assert_eq!(decode(&bytes), Err(DecodeError::UnknownFormat(FORMAT + 1)));
}

#[test]
fn a_number_in_more_bytes_than_it_needs_is_refused() {
    let mut short = Vec::new();
    put(&mut short, &header_of(&samples::commit(1, StreamId::System, 0, 0, 1)));
    // `expected` is 0, after the format, sixteen bytes of id with their head, and null.
    let at = 1 + 1 + 17 + 1;
    assert_eq!(short[at], 0);
    let long = [&short[..at], &[0x18, 0], &short[at + 1..]].concat();
    assert!(matches!(decode_header(&long), Err(DecodeError::NotCanonical(_))));
}

#[test]
fn a_field_of_a_newer_program_is_not_dropped() {
    let mut event = Vec::new();
    put_event(&mut event, &samples::revoked(1));
    let mut longer = event.clone();
    // The array of data gets one element more.
    assert_eq!(longer[3], 0x82);
    longer[3] = 0x84;
    longer.extend([0xf6, 0x01]);
    assert!(decode_event(&event).is_ok());
    assert!(matches!(decode_event(&longer), Err(DecodeError::NotCanonical(_))));
}

#[test]
fn the_hash_of_a_record_depends_on_header_place_and_event() {
    let commit = samples::commit(1, StreamId::System, 0, 0, 2);
    let mut twice = commit.clone();
    twice.events[1] = twice.events[0].clone();
    let mut later = commit.clone();
    later.recorded_at = samples::at(1);
    let hashes = |commit: &Commit| encode(commit).unwrap().record_hashes().to_vec();
    assert_ne!(hashes(&twice)[0], hashes(&twice)[1]);
    assert_eq!(hashes(&twice)[0], hashes(&commit)[0]);
    assert_ne!(hashes(&later)[0], hashes(&commit)[0]);
}
