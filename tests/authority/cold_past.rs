//! What memory has let go of is read from the indexes of the log's segments, and every answer is the one that memory
//! gave: of a history that was folded whole, and of one that is gone on with from a state at the end of a segment.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tenure::{
    audit::MerkleIndex,
    core::{
        Digest16, Event, Position, SealedText, Seconds, SessionId, StreamId, SubjectEvent, SubjectId,
        SystemEvent,
        session::{OneTimeFact, Session},
        state::AuthorityState,
    },
    entropy::{self, SeededEntropy},
    log::{self, EventLog, SegmentEvents, SegmentedLog, SledLog, StoredCommit, encode},
    projections::{
        Projections,
        ended::EndedListing,
        fold_marks::FoldedSubject,
        history::{self, PartLength},
        pulse::DayPulse,
        revocations::RetainedCounts,
        session_list::{EndMark, ListedBy, ListedSession, SessionList, SessionQuery},
    },
    server::checkpoint::{Checkpoint, CheckpointState, ListingCheckpoint, make},
};

use crate::rebuild::{Life, subjects};

/// Nothing but the last few stays in memory.
pub(crate) const FEW: RetainedCounts = RetainedCounts { revocations: 3, bulks: 1 };

/// A history, the same in a log of segments, and what was made of it.
pub(crate) struct Told {
    pub(crate) history: Vec<StoredCommit>,
    pub(crate) log: SledLog,
    whole: Made,
    /// That lets go of what the indexes tell of.
    cold: Made,
    _dir: tempfile::TempDir,
}

pub(crate) struct Made {
    state: AuthorityState,
    pub(crate) projections: Projections,
    nodes: MerkleIndex,
}

impl Made {
    pub(crate) fn new(projections: Projections) -> Self {
        Self { state: AuthorityState::default(), projections, nodes: MerkleIndex::default() }
    }

    /// As a start makes it from what stands at the end of a segment.
    fn standing_on(log: &SledLog, end: Position) -> Self {
        let indexed = log.indexed().up_to(end).unwrap();
        let state = history::state_at(log, end).unwrap();
        let projections = Projections::from_checkpoint(&state, DayPulse::default(), &indexed, FEW).unwrap();
        Self { state, projections, nodes: MerkleIndex::from_index(&indexed).unwrap() }
    }

    /// As a start makes it from a checkpoint, without what ended long before.
    fn of_checkpoint(log: &SledLog, checkpoint: &Arc<Checkpoint>) -> Self {
        let indexed = log.indexed().up_to(checkpoint.end().position).unwrap();
        let CheckpointState { state, pulse, .. } = checkpoint.read_for(Seconds(86_400)).unwrap();
        let projections = Projections::from_checkpoint(&state, pulse, &indexed, FEW).unwrap();
        projections.list_ended_by(&listing(checkpoint)).unwrap();
        Self { state, projections, nodes: MerkleIndex::from_index(&indexed).unwrap() }
    }

    pub(crate) fn fold(&mut self, stored: &StoredCommit) {
        self.state.apply(&stored.commit).unwrap();
        self.projections.fold(stored, &self.state);
        self.nodes.fold(stored);
    }

    pub(crate) fn let_go(&self, until: Position) {
        self.projections.let_go(until);
        self.nodes.let_go(until);
    }
}

pub(crate) fn told(seed: u64, steps: usize, cut: u64) -> Told {
    let mut life = Life::new(seed);
    (0..steps).for_each(|_| life.step());
    life.world.authority.stop();
    let history = life.log.read(Position::ZERO, usize::MAX).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = log::open_cut(&dir.path().join("data"), SegmentEvents::By(cut), &mut |_| Ok(())).unwrap();
    let marked = Projections::keeping(FEW).marking_every(3);
    let (whole, cold) = (Made::new(Projections::default()), Made::new(marked));
    let mut told = Told { history, log, whole, cold, _dir: dir };
    told.go_through(&SeededEntropy::new(seed ^ 0xc01d));
    told
}

impl Told {
    /// Appends and folds it, and now and then seals what is full and lets go of it.
    fn go_through(&mut self, chance: &SeededEntropy) {
        for stored in std::mem::take(&mut self.history) {
            self.log.append(self.log.head().position, vec![encode(&stored.commit).unwrap()]).unwrap();
            self.whole.fold(&stored);
            self.cold.fold(&stored);
            self.history.push(stored);
            if draw(chance, 15) == 0 {
                self.seal(draw(chance, 3) == 0);
                let id = subjects().nth(draw(chance, 4) as usize).unwrap();
                self.compare_subject(&self.cold, &id, self.log.head().position);
            }
        }
        self.seal(true);
    }

