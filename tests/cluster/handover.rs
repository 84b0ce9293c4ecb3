//! The lead, given from one node to another while callers go on.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;
use tenure::clock::stopwatch;

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, cluster, prepare},
};

/// Writes all the time; what was refused, and the longest time without an answer.
struct Writer {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<Duration>,
    refused: Arc<Mutex<Vec<String>>>,
}

fn write(caller: Caller, name: &'static str) -> Writer {
    let (is_over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(vec![])));
    let thread = thread::spawn({
        let (is_over, refused) = (Arc::clone(&is_over), Arc::clone(&refused));
        move || {
            let mut longest = Duration::ZERO;
            for number in 0.. {
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                let begun = stopwatch();
                let (path, named) = (format!("/v1/subjects/{name}-{number}"), json!({ "kind": "agent" }));
                let reply = caller.send("PUT", &path, &[], Some(&named));
                longest = longest.max(begun.elapsed());
                let status = reply.as_ref().map_or(0, |reply| reply.status);
                if status != 201 {
                    let said = reply.map(|reply| reply.body.to_string()).unwrap_or_default();
                    refused.lock().unwrap().push(format!("{number}: {status} {said}"));
                }
            }
            longest
        }
    });
    Writer { is_over, thread, refused }
}

impl Writer {
    fn ends(self) -> Duration {
        self.is_over.store(true, Ordering::Release);
        let longest = self.thread.join().unwrap();
        let refused = self.refused.lock().unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        longest
    }
}

/// At a rolling restart nobody is refused: what comes meanwhile waits for the next leader.
#[test]
fn a_leader_that_is_stopped_gives_the_lead_away_and_nobody_is_refused() {
    let Some(program) = broker::program("that the lead is given away without a refusal") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let mut first = Node::start(&broker, dirs[0].path());
    let leader = first.leader(dirs[0].path());
    let mut second = Node::start(&broker, dirs[1].path());
    let follower = second.admin(dirs[0].path());
    follower.waits_for_role("follower");
    let granted = leader.create("agent-1");
    let writers = [write(follower.clone(), "a"), write(follower.clone(), "b")];
    first.signal(Signal::TERM);
    assert!(first.ends().success(), "{}", first.said());
    follower.waits_for_role("leader");
    let longest = writers.map(Writer::ends).into_iter().max().unwrap();
    assert!(longest < Duration::from_secs(3), "a caller waited for {longest:?}");
    assert!(follower.is_active(&granted.token));
}

/// The same at the word of an operator: the node goes on, as a follower.
#[test]
fn an_operator_gives_the_lead_to_another_node() {
    let Some(program) = broker::program("that an operator gives the lead away") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 2);
    let mut first = Node::start(&broker, dirs[0].path());
    let one = first.leader(dirs[0].path());
    let mut second = Node::start(&broker, dirs[1].path());
    let two = second.admin(dirs[0].path());
    two.waits_for_role("follower");
    let writers = [write(one.clone(), "a"), write(two.clone(), "b")];
    let key = dirs[0].path().join("admin.key");
    let (status, said) = cluster(&broker, &["handover", "--key-file", key.to_str().unwrap()]);
    assert!(status.success() && said.contains(second.url()), "{said}");
    one.waits_for_role("follower");
    two.waits_for_role("leader");
    // And back, asked of a node that does not lead.
    let given = one.send("POST", "/v1/cluster/handover", &[], None).unwrap();
    assert_eq!((given.status, &given.body["leader"]), (200, &json!(first.url())), "{}", given.body);
    one.waits_for_role("leader");
    let longest = writers.map(Writer::ends).into_iter().max().unwrap();
    assert!(longest < Duration::from_secs(3), "a caller waited for {longest:?}");
}
