//! What an index answers, against what the commits say; and an index that is missing, damaged or cut short in its
//! making.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::{cuts::open_by, seals::copy_dir, *};
use crate::{
    IndexedKind, ScrubResult, SegmentedLog, TreeEdge,
    conformance::{append_all, read_all},
    encode,
    samples::{commit, every_kind, small, subject},
    tree::{leaf, parent},
};
use tenure_core::{
    Commit, Event, Generation, SessionId, StreamId, SubjectEvent, SystemEvent,
    event::{PresentedToken, TokensPresented},
};

/// Flips every byte, and not only some.
const EVERY_BYTE: &str = "TENURE_LOG_EVERY_BYTE";

#[expect(clippy::disallowed_methods, reason = "a test is told by the environment how much to do")]
fn step_of_flips() -> usize {
    if std::env::var(EVERY_BYTE).is_ok() { 1 } else { 557 }
}

/// Numbers that follow from a seed.
struct Chance(blake3::OutputReader);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(blake3::Hasher::new().update(&seed.to_be_bytes()).finalize_xof())
    }

    fn below(&mut self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_be_bytes(bytes) % end
    }
}

fn session(n: u64) -> SessionId {
    SessionId::from_bytes(u128::from(n).to_be_bytes())
}

const SUBJECTS: u64 = 6;
const SESSIONS: u64 = 12;

/// A commit of a subject, or of the authority itself, with events of all kinds.
fn random(n: u64, chance: &mut Chance, most: u64) -> EncodedCommit {
    let (subjects, systems): (Vec<_>, Vec<_>) =
        every_kind().into_iter().partition(|event| matches!(event, Event::Subject(_)));
    let is_system = chance.below(3) == 0;
    let kinds = if is_system { &systems } else { &subjects };
    let stream = if is_system { StreamId::System } else { subject(chance.below(SUBJECTS)) };
    let events = (0..=chance.below(most)).map(|_| {
        let index = usize::try_from(chance.below(kinds.len() as u64)).unwrap();
        of_session(kinds[index].clone(), chance)
    });
    let events = events.collect();
    encode(&Commit { events, ..commit(n, stream, 0, i64::try_from(n).unwrap(), 0) }).unwrap()
}

/// The same about other sessions.
fn of_session(event: Event, chance: &mut Chance) -> Event {
    match event.clone() {
        Event::Subject(SubjectEvent::SessionCreated(mut created)) => {
            created.session_id = session(chance.below(SESSIONS));
            Event::Subject(SubjectEvent::SessionCreated(created))
        }
        Event::System(SystemEvent::TokensPresented(_)) => {
            let named = (0..=chance.below(3)).map(|_| PresentedToken {
                session_id: session(chance.below(SESSIONS)),
                generation: Generation::FIRST,
            });
            Event::System(SystemEvent::TokensPresented(TokensPresented { presented: named.collect() }))
        }
        Event::Subject(_) | Event::System(_) => event,
    }
}

fn make_all(log: &SledLog) -> usize {
    while log.seal(Position(u64::MAX), &|| true).unwrap().is_some() {}
    std::iter::from_fn(|| log.index(&|| true).unwrap().then_some(())).count()
}

/// A log cut by this many events, with its segments and their indexes.
fn indexed(data: &Path, events: u64, commits: impl Iterator<Item = EncodedCommit>) -> SledLog {
    let log = open_by(data, events).unwrap();
    append_all(&log, commits.collect());
    make_all(&log);
    log
}

fn a_log(data: &Path, seed: u64, cut: u64, commits: u64, most: u64) -> SledLog {
    let mut chance = Chance::of(seed);
    indexed(data, cut, (0..commits).map(|n| random(n, &mut chance, most)))
}

/// What there is to ask, and what the commits themselves answer.
struct Expected {
    streams: BTreeMap<u64, Vec<u64>>,
    named: BTreeMap<u64, Vec<u64>>,
    created: BTreeMap<u64, Vec<u64>>,
    kinds: [Vec<u64>; 4],
    nodes: Vec<Vec<[u8; 32]>>,
    end: u64,
}

const KINDS: [IndexedKind; 4] =
    [IndexedKind::Revocations, IndexedKind::Bulks, IndexedKind::Creations, IndexedKind::Erasures];

