//! A clock that was set back: the time of the log counts.

use tenure::{
    authority::NewSession,
    core::{Policy, Seconds, command::RequestedTerms},
    node::{Node, NodeOptions},
};

use crate::world::context;

#[test]
fn after_a_crash_what_was_open_counts_as_used_until_the_last_record() {
    let data = tempfile::tempdir().unwrap();
    let policy = Policy { auto_register: true, ..Policy::default() };
    let ahead = NodeOptions { test_clock: true, policy: Some(policy), ..NodeOptions::new(data.path()) };
    let node = Node::open(ahead).unwrap();
    let clock = node.test_clock.clone().unwrap();
    let create = || {
        let terms = RequestedTerms { idle_timeout: Some(Seconds(100)), ..RequestedTerms::default() };
        let new = NewSession { terms, ..NewSession::of("agent".parse().unwrap()) };
        let created = pollster::block_on(node.authority.create_session(context(), new)).unwrap();
        created.session
    };
    clock.advance(3_600).unwrap();
    let session = create();
    clock.advance(5).unwrap();
    create();
    // Without a stop in order, as a crash would: the next start cannot know which uses are recorded.
    drop(node);

    let node = Node::open(NodeOptions::new(data.path())).unwrap();
    let open = node.authority.live().session(session.id).unwrap();
    assert_eq!(open.last_seen_at(), Some(session.created_at().plus(Seconds(5))));
}