    fn seal(&self, indexes_all: bool) {
        while self.log.seal(Position(u64::MAX), &|| true).unwrap().is_some() {}
        while self.log.index(&|| true).unwrap() && indexes_all {}
        self.cold.let_go(self.log.indexed().end());
    }

    pub(crate) fn compare_subject(&self, made: &Made, id: &SubjectId, until: Position) {
        let (log, one) = (&self.log, &self.whole.projections);
        let then = history::subject_at(log, &made.projections, id, until).unwrap();
        assert_eq!(then, history::subject_at(log, one, id, until).unwrap(), "{id} at {until}");
        let some: Vec<_> = then.sessions.iter().map(|session| session.id).step_by(2).collect();
        let some = history::sessions_at(log, &made.projections, &then, &some, until).unwrap();
        assert!(some.iter().eq(then.sessions.iter().step_by(2)), "{id} at {until}");
        let begin = FoldedSubject::nothing(id.clone());
        let behind =
            |made, begin: &FoldedSubject| history::commits_behind(&|| true, log, made, begin, until).unwrap();
        let (story, whole) = (behind(&made.projections, &begin), behind(one, &begin));
        assert!(story == whole, "{id} at {until}: {:?} {:?}", firsts(&story), firsts(&whole));
        for (most, count) in [(1, 1), (4, 4), (10_000, 10_000), (6, 2)] {
            let length = PartLength { most, least: count };
            let begin = history::last_part(log, &made.projections, id, until, length).unwrap();
            let folded = history::folded_subject(&|| true, log, &made.projections, id, begin).unwrap();
            assert_eq!(folded.subject, history::subject_at(log, one, id, begin).unwrap(), "{id} at {begin}");
            let (last, rest) = (behind(&made.projections, &folded), firsts(&whole));
            let rest = &rest[rest.partition_point(|first| *first <= begin)..];
            assert_eq!(firsts(&last), rest, "{id} from {begin} to {until}");
            assert!(rest.len() >= count.min(whole.len()), "{id} from {begin} to {until}");
        }
    }

    /// Every question, at some positions.
    pub(crate) fn compare(&self, made: &Made) {
        let (log, one, other) = (&self.log, &self.whole.projections, &made.projections);
        for stored in self.history.iter().step_by(3) {
            let at = stored.last();
            for id in subjects() {
                self.compare_subject(made, &id, at);
                let stream = StreamId::Subject(id);
                for most in [1, 4, 10_000] {
                    let known = history::stream_after(log, other, &stream, at, most).unwrap();
                    assert_eq!(known, history::stream_after(log, one, &stream, at, most).unwrap());
                }
            }
            for most in [1, 4, 10_000] {
                let both = [one, other].map(|it| it.revocations_after(log, at, most).unwrap());
                assert_eq!(both[0], both[1], "after {at}, {most}");
                let both = [one, other].map(|it| it.bulks_after(log, at, most).unwrap());
                assert_eq!(both[0], both[1], "after {at}, {most}");
            }
            let both = [one, other].map(|it| it.bulks_between(log, Position(at.0 / 2), at).unwrap());
            assert_eq!(both[0], both[1], "up to {at}");
        }
        self.compare_reasons(made);
        self.compare_tree(made);
        compare_lists(&self.whole, made);
    }

    fn compare_reasons(&self, made: &Made) {
        for (at, event) in self.history.iter().flat_map(|it| it.positions().zip(&it.commit.events)) {
            let Event::System(SystemEvent::SelectionRevoked(event)) = event else { continue };
            let said: Option<SealedText> =
                made.projections.reason_at(&self.log, at, event.trigger()).unwrap();
            assert!(said.is_some() && said == event.reason, "{at}");
        }
    }

    fn compare_tree(&self, made: &Made) {
        let (log, size) = (&self.log, self.whole.nodes.size());
        assert_eq!(made.nodes.head(), self.whole.nodes.head());
        for from in (1..=size).step_by(29) {
            let to = size - from / 3;
            let both = [&self.whole.nodes, &made.nodes];
            let roots = both.map(|nodes| nodes.root(log, from).unwrap());
            assert_eq!(roots[0], roots[1], "{from}");
            if from <= to {
                let proofs = both.map(|nodes| nodes.consistency(log, from, to).unwrap());
                assert_eq!(proofs[0], proofs[1], "{from} to {to}");
                let proofs = both.map(|nodes| nodes.inclusion(log, Position(from), to).unwrap());
                assert_eq!(proofs[0], proofs[1], "{from} in {to}");
            }
        }
    }
}