impl Expected {
    fn of(history: &[StoredCommit], end: u64) -> Self {
        let (mut streams, mut named, mut created) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut kinds, mut leaves): ([Vec<u64>; 4], _) = (Default::default(), Vec::new());
        let add = |map: &mut BTreeMap<u64, Vec<u64>>, key, at: u64| {
            let all = map.entry(key).or_default();
            if all.last() != Some(&at) {
                all.push(at);
            }
        };
        let number = |id: SessionId| u64::try_from(u128::from_be_bytes(*id.as_bytes())).ok();
        for stored in history.iter().take_while(|stored| stored.last().0 <= end) {
            leaves.extend(stored.record_hashes.iter().map(leaf));
            for n in (0..SUBJECTS).filter(|n| subject(*n) == stored.commit.stream) {
                add(&mut streams, n, stored.first.0);
            }
            for (position, event) in stored.positions().zip(&stored.commit.events) {
                let is_of = |kind| match (kind, event) {
                    (IndexedKind::Revocations, event) => event.is_revocation(),
                    (IndexedKind::Bulks, Event::System(SystemEvent::SelectionRevoked(_)))
                    | (IndexedKind::Creations, Event::Subject(SubjectEvent::SessionCreated(_)))
                    | (IndexedKind::Erasures, Event::Subject(SubjectEvent::SubjectErased(_))) => true,
                    (IndexedKind::Bulks | IndexedKind::Creations | IndexedKind::Erasures, _) => false,
                };
                for (kind, known) in KINDS.into_iter().zip(&mut kinds) {
                    known.extend(is_of(kind).then_some(position.0));
                }
                if let Event::Subject(SubjectEvent::SessionCreated(event)) = event
                    && let Some(n) = number(event.session_id)
                {
                    add(&mut created, n, position.0);
                }
                if let Event::System(event) = event {
                    let all = event.sessions_named().into_iter().filter_map(number);
                    all.for_each(|n| add(&mut named, n, stored.first.0));
                }
            }
        }
        let blocks = leaves.chunks_exact(256).map(root).collect();
        let mut nodes: Vec<Vec<[u8; 32]>> = vec![blocks];
        while nodes[nodes.len() - 1].len() > 1 {
            let below = &nodes[nodes.len() - 1];
            nodes.push(below.chunks_exact(2).map(|two| parent(&two[0], &two[1])).collect());
        }
        Self { streams, named, created, kinds, nodes, end }
    }

    /// Every question about spans that begin and end at some places; the first that cannot be answered is an error.
    fn compare(&self, indexed: &IndexedHistory, chance: &mut Chance) -> Result<(), LogError> {
        assert_eq!(indexed.end().0, self.end);
        let ends: Vec<_> = (0..3).map(|_| (chance.below(self.end + 1), chance.below(self.end + 1))).collect();
        for (after, until) in ends.into_iter().chain([(0, self.end)]) {
            let most = usize::try_from(1 + chance.below(8)).unwrap();
            let span = (Position(after), Position(until));
            let within = |all: Option<&Vec<u64>>| -> Vec<Position> {
                let all = all.map(Vec::as_slice).unwrap_or_default().iter();
                all.filter(|at| (after + 1..=until).contains(*at)).map(|at| Position(*at)).collect()
            };
            let some = |all: &[Position]| all[..all.len().min(most)].to_vec();
            for n in 0..SUBJECTS {
                let all = within(self.streams.get(&n));
                assert_eq!(indexed.commits(&subject(n), span, usize::MAX)?, all);
                assert_eq!(indexed.commits(&subject(n), span, most)?, some(&all));
            }
            for n in 0..SESSIONS {
                assert_eq!(indexed.naming(&[session(n)], span)?, within(self.named.get(&n)));
            }
            let three = [session(3), session(1), session(7)];
            let mut all: Vec<_> = [1, 3, 7].iter().flat_map(|n| within(self.named.get(n))).collect();
            all.sort_unstable();
            all.dedup();
            assert_eq!(indexed.naming(&three, span)?, all);
            for (kind, known) in KINDS.into_iter().zip(&self.kinds) {
                let all = within(Some(known));
                assert_eq!(indexed.listed(kind, span, usize::MAX)?, all);
                assert_eq!(indexed.listed(kind, span, most)?, some(&all));
            }
        }
        self.compare_whole(indexed)
    }

    fn compare_whole(&self, indexed: &IndexedHistory) -> Result<(), LogError> {
        for n in 0..SESSIONS {
            let begun: Vec<_> = indexed.beginning(session(n))?.into_iter().map(|at| at.0).collect();
            assert_eq!(Some(begun).filter(|all| !all.is_empty()), self.created.get(&n).cloned());
        }
        for (kind, known) in KINDS.into_iter().zip(&self.kinds) {
            for most in [1, 5, usize::MAX] {
                let last: Vec<_> = indexed.latest(kind, most)?.into_iter().map(|at| at.0).collect();
                assert_eq!(last, known[known.len().saturating_sub(most)..]);
            }
        }
        for (level, nodes) in (0..).zip(&self.nodes) {
            for (index, node) in (0..).zip(nodes) {
                assert_eq!(indexed.node(level, index)?, *node, "level {level}, {index}");
            }
            assert!(indexed.node(level, nodes.len() as u64).is_err());
        }
        Ok(())
    }
}

fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [only] => *only,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            parent(&root(left), &root(right))
        }
    }
}

#[test]
fn an_index_answers_what_the_commits_say() {
    let dir = tempfile::tempdir().unwrap();
    let shapes = [(10, 24, 3), (40, 90, 4), (700, 400, 9), (300, 90, 40), (5_000, 900, 9), (1, 5, 2)];
    for (seed, (cut, commits, most)) in (0..shapes.len() as u64).zip(shapes.into_iter().cycle()) {
        let log = a_log(&dir.path().join(seed.to_string()), seed, cut, commits, most);
        let (history, indexed) = (read_all(&log), log.indexed());
        assert!(indexed.end().0 + cut + 70 > log.head().position.0, "{cut}");
        let ends: Vec<_> = indexed.ends_after(Position::ZERO).collect();
        for (number, end) in
            ends.iter().enumerate().filter(|(number, _)| *number < 3 || number + 2 > ends.len())
        {
            let part = indexed.up_to(*end).unwrap();
            let mut chance = Chance::of(number as u64);
            Expected::of(&history, end.0).compare(&part, &mut chance).unwrap();
            let records = part.open_records().unwrap();
            let mut grown = TreeEdge::from_peaks(end.0 >> 8 << 8, whole_peaks(part.tree())).unwrap();
            for record in &records {
                grown.append(record);
            }
            assert_eq!(grown.root(), part.tree().root());
            let beyond = part.commits(&subject(0), (Position::ZERO, end.next()), 1);
            assert!(matches!(beyond, Err(LogError::Damaged { .. })), "it is in no index: {beyond:?}");
        }
        assert!(indexed.up_to(Position(indexed.end().0 + 1)).is_none());
    }
}

/// Of whole blocks alone.
fn whole_peaks(tree: &TreeEdge) -> Vec<[u8; 32]> {
    let whole = (tree.size() >> 8).count_ones() as usize;
    tree.peaks()[..whole].to_vec()
}

#[test]
fn segments_without_an_index_get_one_and_every_machine_makes_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = a_log(&data, 7, 40, 200, 4);
    let (history, end) = (read_all(&log), log.indexed().end());
    let expected = Expected::of(&history, end.0);
    log.close().unwrap();
    let files = |data: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(data.join("indexes")).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.file_name().unwrap().into(), fs::read(path).unwrap())).collect()
    };
    let made = files(&data);
    assert!(made.len() > 5);
    // As an earlier version leaves them; and with one gone in the middle.
    let indexes: Vec<_> = made.keys().collect();
    for gone in [&indexes[..], &indexes[2..3]] {
        for name in gone {
            fs::remove_file(data.join("indexes").join(name)).unwrap();
        }
        let log = open_by(&data, 40).unwrap();
        assert!(log.indexed().end() < end);
        assert_eq!(make_all(&log), gone.len());
        expected.compare(&log.indexed(), &mut Chance::of(1)).unwrap();
        log.close().unwrap();
        assert!(files(&data) == made);
    }
    // One of another segment, under its name, is not believed.
    let at = |index: usize| data.join("indexes").join(indexes[index]);
    fs::copy(at(1), at(2)).unwrap();
    let log = open_by(&data, 40).unwrap();
    assert_eq!(make_all(&log), 1);
    log.close().unwrap();
    assert!(files(&data) == made);
}

/// A copy of the directory after each step is what a kill at that step leaves.
#[test]
fn a_kill_while_an_index_is_made_leaves_what_the_next_start_mends() {
    static COPIES: AtomicU32 = AtomicU32::new(0);
    fn copy_step(segments: &Path, step: &str) {
        let data = segments.parent().unwrap();
        let number = COPIES.fetch_add(1, Ordering::SeqCst);
        copy_dir(data, &data.parent().unwrap().join(format!("copy-{number:02}-{step}")));
    }
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = open_by(&data, 10).unwrap();
    let mut chance = Chance::of(3);
    append_all(&log, (0..7).map(|n| random(n, &mut chance, 4)).collect());
    let history = read_all(&log);
    log.sealing.lock().on_step = Some(copy_step);
    make_all(&log);
    let end = log.indexed().end();
    log.close().unwrap();
    let copies: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| *path != data)
        .collect();
    for step in ["index written", "index checked", "index renamed"] {
        assert!(copies.iter().any(|copy| copy.to_str().unwrap().ends_with(step)), "{step}: {copies:?}");
    }
    for copy in copies {
        let log = open_by(&copy, 10).unwrap();
        make_all(&log);
        assert_eq!(log.indexed().end(), end, "{}", copy.display());
        Expected::of(&history, end.0).compare(&log.indexed(), &mut Chance::of(2)).unwrap();
        let names = fs::read_dir(copy.join("indexes")).unwrap().map(|entry| entry.unwrap().path());
        assert!(names.into_iter().all(|path| path.extension() == Some("index".as_ref())));
    }
}

