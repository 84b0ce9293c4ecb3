//! Damaged files of one node are made good by those of others, and files of a backup spare a new node its way.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde_json::json;
use tenure_testing::lossy_link::LossyLink;

use crate::{
    broker::{self, Broker},
    checkpoints::{CUT, answers, checkpoints, fill, flip, waits_until},
    node::{Caller, Node, prepare},
};

const MENDED: &str = "a damaged segment is replaced by the file of another node";
const MADE_AGAIN: &str = "a damaged segment is made again of the broker's log";
const SOUND: &str = "this part of the history reads as it was written again";
const SEGMENT: &str = "segments/00000000000000000001.segment";

/// So much time passes that what was recorded is under a signed head, and can be sealed.
fn time_passes(leader: &Caller) {
    let moved = leader.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": 10 }))).unwrap();
    assert_eq!(moved.status, 200, "{}", moved.body);
}

fn is_ready(caller: &Caller) -> bool {
    caller.send("GET", "/readyz", &[], None).is_some_and(|ready| ready.status == 200)
}

/// Makes a file another one than it was.
type Spoil<'s> = &'s dyn Fn(&Path);

/// A damaged segment of a node at work had to be removed by hand, with the node stopped.
#[test]
fn a_segment_that_is_damaged_while_a_node_runs_is_taken_from_another_node() {
    let Some(program) = broker::program("that a damaged segment is taken from another node") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let data: [&Path; 2] = [dirs[0].path(), dirs[1].path()];
    let (mut first, _way) = Node::start_behind_a_way(&broker.url(), data[0], &[CUT]);
    let leader = first.leader(data[0]);
    let (mut second, _other_way) = Node::start_behind_a_way(&broker.url(), data[1], &[CUT]);
    let follower = second.admin(data[0]);
    let mut nodes = [first, second];
    follower.waits_for_role("follower");
    let granted = fill(&leader, 0..560);
    time_passes(&leader);
    for dir in data {
        waits_until("no checkpoint is made", || !checkpoints(dir).is_empty());
    }
    let (callers, good) = ([&leader, &follower], fs::read(data[0].join(SEGMENT)).unwrap());
    let expected = answers(&leader, &granted);
    let spoil: [(usize, Spoil<'_>); 3] = [
        (1, &|path| flip(path, None)),
        (1, &|path| flip(path, Some(20))),
        (0, &|path| fs::remove_file(path).unwrap()),
    ];
    for (times, (number, spoil)) in spoil.into_iter().enumerate() {
        let path = data[number].join(SEGMENT);
        spoil(&path);
        let mended = |node: &Node| node.said().matches(MENDED).count();
        waits_until("it is not mended", || mended(&nodes[0]) + mended(&nodes[1]) == times + 1);
        assert_eq!(fs::read(&path).unwrap(), good);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        nodes[number].waits_to_say_times(SOUND, if number == 0 { 1 } else { times + 1 });
        waits_until("it grants nothing", || is_ready(callers[number]));
        callers[number].create(&format!("after-{times}"));
        assert!(!data[number].join("mending").exists());
    }
    // Where the other one's is damaged as well, it is made of the broker's log.
    for dir in data {
        flip(&dir.join(SEGMENT), None);
    }
    let made_again = || nodes.iter().any(|node| node.said().contains(MADE_AGAIN));
    waits_until("none is made again", made_again);
    for (dir, caller) in data.iter().zip(callers) {
        waits_until("it is not mended", || fs::read(dir.join(SEGMENT)).unwrap() == good);
        waits_until("it grants nothing", || is_ready(caller));
    }
    assert_eq!(answers(&follower, &granted)[..12], expected[..12]);
}

/// A node without others had to be stopped by hand, though the broker has all of its history.
#[test]
fn a_segment_that_no_other_node_has_is_made_again_of_the_brokers_log() {
    let Some(program) = broker::program("that a damaged segment is made again") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 1);
    let data = dirs[0].path();
    let to_broker = LossyLink::to(broker.port());
    let url = format!("nats://127.0.0.1:{}", to_broker.port());
    let (mut node, _way) = Node::start_behind_a_way(&url, data, &[CUT]);
    let leader = node.leader(data);
    let granted = fill(&leader, 0..560);
    time_passes(&leader);
    waits_until("no checkpoint is made", || !checkpoints(data).is_empty());
    let (path, expected) = (data.join(SEGMENT), answers(&leader, &granted));
    let good = fs::read(&path).unwrap();
    flip(&path, None);
    // What the broker does not give is waited for.
    to_broker.hold_answers();
    node.waits_to_say("a damaged segment cannot be replaced yet");
    assert_ne!(fs::read(&path).unwrap(), good);
    to_broker.mend();
    waits_until("it is not made again", || fs::read(&path).unwrap() == good);
    node.waits_to_say(MADE_AGAIN);
    assert!(!node.said().contains(MENDED), "{}", node.said());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    node.waits_to_say(SOUND);
    waits_until("it grants nothing", || is_ready(&leader));
    assert_eq!(answers(&leader, &granted)[..12], expected[..12]);
    assert!(!data.join("mending").exists());
}

