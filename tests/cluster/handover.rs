//! The lead, given from one node to another while callers go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::{
    node::{Caller, Reply, cluster, run},
    pair::Pair,
};

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);
/// After this long a handover that was refused for the moment is asked for again.
const WAIT: Duration = Duration::from_secs(2);

/// Registers one subject after the other until it is told to end.
struct Writer {
    is_over: Arc<AtomicBool>,
    /// The subjects that were registered.
    thread: thread::JoinHandle<Vec<String>>,
}

impl Writer {
    fn start(caller: &Caller, name: &'static str) -> Self {
        let (is_over, caller) = (Arc::new(AtomicBool::new(false)), caller.clone());
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                let mut written = vec![];
                while !is_over.load(Ordering::Acquire) {
                    let subject = format!("{name}-{}", written.len());
                    write(&caller, &subject);
                    written.push(subject);
                }
                written
            }
        });
        Self { is_over, thread }
    }

    fn ends(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// Registers a subject as a client does: what is refused for the moment is asked again, and may be done by then. A node
/// that has just lost the lead may refuse at once; all others wait for the next leader, so few tries are needed.
fn write(caller: &Caller, subject: &str) {
    let (begun, mut tries, named) = (stopwatch(), 0, json!({ "kind": "agent" }));
    loop {
        let reply = caller.send("PUT", &format!("/v1/subjects/{subject}"), &[], Some(&named)).unwrap();
        tries += 1;
        if reply.status == 201 || (reply.status == 200 && tries > 1) {
            return;
        }
        let waited = begun.elapsed();
        assert!(is_for_the_moment(&reply), "{subject}: {} {}", reply.status, reply.body);
        assert!(tries <= 3 + waited.as_secs(), "{subject}: refused {tries} times within {waited:?}");
        assert!(waited < PATIENCE, "{subject}: refused for {waited:?}: {}", reply.body);
        pause(Duration::from_millis(5));
    }
}

fn is_for_the_moment(reply: &Reply) -> bool {
    reply.status == 503 && reply.body["retryable"] == true
}

/// Has the writers end; what they were told is done is there.
fn is_written(writers: [Writer; 2], leader: &Caller) {
    for subject in writers.into_iter().flat_map(Writer::ends) {
        assert_eq!(leader.subject(&subject)["kind"], "agent");
    }
}

/// At a rolling restart what comes meanwhile waits for the next leader.
#[test]
fn a_leader_that_is_stopped_gives_the_lead_away_and_nobody_is_refused() {
    let Some(mut pair) = Pair::start("that the lead is given away without a refusal") else { return };
    let Pair { first, leader, follower, .. } = &mut pair;
    let granted = leader.create("agent-1");
    let writers = ["a", "b"].map(|name| Writer::start(follower, name));
    first.signal(Signal::TERM);
    assert!(first.ends().success(), "{}", first.said());
    follower.waits_for_role("leader");
    is_written(writers, follower);
    assert!(follower.is_active(&granted.token));
}

/// Asks for a handover, until the lead has moved to this caller's node. Where it was refused for the moment it may have
/// moved all the same, and to ask again would move it back.
fn hand_over(to: &Caller, mut is_done: impl FnMut() -> bool) {
    let begun = stopwatch();
    loop {
        let (done, asked) = (is_done(), stopwatch());
        while done || asked.elapsed() < WAIT {
            if to.has_role("leader") {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "the lead does not move");
            pause(Duration::from_millis(20));
        }
    }
}

/// The same at the word of an operator: the node goes on, as a follower.
#[test]
fn an_operator_gives_the_lead_to_another_node() {
    let Some(pair) = Pair::start("that an operator gives the lead away") else { return };
    let Pair { broker, first, second, leader: one, follower: two, .. } = &pair;
    let writers = [Writer::start(one, "a"), Writer::start(two, "b")];
    let key = pair.keys().join("admin.key");
    hand_over(two, || {
        let (status, said) = cluster(broker, &["handover", "--key-file", key.to_str().unwrap()]);
        // 2: the server could not do it; 4: no node leads at present.
        let is_done = status.success() && said.contains(second.url());
        assert!(is_done || [Some(2), Some(4)].contains(&status.code()), "{said}");
        is_done
    });
    one.waits_for_role("follower");
    // And back, asked of a node that does not lead.
    hand_over(one, || {
        // It hands the request on: no broker is named.
        let named = ["cluster", "handover", "--url", first.url(), "--key-file", key.to_str().unwrap()];
        let (status, said) = run(&named);
        let is_done = status.success() && said.contains(first.url());
        assert!(is_done || [Some(2), Some(4)].contains(&status.code()), "{said}");
        is_done
    });
    two.waits_for_role("follower");
    is_written(writers, one);
}
