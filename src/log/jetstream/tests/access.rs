//! Who may do what at the broker, and brokers that are not as they must be.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use serde_json::{Value, json};

use super::{Broker, BrokerAccess, MAKING, broker, led, make, names, node, operator};
use crate::{
    EventLog,
    conformance::append_all,
    jetstream::{
        BrokerConnection, BrokerError, HeadPut, HeadStream, IdentityFile, NodeRecord, NodeRegistry, init,
        status,
    },
    samples::small,
};

/// A user who may change the stream may make it forget its history at once, whatever else it denies.
#[test]
fn a_stream_that_is_not_safe_is_refused_by_the_name_of_its_setting() {
    let Some(program) = broker::program("that an unsafe stream is refused") else { return };
    let broker = Broker::start(&program);
    let operator = operator(&broker);
    let wrongs: [(&str, Value); 4] = [
        ("max_msgs_per_subject", json!(1)),
        ("discard", json!("old")),
        ("allow_direct", json!(true)),
        ("max_age", json!(3_600_000_000_000_i64)),
    ];
    for (log, (setting, wrong)) in (1..).zip(wrongs) {
        make(&broker, log);
        let stream = names(log).log_stream();
        let mut info = operator.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({})).unwrap();
        info["config"][setting] = wrong;
        operator.ask(&format!("$JS.API.STREAM.UPDATE.{stream}"), &info["config"]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let refused = led(dir.path(), &node(&broker, log, "a")).unwrap_err().to_string();
        assert!(refused.contains(&format!("{stream} is not safe: {setting} is")), "{refused}");
        assert!(init(&operator, &names(log), MAKING).is_err());
    }
}

#[test]
fn streams_that_are_not_there_are_missed_with_the_remedy_and_made_once() {
    let Some(program) = broker::program("that missing streams are named") else { return };
    let broker = Broker::start(&program);
    let dir = tempfile::tempdir().unwrap();
    let refused = led(dir.path(), &node(&broker, 1, "a")).unwrap_err().to_string();
    assert!(refused.contains("tenure cluster init"), "{refused}");
    make(&broker, 1);
    make(&broker, 1);
    let log = led(dir.path(), &node(&broker, 1, "a")).unwrap();
    append_all(&log, vec![small(1)]);
    let told = status(&operator(&broker), &names(1)).unwrap();
    assert_eq!(
        told.iter().map(|stream| stream.last > 0).collect::<Vec<_>>(),
        [true, true, false, false, false]
    );
    drop(log);
    // A cluster of a version that knew no heads: what it lacks is made, and what it has stays.
    let operator = operator(&broker);
    operator.ask(&format!("$JS.API.STREAM.DELETE.{}", names(1).head_stream()), &json!({})).unwrap();
    let refused = led(dir.path(), &node(&broker, 1, "a")).unwrap_err().to_string();
    assert!(refused.contains("T1_HEADS does not exist: run `tenure cluster init`"), "{refused}");
    make(&broker, 1);
    assert_eq!(led(dir.path(), &node(&broker, 1, "a")).unwrap().head().position.0, 1);
}

/// Each head is behind those that its publisher has read: a node that led once adds none behind its heir's.
#[test]
fn heads_are_published_behind_those_that_were_read_and_nodes_are_forgotten_in_time() {
    let Some(program) = broker::program("that heads are fenced") else { return };
    let broker = Broker::start(&program);
    make(&broker, 1);
    let connection = Arc::new(operator(&broker));
    let (heads, registry) =
        (HeadStream::on(Arc::clone(&connection), names(1)), NodeRegistry::on(connection, names(1)));
    assert_eq!((heads.last().unwrap(), heads.since(0).unwrap()), (None, vec![]));
    assert_eq!(heads.put("first", "a", 0), HeadPut::Stored(1));
    assert_eq!(heads.put("other", "b", 0), HeadPut::Others);
    assert_eq!(heads.put("second", "b", 1), HeadPut::Stored(2));
    let read: Vec<_> = heads.since(0).unwrap().into_iter().map(|head| (head.node, head.note)).collect();
    let pair = |node: &str, note: &str| (node.to_owned(), note.to_owned());
    assert_eq!(read, [pair("a", "first"), pair("b", "second")]);
    assert_eq!(heads.last().unwrap().unwrap().sequence, 2);
    let record = |node: &str, position: u64| NodeRecord {
        node: node.to_owned(),
        address: format!("http://{node}"),
        leads: false,
        position,
        term: 1,
        staleness_ms: Some(7),
        version: "1".to_owned(),
        keys: vec![],
        compared: 2,
        difference: None,
        certificate: None,
        joining: None,
        at: 0,
    };
    for said in [record("b", 1), record("a", 2), record("b", 3)] {
        registry.say(&said).unwrap();
    }
    assert_eq!(registry.all().unwrap(), [record("a", 2), record("b", 3)]);
    // What is said again while it is read is behind what was read, and is no second node.
    let all_said = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for position in 4..300 {
                registry.say(&record("b", position)).unwrap();
            }
            all_said.store(true, Ordering::Release);
        });
        while !all_said.load(Ordering::Acquire) {
            let read = registry.all().unwrap();
            let names: Vec<&str> = read.iter().map(|record| record.node.as_str()).collect();
            assert_eq!(names, ["a", "b"]);
        }
    });
    registry.leave("a").unwrap();
    assert_eq!(registry.all().unwrap(), [record("b", 299)]);
}

