//! `/v1/audit`: heads and proofs, judged by other people's programs and by nothing of ours.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};
use tenure::clock::{pause, stopwatch};
use tlog_tiles::{Checkpoint, Hash, check_record, check_tree};

use crate::server::{PATIENCE, Server};

/// What a stranger reads in a signed head, with the verifier key alone.
struct Head {
    size: u64,
    root: Hash,
}

impl Head {
    /// Opens a note as `signed_note` and `tlog_tiles` do.
    fn open(note: &str, key: &str) -> Self {
        let verifiers = VerifierList::new(vec![Box::new(StandardVerifier::new(key).unwrap())]);
        let note = Note::from_bytes(note.as_bytes()).unwrap();
        note.verify(&verifiers).unwrap();
        let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
        assert_eq!(checkpoint.origin(), key.split('+').next().unwrap());
        Self { size: checkpoint.size(), root: *checkpoint.hash() }
    }

    fn asked(server: &Server) -> Self {
        let view = ask(server, "head");
        let head = Self::open(view["signedHead"].as_str().unwrap(), view["verifierKey"].as_str().unwrap());
        assert_eq!((json!(head.size), hash(&view["rootHash"])), (view["size"].clone(), head.root));
        head
    }
}

fn ask(server: &Server, what: &str) -> Value {
    server.get(&format!("/v1/audit/{what}")).bearer(&server.admin).send().expect(200).json()
}

fn hash(hex: &Value) -> Hash {
    let hex = hex.as_str().unwrap();
    assert_eq!(hex.len(), 64, "{hex}");
    Hash(std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()))
}

fn hashes(view: &Value) -> Vec<Hash> {
    view["hashes"].as_array().unwrap().iter().map(hash).collect()
}

/// What the contract says of a leaf.
fn leaf_of(event: &Value) -> Hash {
    Hash(Sha256::new().chain_update([0]).chain_update(hash(&event["recordHash"]).0).finalize().into())
}

fn history(server: &Server, sessions: usize) {
    for index in 0..sessions {
        server.session(&format!("agent-{index}"), 1000);
    }
}

fn all_events(server: &Server) -> Vec<Value> {
    let page = server.get("/v1/events?limit=200").bearer(&server.admin).send().expect(200).json();
    assert!(page["nextCursor"].is_null(), "more than a page");
    page["items"].as_array().unwrap().clone()
}

fn flipped(hashes: &[Hash]) -> impl Iterator<Item = Vec<Hash>> {
    (0..hashes.len() * 256).map(|bit| {
        let mut wrong = hashes.to_vec();
        wrong[bit / 256].0[bit % 256 / 8] ^= 1 << (bit % 8);
        wrong
    })
}

#[test]
fn every_event_is_proved_to_be_under_the_head() {
    let server = Server::start();
    history(&server, 9);
    let head = Head::asked(&server);
    let events = all_events(&server);
    assert_eq!(events.len() as u64, head.size);
    for event in &events {
        let position = event["position"].as_u64().unwrap();
        let view = ask(&server, &format!("proof?position={position}"));
        let (leaf, proof) = (leaf_of(event), hashes(&view));
        assert_eq!((hash(&view["leafHash"]), hash(&view["rootHash"])), (leaf, head.root));
        assert_eq!((&view["position"], &view["size"]), (&json!(position), &json!(head.size)));
        check_record(&proof, head.size, head.root, position - 1, leaf).unwrap();
        let fooled = flipped(&proof)
            .filter(|wrong| check_record(wrong, head.size, head.root, position - 1, leaf).is_ok());
        assert_eq!(fooled.count(), 0, "{position}");
    }
}

