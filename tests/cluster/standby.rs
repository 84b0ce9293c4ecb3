//! A node that dies, sleeps or is stopped, and comes back or is followed.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use serde_json::json;
use tenure::clock::stopwatch;

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, cluster, contents, prepare},
    pair::Pair,
};

#[test]
fn a_node_that_is_killed_comes_back_with_all_that_it_acknowledged() {
    let Some(program) = broker::program("that a node on a shared log loses nothing when it is killed") else {
        return;
    };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 1);
    let mut node = Node::start(&broker, dirs[0].path());
    let admin = node.leader(dirs[0].path());
    let granted = admin.create("agent-1");
    let ended = admin.create("agent-2");
    let (status, said) = admin.revoke(&ended).unwrap();
    assert_eq!(status, 200, "{said}");
    let token = granted.token;
    node.kill();
    let mut node = Node::start(&broker, dirs[0].path());
    let admin = node.leader(dirs[0].path());
    assert!(admin.is_active(&token) && !admin.is_active(&ended.token));
    assert_eq!(admin.subject("agent-1")["name"], "Agent agent-1");
    // Its copy is only a copy.
    node.kill();
    fs::remove_dir_all(dirs[0].path().join("copy")).unwrap();
    let mut node = Node::start(&broker, dirs[0].path());
    assert!(node.leader(dirs[0].path()).is_active(&token));
}

/// What the second node must know once it leads.
fn takes_over(second: &mut Node, keys: &Path, token: &str, subject: &str) -> Caller {
    let begun = stopwatch();
    let admin = second.leader(keys);
    assert!(begun.elapsed() < Duration::from_secs(12), "it took {:?}", begun.elapsed());
    assert!(admin.is_active(token), "a token of the node before is none here");
    assert_eq!(admin.subject(subject)["name"], format!("Agent {subject}"));
    admin.create("agent-of-the-second");
    admin
}

#[test]
fn a_standby_takes_over_when_the_leader_is_killed() {
    let Some(pair) = Pair::start("that a standby takes over from a leader that is killed") else { return };
    let Pair { broker, mut first, mut second, leader: admin, dirs, .. } = pair;
    let granted = admin.create("agent-1");
    let (said, streams) = (cluster(&broker, &["status"]).1, "TENURE_LOG_1");
    assert!(said.contains("leads (node") && said.contains(streams), "{said}");
    first.kill();
    takes_over(&mut second, dirs[0].path(), &granted.token, "agent-1");
    // The first one comes back as a follower, and takes over in its turn.
    let mut first = Node::start(&broker, dirs[0].path());
    first.follower(dirs[0].path());
    second.signal(Signal::TERM);
    assert!(second.ends().success(), "{}", second.said());
    let admin = takes_over(&mut first, dirs[0].path(), &granted.token, "agent-1");
    assert_eq!(admin.subject("agent-of-the-second")["name"], "Agent agent-of-the-second");
}

/// A leader that sleeps does not know that its time is over. When it wakes up it must not record anything, nor go on
/// answering from what it remembers: it follows, in the same process, and may lead again.
#[test]
fn a_leader_that_was_frozen_is_fenced_and_follows() {
    let Some(pair) = Pair::start("that a leader that was frozen is fenced") else { return };
    let Pair { mut first, mut second, leader: admin, follower, ref dirs, .. } = pair;
    let granted = admin.create("agent-1");
    let ended = admin.create("agent-2");
    first.signal(Signal::STOP);
    let begun = stopwatch();
    // To ask for the newest state changes nothing, so that it is not to be had is all there is to say.
    let strict = json!({ "token": granted.token, "consistency": "strict" });
    let said = follower.send("POST", "/v1/introspect", &[], Some(&strict)).unwrap();
    assert!(said.status == 200 || said.body["code"] == "STALE", "{} {}", said.status, said.body);
    let other = takes_over(&mut second, dirs[0].path(), &granted.token, "agent-1");
    assert_eq!(other.revoke(&ended).unwrap().0, 200);
    let slept = begun.elapsed();
    first.signal(Signal::CONT);
    // What it answers first may be what it remembers, if it says how old that is; but never as the newest.
    let said = admin.introspects(&ended.token);
    let stale = said.header("x-tenure-staleness-ms").map(|stale| stale.parse::<u64>().unwrap());
    // Whole milliseconds are said.
    let stale = stale.map(|stale| Duration::from_millis(stale + 1));
    let is_right = said.status == 503 || said.body["results"][0]["active"] == false;
    assert!(is_right || stale >= Some(slept), "{} {stale:?} after {slept:?}: {}", said.status, said.body);
    let strict = json!({ "token": ended.token, "consistency": "strict" });
    let said = admin.send("POST", "/v1/introspect", &[], Some(&strict)).unwrap();
    assert!(said.status == 503 || said.body["active"] == false, "{} {}", said.status, said.body);
    admin.waits_for_role("follower");
    assert!(!admin.is_active(&ended.token) && admin.is_active(&granted.token));
    assert_eq!(admin.subject("agent-of-the-second")["name"], "Agent agent-of-the-second");
    // And it leads again, with all that the other one has recorded.
    let at_first = first.id();
    second.kill();
    let admin = takes_over(&mut first, dirs[0].path(), &granted.token, "agent-1");
    assert!(!admin.is_active(&ended.token));
    assert_eq!(first.id(), at_first);
    assert!(first.said().matches("listening on").count() == 1, "{}", first.said());
}

/// A key that was destroyed must not come back with the next leader, nor stay with the broker.
#[test]
fn a_text_that_was_erased_stays_so_when_another_node_leads() {
    let Some(pair) = Pair::start("that erased text stays erased on all nodes") else { return };
    let Pair { mut first, mut second, leader: admin, ref dirs, .. } = pair;
    let granted = admin.create("agent-1");
    admin.create("agent-2");
    let keys = fs::read(dirs[0].path().join("keys/subjects")).unwrap();
    admin.erase("agent-1");
    admin.create("agent-3");
    first.kill();
    let admin = takes_over(&mut second, dirs[0].path(), &granted.token, "agent-2");
    assert!(admin.subject("agent-1")["name"].is_null());
    // No slot of a key that was destroyed is in any file of the second node.
    let now = fs::read(dirs[0].path().join("keys/subjects")).unwrap();
    let destroyed = keys.chunks(64).zip(now.chunks(64)).find(|(before, now)| before != now).unwrap().0;
    for (file, bytes) in contents(dirs[1].path()) {
        assert!(!bytes.windows(64).any(|window| window == destroyed), "{}", file.display());
    }
}

/// Whatever is wrong is said at the start, by its name.
#[test]
fn a_node_without_the_secret_or_the_streams_says_what_is_missing() {
    let Some(program) = broker::program("that a node says what it lacks") else { return };
    let broker = Broker::start(&program);
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&broker, dir.path());
    assert!(!node.ends().success());
    assert!(node.said().contains("tenure cluster init"), "{}", node.said());
    let dirs = prepare(&broker, 2);
    let mut first = Node::start(&broker, dirs[0].path());
    first.leader(dirs[0].path()).create("agent-1");
    first.kill();
    fs::write(dirs[1].path().join("cluster.secret"), "7".repeat(64)).unwrap();
    let mut second = Node::start(&broker, dirs[1].path());
    assert!(!second.ends().success());
    assert!(second.said().contains("secret is another one on this node"), "{}", second.said());
}
