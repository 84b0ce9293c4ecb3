//! A new node that joins by the files of another one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::json;
use tenure_testing::lossy_link::LossyLink;

use crate::{
    broker::{self, Broker},
    checkpoints::{CUT, answers, checkpoints, fill, flip, head, waits_until},
    node::{Caller, Granted, Node, cluster, contents, prepare},
};

const BY_FILES: &str = "this node joins by the files of another one";
const FROM_A_CHECKPOINT: &str = "the start goes on from a checkpoint";

fn start(broker: &Broker, data: &Path) -> Node {
    Node::start_with(&broker.url(), data, &[CUT])
}

/// The files of a node's segments, with what is the same of a file as long as it is that one.
fn segments(dir: &Path) -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(dir.join("segments")) else { return BTreeMap::new() };
    let named = entries.map(|entry| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino())
    });
    named.filter(|(name, _)| name.ends_with(".segment")).collect()
}

/// So much time passes that what was recorded is under a signed head, and can be sealed.
fn time_passes(leader: &Caller) {
    let moved = leader.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": 10 }))).unwrap();
    assert_eq!(moved.status, 200, "{}", moved.body);
}

/// A node behind a way, with a history and a checkpoint of it, and the directory of a new one.
struct Grown {
    broker: Broker,
    _old: Node,
    way: LossyLink,
    leader: Caller,
    granted: Vec<Granted>,
    dirs: Vec<tempfile::TempDir>,
}

impl Grown {
    /// With a session of each of so many subjects; `None` where no broker is there to test this with.
    fn start(test: &str, subjects: usize) -> Option<Self> {
        let broker = Broker::start(&broker::program(test)?);
        let dirs = prepare(&broker, 2);
        let data = dirs[0].path();
        let (mut old, way) = Node::start_behind_a_way(&broker.url(), data, &[CUT]);
        let leader = old.leader(data);
        let granted = fill(&leader, 0..subjects);
        time_passes(&leader);
        waits_until("no checkpoint is made", || !checkpoints(data).is_empty());
        Some(Self { broker, _old: old, way, leader, granted, dirs })
    }

    /// Starts the new node, behind a way of its own.
    fn new_node(&self) -> (Node, LossyLink) {
        Node::start_behind_a_way(&self.broker.url(), self.dirs[1].path(), &[CUT])
    }
}

/// It has what one has that has read everything, and nothing that was erased comes back with the files.
#[test]
fn a_new_node_joins_by_a_checkpoint_while_writes_go_on() {
    let Some(program) = broker::program("that a new node joins by a checkpoint") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let (old, new) = (dirs[0].path(), dirs[1].path());
    let mut first = start(&broker, old);
    let leader = first.leader(old);
    let mut granted = fill(&leader, 0..560);
    // Before the checkpoint, and between it and the joining.
    let keys = |data: &Path| fs::read(data.join("keys/subjects")).unwrap();
    let before = keys(old);
    leader.erase("agent-3");
    waits_until("no checkpoint is made", || !checkpoints(old).is_empty());
    leader.erase("agent-4");
    leader.revoke(&granted[5]).unwrap();
    let is_over = AtomicBool::new(false);
    let mut second = start(&broker, new);
    let follower = thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut made = vec![];
            while !is_over.load(Ordering::Acquire) {
                made.push(leader.create(&format!("agent-{}", 600 + made.len())));
            }
            made
        });
        let follower = second.follower(old);
        is_over.store(true, Ordering::Release);
        granted.extend(writes.join().unwrap());
        follower
    });
    let said = second.said();
    assert!(said.contains(BY_FILES) && said.contains(FROM_A_CHECKPOINT), "{said}");
    assert!(!new.join("joining").exists());
    let last = leader.create("last");
    waits_until("the new node does not follow", || follower.is_active(&last.token));
    assert_eq!(answers(&follower, &granted), answers(&leader, &granted));
    waits_until("the new node does not keep the head of the other", || head(new) == head(old));
    for erased in ["agent-3", "agent-4"] {
        assert!(follower.subject(erased)["name"].is_null());
    }
    assert_eq!(follower.subject("agent-5")["name"], "Agent agent-5");
    // The keys that were destroyed are in no file of it, and no text is, as ever.
    waits_until("the keys are not the same", || keys(new) == keys(old));
    let after = keys(old);
    // What is no key has no such variety of bytes.
    let is_key = |bytes: &[u8]| bytes.iter().collect::<BTreeSet<_>>().len() > 9;
    let pairs = before.chunks(16).zip(after.chunks(16));
    let gone: Vec<_> = pairs.filter(|(one, other)| one != other && is_key(one)).collect();
    assert!(!gone.is_empty());
    for (file, bytes) in contents(new) {
        let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|part| part == wanted);
        assert!(!gone.iter().any(|(key, _)| has(key)), "{} has a key that was destroyed", file.display());
        assert!(!has(b"Agent agent-3"), "{} has text that was erased", file.display());
    }
    // It leads, seals and starts again as any other.
    first.kill();
    let leader = second.leader(old);
    assert_eq!(leader.revoke(&granted[8]).unwrap().0, 200);
    second.kill();
    second.restart();
    second.leader(old);
    assert!(
        second.said().contains(FROM_A_CHECKPOINT) && !second.said().contains(BY_FILES),
        "{}",
        second.said()
    );
    assert!(!leader.is_active(&granted[8].token) && leader.is_active(&granted[9].token));
}