#[test]
fn an_owner_proves_its_own_events_and_reads_no_others() {
    let server = Server::start();
    history(&server, 2);
    let (owner, _) = server.issue_key("owner", Some("team-o"));
    server.register("owned", &json!({"ownerId": "team-o"}));
    let asked = |target: &str| server.get(target).bearer(&owner).send();
    let head = asked("/v1/audit/head").expect(200).json();
    let events = asked("/v1/events").expect(200).json();
    let [event] = events["items"].as_array().unwrap().as_slice() else { panic!("{events}") };
    let (position, size) = (&event["position"], &head["size"]);
    let proof = asked(&format!("/v1/audit/proof?position={position}&size={size}")).expect(200).json();
    assert_eq!(hash(&proof["leafHash"]), leaf_of(event));
    asked(&format!("/v1/audit/consistency?from=1&to={size}")).expect(200);
    asked("/v1/audit/export").refused(403, "FORBIDDEN");
    asked("/v1/audit/check").refused(403, "FORBIDDEN");
}

#[test]
fn an_event_is_proved_under_every_earlier_head_that_has_it() {
    let server = Server::start();
    let early = Head::asked(&server);
    history(&server, 3);
    let event = all_events(&server).swap_remove(0);
    for size in early.size..=Head::asked(&server).size {
        let view = ask(&server, &format!("proof?position=1&size={size}"));
        check_record(&hashes(&view), size, hash(&view["rootHash"]), 0, leaf_of(&event)).unwrap();
        assert!(size != early.size || hash(&view["rootHash"]) == early.root);
    }
}

#[test]
fn every_head_continues_the_ones_before_it() {
    let server = Server::start();
    let mut heads = vec![Head::asked(&server)];
    for round in 0..4 {
        server.session(&format!("agent-{round}"), 1000);
        heads.push(Head::asked(&server));
    }
    let last = heads.last().unwrap();
    for head in &heads {
        let view = ask(&server, &format!("consistency?from={}", head.size));
        assert_eq!((&view["from"], &view["to"]), (&json!(head.size), &json!(last.size)));
        assert_eq!((hash(&view["fromRoot"]), hash(&view["toRoot"])), (head.root, last.root));
        let proof = hashes(&view);
        check_tree(&proof, last.size, last.root, head.size, head.root).unwrap();
        let fooled = flipped(&proof)
            .filter(|wrong| check_tree(wrong, last.size, last.root, head.size, head.root).is_ok());
        assert_eq!(fooled.count(), 0);
    }
    let from_nothing = ask(&server, "consistency?from=0");
    assert_eq!(from_nothing["hashes"], json!([]));
}

#[test]
fn what_is_beyond_the_newest_head_is_refused_by_its_name() {
    let server = Server::start();
    let size = Head::asked(&server).size;
    for (target, field) in [
        ("proof".to_owned(), "position"),
        ("proof?position=0".to_owned(), "position"),
        ("proof?position=one".to_owned(), "position"),
        (format!("proof?position={}", size + 1), "position"),
        (format!("proof?position=1&size={}", size + 1), "size"),
        ("proof?position=2&size=1".to_owned(), "position"),
        ("proof?position=1&size=0".to_owned(), "size"),
        ("consistency".to_owned(), "from"),
        (format!("consistency?from={}", size + 1), "from"),
        (format!("consistency?from=1&to={}", size + 1), "to"),
        ("consistency?from=2&to=1".to_owned(), "from"),
        ("head?size=1".to_owned(), "size"),
    ] {
        let reply = server.get(&format!("/v1/audit/{target}")).bearer(&server.admin).send();
        let reply = reply.refused(400, "INVALID_REQUEST");
        let named: Vec<_> =
            reply.json()["errors"].as_array().unwrap().iter().map(|one| one["field"].clone()).collect();
        assert_eq!(named, [json!(field)], "{target}: {reply:?}");
    }
}

fn kept(server: &Server, path: &Path) -> Head {
    let key = ask(server, "head")["verifierKey"].as_str().unwrap().to_owned();
    Head::open(&std::fs::read_to_string(path).unwrap(), &key)
}

#[test]
fn a_head_that_became_due_is_signed_before_the_clock_is_told() {
    let server = Server::with(&["audit.head_interval=10"]);
    let path = server.data().join("head.note");
    let before = std::fs::read_to_string(&path).unwrap();
    history(&server, 2);
    server.advance(9);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    let size = all_events(&server).len() as u64;
    server.advance(1);
    let after = std::fs::read_to_string(&path).unwrap();
    let key = ask(&server, "head")["verifierKey"].as_str().unwrap().to_owned();
    assert_eq!(Head::open(&after, &key).size, size);
}

