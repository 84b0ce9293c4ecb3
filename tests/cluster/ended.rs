//! Ended sessions leave the memory of every node, and nobody sees a difference.

use std::{fs, thread};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    broker::{self, Broker},
    checkpoints::{CUT, flip, waits_until},
    followers::without_time,
    node::{Caller, Granted, Node, prepare},
};

/// Ended sessions stay for a minute.
const SOON: [&str; 2] = [CUT, "retention.memory=60"];

fn done(caller: &Caller, method: &str, path: &str, body: &Value) -> Value {
    let reply = caller.send(method, path, &[], Some(body)).unwrap();
    assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.body);
    reply.body
}

fn advance(caller: &Caller, seconds: u64) {
    done(caller, "PUT", "/v1/clock", &json!({ "advance": seconds }));
}

fn begin(caller: &Caller, subject: &str, device: &str, ttl: u64) -> Granted {
    let asked = json!({ "subjectId": subject, "device": device, "ttl": ttl, "metadata": { "job": device } });
    let made = done(caller, "POST", "/v1/sessions", &asked);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Granted { id: text("sessionId"), token: text("token") }
}

/// Sessions of two subjects that end, as revoked, as expired and with many others, and one that does not.
fn lived(leader: &Caller) -> Vec<Granted> {
    for (subject, owner) in [("ada", "o1"), ("bob", "o2")] {
        done(
            leader,
            "PUT",
            &format!("/v1/subjects/{subject}"),
            &json!({ "name": subject, "ownerId": owner }),
        );
    }
    let revoked = begin(leader, "ada", "d1", 600);
    let expired = begin(leader, "ada", "d2", 600);
    let in_bulk = begin(leader, "bob", "d3", 600);
    assert_eq!(leader.revoke(&revoked).unwrap().0, 200);
    done(leader, "POST", "/v1/revocations", &json!({ "selector": { "ownerId": "o2" }, "reason": "a drill" }));
    advance(leader, 700);
    vec![revoked, expired, in_bulk, begin(leader, "ada", "d1", 86_400)]
}

/// Subjects without sessions, until the first segment is full.
fn fill(leader: &Caller) {
    const AT_ONCE: usize = 4;
    let part = |part: usize| {
        for number in (0..1_000).skip(part).step_by(AT_ONCE) {
            done(leader, "PUT", &format!("/v1/subjects/filler-{number}"), &json!({}));
        }
    };
    let part = &part;
    thread::scope(|scope| (0..AT_ONCE).for_each(|number| drop(scope.spawn(move || part(number)))));
}

/// Everything that is asked of them.
fn answers(caller: &Caller, granted: &[Granted]) -> Vec<(String, Value)> {
    let mut paths: Vec<String> =
        granted.iter().map(|granted| format!("/v1/sessions/{}", granted.id)).collect();
    paths.extend(granted.iter().map(|granted| format!("/v1/notices?limit=200&sessionId={}", granted.id)));
    for status in ["active", "expired", "revoked", "all"] {
        for filter in ["", "&ownerId=o1", "&ownerId=o2", "&ownerId=o3", "&device=d1", "&subjectId=ada"] {
            paths.push(format!("/v1/sessions?limit=100&status={status}{filter}"));
        }
    }
    let judged = granted.iter().map(|granted| {
        let said = caller.introspects(&granted.token).body;
        (format!("what is said of {}", granted.id), without_time(said))
    });
    let shown = paths.iter().map(|path| (path.clone(), without_time(caller.get(path))));
    let feed = caller.get("/v1/revocations/feed?after=0")["items"].take();
    shown.chain(judged).chain([("the feed".to_owned(), feed)]).collect()
}

fn compare(caller: &Caller, granted: &[Granted], known: &[(String, Value)]) {
    for ((asked, now), (_, before)) in answers(caller, granted).iter().zip(known) {
        assert_eq!(now, before, "{asked}");
    }
}