/// Wherever it is: the file is named, never an answer is wrong, and the index is made again.
#[test]
fn a_flipped_byte_of_an_index_is_named_and_never_an_answer_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let log = a_log(&data, 5, 600, 300, 9);
    let (history, end) = (read_all(&log), log.indexed().end());
    let expected = Expected::of(&history, end.0);
    let path = data.join("indexes/00000000000000000001.index");
    let good = fs::read(&path).unwrap();
    let answered = |log: &SledLog| expected.compare(&log.indexed(), &mut Chance::of(9));
    answered(&log).unwrap();
    let file = || fs::File::options().write(true).open(&path).unwrap();
    for at in (0..good.len()).step_by(step_of_flips()).chain([good.len() - 1]) {
        file().write_all_at(&[good[at] ^ 0x20], at as u64).unwrap();
        let asked = answered(&log);
        // The first page is in memory, and no question touches what fills a page up.
        if let Err(error) = &asked {
            assert!(matches!(error, LogError::Damaged { first: Position(1), .. }), "byte {at}: {error}");
            assert!(error.to_string().contains("0001.index"), "byte {at}: {error}");
        }
        assert!(asked.is_err() || at < 4096, "byte {at}: all pages are asked");
        let scrubbed = log.scrub(0, &mut |_| true);
        assert!(
            matches!(&scrubbed, Err(LogError::Damaged { why, .. }) if why.contains(".index")),
            "{scrubbed:?}"
        );
        assert_eq!(log.stopped(), None);
        assert!(log.index(&|| true).unwrap(), "byte {at}");
        assert!(fs::read(&path).unwrap() == good, "byte {at}");
    }
    answered(&log).unwrap();
    log.close().unwrap();
    // A start makes it again where it sees it, and where it does not, the first reading does.
    for at in [0, 9, 45, 60, 4_090, 4_095, good.len() - 1] {
        file().write_all_at(&[good[at] ^ 0x20], at as u64).unwrap();
        let log = open_by(&data, 600).unwrap();
        assert!(at > 4_095 || log.indexed().end() == Position::ZERO, "byte {at}");
        assert_eq!(log.scrub(0, &mut |_| true).is_err(), at > 4_095, "byte {at}");
        assert_eq!(make_all(&log), 1, "byte {at}");
        answered(&log).unwrap();
        log.close().unwrap();
    }
    for length in [0, 17, 4_096, good.len() - 1] {
        file().set_len(length as u64).unwrap();
        let log = open_by(&data, 600).unwrap();
        assert_eq!(make_all(&log), 1, "{length} bytes");
        answered(&log).unwrap();
        log.close().unwrap();
    }
}

#[test]
fn an_index_that_goes_while_the_log_is_open_is_named_and_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = indexed(dir.path(), 10, (0..25).map(small));
    let path = dir.path().join("indexes/00000000000000000011.index");
    fs::remove_file(&path).unwrap();
    let everything = (Position::ZERO, log.indexed().end());
    let asked = log.indexed().listed(IndexedKind::Revocations, everything, 100);
    assert!(matches!(asked, Err(LogError::Damaged { first: Position(11), .. })), "{asked:?}");
    assert!(log.index(&|| true).unwrap() && !log.index(&|| true).unwrap());
    assert_eq!(log.indexed().listed(IndexedKind::Revocations, everything, 100).unwrap().len(), 20);
    // A segment that is damaged gets none, and says so.
    let segment = dir.path().join("segments/00000000000000000011.segment");
    let whole = fs::read(&segment).unwrap();
    fs::remove_file(&path).unwrap();
    drop(log.indexed().listed(IndexedKind::Revocations, everything, 100));
    let mut flipped = whole.clone();
    flipped[4_300] ^= 1;
    fs::write(&segment, flipped).unwrap();
    let said = log.index(&|| true).unwrap_err().to_string();
    assert!(said.contains("11.segment"), "{said}");
    assert!(!log.index(&|| true).unwrap(), "it is not read again and again");
    fs::write(&segment, whole).unwrap();
    assert_eq!(log.scrub(1, &mut |_| true).ok(), None, "its index is still missing");
    assert!(log.index(&|| true).unwrap());
    assert_eq!(log.scrub(1, &mut |_| true).ok(), Some(ScrubResult::Sound));
    assert!(log.index(&|| false).is_ok_and(|made| !made));
}
