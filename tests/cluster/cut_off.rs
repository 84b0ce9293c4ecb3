//! A node that the network has left alone.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};
use tenure_testing::lossy_link::LossyLink;

use crate::{
    broker::{self, Broker},
    node::{Caller, Granted, Node, Reply, prepare},
    pair::Pair,
};

/// So many seconds old a state may be.
const BOUND: Duration = Duration::from_secs(5);

/// A leader, and a follower whose ways to the broker and to the leader can be cut.
struct Apart {
    pair: Pair,
    way: LossyLink,
    to_leader: LossyLink,
}

fn apart(test: &str) -> Option<Apart> {
    let (mut way, mut to_leader) = (None, None);
    let pair = Pair::start_by(test, |broker, data, number| {
        if number == 0 {
            let (node, own) = Node::start_behind_a_way(&broker.url(), data, &[]);
            to_leader = Some(own);
            return node;
        }
        let to_broker = way.insert(LossyLink::to(broker.port()));
        let url = format!("nats://127.0.0.1:{}", to_broker.port());
        let bound = format!("cluster.max_staleness={}", BOUND.as_secs());
        Node::start_behind_a_way(&url, data, &[&bound]).0
    })?;
    Some(Apart { pair, way: way?, to_leader: to_leader? })
}

fn half_a_period_passes(leader: &Caller) {
    let moved = leader.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": 43_200 }))).unwrap();
    assert_eq!(moved.status, 200, "{}", moved.body);
}

fn renew(at: &Caller, granted: &Granted) -> Reply {
    let (path, bearer) = (format!("/v1/sessions/{}/renew", granted.id), format!("Bearer {}", granted.token));
    at.send("PUT", &path, &[("authorization", &bearer), ("idempotency-key", "the-same")], None).unwrap()
}

/// The next token of a session, from the leader.
fn renewed(leader: &Caller, granted: &Granted) -> String {
    half_a_period_passes(leader);
    let reply = renew(leader, granted);
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.body["token"].as_str().unwrap().to_owned()
}

fn is_stale(reply: &Reply) -> bool {
    reply.status == 503 && reply.body["code"] == "STALE"
}

fn own_session(follower: &Caller, id: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    follower.send("GET", &format!("/v1/sessions/{id}"), &[("authorization", &*bearer)], None).unwrap()
}

/// The leader goes on, and nobody tells this node: what it knows was true, and it must not say so for ever. A token of a
/// renewal that it cannot have heard of is not called false meanwhile, neither to who checks it nor to its holder.
#[test]
fn a_node_that_is_cut_off_answers_nothing_after_the_bound_and_calls_nothing_new_false() {
    let Some(apart) = apart("that a node that is cut off answers nothing after the bound") else { return };
    let Apart { pair: Pair { second, leader, follower, .. }, way, .. } = &apart;
    let granted = leader.create("agent-1");
    while !follower.is_active(&granted.token) {
        pause(Duration::from_millis(20));
    }
    way.cut();
    let begun = stopwatch();
    let next = renewed(leader, &granted);
    assert!(leader.is_active(&next) && !leader.is_active(&granted.token));
    let asked = ["check", "holder"].map(|who| {
        let (follower, id, next) = (follower.clone(), granted.id.clone(), next.clone());
        thread::spawn(move || {
            if who == "check" { follower.introspects(&next) } else { own_session(&follower, &id, &next) }
        })
    });
    for said in asked.map(|asked| asked.join().unwrap()) {
        assert!(is_stale(&said), "{} {}", said.status, said.body);
    }
    let mut last = Duration::ZERO;
    while begun.elapsed() < BOUND + Duration::from_secs(2) {
        let asked = begun.elapsed();
        let said = follower.introspects(&granted.token);
        if said.status == 200 {
            let age: u64 = said.header("x-tenure-staleness-ms").unwrap().parse().unwrap();
            assert!(age <= 5_000, "an answer of {age} ms ago");
            last = asked;
        } else {
            assert!(is_stale(&said), "{} {}", said.status, said.body);
        }
        pause(Duration::from_millis(50));
    }
    assert!(last <= BOUND, "it answered {last:?} after it was cut off");
    for said in [follower.introspects(&next), own_session(follower, &granted.id, &next)] {
        assert!(is_stale(&said), "{} {}", said.status, said.body);
    }
    let read = follower.send("GET", "/v1/subjects/agent-1", &[], None).unwrap();
    assert!(is_stale(&read), "{} {}", read.status, read.body);
    // Nor does it ask who it is that asks: a load balancer must learn that it is not ready.
    let unknown = Caller::new(second.url(), "none").send("GET", "/readyz", &[], None).unwrap();
    assert!(is_stale(&unknown), "{} {}", unknown.status, unknown.body);
    way.mend();
    let begun = stopwatch();
    while follower.introspects(&next).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        pause(Duration::from_millis(50));
    }
    assert!(follower.is_active(&next) && !follower.is_active(&granted.token));
}

