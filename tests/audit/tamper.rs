//! Whatever is done to an export, the verifier key alone shows it, and the place is named.

use std::ops::ControlFlow;

use tenure::{
    audit::{
        HeadKey, SignedHead,
        export::{EndLine, ExportSignatures, ExportSpan, export},
        verify::{ExportLocation, TrustAnchors, VerifyError, verify},
    },
    core::{Commit, Position, Seconds},
    entropy::SeededEntropy,
    log::{
        EncodedCommit, EventLog, MemoryLog,
        codec::{adopt, decode, encode},
    },
};

use crate::incident::{bytes, forged, joined, key, lines, named, opened, verified};

/// The log of the incident, in memory.
fn log() -> MemoryLog {
    let log = MemoryLog::new();
    let lines = lines();
    let commits = lines.iter().filter_map(|line| opened(line)).map(|(_, bytes)| adopt(bytes).unwrap());
    log.append(log.head().position, commits.collect()).unwrap();
    log
}

/// Signs an export by a key of the test's own; with a head behind each commit, or only at the end.
fn signed(log: &MemoryLog, key: &HeadKey, span: (u64, u64), everywhere: bool) -> Vec<u8> {
    let head = log.head();
    let sign = |size, root| SignedHead::sign(size, root, key).note().to_owned();
    let commits = log.read(Position::ZERO, usize::MAX).unwrap();
    let mut tree = tenure::log::TreeEdge::new();
    let earlier = commits.iter().map(|stored| {
        stored.record_hashes.iter().for_each(|hash| tree.append(hash));
        (tree.size(), sign(tree.size(), tree.root()))
    });
    let signatures = ExportSignatures {
        verifier_key: key.verifier().to_string(),
        last: (head.position.0, sign(head.position.0, head.root)),
        earlier: if everywhere { earlier.collect() } else { vec![] },
    };
    let span = ExportSpan::new(Some(span.0), Some(span.1), head.position.0).unwrap();
    export(log, span, &signatures, Vec::new()).unwrap()
}

fn checked(bytes: &[u8], key: &HeadKey, known: &[SignedHead]) -> Result<u64, VerifyError> {
    let trust = TrustAnchors { key: Some(key.verifier()), known };
    verify(bytes, trust, &mut |_, _| ControlFlow::Continue(())).map(|verdict| verdict.unwrap().to)
}

fn as_lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

/// The positions of the commit in each line; of a line without one, the position before.
fn positions(lines: &[String]) -> Vec<(u64, u64)> {
    let mut last = 0;
    lines
        .iter()
        .map(|line| match opened(line) {
            Some((first, bytes)) => {
                let stored = tenure::log::StoredCommit::decode(Position(first), &bytes).unwrap();
                last = stored.last().0;
                (first, last)
            }
            None => (last, last),
        })
        .collect()
}

#[test]
fn the_true_history_is_proved() {
    let verdict = verified(&bytes()).unwrap();
    assert_eq!((verdict.from, verdict.to), (1, verdict.size));
    assert!(verdict.heads > 3, "it has heads in between");
    assert_eq!(verdict.verifier_key, key().to_string());
}

#[test]
fn every_flipped_byte_is_named_where_it_is() {
    let original = bytes();
    let places = positions(&lines());
    let mut line = 0;
    for at in 0..original.len() {
        let (first, last) = places[line];
        let is_commit = opened(&lines_at(&original, line)).is_some();
        let mut flipped = original.clone();
        // Every bit has its turn.
        flipped[at] ^= 1 << (at % 8);
        let fault = verified(&flipped).expect_err(&format!("byte {at}"));
        let is_right = match (named(&fault), is_commit) {
            // A newline that is gone joins this line with the next one.
            (Some((named, _)), true) => named == first || original[at] == b'\n' && named <= last + 1,
            // A head, the header or the end: they are named as such, or by the position that follows them.
            (Some((named, _)), false) => named == first + 1,
            (None, false) => true,
            (None, true) => false,
        };
        assert!(is_right, "byte {at}, in line {line} ({first} to {last}): {fault}");
        line += usize::from(original[at] == b'\n');
    }
}

fn lines_at(bytes: &[u8], line: usize) -> String {
    String::from_utf8(bytes.split(|byte| *byte == b'\n').nth(line).unwrap().to_vec()).unwrap()
}