fn firsts(commits: &[StoredCommit]) -> Vec<Position> {
    commits.iter().map(|stored| stored.first).collect()
}

fn draw(chance: &SeededEntropy, below: u32) -> u32 {
    u32::from_be_bytes(entropy::bytes(chance)) % below
}

/// The lists are the same when the sessions that bulk revocations ended are marked.
fn compare_lists(one: &Made, other: &Made) {
    let devices: Vec<Digest16> = one
        .state
        .subjects
        .values()
        .flat_map(|subject| subject.sessions.iter().filter_map(Session::device_digest))
        .collect();
    let devices = devices.into_iter().map(Some).chain([None]);
    mark(one);
    mark(other);
    for device in devices {
        use EndMark::{Anyhow, Expired, NotRevoked, Open, Revoked};
        for marked in [Anyhow, Open, Revoked, Expired, NotRevoked] {
            let query = SessionQuery { owner: None, device, marked };
            let both =
                [one, other].map(|it| it.projections.sessions(|list| list.stride(&query, None, 9_999)));
            assert_eq!(both[0], both[1], "{query:?}");
        }
    }
    let both = [one, other].map(|it| it.projections.subjects(|list| list.after(None, None, 9_999)));
    assert_eq!(both[0], both[1]);
    assert!(both[0].len() > 3);
}

fn mark(made: &Made) {
    let query = SessionQuery::default();
    let all = made.projections.sessions(|list| list.stride(&query, None, usize::MAX)).found;
    let is_revoked = |listed: &ListedSession| {
        let ListedBy::Subject(id) = &listed.named_by else { panic!("no file lists it: {listed:?}") };
        made.state.subjects[id].session_begun_at(listed.began).unwrap().revocation().is_some()
    };
    let began: Vec<_> = all.into_iter().filter(is_revoked).map(|listed| listed.began).collect();
    made.projections.mark_revoked(&began);
}

#[test]
fn what_memory_let_go_of_is_answered_from_indexes_as_memory_did() {
    for (seed, cut) in [(1, 5), (2, 17), (3, 100)] {
        let told = told(seed, 220, cut);
        assert!(told.log.indexed().end().0 + 100 + cut > told.log.head().position.0);
        told.compare(&told.cold);
    }
}

/// What is in memory beside the state is of the latest part alone, however long the history gets.
#[test]
fn memory_holds_no_more_the_longer_the_history_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = log::open_cut(&dir.path().join("data"), SegmentEvents::By(200), &mut |_| Ok(())).unwrap();
    let mut life = Life::new(9);
    (0..200).for_each(|_| life.step());
    let (history, mut made) =
        (life.log.read(Position::ZERO, usize::MAX).unwrap(), Made::new(Projections::keeping(FEW)));
    let mut held = Vec::new();
    for _ in 0..16 {
        for stored in &history {
            let first = log.head().position.next();
            let mut again = StoredCommit { first, ..stored.clone() };
            again.commit.recorded_at = stored.commit.recorded_at.max(log.head().recorded_at);
            log.append(log.head().position, vec![encode(&again.commit).unwrap()]).unwrap();
            // The same again is nothing that can follow; that of which it is said is not the matter here.
            made.state.position = again.last();
            made.projections.fold(&again, &made.state);
            made.nodes.fold(&again);
        }
        while log.seal(Position(u64::MAX), &|| true).unwrap().is_some() {}
        while log.index(&|| true).unwrap() {}
        made.let_go(log.indexed().end());
        held.push((made.projections.held(), made.nodes.nodes_in_memory()));
    }
    assert!(log.indexed().end().0 > 1_000, "{}", log.indexed().end());
    let most = |part: &[((usize, usize), usize)]| {
        part.iter().map(|((streams, revocations), nodes)| streams + revocations + nodes).max()
    };
    let (early, late) = (most(&held[..8]), most(&held[8..]));
    assert!(late <= early.map(|early| early + 16), "{held:?}");
}

#[test]
fn what_goes_on_from_the_end_of_a_segment_answers_as_if_all_had_been_folded() {
    for (seed, cut) in [(5, 11), (6, 70)] {
        let told = told(seed, 220, cut);
        let ends: Vec<_> = told.log.indexed().ends_after(Position::ZERO).collect();
        for end in [ends[0], ends[ends.len() / 2], ends[ends.len() - 1]] {
            let mut made = Made::standing_on(&told.log, end);
            told.history.iter().filter(|stored| stored.first > end).for_each(|stored| made.fold(stored));
            told.compare(&made);
            made.let_go(ends[ends.len() - 1]);
            told.compare_reasons(&made);
            told.compare_tree(&made);
            subjects().for_each(|id| told.compare_subject(&made, &id, told.log.head().position));
        }
        let (state, indexed) = (history::state_at(&told.log, Position(3)).unwrap(), told.log.indexed());
        let elsewhere = Projections::from_checkpoint(&state, DayPulse::default(), &indexed, FEW);
        assert!(elsewhere.is_err(), "the state is of another position");
    }
}