#[test]
fn a_new_node_that_is_killed_half_way_goes_on_where_it_was() {
    let Some(grown) = Grown::start("that a new node that is killed joins later", 1_100) else { return };
    let Grown { broker, way, leader, granted, dirs, .. } = &grown;
    let (old, new) = (dirs[0].path(), dirs[1].path());
    waits_until("two segments are not made", || segments(old).len() >= 2);
    let whole = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let first_segment = old.join("segments/00000000000000000001.segment");
    let index = old.join("indexes/00000000000000000001.index");
    waits_until("no checkpoint is made", || !checkpoints(old).is_empty() && index.exists());
    // A part of the second segment is on its way.
    let passes = whole(&first_segment) + whole(&index) + 100_000;
    way.hold_answers_after(usize::try_from(passes).unwrap());
    let (mut second, own_way) = grown.new_node();
    let joining = new.join("joining");
    let fetched_index = joining.join("indexes/00000000000000000001.index");
    waits_until("nothing is fetched", || segments(&joining).len() == 1 && fetched_index.exists());
    waits_until("it is not seen that a node joins", || {
        let (_, said) = cluster(broker, &["status"]);
        said.contains(&format!("joining http://127.0.0.1:{}", own_way.port())) && said.contains("MiB from")
    });
    let fetched = segments(&joining);
    second.kill();
    assert!(!new.join("segments").exists());
    // Another time it is killed with a file that is not as it was sent.
    flip(&fetched_index, None);
    way.breaks();
    second.restart();
    let follower = second.follower(old);
    let said = second.said();
    assert!(said.contains("the files of the history do not come from this node"), "{said}");
    assert!(said.contains(BY_FILES) && said.contains(FROM_A_CHECKPOINT), "{said}");
    assert_eq!(answers(&follower, granted), answers(leader, granted));
    assert!(!joining.exists() && segments(new).len() >= 2 && !fetched.is_empty());
}

/// What was fetched whole is not fetched again.
#[test]
fn a_new_node_keeps_what_it_has_fetched() {
    let Some(grown) = Grown::start("that a new node keeps what it has fetched", 560) else { return };
    let Grown { way, granted, dirs, .. } = &grown;
    let (old, new) = (dirs[0].path(), dirs[1].path());
    let segment = old.join("segments/00000000000000000001.segment");
    way.hold_answers_after(usize::try_from(fs::metadata(segment).unwrap().len()).unwrap() + 20_000);
    let (mut second, _way) = grown.new_node();
    waits_until("nothing is fetched", || segments(&new.join("joining")).len() == 1);
    let fetched = segments(&new.join("joining"));
    second.kill();
    way.breaks();
    second.restart();
    let follower = second.follower(old);
    assert!(second.said().contains(BY_FILES), "{}", second.said());
    assert_eq!(segments(new), fetched);
    assert!(follower.is_active(&granted[7].token));
}

/// The broker has all of it: a node that cannot be reached keeps none from joining.
#[test]
fn a_new_node_that_reaches_no_other_one_reads_the_whole_stream() {
    let Some(grown) = Grown::start("that a new node needs no other one", 560) else { return };
    let Grown { way, leader, granted, dirs, .. } = &grown;
    way.cut();
    let (mut second, _way) = grown.new_node();
    second.waits_to_say("all of the history is read from the broker");
    let follower = second.follower(dirs[0].path());
    assert!(!second.said().contains(BY_FILES), "{}", second.said());
    assert_eq!(answers(&follower, granted), answers(leader, granted));
}