#[test]
fn a_head_is_signed_within_its_interval_without_being_asked_for() {
    let server = Server::on_real_time();
    history(&server, 2);
    let (size, begun) = (all_events(&server).len() as u64, stopwatch());
    let path = server.data().join("head.note");
    while !std::fs::read_to_string(&path).unwrap().contains(&format!("\n{size}\n")) {
        assert!(begun.elapsed() < PATIENCE, "no head in {:?}", begun.elapsed());
        pause(std::time::Duration::from_millis(20));
    }
    assert_eq!(kept(&server, &path).size, size);
}

#[test]
fn a_stop_signs_a_head() {
    let mut server = Server::start();
    let key = ask(&server, "head")["verifierKey"].clone();
    history(&server, 2);
    let size = all_events(&server).len() as u64;
    assert!(server.stop().success());
    let note = std::fs::read_to_string(server.data().join("head.note")).unwrap();
    assert_eq!(Head::open(&note, key.as_str().unwrap()).size, size);
    let secret = std::fs::read_to_string(server.data().join("keys/head.key")).unwrap();
    assert!(!server.said().contains(secret.trim()));
}

#[test]
fn the_next_start_signs_on_with_the_same_key() {
    let mut server = Server::start();
    let before = ask(&server, "head");
    server.kill9();
    history(&server, 1);
    let after = ask(&server, "head");
    assert_eq!(after["verifierKey"], before["verifierKey"]);
    let view = ask(&server, &format!("consistency?from={}", before["size"]));
    assert_eq!((&view["fromRoot"], &view["toRoot"]), (&before["rootHash"], &after["rootHash"]));
}

#[test]
fn every_head_is_in_the_further_file_too() {
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("heads");
    let server = Server::with(&[&format!("audit.head_file={}", path.display())]);
    for round in 0..3 {
        server.session(&format!("agent-{round}"), 1000);
        let head = ask(&server, "head")["signedHead"].as_str().unwrap().to_owned();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with(&format!("\n{head}")));
    }
}

/// The disk of the further file went away while the server ran: heads were no longer kept, `/readyz` had no alarm, and
/// `doctor` found nothing.
#[test]
fn a_further_file_that_is_lost_is_an_alarm_until_it_is_back() {
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("heads");
    let server = Server::with(&[&format!("audit.head_file={}", path.display())]);
    server.register("a", &json!({}));
    let ready = || server.get("/readyz").send().expect(200).json()["alarms"].clone();
    let before = ask(&server, "head");
    assert_eq!(ready(), json!([]));
    std::fs::rename(&path, elsewhere.path().join("away")).unwrap();
    server.register("b", &json!({}));
    assert_eq!(ask(&server, "head"), before, "a head that is not kept is not shown");
    let told = ready();
    assert!(told[0].as_str().unwrap().contains("audit.head_file"), "{told}");
    assert!(!told.to_string().contains(elsewhere.path().to_str().unwrap()), "{told}");
    let metrics = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
    assert!(metrics.lines().any(|line| line == "tenure_alarms 1"), "{metrics}");
    std::fs::rename(elsewhere.path().join("away"), &path).unwrap();
    ask(&server, "head");
    assert_eq!(ready(), json!([]));
}

#[test]
fn what_is_answered_is_compared_with_the_log_on_demand() {
    let server = Server::start();
    history(&server, 5);
    let (auditor, _) = server.issue_key("auditor", None);
    let reply = server.get("/v1/audit/check").bearer(&auditor).send().expect(200).json();
    let position = all_events(&server).len();
    let expected =
        json!({ "position": position, "subjects": 5, "sessions": 5, "agrees": true, "differences": [] });
    assert_eq!(reply, expected);
    let metrics = server.get("/metrics").bearer(&auditor).send().expect(200).body;
    for line in [
        "tenure_state_differences 0",
        "tenure_alarms 0",
        "tenure_check_rounds_total 1",
        "tenure_head_failures_total 0",
    ] {
        assert!(metrics.lines().any(|known| known == line), "no {line} in {metrics}");
    }
}
