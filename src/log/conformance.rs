//! What every backend must keep of the promises of [`EventLog`], each on a log of its own.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{
    AppendOutcome, EncodedCommit, EventLog, LogError, StoredCommit, TreeEdge,
    codec::MAX_COMMIT_BYTES,
    encode,
    samples::{at, commit, largest, padded, small, subject},
};
use tenure_core::{Commit, Position, StreamId, Timestamp};

/// Opens the same log again; the one before was closed.
pub(super) type OpenLog<'o> = &'o dyn Fn() -> Box<dyn EventLog>;

/// Runs the suite. `fresh` makes a new, empty log.
pub(super) fn check(fresh: OpenLog<'_>) {
    let promises: [fn(&dyn EventLog); 12] = [
        an_empty_log_has_head_zero_and_nothing_to_read,
        an_empty_batch_changes_nothing,
        positions_are_dense_from_one,
        a_batch_that_was_decided_elsewhere_is_refused_whole,
        a_repeat_is_refused,
        a_batch_whose_time_goes_back_is_refused_whole,
        reading_gives_whole_commits_up_to_the_wanted_number,
        chosen_commits_are_read_together,
        the_bytes_of_a_commit_are_those_that_were_appended,
        the_largest_commits_fit_and_larger_ones_are_no_commits,
        the_root_is_that_of_all_records,
        a_reader_beside_a_writer_sees_a_prefix,
    ];
    for promise in promises {
        promise(fresh().as_ref());
    }
}

/// Runs the part of the suite about logs that outlive their process.
pub(super) fn check_reopen(open: OpenLog<'_>) {
    let log = open();
    for batch in [0..3, 3..4, 4..204] {
        append_all(log.as_ref(), batch.map(small).collect());
    }
    let head = log.head();
    let history = read_all(log.as_ref());
    drop(log);

    let log = open();
    assert_eq!(log.head(), head);
    assert_eq!(read_all(log.as_ref()), history);
    let (expected, actual) = (Position(3), head.position);
    assert_eq!(log.append(expected, vec![small(900)]), Err(LogError::NotTheEnd { expected, actual }));
    let past = encode(&commit(901, subject(901), 0, 0, 1)).unwrap();
    assert!(matches!(log.append(actual, vec![past]), Err(LogError::OutOfOrder { .. })));
    append_all(log.as_ref(), vec![small(902)]);
    assert_eq!(log.head().position, head.position.next());
}

fn encoded(commit: &Commit) -> EncodedCommit {
    encode(commit).unwrap()
}

/// Appends commits that must all be taken; gives their first positions.
pub(super) fn append_all(log: &dyn EventLog, batch: Vec<EncodedCommit>) -> Vec<Position> {
    let end = log.head().position;
    let mut next = end.next();
    let first = |commit: &EncodedCommit| {
        let first = next;
        next = next.plus(commit.count());
        first
    };
    let firsts = batch.iter().map(first).collect();
    assert_eq!(log.append(end, batch), Ok(AppendOutcome::Appended));
    firsts
}

pub(super) fn read_all(log: &dyn EventLog) -> Vec<StoredCommit> {
    log.read(Position::ZERO, usize::MAX).unwrap()
}

fn an_empty_log_has_head_zero_and_nothing_to_read(log: &dyn EventLog) {
    assert_eq!(log.head().position, Position::ZERO);
    assert_eq!(log.head().recorded_at, Timestamp::ZERO);
    assert_eq!(log.head().root, TreeEdge::new().root());
    assert_eq!(read_all(log), []);
    assert_eq!(log.stopped(), None);
}

fn an_empty_batch_changes_nothing(log: &dyn EventLog) {
    let before = log.head();
    assert_eq!(log.append(before.position, vec![]), Ok(AppendOutcome::Appended));
    assert_eq!(log.head(), before);
}

fn positions_are_dense_from_one(log: &dyn EventLog) {
    let sizes = [2, 1, 3, 1];
    let commits: Vec<_> = (0..).zip(sizes).map(|(n, size)| commit(n, subject(n), 0, 0, size)).collect();
    let firsts = append_all(log, commits[..2].iter().map(encoded).collect());
    assert_eq!(firsts, [Position(1), Position(3)]);
    let firsts = append_all(log, commits[2..].iter().map(encoded).collect());
    assert_eq!(firsts, [Position(4), Position(7)]);
    assert_eq!(log.head().position, Position(7));

    let stored = read_all(log);
    let positions: Vec<_> = stored.iter().flat_map(StoredCommit::positions).collect();
    assert_eq!(positions, (1..=7).map(Position).collect::<Vec<_>>());
    assert_eq!(stored.into_iter().map(|stored| stored.commit).collect::<Vec<_>>(), commits);
}

fn a_batch_that_was_decided_elsewhere_is_refused_whole(log: &dyn EventLog) {
    append_all(
        log,
        vec![encoded(&commit(1, subject(1), 0, 0, 2)), encoded(&commit(2, StreamId::System, 0, 0, 1))],
    );
    let (head, actual) = (log.head(), Position(3));
    for expected in [0, 1, 2, 4, 900].map(Position) {
        let batch = vec![encoded(&commit(3, subject(3), 0, 0, 1)), encoded(&commit(4, subject(4), 0, 0, 1))];
        assert_eq!(log.append(expected, batch), Err(LogError::NotTheEnd { expected, actual }));
    }
    assert_eq!((log.head(), log.stopped()), (head, None));
    append_all(log, vec![encoded(&commit(4, subject(1), 2, 0, 1))]);
}

fn a_repeat_is_refused(log: &dyn EventLog) {
    append_all(log, vec![small(1)]);
    let (expected, actual) = (Position::ZERO, Position(1));
    assert_eq!(log.append(expected, vec![small(1)]), Err(LogError::NotTheEnd { expected, actual }));
    assert_eq!(read_all(log).len(), 1);
}

