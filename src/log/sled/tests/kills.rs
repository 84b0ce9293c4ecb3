//! kill -9 in the middle of writing: what was acknowledged is there, and the log is a prefix of what was sent.
//!
//! What this cannot show is a power cut: a killed process leaves the kernel's memory intact. The whole program
//! is killed, and its power cut, in `tests/durability`; here it is the log alone, with commits larger than a
//! caller can ask for.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use super::*;
use crate::{
    conformance::append_all,
    samples::{largest, small},
};

/// Every eighth commit is of the largest size, so that the store fills, frees and cuts off segments.
fn nth(n: u64) -> EncodedCommit {
    if n.is_multiple_of(8) { largest(n) } else { small(n) }
}

/// Names the directory of the process that is to be killed: there, the test below is that process.
const WRITES_TO: &str = "TENURE_TEST_KILL_DIR";
/// How many rounds, if not the few of an ordinary run.
const ROUNDS: &str = "TENURE_LOG_KILL_ROUNDS";

#[expect(clippy::disallowed_methods, reason = "a test and its child are told by the environment what to do")]
fn told(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Appends until it is killed, and says after each batch what is acknowledged.
fn write_for_ever(dir: &Path) {
    let log = open(dir).unwrap();
    // One event a commit: the position is the number of the last commit.
    let mut stdout = std::io::stdout().lock();
    loop {
        let next = log.head().position.0 + 1;
        append_all(&log, (next..next + 1 + next % 40).map(nth).collect());
        writeln!(stdout, "acknowledged {}", log.head().position).unwrap();
    }
}

/// Lets a writer work until it has acknowledged this many batches, and kills it; gives the last acknowledged position.
fn killed_after(dir: &Path, batches: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sled::tests::kills::acknowledged_commits_survive_a_kill", "--nocapture"])
        .env(WRITES_TO, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The harness writes before our first line without ending its own.
    let mut said = lines.filter_map(|line| line.unwrap().split_once("acknowledged ")?.1.parse().ok());
    let last = said.by_ref().take(batches).last();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said between the last line and the kill is acknowledged too.
    said.last().or(last).expect("the writer acknowledged something")
}

fn check_history(dir: &Path, acknowledged: u64) {
    let mut next = 1;
    let log = SledLog::open(dir, SegmentEvents::AsRecorded, &mut |stored| {
        let same = crate::encode(&stored.commit) == Ok(nth(next));
        next += 1;
        if same { Ok(()) } else { Err("is another commit".to_owned()) }
    });
    let head = log.unwrap().head().position.0;
    assert!(head >= acknowledged, "acknowledged {acknowledged}, found {head}");
}

fn rounds(count: usize) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..count {
        let acknowledged = killed_after(dir.path(), 1 + (round * 7) % 23);
        // Every third start follows a kill without a start in good order between them.
        if round % 3 != 0 {
            check_history(dir.path(), acknowledged);
        }
    }
}

#[test]
fn acknowledged_commits_survive_a_kill() {
    if let Some(dir) = told(WRITES_TO) {
        return write_for_ever(Path::new(&dir));
    }
    rounds(told(ROUNDS).map_or(6, |count| count.parse().unwrap()));
}
