//! An append whose outcome takes long: what the leader says meanwhile, and afterwards.

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};
use tenure_testing::lossy_link::LossyLink;

use crate::{
    broker::{self, Broker},
    checkpoints::waits_until,
    node::{Caller, Granted, Node, Reply, cluster, prepare},
};

/// So many seconds old a state may be.
const BOUND: u64 = 5;
/// The subject of the frames, and the beginning that it shares with that of the lease.
const FRAMES: &str = "tenure.v1.log";
const FRAMES_AND_LEASE: &str = "tenure.v1.l";
const LEASE: &str = "tenure.v1.lease";

/// A leader, on a way to its broker on which some of what it asks can be lost.
struct Slow {
    _broker: Broker,
    _dirs: Vec<tempfile::TempDir>,
    node: Node,
    leader: Caller,
    way: LossyLink,
}

fn slow(test: &str) -> Option<Slow> {
    let broker = Broker::start(&broker::program(test)?);
    let dirs = prepare(&broker, 1);
    let way = LossyLink::to(broker.port());
    let bound = format!("cluster.max_staleness={BOUND}");
    let url = format!("nats://127.0.0.1:{}", way.port());
    let mut node = Node::start_with(&url, dirs[0].path(), &[&bound]);
    let leader = node.leader(dirs[0].path());
    Some(Slow { _broker: broker, _dirs: dirs, node, leader, way })
}

impl Slow {
    /// Registers a subject that is not there yet, on a thread of its own.
    fn writes(&self, subject: &str) -> thread::JoinHandle<Reply> {
        let (leader, path) = (self.leader.clone(), format!("/v1/subjects/{subject}"));
        thread::spawn(move || leader.send("PUT", &path, &[], Some(&json!({ "kind": "agent" }))).unwrap())
    }

    fn checks_strictly(&self, granted: &Granted) -> Reply {
        let asked = json!({ "tokens": [granted.token], "consistency": "strict" });
        self.leader.send("POST", "/v1/introspect", &[], Some(&asked)).unwrap()
    }

    /// How old the leader says that its state may be, in milliseconds.
    fn age(&self, granted: &Granted) -> u64 {
        let said = self.leader.introspects(&granted.token);
        assert_eq!(said.status, 200, "{}", said.body);
        said.header("x-tenure-staleness-ms").unwrap().parse().unwrap()
    }
}

/// A frame may be in the log, and others may answer by it, before the leader hears so. Its lease holds all the time, and
/// says nothing about that.
#[test]
fn a_leader_whose_append_takes_long_is_as_old_as_the_append_and_answers_nothing_strictly() {
    let Some(slow) = slow("that a leader does not call its state the newest while it appends") else {
        return;
    };
    let granted = slow.leader.create("agent-1");
    slow.way.swallow(FRAMES);
    let written = slow.writes("agent-2");
    let begun = stopwatch();
    while slow.age(&granted) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(3), "the leader calls its state the newest");
        pause(Duration::from_millis(20));
    }
    // By now the append is under way. A renewal of the lease comes in between, and takes nothing from its age.
    let under_way = stopwatch();
    let strict = slow.checks_strictly(&granted);
    assert_eq!((strict.status, &strict.body["code"]), (503, &json!("STALE")), "{}", strict.body);
    let at_least = under_way.elapsed();
    let age = slow.age(&granted);
    assert!(u128::from(age) >= at_least.as_millis(), "{age} ms after {at_least:?}");
    slow.way.mend();
    let written = written.join().unwrap();
    assert_eq!(written.status, 201, "{}", written.body);
    let strict = slow.checks_strictly(&granted);
    assert_eq!((strict.status, &strict.body["results"][0]["active"]), (200, &json!(true)), "{}", strict.body);
}

