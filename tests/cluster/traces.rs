//! A request that two nodes work on, as collectors see it.

use rustix::process::Signal;
use serde_json::json;
use tenure_testing::collector::{Collector, hex};

use crate::{
    node::{Caller, Node},
    pair::Pair,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const DROPPED: &str = "5bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn a_change_by_way_of_a_follower_is_one_trace_of_both_nodes() {
    // Each node has a collector of its own, so that it is certain who has sent a span.
    let collectors = [Collector::start(), Collector::start()];
    let pair = Pair::start_by("that a trace goes over both nodes", |broker, data, number| {
        let endpoint = format!("telemetry.otlp_endpoint={}", collectors[number].url);
        Node::start_with(&broker.url(), data, &[&endpoint])
    });
    let Some(Pair { mut first, mut second, follower, .. }) = pair else { return };
    let [at_leader, at_follower] = collectors;
    register(&follower, "agent-7", TRACE, "01");
    let handed_on = at_follower.wait_for("PUT (forwarded)");
    assert_eq!((hex(&handed_on.trace_id), hex(&handed_on.parent_span_id)), (TRACE.into(), PARENT.into()));
    let parts = at_follower.parts_of(&handed_on, &["forward to the leader"]);
    let on_its_way = parts.iter().find(|part| part.name == "forward to the leader").unwrap();
    assert_eq!(on_its_way.parent_span_id, handed_on.span_id);
    let decided = at_leader.wait_for("PUT /v1/subjects/{subjectId}");
    assert_eq!((&decided.trace_id, &decided.parent_span_id), (&handed_on.trace_id, &on_its_way.span_id));
    let stages = at_leader.parts_of(&decided, &["authenticate", "log.append", "reply"]);
    let appended = stages.iter().find(|stage| stage.name == "log.append").unwrap();
    assert_eq!(appended.parent_span_id, decided.span_id);
    // All of it on one machine, so by one clock.
    assert!(on_its_way.start_time_unix_nano <= decided.start_time_unix_nano, "{on_its_way:?} {decided:?}");
    // The leader's part may end after its answer has come: when it has been written.
    assert!(decided.start_time_unix_nano <= on_its_way.end_time_unix_nano, "{on_its_way:?} {decided:?}");
    // Whose caller does not keep its trace leaves none at either node.
    register(&follower, "agent-8", DROPPED, "00");
    // What waits is sent before the end.
    for node in [&mut second, &mut first] {
        node.signal(Signal::TERM);
        assert!(node.ends().success(), "{}", node.said());
    }
    for collector in [at_leader, at_follower] {
        assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != DROPPED));
        collector.holds_none_of(&["tnr_", "agent-7", "Jane"]);
    }
}

fn register(follower: &Caller, subject: &str, trace: &str, is_kept: &str) {
    let traced = [("traceparent", &*format!("00-{trace}-{PARENT}-{is_kept}"))];
    let named = json!({ "kind": "agent", "name": "Jane Doe" });
    let reply = follower.send("PUT", &format!("/v1/subjects/{subject}"), &traced, Some(&named)).unwrap();
    assert_eq!(reply.status, 201, "{}", reply.body);
}