#[test]
fn every_line_deleted_doubled_or_swapped_is_named() {
    let original = lines();
    let places = positions(&original);
    for at in 0..original.len() {
        let (first, _) = places[at];
        let is_commit = opened(&original[at]).is_some();
        let mut deleted = original.clone();
        deleted.remove(at);
        let is_head_between = original[at].starts_with("{\"head\"");
        match verified(&joined(&deleted)) {
            Err(fault) if is_commit => assert_eq!(named(&fault), Some((first, first)), "{fault}"),
            Err(_) => assert!(!is_head_between),
            // Fewer heads prove the same records.
            Ok(_) => assert!(is_head_between, "line {at}"),
        }
        let mut doubled = original.clone();
        doubled.insert(at, original[at].clone());
        match verified(&joined(&doubled)) {
            Err(fault) if is_commit => {
                let next = places[at].1 + 1;
                assert_eq!(named(&fault), Some((next, next)), "{fault}");
            }
            Err(_) => assert!(!is_head_between),
            Ok(_) => assert!(is_head_between, "line {at}"),
        }
        let Some(other) = (at + 1..original.len()).find(|other| opened(&original[*other]).is_some()) else {
            continue;
        };
        if is_commit {
            let mut swapped = original.clone();
            swapped.swap(at, other);
            let fault = verified(&joined(&swapped)).unwrap_err();
            assert_eq!(named(&fault), Some((first, first)), "{fault}");
        }
    }
}

#[test]
fn every_cut_tail_is_named_by_the_first_position_that_is_gone() {
    let original = bytes();
    let places = positions(&lines());
    let mut line = 0;
    for at in 0..original.len() {
        let fault = verified(&original[..at]).unwrap_err();
        if line == 0 {
            assert!(
                matches!(fault, VerifyError::Untrue { place: ExportLocation::Header, .. }),
                "cut at {at}: {fault}"
            );
        } else {
            let gone = places[line - 1].1 + 1;
            assert_eq!(named(&fault), Some((gone, gone)), "cut at {at}: {fault}");
        }
        line += usize::from(original[at] == b'\n');
    }
}

#[test]
fn lines_behind_the_end_are_noticed() {
    let mut lines = lines();
    lines.push(lines[1].clone());
    let fault = verified(&joined(&lines)).unwrap_err();
    assert!(matches!(fault, VerifyError::Untrue { place: ExportLocation::End(_), .. }), "{fault}");
}

/// A forger changes a commit's bytes and the hashes beside them: only the next head shows it.
#[test]
fn a_forged_record_is_named_between_the_heads_around_it() {
    let key = HeadKey::draw(&SeededEntropy::new(7));
    let log = log();
    for everywhere in [true, false] {
        let original = as_lines(&signed(&log, &key, (1, log.head().position.0), everywhere));
        let places = positions(&original);
        let mut forgeries = 0;
        for at in 0..original.len() {
            let Some((first, bytes)) = opened(&original[at]) else { continue };
            for index in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[index] ^= 1;
                // What is no commit any more is found in its line, and not by a head.
                let Some(line) = forged(first, &changed) else { continue };
                let mut lines = original.clone();
                lines[at] = line;
                let fault = checked(&joined(&lines), &key, &[]).unwrap_err();
                let (lowest, highest) = named(&fault).expect("it is a matter of positions");
                let (first, last) = places[at];
                let is_found_later = lowest > last && !everywhere;
                assert!(
                    lowest <= first && first <= highest || is_found_later,
                    "line {at}, byte {index}: {fault}"
                );
                if everywhere {
                    assert_eq!((lowest, highest.max(first)), (first, highest.max(first)), "{fault}");
                    assert!(highest <= last, "a head behind each commit leaves no other: {fault}");
                }
                forgeries += 1;
            }
        }
        assert!(forgeries > 300, "only {forgeries} forgeries");
    }
}