/// While others read, memory lets go again and again: no answer has a gap.
#[test]
fn no_reader_sees_a_gap_while_memory_lets_go() {
    let Told { history, log, _dir: dir, .. } = told(8, 200, 12);
    let made = Arc::new(Made::new(Projections::keeping(FEW)));
    let mut state = AuthorityState::default();
    for stored in &history {
        state.apply(&stored.commit).unwrap();
        made.projections.fold(stored, &state);
    }
    let log = Arc::new(log);
    let expected: Vec<_> = subjects()
        .map(|id| history::subject_at(&*log, &made.projections, &id, state.position).unwrap())
        .collect();
    let revocations = made.projections.revocations_after(&*log, Position::ZERO, usize::MAX).unwrap();
    let (ended, is_ended) = std::sync::mpsc::channel::<()>();
    let reader = {
        let (made, log) = (Arc::clone(&made), Arc::clone(&log));
        std::thread::spawn(move || {
            let mut rounds = 0;
            while is_ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) || rounds == 0 {
                for (id, expected) in subjects().zip(&expected) {
                    let end = log.head().position;
                    let read = history::subject_at(&*log, &made.projections, &id, end).unwrap();
                    assert_eq!(read, *expected);
                }
                let all = made.projections.revocations_after(&*log, Position::ZERO, usize::MAX).unwrap();
                assert_eq!(all, revocations);
                rounds += 1;
            }
        })
    };
    for end in log.indexed().ends_after(Position::ZERO) {
        made.let_go(end);
    }
    drop(ended);
    reader.join().unwrap();
    drop(dir);
}

fn listing(checkpoint: &Arc<Checkpoint>) -> Arc<dyn EndedListing> {
    Arc::new(ListingCheckpoint { checkpoint: Arc::clone(checkpoint), known: Arc::default() })
}

/// Whether a session is marked so, once all marks are made.
fn is_marked(session: &Session, marked: EndMark) -> bool {
    let (revoked, expired) = (session.revocation().is_some(), session.said.contains(OneTimeFact::Expired));
    match marked {
        EndMark::Anyhow => true,
        EndMark::Open => !revoked && !expired,
        EndMark::Revoked => revoked,
        EndMark::Expired => expired && !revoked,
        EndMark::NotRevoked => !revoked,
    }
}

/// The sessions of a state that are sought, newest first.
fn sought_in<'a>(
    state: &'a AuthorityState,
    sought: &SessionQuery,
) -> BTreeMap<Reverse<Position>, &'a Session> {
    let own = state.subjects.values().filter(|subject| {
        let owner = subject.profile().and_then(|profile| profile.owner_id.as_ref());
        sought.owner.is_none() || owner == sought.owner.as_ref()
    });
    own.flat_map(|subject| &subject.sessions)
        .filter(|session| sought.device.is_none() || session.device_digest() == sought.device)
        .filter(|session| is_marked(session, sought.marked))
        .map(|session| (Reverse(session.created()), session))
        .collect()
}

/// All pages of a list, as whoever looks at each session sees it.
fn listed(made: &Made, state: &AuthorityState, sought: &SessionQuery, most: usize) -> Vec<SessionId> {
    let expected = sought_in(state, sought);
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let stride = made.projections.all_sessions(sought, before, most).unwrap();
        assert!(stride.found.is_sorted_by(|a, b| a.began > b.began), "{sought:?}");
        for listed in stride.found {
            let Some(session) = expected.get(&Reverse(listed.began)) else { continue };
            match listed.named_by {
                ListedBy::Session(id) => assert_eq!(id, session.id),
                ListedBy::Subject(subject) => assert_eq!(subject, session.subject),
            }
            seen.push(session.id);
        }
        let Some(next) = stride.next else { break };
        assert!(before.is_none_or(|before| next < before), "{sought:?} goes on");
        before = Some(next);
    }
    seen
}