/// A user's nkey, with its seed in a file.
fn user(dir: &Path, name: &str) -> (String, PathBuf) {
    let key = nkeys::KeyPair::new_user();
    let path = dir.join(name);
    std::fs::write(&path, format!("{}\n", key.seed().unwrap())).unwrap();
    (key.public_key(), path)
}

/// Each node has a key of its own, so that one can be withdrawn, and may do what a node must and nothing else. A
/// broker answers nothing at all to what it denies: a node would wait for ever.
#[test]
fn a_node_shows_its_nkey_and_says_what_it_is_denied() {
    let Some(program) = broker::program("that nodes show their nkeys") else { return };
    let dir = tempfile::tempdir().unwrap();
    let ((operator, operator_file), (good, good_file)) =
        (user(dir.path(), "operator"), user(dir.path(), "node"));
    let ((reader, reader_file), (_, stranger_file)) =
        (user(dir.path(), "reader"), user(dir.path(), "stranger"));
    let subscribe = "subscribe: [\"_INBOX.tenure.a.>\", \"t1.v1.tail\", \"t1.v1.pulse\"]";
    let looks = "\"$JS.API.STREAM.INFO.*\", \"$JS.API.STREAM.MSG.GET.*\"";
    let users = format!(
        "authorization {{ users: [
           {{ nkey: {operator} }},
           {{ nkey: {good}, permissions: {{ publish: [\"t1.v1.log\", \"t1.v1.lease\", {looks}], {subscribe} }} }},
           {{ nkey: {reader}, permissions: {{ publish: [\"t1.v1.lease\", {looks}], {subscribe} }} }} ] }}"
    );
    let broker = Broker::start_with(&program, &users);
    let access = |file: &Path| BrokerAccess {
        url: broker.url(),
        identity: Some(IdentityFile::Nkey(file.to_owned())),
        ..BrokerAccess::default()
    };
    init(&BrokerConnection::open(&access(&operator_file), "operator").unwrap(), &names(1), MAKING).unwrap();
    let as_user =
        |file: &Path| crate::jetstream::JetStreamOptions { access: access(file), ..node(&broker, 1, "a") };
    let data = tempfile::tempdir().unwrap();
    let log = led(data.path(), &as_user(&good_file)).unwrap();
    append_all(&log, vec![small(1)]);
    drop(log);
    let refused = led(data.path(), &as_user(&reader_file)).unwrap_err().to_string();
    assert!(refused.to_lowercase().contains("permissions violation"), "{refused}");
    for wrong in [Some(stranger_file), None] {
        let identity = wrong.map(IdentityFile::Nkey);
        let access = BrokerAccess { url: broker.url(), identity, ..BrokerAccess::default() };
        let refused = BrokerConnection::open(&access, "a").unwrap_err();
        assert!(matches!(refused, BrokerError::Refused { .. }), "{refused}");
    }
}

fn pem(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn certificates_are_checked_on_both_sides() {
    let Some(program) = broker::program("that certificates are checked") else { return };
    let dir = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().signed_by(&key, &ours).unwrap();
    let ca = pem(dir.path(), "ca.pem", &ours.pem());
    let other_ca = pem(dir.path(), "other.pem", &theirs.pem());
    let (cert, key) =
        (pem(dir.path(), "cert.pem", &cert.pem()), pem(dir.path(), "key.pem", &key.serialize_pem()));
    let tls = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        cert.display(),
        key.display(),
        ca.display()
    );
    let broker = Broker::start_with(&program, &tls);
    let access = |ca: &Path, with_own: bool| BrokerAccess {
        url: format!("tls://127.0.0.1:{}", broker.port()),
        tls_ca: Some(ca.to_owned()),
        tls_cert: with_own.then(|| cert.clone()),
        tls_key: with_own.then(|| key.clone()),
        ..BrokerAccess::default()
    };
    let operator = BrokerConnection::open(&access(&ca, true), "operator").unwrap();
    init(&operator, &names(1), MAKING).unwrap();
    let data = tempfile::tempdir().unwrap();
    let options = crate::jetstream::JetStreamOptions { access: access(&ca, true), ..node(&broker, 1, "a") };
    append_all(&led(data.path(), &options).unwrap(), vec![small(1)]);
    // A server that nobody vouches for, and a node without a certificate.
    for wrong in [access(&other_ca, true), access(&ca, false)] {
        let refused = BrokerConnection::open(&wrong, "a");
        assert!(refused.is_err(), "{wrong:?}");
    }
}