fn a_batch_whose_time_goes_back_is_refused_whole(log: &dyn EventLog) {
    append_all(log, vec![small(5)]);
    let head = log.head();
    let batch = vec![encoded(&commit(6, subject(6), 0, 9, 1)), encoded(&commit(7, subject(7), 0, 8, 1))];
    assert_eq!(log.append(head.position, batch), Err(LogError::OutOfOrder { last: at(9), given: at(8) }));
    assert_eq!(log.head(), head);
    assert_eq!(log.stopped(), None);
    append_all(log, vec![encoded(&commit(8, subject(6), 0, 5, 1))]);
}

fn the_bytes_of_a_commit_are_those_that_were_appended(log: &dyn EventLog) {
    append_all(log, (0..40).map(small).collect());
    for (after, most) in [(0, 1), (0, 7), (12, 40), (39, 1), (40, 1), (3, 0)] {
        let read = log.read(Position(after), most).unwrap();
        let bytes = log.read_bytes(Position(after), most).unwrap();
        assert_eq!(bytes.len(), read.len());
        for (stored, read) in bytes.iter().zip(&read) {
            assert_eq!(StoredCommit::decode(stored.first, &stored.bytes).as_ref(), Ok(read));
            assert_eq!(stored.bytes, small(stored.first.0 - 1).bytes());
        }
    }
}

fn reading_gives_whole_commits_up_to_the_wanted_number(log: &dyn EventLog) {
    // Positions 1-2, 3, 4-6, 7.
    let sizes = [2, 1, 3, 1];
    let batch = (0..).zip(sizes).map(|(n, size)| encoded(&commit(n, subject(n), 0, 0, size))).collect();
    append_all(log, batch);
    let firsts = |after, max| {
        let stored = log.read(Position(after), max).unwrap();
        stored.into_iter().map(|stored| stored.first.0).collect::<Vec<_>>()
    };
    assert_eq!(firsts(0, 0), [0_u64; 0]);
    assert_eq!(firsts(0, 1), [1]);
    assert_eq!(firsts(0, 2), [1]);
    assert_eq!(firsts(0, 3), [1, 3]);
    assert_eq!(firsts(0, 4), [1, 3, 4]);
    assert_eq!(firsts(1, 1), [1], "a commit that is begun comes whole");
    assert_eq!(firsts(2, 1), [3]);
    assert_eq!(firsts(3, 100), [4, 7]);
    assert_eq!(firsts(6, 100), [7]);
    assert_eq!(firsts(7, 100), [0_u64; 0]);
    assert_eq!(firsts(u64::MAX - 1, 100), [0_u64; 0]);
    assert_eq!(firsts(u64::MAX, 100), [0_u64; 0]);
}

fn chosen_commits_are_read_together(log: &dyn EventLog) {
    let batch = |from: u64| (from..from + 3).map(|n| encoded(&commit(n, subject(n), 0, 0, 2))).collect();
    let firsts: Vec<_> = [0, 3, 6].into_iter().flat_map(|from| append_all(log, batch(from))).collect();
    // A commit is meant by each of its positions, and comes once; nothing is beyond the head, or before the first.
    let beyond = log.head().position.next();
    let chosen =
        [Position::ZERO, firsts[0], firsts[0].next(), firsts[2], firsts[3].next(), firsts[8], beyond];
    let all = read_all(log);
    assert_eq!(log.read_commits(&chosen).unwrap(), [0, 2, 3, 8].map(|index: usize| all[index].clone()));
    assert_eq!(log.read_commits(&[]), Ok(vec![]));
}

fn the_largest_commits_fit_and_larger_ones_are_no_commits(log: &dyn EventLog) {
    assert_eq!(largest(1).bytes().len(), MAX_COMMIT_BYTES);
    let too_large = encode(&padded(1, MAX_COMMIT_BYTES));
    assert!(matches!(too_large, Err(LogError::TooLarge { limit: MAX_COMMIT_BYTES, .. })), "{too_large:?}");
    assert_eq!(encode(&commit(1, subject(1), 0, 0, 0)), Err(LogError::Empty));

    append_all(log, (1..=20).map(largest).chain((21..=30).map(small)).collect());
    let stored = read_all(log);
    assert_eq!(stored.len(), 30);
    for (n, stored) in (1..=20).zip(stored) {
        assert_eq!(encoded(&stored.commit), largest(n));
    }
}

fn the_root_is_that_of_all_records(log: &dyn EventLog) {
    let mut tree = TreeEdge::new();
    for n in 0..20 {
        let commit = encoded(&commit(n, subject(n), 0, 0, 1 + n % 3));
        commit.record_hashes().iter().for_each(|hash| tree.append(hash));
        append_all(log, vec![commit]);
        assert_eq!(log.head().root, tree.root());
    }
    let mut read = TreeEdge::new();
    read_all(log).iter().flat_map(|stored| &stored.record_hashes).for_each(|hash| read.append(hash));
    assert_eq!(read, tree);
}

/// No hole, no repeat, no reorder, and never beyond the head.
fn a_reader_beside_a_writer_sees_a_prefix(log: &dyn EventLog) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut cursor = Position::ZERO;
            while !done.load(Ordering::SeqCst) || cursor < log.head().position {
                for stored in log.read(cursor, 7).unwrap() {
                    assert_eq!(stored.first, cursor.next());
                    cursor = stored.last();
                }
                assert!(cursor <= log.head().position);
            }
            assert_eq!(cursor, Position(300));
        });
        for batch in 0..60 {
            append_all(log, (batch * 5..batch * 5 + 5).map(small).collect());
        }
        done.store(true, Ordering::SeqCst);
    });
}