/// Verifiers that had its feed open heard each second that they knew everything, for as long as it was cut off.
#[test]
fn a_feed_ends_at_a_node_that_is_cut_off() {
    let Some(apart) = apart("that a feed ends at a node that is cut off") else { return };
    let Apart { pair: Pair { second, follower, dirs, .. }, way, .. } = &apart;
    follower.waits_for_role("follower");
    let key = std::fs::read_to_string(dirs[0].path().join("admin.key")).unwrap();
    let mut stream = TcpStream::connect(second.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(BOUND + Duration::from_secs(10))).unwrap();
    let request = format!(
        "GET /v1/revocations/feed HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\n\
         accept: text/event-stream\r\nconnection: close\r\n\r\n",
        key.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut heard = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("event: head") {
        line.clear();
        assert_ne!(heard.read_line(&mut line).unwrap(), 0, "it ends before");
    }
    way.cut();
    let begun = stopwatch();
    let mut rest = String::new();
    heard.read_to_string(&mut rest).unwrap();
    assert!(begun.elapsed() < BOUND + Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!rest.is_empty(), "it goes on as long as it knows enough");
}

/// A node that began to follow while the broker could be reached for a moment, and not in the next, ended with an error
/// instead of trying again, so a broker that failed beside a restarted node took that node with it.
#[test]
fn a_node_that_starts_while_the_broker_goes_away_waits_for_it() {
    let Some(program) = broker::program("that a node waits for the broker at its start") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let mut first = Node::start(&broker, dirs[0].path());
    first.leader(dirs[0].path()).create("agent-1");
    // Those for the log and for the lease; the keys come by a third one, and what is said of other nodes by a fourth.
    for connections in [2, 3] {
        let way = LossyLink::to(broker.port());
        way.admit_only(connections);
        let mut second = Node::start_with(&format!("nats://127.0.0.1:{}", way.port()), dirs[1].path(), &[]);
        second.waits_to_say("the broker does not serve this node now");
        way.mend();
        second.follower(dirs[0].path());
        second.kill();
    }
}

/// A renewal was handed to the leader, which granted it, and the answer was lost. The node that had handed it on knew of
/// the renewal by then, found the token replaced, and told its holder so instead of that the outcome is unknown: the
/// holder took its session for lost.
#[test]
fn the_holder_of_a_renewed_token_is_told_that_an_outcome_is_unknown_and_not_that_its_token_is_replaced() {
    let Some(apart) = apart("that a lost answer is told as an unknown outcome") else { return };
    let Apart { pair: Pair { leader, follower, .. }, to_leader, .. } = &apart;
    let granted = leader.create("agent-1");
    while !follower.is_active(&granted.token) {
        pause(Duration::from_millis(20));
    }
    half_a_period_passes(leader);
    to_leader.hold_answers();
    let asked = thread::spawn({
        let (follower, granted) = (follower.clone(), granted.clone());
        move || renew(&follower, &granted)
    });
    let begun = stopwatch();
    while follower.is_active(&granted.token) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is not renewed");
        pause(Duration::from_millis(20));
    }
    to_leader.breaks();
    let said = asked.join().unwrap();
    assert_eq!((said.status, &said.body["code"]), (503, &json!("OUTCOME_UNKNOWN")), "{}", said.body);
    let again = renew(follower, &granted);
    assert_eq!((again.status, &again.body["renewalCount"]), (200, &json!(1)), "{}", again.body);
}
