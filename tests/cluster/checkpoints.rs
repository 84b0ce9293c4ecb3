//! Starts that go on from a checkpoint, and what they do when that is not to be believed.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    broker::{self, Broker},
    followers::without_time,
    node::{Caller, Granted, Node, copy_all, files, prepare},
};

/// The smallest that there is.
pub(crate) const CUT: &str = "log.segment_events=1000";

pub(crate) fn waits_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = stopwatch();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what}");
        pause(Duration::from_millis(50));
    }
}

/// Sessions of so many subjects, from this number on.
pub(crate) fn fill(caller: &Caller, subjects: std::ops::Range<usize>) -> Vec<Granted> {
    const AT_ONCE: usize = 4;
    let made = |part: usize| {
        let own = subjects.clone().skip(part).step_by(AT_ONCE);
        own.map(|number| caller.create(&format!("agent-{number}"))).collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..AT_ONCE).map(|part| scope.spawn(move || made(part))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// The checkpoints of a node.
pub(crate) fn checkpoints(data: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(data.join("checkpoints")) else { return vec![] };
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|own| own == "checkpoint"));
    found.sort();
    found
}

/// The head that a node has compared with its own tree and kept.
pub(crate) fn head(data: &Path) -> String {
    fs::read_to_string(data.join("head.note")).unwrap_or_default()
}

/// What a node answers from its own state.
pub(crate) fn answers(caller: &Caller, granted: &[Granted]) -> Vec<Value> {
    let some = granted[..12].iter().chain(granted.iter().step_by(40));
    let mut said: Vec<_> = some
        .map(|granted| {
            let body = caller.introspects(&granted.token).body;
            json!([body["results"][0]["active"], body["results"][0]["sessionId"]])
        })
        .collect();
    said.extend((0..9).map(|number| caller.subject(&format!("agent-{number}"))));
    let paths = ["/v1/sessions?limit=100", "/v1/events?limit=50", "/v1/revocations/feed?after=0"];
    said.extend(paths.map(|path| caller.get(path)));
    said.push(caller.get(&format!("/v1/sessions/{}", granted[0].id)));
    said.into_iter().map(without_time).collect()
}

/// Flips a byte in the middle of a file, or at a place.
pub(crate) fn flip(path: &Path, at: Option<u64>) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let at = at.unwrap_or_else(|| file.metadata().unwrap().len() / 2);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn start(broker: &Broker, data: &Path, more: &[&str]) -> Node {
    Node::start_with(&broker.url(), data, &[&[CUT], more].concat())
}

/// Each node has read and kept all of the stream at every start, and folded all of it.
#[test]
fn a_node_goes_on_from_its_checkpoint_as_one_that_has_read_everything() {
    let Some(program) = broker::program("that a node goes on from its checkpoint") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 3);
    let data = |number: usize| dirs[number].path();
    let mut first = start(&broker, data(0), &[]);
    let leader = first.leader(data(0));
    let mut second = start(&broker, data(1), &[]);
    let mut follower = second.admin(data(0));
    let mut granted = fill(&leader, 0..560);
    leader.erase("agent-3");
    leader.revoke(&granted[5]).unwrap();
    for node in 0..2 {
        waits_until("no checkpoint is made", || !checkpoints(data(node)).is_empty());
    }
    // Every node makes the same files.
    for kind in ["checkpoints", "segments", "indexes"] {
        let all = |node: usize| {
            let paths = files(&data(node).join(kind)).into_iter();
            paths.map(|path| fs::read(path).unwrap_or_default()).collect::<BTreeSet<_>>()
        };
        waits_until("the files of the nodes are not the same", || all(0) == all(1) && !all(0).is_empty());
    }
    // What comes behind it is of sessions before it, too.
    leader.revoke(&granted[6]).unwrap();
    leader.erase("agent-4");
    granted.extend(fill(&leader, 560..570));
    second.kill();
    leader.revoke(&granted[7]).unwrap();
    second.restart();
    follower.waits_for_role("follower");
    assert!(second.said().contains("the start goes on from a checkpoint"), "{}", second.said());
    let mut third = start(&broker, data(2), &["log.verify=all"]);
    let whole = third.follower(data(0));
    assert!(!third.said().contains("the start goes on from a checkpoint"), "{}", third.said());
    let position = leader.create("last");
    for caller in [&follower, &whole] {
        waits_until("a node does not follow", || caller.is_active(&position.token));
    }
    let expected = answers(&leader, &granted);
    assert_eq!(answers(&follower, &granted), expected);
    assert_eq!(answers(&whole, &granted), expected);
    // Each has compared this head with its own tree.
    waits_until("the heads of the nodes are not the same", || {
        (0..3).all(|node| head(data(node)) == head(data(0))) && !head(data(0)).is_empty()
    });
    assert!(!whole.is_active(&granted[7].token));
    // It can lead, too.
    third.kill();
    first.kill();
    follower = second.leader(data(0));
    assert_eq!(follower.revoke(&granted[8]).unwrap().0, 200);
}

/// What a node has in files the broker has too, so nothing that is wrong with them keeps it from starting.
#[test]
fn a_checkpoint_or_a_segment_that_is_damaged_or_foreign_is_named_and_not_used() {
    let Some(program) = broker::program("that damaged and foreign checkpoints are not used") else { return };
    let (broker, other) = (Broker::start(&program), Broker::start(&program));
    let (dirs, others) = (prepare(&broker, 2), prepare(&other, 1));
    let data = dirs[1].path();
    let mut first = start(&broker, dirs[0].path(), &[]);
    let leader = first.leader(dirs[0].path());
    let mut second = start(&broker, data, &[]);
    let follower = second.admin(dirs[0].path());
    let granted = fill(&leader, 0..560);
    waits_until("no checkpoint is made", || !checkpoints(data).is_empty());
    let mut foreign = start(&other, others[0].path(), &[]);
    fill(&foreign.leader(others[0].path()), 0..560);
    waits_until("no checkpoint is made", || !checkpoints(others[0].path()).is_empty());
    foreign.kill();
    let expected = answers(&leader, &granted);
    let remove = |name: &str| fs::remove_dir_all(data.join(name)).unwrap();
    let take = |name: &str| copy_all(&others[0].path().join(name), &data.join(name));
    let spoil: [(&dyn Fn(), &str); 5] = [
        (&|| flip(checkpoints(data).last().unwrap(), None), "a checkpoint is not to be believed"),
        (
            &|| {
                remove("checkpoints");
                take("checkpoints");
            },
            "a checkpoint is not to be believed",
        ),
        // All of them fit each other.
        (
            &|| {
                for name in ["checkpoints", "segments", "indexes"] {
                    remove(name);
                    take(name);
                }
                remove("copy");
            },
            "the segments are of another log than TENURE_LOG_1",
        ),
        (
            &|| flip(&data.join("segments/00000000000000000001.segment"), Some(20)),
            "the header's check does not match",
        ),
        // What cannot be asked by key is read.
        (&|| remove("indexes"), "another node leads; this one follows"),
    ];
    for (spoil, said) in spoil {
        let segment = data.join("segments/00000000000000000001.segment");
        let index = data.join("indexes/00000000000000000001.index");
        waits_until("no checkpoint is made again", || {
            segment.exists() && index.exists() && !checkpoints(data).is_empty()
        });
        second.kill();
        spoil();
        second.restart();
        follower.waits_for_role("follower");
        assert!(second.said().contains(said), "{said}: {}", second.said());
        assert_eq!(answers(&follower, &granted), expected);
    }
}
