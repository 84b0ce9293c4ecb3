//! Pages of keys at the broker, which must not stay there once they are replaced.

use tenure_log::jetstream::{AllSecrets, BrokerAccess, BrokerSecrets, StreamNames};
use tenure_testing::lossy_link::LossyLink;

use crate::{
    broker::{self, Broker},
    checkpoints::waits_until,
    node::{Node, contents, prepare},
};

fn pages(broker: &Broker) -> AllSecrets {
    let access = BrokerAccess { url: broker.url(), ..BrokerAccess::default() };
    BrokerSecrets::open(&access, &StreamNames::default(), "test").unwrap().all().unwrap()
}

/// How many pages are at the broker that were replaced.
fn replaced(broker: &Broker) -> usize {
    pages(broker).1.len()
}

/// Whether any file of the broker has these bytes.
fn is_in_files(broker: &Broker, wanted: &[u8]) -> bool {
    contents(broker.directory()).any(|(_, bytes)| bytes.windows(wanted.len()).any(|part| part == wanted))
}

/// A broker that has too much to do overwrites nothing for a while. That must keep no write waiting, and the key that was
/// destroyed must go from the broker all the same.
#[test]
fn a_key_page_that_the_broker_does_not_overwrite_at_once_is_overwritten_later() {
    let Some(program) = broker::program("that a replaced key page goes from the broker") else { return };
    let broker = Broker::start(&program);
    let dirs = prepare(&broker, 1);
    let way = LossyLink::to(broker.port());
    let url = format!("nats://127.0.0.1:{}", way.port());
    let mut node = Node::start_with(&url, dirs[0].path(), &[]);
    let leader = node.leader(dirs[0].path());
    let granted = leader.create("agent-1");
    waits_until("pages that were replaced stay at the broker", || replaced(&broker) == 0);
    let page = pages(&broker).0.remove("keys.subjects.00000000").unwrap().data;
    assert!(is_in_files(&broker, &page));
    way.swallow("STREAM.MSG.DELETE.TENURE_SECRETS");
    leader.erase("agent-1");
    waits_until("the page is not replaced", || replaced(&broker) > 0);
    // Each of these brings a key of its own, and replaces the page again.
    for subject in ["agent-2", "agent-3"] {
        leader.create(subject);
    }
    assert!(leader.is_active(&granted.token));
    assert!(replaced(&broker) > 1 && is_in_files(&broker, &page));
    way.mend();
    waits_until("pages that were replaced stay at the broker", || replaced(&broker) == 0);
    waits_until("the page stays in the files of the broker", || !is_in_files(&broker, &page));
    // What is there now is what the next leader needs.
    drop(node);
    let mut node = Node::start_with(&url, dirs[0].path(), &[]);
    let leader = node.leader(dirs[0].path());
    assert!(leader.subject("agent-1")["name"].is_null());
    assert_eq!(leader.subject("agent-3")["name"], "Agent agent-3");
}
