//! kill -9 in the middle of writing: what was acknowledged is there, and the log is a prefix of what was sent.
//!
//! What this cannot show is a power cut: a killed process leaves the kernel's memory intact.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{tests::open, *};
use crate::log::{
    conformance::append_all,
    samples::{largest, small},
};

/// Every eighth commit is of the largest size, so that the store fills, frees and cuts off segments.
fn nth(n: u64) -> EncodedCommit {
    if n.is_multiple_of(8) { largest(n) } else { small(n) }
}

/// Appends until it is killed, and says after each batch what is acknowledged.
#[test]
#[ignore = "the process that `acknowledged_commits_survive_a_kill` kills"]
#[expect(clippy::disallowed_methods, reason = "a test's child is told its directory by the environment")]
fn writer() {
    let Ok(dir) = std::env::var("TENURE_TEST_KILL_DIR") else { return };
    let log = open(&PathBuf::from(dir)).unwrap();
    // One event a commit: the position is the number of the last commit.
    let mut stdout = std::io::stdout().lock();
    loop {
        let next = log.head().position.0 + 1;
        append_all(&log, (next..next + 1 + next % 40).map(nth).collect());
        writeln!(stdout, "acknowledged {}", log.head().position).unwrap();
    }
}

/// Lets a writer work until it has acknowledged so many batches, and kills it; gives the last acknowledged position.
fn killed_after(dir: &Path, batches: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log::sled::kills::writer", "--ignored", "--nocapture"])
        .env("TENURE_TEST_KILL_DIR", dir)
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
    let log = SledLog::open(dir, &mut |stored| {
        let same = crate::log::encode(&stored.commit) == Ok(nth(next));
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
    rounds(6);
}

#[test]
#[ignore = "takes minutes"]
fn acknowledged_commits_survive_many_kills() {
    rounds(100);
}