/// Deleted or inserted, and every number and hash behind it written anew.
#[test]
fn what_is_left_out_and_renumbered_is_found_by_the_streams_or_the_next_head() {
    let key = HeadKey::draw(&SeededEntropy::new(7));
    let log = log();
    let original = as_lines(&signed(&log, &key, (1, log.head().position.0), true));
    let places = positions(&original);
    let commits: Vec<_> = (0..original.len()).filter(|at| opened(&original[*at]).is_some()).collect();
    for &at in &commits {
        for is_doubled in [false, true] {
            let mut lines = original.clone();
            if is_doubled {
                lines.insert(at, original[at].clone());
            } else {
                drop(lines.remove(at));
            }
            let fault = checked(&joined(&renumbered(&lines)), &key, &[]).unwrap_err();
            let (first, last) = places[at];
            // A head stands behind each commit: it is found there at the latest, or right behind.
            match named(&fault) {
                Some((lowest, highest)) => assert!(
                    first <= lowest && lowest <= last + 1 && highest <= last + 1 + last - first,
                    "{at}: {fault}"
                ),
                None => assert!(
                    matches!(fault, VerifyError::Untrue { place: ExportLocation::Head(size), .. } if size.0 + 1 >= first && size.0 <= 2 * last + 1 - first),
                    "{at}: {fault}"
                ),
            }
        }
    }
}

fn renumbered(lines: &[String]) -> Vec<String> {
    let mut next = 1;
    let mut out = Vec::new();
    for line in lines {
        match opened(line) {
            Some((_, bytes)) => {
                out.push(forged(next, &bytes).unwrap());
                next += adopt(bytes).unwrap().count();
            }
            None => out.push(line.clone()),
        }
    }
    out
}

/// The beginning of one history, the end of another, both true and signed by the same key.
#[test]
fn two_histories_spliced_are_found() {
    let key = HeadKey::draw(&SeededEntropy::new(7));
    let one = log();
    let commits: Vec<_> = lines().iter().filter_map(|line| opened(line)).map(|(_, bytes)| bytes).collect();
    let fork = MemoryLog::new();
    let last = commits.len() - 1;
    // The fork lacks the last commit and has the first of another stream twice as long instead: its time only.
    fork.append(
        fork.head().position,
        commits[..last].iter().map(|bytes| adopt(bytes.clone()).unwrap()).collect(),
    )
    .unwrap();
    let (whole, fork) = (
        as_lines(&signed(&one, &key, (1, one.head().position.0), false)),
        as_lines(&signed(&fork, &key, (1, fork.head().position.0), false)),
    );
    assert!(checked(&joined(&whole), &key, &[]).is_ok() && checked(&joined(&fork), &key, &[]).is_ok());
    let mut spliced = whole.clone();
    *spliced.last_mut().unwrap() = fork.last().unwrap().clone();
    assert!(checked(&joined(&spliced), &key, &[]).is_err());
    let mut spliced = fork.clone();
    *spliced.last_mut().unwrap() = whole.last().unwrap().clone();
    assert!(checked(&joined(&spliced), &key, &[]).is_err());

    // A true, older history is true; only who has seen a later head knows better.
    let seen = SignedHead::sign(one.head().position.0, one.head().root, &key);
    let fault = checked(&joined(&fork), &key, std::slice::from_ref(&seen)).unwrap_err();
    assert_eq!(named(&fault).unwrap().0, positions(&fork).last().unwrap().1 + 1, "{fault}");
    assert!(checked(&joined(&whole), &key, &[seen]).is_ok());
    let other = SignedHead::sign(3, tenure::log::RootHash::from_bytes([9; 32]), &key);
    assert_eq!(named(&checked(&joined(&whole), &key, &[other]).unwrap_err()).unwrap().0, 1);
}