/// Every list has what the state of everything says, in its order.
fn compare_all_lists(made: &Made, state: &AuthorityState) {
    use EndMark::{Anyhow, Expired, NotRevoked, Open, Revoked};
    let sessions = || state.subjects.values().flat_map(|subject| &subject.sessions);
    let revoked = sessions().filter(|session| session.revocation().is_some());
    made.projections.mark_revoked(&revoked.map(Session::created).collect::<Vec<_>>());
    let devices: BTreeSet<_> = sessions().map(Session::device_digest).chain([None]).collect();
    for device in devices {
        for owner in [None, Some("o1"), Some("o2"), Some("nobody")] {
            for marked in [Anyhow, Open, Revoked, Expired, NotRevoked] {
                let owner = owner.map(|owner| owner.parse().unwrap());
                let sought = SessionQuery { owner, device, marked };
                let expected: Vec<_> =
                    sought_in(state, &sought).into_values().map(|session| session.id).collect();
                for most in [2, 9_999] {
                    assert_eq!(listed(made, state, &sought, most), expected, "{sought:?} by {most}");
                }
            }
        }
    }
}

/// A start from a checkpoint does not read what ended long before, and memory lets go of it when there is another one.
/// Late revocations, other owners and erasures of what left are in every list.
#[test]
fn lists_are_complete_though_a_checkpoint_has_what_ended_long_ago() {
    let (mut seen, dir) = (BTreeSet::new(), tempfile::tempdir().unwrap());
    for (seed, cut) in [(5, 11), (6, 40), (7, 23), (8, 90)] {
        let told = told(seed, 260, cut);
        let ends = told.log.segment_ends();
        let at = |number: usize| dir.path().join(format!("{seed}-{number}"));
        let checkpoint_at = |number: usize| {
            Arc::new(make(&told.log, None, &ends[number], &at(number), &mut |_| true).unwrap())
        };
        let (first, second) = (checkpoint_at(ends.len() / 3), checkpoint_at(ends.len() * 2 / 3));
        let mut made = Made::of_checkpoint(&told.log, &first);
        let mut state = history::state_at(&told.log, first.end().position).unwrap();
        let step = told.history.len() / 12 + 1;
        for (number, stored) in told.history.iter().enumerate() {
            if stored.first <= first.end().position {
                continue;
            }
            state.apply(&stored.commit).unwrap();
            made.fold(stored);
            // As late as a checkpoint is made.
            if stored.first > Position(second.end().position.0 + 20) && !seen.contains(&(seed, "listed")) {
                seen.insert((seed, "listed"));
                compare_all_lists(&made, &state);
                let before = made.projections.sessions(SessionList::len);
                made.projections.list_ended_by(&listing(&second)).unwrap();
                let then = history::state_at(&told.log, second.end().position).unwrap();
                let gone = gone_from_memory(&first, &second, &then, &state);
                let left = made.projections.sessions(SessionList::len);
                assert_eq!(left, state.holders.len() - gone, "seed {seed}");
                if left < before {
                    seen.insert((seed, "left"));
                }
            }
            if number % step == 0 {
                compare_all_lists(&made, &state);
            }
        }
        compare_all_lists(&made, &state);
        made.projections.list_ended_by(&listing(&first)).unwrap();
        compare_all_lists(&made, &state);
        let behind = |stored: &&StoredCommit| stored.first > first.end().position;
        for event in told.history.iter().filter(behind).flat_map(|stored| &stored.commit.events) {
            let Event::Subject(event) = event else { continue };
            let is_apart = |id| !made.state.holders.contains_key(&id);
            if let SubjectEvent::SessionRevoked(event) = event
                && is_apart(event.session_id)
            {
                seen.insert((seed, "revoked late"));
            }
            if matches!(event, SubjectEvent::SubjectErased(_)) {
                seen.insert((seed, "erased"));
            }
        }
    }
    for sought in ["listed", "left", "revoked late", "erased"] {
        assert!(seen.iter().any(|(_, found)| *found == sought), "{seen:?}");
    }
}

/// How many sessions are not in memory: those that the first checkpoint lists, and those that the second one lists as
/// they stand now.
fn gone_from_memory(
    first: &Checkpoint,
    second: &Checkpoint,
    then: &AuthorityState,
    now: &AuthorityState,
) -> usize {
    let [first, second] = [first, second].map(|it| it.read_for(Seconds(86_400)).unwrap().state.horizon);
    let sessions = then.subjects.values().flat_map(|subject| &subject.sessions);
    let is_just_so = |session: &Session| {
        let now = now.subjects[&session.subject].session(session.id).unwrap();
        now.revocation().is_some() == session.revocation().is_some()
    };
    let gone = |session: &&Session| first.is_past(session) || second.is_past(session) && is_just_so(session);
    sessions.filter(gone).count()
}