/// The broker has the frame, and a follower shows it, a moment before the leader hears so: what is asked strictly then is
/// not answered from the state before.
#[test]
fn what_a_follower_has_shown_is_not_denied_by_a_leader_that_waits_to_hear_of_it() {
    let test = "that a leader does not deny what a follower has shown";
    let Some(program) = broker::program(test) else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let way = LossyLink::to(broker.port());
    let mut first = Node::start_with(&format!("nats://127.0.0.1:{}", way.port()), dirs[0].path(), &[]);
    let leader = first.leader(dirs[0].path());
    let mut second = Node::start(&broker, dirs[1].path());
    let follower = second.follower(dirs[0].path());
    let granted = leader.create("agent-1");
    waits_until("the follower does not know the session", || follower.is_active(&granted.token));
    way.hold_answers();
    let ended = thread::spawn({
        let (leader, granted) = (leader.clone(), granted.clone());
        move || leader.revoke(&granted)
    });
    let begun = stopwatch();
    while follower.is_active(&granted.token) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the follower does not see the end");
    }
    let asked = json!({ "tokens": [granted.token], "consistency": "strict" });
    let said = leader.send("POST", "/v1/introspect", &[], Some(&asked)).unwrap();
    assert!(
        said.status == 503 || said.body["results"][0]["active"] == false,
        "an end that a follower has shown is denied: {}",
        said.body
    );
    way.mend();
    assert_eq!(ended.join().unwrap().unwrap().0, 200);
}

/// "Nothing was done" was said of what was in the log, because the leader's state was that old by then.
#[test]
fn a_write_whose_fate_is_not_known_is_not_called_undone() {
    let Some(slow) = slow("that a write of unknown fate is told as such") else { return };
    slow.leader.create("agent-1");
    slow.way.swallow(FRAMES_AND_LEASE);
    let written = slow.writes("agent-2").join().unwrap();
    assert_eq!((written.status, &written.body["code"]), (503, &json!("OUTCOME_UNKNOWN")), "{}", written.body);
}

/// What was recorded is done, and who asked for it must hear so, although the leader would answer no check from a state
/// as old as that by then.
#[test]
fn a_write_that_is_recorded_after_the_bound_is_acknowledged() {
    let Some(slow) = slow("that a write is acknowledged however long it took") else { return };
    let granted = slow.leader.create("agent-1");
    slow.way.swallow(FRAMES_AND_LEASE);
    let written = slow.writes("agent-2");
    pause(Duration::from_secs(BOUND + 1));
    let check = slow.leader.introspects(&granted.token);
    assert_eq!((check.status, &check.body["code"]), (503, &json!("STALE")), "{}", check.body);
    // The frame passes; the lease still does not, so nothing else makes the leader certain of anything.
    slow.way.swallow(LEASE);
    let written = written.join().unwrap();
    assert_eq!(written.status, 201, "{}\n{}", written.body, slow.node.said());
    assert_ne!(written.header("x-tenure-position").map(str::to_owned), None);
    slow.way.mend();
    waits_until("the leader is not certain of its lead again", || {
        slow.leader.introspects(&granted.token).status == 200
    });
    assert_eq!(slow.leader.subject("agent-2")["kind"], Value::from("agent"));
}

/// A node whose stream was full said that it was ready, and no command gave the stream more room.
#[test]
fn a_full_stream_is_told_and_can_be_raised() {
    let Some(program) = broker::program("that a full stream is told") else { return };
    let broker = Broker::start(&program);
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("cluster.secret");
    let init = |bytes: &str| {
        let secret = secret.to_str().unwrap();
        cluster(&broker, &["init", "--replicas", "1", "--max-bytes", bytes, "--secret-file", secret])
    };
    waits_until("the streams are not made", || init("1048576").0.success());
    let mut node = Node::start(&broker, dir.path());
    let leader = node.leader(dir.path());
    let agent = json!({ "kind": "agent", "maxSessions": 10_000 });
    assert_eq!(leader.send("PUT", "/v1/subjects/agent-1", &[], Some(&agent)).unwrap().status, 201);
    let asked = json!({ "subjectId": "agent-1", "metadata": { "x": "y".repeat(4_000) } });
    let create = || leader.send("POST", "/v1/sessions", &[], Some(&asked)).unwrap();
    let refused = (0..1_000).map(|_| create()).find(|made| made.status != 201).unwrap();
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (503, &json!("STORAGE_UNAVAILABLE")),
        "{}",
        refused.body
    );
    assert!(refused.body["detail"].as_str().unwrap().contains("the log is full"), "{}", refused.body);
    let ready = leader.send("GET", "/readyz", &[], None).unwrap();
    assert!(ready.status == 503 && ready.body.to_string().contains("the log is full"), "{}", ready.body);
    let (status, said) = init("8388608");
    assert!(status.success() && said.contains("raised"), "{said}");
    assert_eq!(create().status, 201);
    assert_eq!(leader.send("GET", "/readyz", &[], None).unwrap().status, 200);
}