/// The beginning of one true history and the end of another, at every place where one can be put to the other, all
/// numbers and hashes as they must be: each record is one that was really written.
#[test]
fn records_of_a_fork_behind_those_of_a_history_are_named() {
    let key = HeadKey::draw(&SeededEntropy::new(7));
    let one = log();
    let fork = forked();
    let size = one.head().position.0;
    assert_eq!(size, fork.head().position.0, "both are as long");
    for everywhere in [true, false] {
        let [true_lines, fork_lines] =
            [&one, &fork].map(|log| as_lines(&signed(log, &key, (1, size), everywhere)));
        assert!(checked(&joined(&fork_lines), &key, &[]).is_ok(), "the fork is a history of its own");
        let places = positions(&true_lines);
        assert_eq!(places, positions(&fork_lines));
        let differs = (0..true_lines.len())
            .find(|at| opened(&true_lines[*at]).is_some() && true_lines[*at] != fork_lines[*at])
            .expect("it is a fork");
        let (mut first_difference, mut behind) = (0, 0);
        for seam in 1..true_lines.len() {
            let spliced: Vec<_> = true_lines[..seam].iter().chain(&fork_lines[seam..]).cloned().collect();
            if spliced == true_lines || spliced == fork_lines {
                continue;
            }
            let fault = checked(&joined(&spliced), &key, &[]).expect_err(&format!("spliced at line {seam}"));
            let (lowest, highest) = named(&fault).unwrap_or_else(|| panic!("no position: {fault}"));
            let (at_seam, at_difference) = (places[seam - 1].1 + 1, places[differs].0);
            if everywhere && opened(&true_lines[seam]).is_some() {
                // The head behind the first commit of the fork does not fit what stands before it.
                assert_eq!(lowest, at_seam, "{fault}");
                behind += 1;
            } else {
                assert!(lowest <= at_seam.max(at_difference) && highest >= at_difference, "{fault}");
                first_difference += 1;
            }
        }
        assert!(first_difference > 0 && (behind > 3 || !everywhere), "{first_difference} {behind}");
    }
}

/// The same commits, but that each behind the third was recorded a second later: another history from there on.
fn forked() -> MemoryLog {
    let commits =
        lines().into_iter().filter_map(|line| opened(&line)).map(|(_, bytes)| adopt(bytes).unwrap());
    let later = commits.enumerate().map(
        |(number, encoded)| {
            if number < 3 { encoded } else { a_second_later(encoded.bytes()) }
        },
    );
    let fork = MemoryLog::new();
    fork.append(fork.head().position, later.collect()).unwrap();
    fork
}

fn a_second_later(bytes: &[u8]) -> EncodedCommit {
    let (commit, _) = decode(bytes).unwrap();
    encode(&Commit { recorded_at: commit.recorded_at.plus(Seconds(1)), ..commit }).unwrap()
}

#[test]
fn another_key_proves_nothing() {
    let other = HeadKey::draw(&SeededEntropy::new(8));
    let fault = checked(&bytes(), &other, &[]).unwrap_err();
    assert!(matches!(fault, VerifyError::Untrue { place: ExportLocation::Header, .. }), "{fault}");
    let log = log();
    let resigned = signed(&log, &other, (1, log.head().position.0), false);
    assert!(checked(&resigned, &other, &[]).is_ok());
    assert!(verified(&resigned).is_err(), "whoever signs with a key of his own convinces nobody");
    let mut lines = as_lines(&resigned);
    lines[0] = lines[0].replace(&other.verifier().to_string(), &key().to_string());
    let fault = verified(&joined(&lines)).unwrap_err();
    assert!(matches!(fault, VerifyError::Untrue { place: ExportLocation::Head(_), .. }), "{fault}");
}

#[test]
fn every_part_of_a_history_proves_itself_and_no_hash_of_it_can_be_changed() {
    let key = HeadKey::draw(&SeededEntropy::new(7));
    let log = log();
    let size = log.head().position.0;
    for from in 1..=size {
        for to in from..=size {
            let part = signed(&log, &key, (from, to), false);
            let end = checked(&part, &key, &[]).unwrap();
            assert!(end >= to, "the commit at {to} comes whole");
        }
    }
    let part = as_lines(&signed(&log, &key, (5, 7), true));
    for (line, digit) in [(0, "before"), (part.len() - 1, "after")] {
        let at = part[line].find(&format!("\"{digit}\":[\"")).unwrap() + digit.len() + 6;
        let mut changed = part.clone();
        let old = changed[line].as_bytes()[at];
        changed[line].replace_range(at..=at, if old == b'0' { "1" } else { "0" });
        assert!(checked(&joined(&changed), &key, &[]).is_err(), "{digit}");
    }
}

#[test]
fn the_end_must_be_the_end() {
    let end = EndLine { to: 1, after: vec![], head: String::new() };
    let mut lines = lines();
    *lines.last_mut().unwrap() = serde_json::to_string(&end).unwrap();
    let fault = verified(&joined(&lines)).unwrap_err();
    assert!(matches!(fault, VerifyError::Untrue { place: ExportLocation::End(_), .. }), "{fault}");
}