/// A joining node asked a node that had been killed again and again, though another one had said that it has nothing.
#[test]
fn a_new_node_believes_one_that_has_no_files_and_asks_no_dead_one_again() {
    let Some(program) = broker::program("that a new node asks no dead one again") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 3);
    let mut first = Node::start(&broker, dirs[0].path());
    let leader = first.leader(dirs[0].path());
    let mut second = Node::start(&broker, dirs[1].path());
    second.admin(dirs[0].path()).waits_for_role("follower");
    let granted = leader.create("agent-1");
    let known = || leader.get("/readyz")["nodes"].as_array().map_or(0, Vec::len);
    waits_until("the leader does not know of both", || known() == 2);
    second.kill();
    let mut third = Node::start(&broker, dirs[2].path());
    let follower = third.admin(dirs[0].path());
    follower.waits_for_role("follower");
    let said = third.said();
    assert!(said.contains("no other node has a checkpoint"), "{said}");
    let times = said.matches("the files of the history do not come from this node").count();
    assert!(times <= 1, "{said}");
    assert!(follower.is_active(&granted.token));
}

/// The closed segments of a backup are those of every node.
#[test]
fn a_new_node_starts_on_the_segments_of_a_backup() {
    let Some(program) = broker::program("that a new node starts on a backup") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let (old, new) = (dirs[0].path(), dirs[1].path());
    let backups = tempfile::tempdir().unwrap();
    let folder = format!("backup.dir={}", backups.path().display());
    let (mut first, _way) = Node::start_behind_a_way(&broker.url(), old, &[CUT, &folder]);
    let leader = first.leader(old);
    let granted = fill(&leader, 0..560);
    time_passes(&leader);
    waits_until("no checkpoint is made", || !checkpoints(old).is_empty());
    let asked = json!({ "name": "nightly", "withoutKeys": true });
    let made = leader.send("POST", "/v1/backup", &[], Some(&asked)).unwrap();
    assert!((200..300).contains(&made.status), "{}", made.body);
    leader.revoke(&granted[5]).unwrap();
    let place = put_segments(&backups.path().join("nightly"), new);
    let is_as_put = || fs::metadata(&place).unwrap().ino();
    let before = is_as_put();
    let (mut second, _other_way) = Node::start_behind_a_way(&broker.url(), new, &[CUT]);
    let follower = second.admin(old);
    follower.waits_for_role("follower");
    let last = leader.create("last");
    waits_until("the new node does not follow", || follower.is_active(&last.token));
    assert_eq!(answers(&follower, &granted), answers(&leader, &granted));
    assert_eq!(is_as_put(), before, "{}", second.said());
    assert!(!new.join("segments.damaged").exists() && !second.said().contains("joins by the files"));
}

/// As the documents say: gives the first one.
fn put_segments(backup: &Path, data: &Path) -> PathBuf {
    let segments = data.join("segments");
    fs::DirBuilder::new().mode(0o700).create(&segments).unwrap();
    for entry in fs::read_dir(backup).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(first) = name.strip_prefix("segment-") {
            fs::copy(&path, segments.join(format!("{first}.segment"))).unwrap();
        }
    }
    data.join(SEGMENT)
}
