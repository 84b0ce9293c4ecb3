//! Data directories of the time before keys were recorded.

use std::{fs, path::Path, sync::Arc};

use tenure::{
    authority::{NewProfile, NewSession, RequestContext},
    core::{
        Actor, Commit, CommitId, Event, KeyUse, Policy, Position, StreamId, SystemEvent, Timestamp,
        event::PolicyChanged, keys::KeyRecord,
    },
    log::{self, EventLog, encode},
    node::{Node, NodeOptions},
};

/// A log with one event, and the keys that there were then.
fn directory_of_old(data: &Path) {
    let made = tempfile::tempdir().unwrap();
    Node::open(NodeOptions::new(made.path())).unwrap().stop();
    fs::rename(made.path().join("keys"), data.join("keys")).unwrap();
    fs::remove_dir_all(data.join("keys/access")).unwrap();
    fs::remove_file(data.join("keys/head.key")).unwrap();
    fs::remove_file(data.join("keys/bound")).unwrap();
    let log = log::open(data, &mut |_| Ok(())).unwrap();
    let commit = Commit {
        id: CommitId::from_bytes([0; 16]),
        stream: StreamId::System,
        expected: Position::ZERO,
        recorded_at: Timestamp::parse("2026-01-01T00:00:00Z").unwrap(),
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events: vec![Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: Policy::default() }))],
    };
    log.append(log.head().position, vec![encode(&commit).unwrap()]).unwrap();
}

fn known(node: &Node, which: KeyUse) -> Vec<KeyRecord> {
    node.authority.live().system().system.keys.of(which).to_vec()
}

#[tokio::test]
async fn a_directory_without_recorded_keys_opens_and_its_key_is_recorded_as_the_first() {
    let dir = tempfile::tempdir().unwrap();
    directory_of_old(dir.path());
    let key = fs::read(dir.path().join("keys/session/0001.paserk")).unwrap();
    let node = Node::open(NodeOptions::new(dir.path())).unwrap();
    assert_eq!(fs::read(dir.path().join("keys/session/0001.paserk")).unwrap(), key, "its key stays");
    for which in [KeyUse::Session, KeyUse::Access] {
        let [first] = known(&node, which).try_into().unwrap();
        assert_eq!(
            (first.since, first.retire_at),
            (Position::ZERO, None),
            "it has sealed since the beginning"
        );
    }
    let context = RequestContext::of(Actor::AUTHORITY);
    let agent = || "agent-7".parse().unwrap();
    node.authority.register_subject(context.clone(), agent(), NewProfile::default(), true).await.unwrap();
    let created = node.authority.create_session(context, NewSession::of(agent())).await.unwrap();
    let token = created.token;
    let recorded = known(&node, KeyUse::Session);
    node.stop();
    let node = Arc::new(Node::open(NodeOptions::new(dir.path())).unwrap());
    assert_eq!(known(&node, KeyUse::Session), recorded, "it is recorded once");
    assert!(node.authority.introspect(token.expose()).is_ok());
}
