//! Signed heads, which each node compares with its own history.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tenure::clock::{pause, stopwatch};
use tenure_audit::{HeadKey, SignedHead};
use tenure_log::{
    RootHash,
    jetstream::{BrokerAccess, BrokerConnection, HeadPut, HeadStream, StreamNames},
};

use crate::{
    broker::Broker,
    node::{Caller, cluster},
    pair::Pair,
};

/// The stream of heads, as an operator sees it.
fn heads(broker: &Broker) -> HeadStream {
    let access = BrokerAccess { url: broker.url(), ..BrokerAccess::default() };
    HeadStream::on(Arc::new(BrokerConnection::open(&access, "operator").unwrap()), StreamNames::default())
}

/// The newest head, once it covers so much.
fn head_of(stream: &HeadStream, size: u64, key: &HeadKey) -> (u64, SignedHead) {
    let begun = stopwatch();
    loop {
        if let Some(found) = stream.last().unwrap() {
            let head = SignedHead::open(&found.note, key.verifier()).unwrap();
            if head.size >= size {
                return (found.sequence, head);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no head of {size} events is published");
        pause(Duration::from_millis(20));
    }
}

fn waits_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = stopwatch();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        pause(Duration::from_millis(50));
    }
}

fn unready(caller: &Caller) -> Option<String> {
    let ready = caller.send("GET", "/readyz", &[], None)?;
    (ready.status == 503).then(|| ready.body.to_string())
}

/// Two nodes might have had different histories for years, and each would have answered from its own: nobody compared
/// them. The leader's heads are now compared by each node with what it has, and one that differs is a reason to grant
/// nothing, for no node can know which of the two is right.
#[test]
fn a_head_that_is_not_of_the_history_of_a_node_stops_what_grants() {
    let Some(pair) = Pair::start("that nodes compare their histories") else { return };
    let Pair { broker, first, mut second, leader, follower, dirs } = pair;
    let granted = leader.create("agent-1");
    let (stream, key) = (heads(&broker), HeadKey::read(&dirs[0].path().join("keys")).unwrap().unwrap());
    let position = leader.get("/v1/events")["items"].as_array().unwrap().len() as u64;
    let (sequence, head) = head_of(&stream, position, &key);
    // Both know each other, and the head of the one is kept by the other.
    waits_until("a node does not know the other", || {
        leader.get("/readyz")["nodes"].as_array().unwrap().len() == 2
            && follower.get("/readyz")["nodes"].as_array().unwrap().len() == 2
    });
    let kept = dirs[1].path().join("head.note");
    waits_until("a head is not kept", || {
        std::fs::read_to_string(&kept).is_ok_and(|note| note == head.note())
    });
    let shows = |said: &str| cluster(&broker, &["status"]).1.contains(said);
    for said in [format!("leader {}", first.url()), format!("follower {}", second.url())] {
        waits_until("the status shows not both nodes", || shows(&said));
    }
    // As if a third node had led, with another history.
    let mut root = *head.root.as_bytes();
    root[7] ^= 1;
    let other = SignedHead::sign(head.size - 1, RootHash::from_bytes(root), &key);
    assert_eq!(stream.put(other.note(), "another", sequence), HeadPut::Stored(sequence + 1));
    for (caller, node) in [(&leader, &first), (&follower, &second)] {
        waits_until("a difference is not found", || unready(caller).is_some());
        let said = unready(caller).unwrap();
        let words = format!("the head of {} events that node another has signed", head.size - 1);
        assert!(said.contains(&words) && said.contains("holds another event here"), "{said}");
        assert!(node.said().contains("is not that of another one"), "{}", node.said());
    }
    // Nothing is granted, and what must end still ends. Who follows answers nothing from what it is not sure of.
    let asked = json!({ "subjectId": "agent-1" });
    let refused = leader.send("POST", "/v1/sessions", &[], Some(&asked)).unwrap();
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (503, &json!("STORAGE_UNAVAILABLE")),
        "{}",
        refused.body
    );
    assert_eq!(follower.introspects(&granted.token).status, 503);
    assert_eq!(follower.revoke(&granted).unwrap().0, 200);
    let metrics = leader.text("/metrics").unwrap();
    assert!(metrics.contains("\ntenure_nodes 2\n"), "{metrics}");
    waits_until("the metrics do not say so", || {
        leader.text("/metrics").is_some_and(|metrics| metrics.contains("\ntenure_nodes_differ 2\n"))
    });
    waits_until("the status does not say so", || shows("it differs: the head of"));
    // A node that starts again folds the log, and finds it again.
    second.kill();
    second.restart();
    waits_until("a difference is found no more after a start", || unready(&follower).is_some());
}