fn number(caller: &Caller, name: &str) -> Option<u64> {
    let metrics = caller.text("/metrics")?;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.parse().ok()
}

fn in_memory(caller: &Caller) -> Option<u64> {
    number(caller, "tenure_sessions")
}

/// Until a node has what is recorded at the leader.
fn waits_for(caller: &Caller, leader: &Caller) {
    let position = |caller: &Caller| number(caller, "tenure_position");
    let last = position(leader);
    assert!(last.is_some());
    waits_until("a node does not follow", || position(caller) >= last);
}

fn agrees(caller: &Caller) {
    let check = caller.get("/v1/audit/check");
    assert_eq!(check["agrees"], true, "{check}");
}

/// Nodes of a cluster kept every session that ever was in memory. What a follower is told of one that left changes
/// lists as it does at the leader, who reads it back to decide.
#[test]
fn ended_sessions_leave_the_memory_of_every_node_and_are_answered_as_before() {
    let Some(program) = broker::program("that ended sessions leave the memory of all nodes") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let (own, other) = (dirs[0].path(), dirs[1].path());
    let (mut first, _way) = Node::start_behind_a_way(&broker.url(), own, &SOON);
    let leader = first.leader(own);
    let (mut second, _own_way) = Node::start_behind_a_way(&broker.url(), other, &SOON);
    let follower = second.admin(own);
    follower.waits_for_role("follower");
    let granted = lived(&leader);
    let known = answers(&leader, &granted);
    fill(&leader);
    // What was recorded is under a signed head, and can be sealed.
    advance(&leader, 10);
    let is_cut = |data: &std::path::Path| data.join("indexes/00000000000000000001.index").exists();
    waits_until("no segment is made", || is_cut(own) && is_cut(other));
    advance(&leader, 120);
    let live = u64::try_from(granted.len()).unwrap() - 3;
    for caller in [&leader, &follower] {
        waits_until("ended sessions stay in memory", || in_memory(caller) == Some(live));
        compare(caller, &granted, &known);
        assert_eq!(in_memory(caller), Some(live), "what is only read does not come back");
        agrees(caller);
    }

    // The leader reads them back to decide, and so does who follows it.
    assert_eq!(follower.revoke(&granted[1]).unwrap().0, 200);
    done(&follower, "PUT", "/v1/subjects/ada", &json!({ "ownerId": "o3" }));
    let known = answers(&leader, &granted);
    let of = |owner: &str| {
        let page = leader.get(&format!("/v1/sessions?status=all&ownerId={owner}&limit=100"));
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((of("o1"), of("o2"), of("o3")), (0, 1, 3));
    waits_for(&follower, &leader);
    compare(&follower, &granted, &known);
    agrees(&follower);

    // A start does not put them back, and a state without them is not taken for the whole where the segments that have
    // them are of no use.
    for spoils in [false, true] {
        second.signal(Signal::TERM);
        assert!(second.ends().success(), "{}", second.said());
        if spoils {
            flip(&other.join("segments/00000000000000000001.segment"), Some(20));
        }
        second.restart();
        let follower = second.admin(own);
        follower.waits_for_role("follower");
        assert_eq!(second.said().contains("what this node has of the history is not used"), spoils);
        waits_for(&follower, &leader);
        compare(&follower, &granted, &known);
        agrees(&follower);
        assert_eq!(fs::exists(other.join("segments.damaged")).unwrap(), spoils);
    }

    // It leads as well.
    first.kill();
    follower.waits_for_role("leader");
    advance(&follower, 120);
    waits_until("ended sessions stay in memory", || in_memory(&follower) == Some(live));
    let again = follower.revoke(&granted[0]).unwrap();
    assert_eq!((again.0, &again.1["trigger"]), (200, &json!("manual_revoke")), "{}", again.1);
    compare(&follower, &granted, &known);
    agrees(&follower);
}
