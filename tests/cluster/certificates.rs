//! Nodes that show each other certificates of the cluster's authority.

use std::{fs, path::Path, time::Duration};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustix::process::Signal;
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, Reply, Shown, cluster, prepare},
};

const NOTED: &str = "/v1/cluster/noted";
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority that makes certificates for nodes.
struct Issuing(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
struct Made {
    cert: String,
    key: String,
}

impl Issuing {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn make(&self) -> Made {
        self.make_until(2090)
    }

    fn make_until(&self, year: i32) -> Made {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Made { cert: cert.pem(), key: key.serialize_pem() }
    }
}

impl Made {
    fn shown(&self) -> Shown<'_> {
        Shown { cert: &self.cert, key: &self.key }
    }
}

/// Puts the certificates of a node where its settings look for them.
fn put(dir: &Path, authorities: &[&Issuing], node: &Made, server: &Made) {
    let pems: String = authorities.iter().map(|authority| authority.pem()).collect();
    let files = [("ca", &pems), ("node", &node.cert), ("node-key", &node.key)];
    for (name, pem) in files.into_iter().chain([("tls", &server.cert), ("tls-key", &server.key)]) {
        fs::write(dir.join(format!("{name}.pem")), pem).unwrap();
    }
}

fn settings(dir: &Path) -> Vec<String> {
    let names = [
        ("cluster.node_ca", "ca"),
        ("cluster.node_cert", "node"),
        ("cluster.node_key", "node-key"),
        ("server.tls_cert", "tls"),
        ("server.tls_key", "tls-key"),
    ];
    names.map(|(name, file)| format!("{name}={}", dir.join(format!("{file}.pem")).display())).to_vec()
}

fn start(broker: &Broker, dir: &Path) -> Node {
    let settings = settings(dir);
    Node::start_encrypted(&broker.url(), dir, &settings.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Starts two nodes, of which the first one leads, and gives an admin at each.
fn start_both(broker: &Broker, dirs: [&Path; 2], roots: &[&str]) -> ([Node; 2], [Caller; 2]) {
    let mut first = start(broker, dirs[0]);
    let leader = first.admin_trusting(dirs[0], roots, None);
    leader.waits_for_role("leader");
    let mut second = start(broker, dirs[1]);
    let follower = second.admin_trusting(dirs[0], roots, None);
    follower.waits_for_role("follower");
    ([first, second], [leader, follower])
}

/// What nodes of this cluster say these words with.
fn code(dir: &Path, words: &[&str]) -> String {
    let secret = fs::read_to_string(dir.join("cluster.secret")).unwrap();
    let key =
        blake3::derive_key("tenure 2026 words between the nodes of a cluster", secret.trim().as_bytes());
    let mut hasher = blake3::Hasher::new_keyed(&key);
    for word in words {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Asks as a node that hands over what it has noted.
fn notes(caller: &Caller, dir: &Path) -> Reply {
    let body = json!({ "presented": [], "seen": [] });
    let code = code(dir, &[NOTED, &body.to_string()]);
    caller.send("POST", NOTED, &[("tenure-node-code", &code)], Some(&body)).unwrap()
}

/// Asks as a node that hands on what a caller wants.
fn hands_on(caller: &Caller, dir: &Path) -> Reply {
    let path = "/v1/subjects/agent-1";
    let code = code(dir, &["1", "10.0.0.7", "1", "PUT", path]);
    let said = format!("1;10.0.0.7;1;{code}");
    caller.send("PUT", path, &[("tenure-forwarded", &said)], Some(&json!({ "kind": "agent" }))).unwrap()
}

fn is_refused(reply: &Reply, why: &str) {
    assert_eq!((reply.status, &reply.body["code"]), (403, &json!("FORBIDDEN")), "{}", reply.body);
    let detail = reply.body["detail"].as_str().unwrap();
    assert!(
        detail.contains("only a node with a certificate of this cluster") && detail.contains(why),
        "{detail}"
    );
}

fn writes(caller: &Caller, subject: &str) -> (u16, Value) {
    let put = json!({ "kind": "agent", "name": subject });
    let reply = caller.send("PUT", &format!("/v1/subjects/{subject}"), &[], Some(&put)).unwrap();
    (reply.status, reply.body)
}

#[test]
fn what_is_for_nodes_is_for_who_shows_a_certificate_of_the_cluster_alone() {
    let Some(program) = broker::program("that nodes show certificates") else { return };
    let broker = Broker::start(&program);
    let (ours, theirs) = (Issuing::named("ours"), Issuing::named("theirs"));
    let dirs = prepare(&broker, 1);
    let dir = dirs[0].path();
    put(dir, &[&ours], &ours.make(), &ours.make());
    let mut node = start(&broker, dir);
    let open = node.admin_trusting(dir, &[&ours.pem()], None);
    open.waits_for_role("leader");
    let showing = |made: &Made| node.caller(dir, &[&ours.pem()], Some(made.shown()));
    let good = showing(&ours.make());
    assert_eq!(notes(&good, dir).status, 204);
    assert_eq!(hands_on(&good, dir).status, 201);
    let foreign = showing(&theirs.make());
    let expired = showing(&ours.make_until(2020));
    for (caller, why) in [(&open, "shown no certificate"), (&foreign, "UnknownIssuer"), (&expired, "expired")]
    {
        is_refused(&notes(caller, dir), why);
        is_refused(&hands_on(caller, dir), why);
        // Whatever a caller shows or does not: what is for callers is for it.
        assert_eq!(caller.send("GET", "/v1/keys", &[], None).unwrap().status, 200);
        assert_eq!(writes(caller, "agent-2").0 / 100, 2);
    }
    // A certificate alone makes no node: the secret is asked for as ever.
    let wrong = [("tenure-node-code", "00")];
    let unproven = good.send("POST", NOTED, &wrong, Some(&json!({ "presented": [], "seen": [] }))).unwrap();
    assert_eq!(unproven.status, 404, "{}", unproven.body);
}

#[test]
fn a_node_whose_certificate_is_not_the_clusters_is_refused_in_words_until_it_has_another_one() {
    let Some(program) = broker::program("that a node without the right certificate is refused") else {
        return;
    };
    let broker = Broker::start(&program);
    let (ours, theirs) = (Issuing::named("ours"), Issuing::named("theirs"));
    let dirs = prepare(&broker, 2);
    let authority = ours.pem();
    let roots = [&*authority];
    put(dirs[0].path(), &[&ours], &ours.make(), &ours.make());
    put(dirs[1].path(), &[&ours], &theirs.make(), &ours.make());
    let ([first, mut second], [leader, follower]) =
        start_both(&broker, [dirs[0].path(), dirs[1].path()], &roots);
    let begun = stopwatch();
    let (status, body) = writes(&follower, "agent-1");
    assert_eq!((status, &body["code"]), (503, &json!("STALE")), "{body}");
    assert!(body["detail"].as_str().unwrap().contains("the leader takes nothing from this node"), "{body}");
    assert!(begun.elapsed() < Duration::from_secs(2), "a refusal is not waited for: {:?}", begun.elapsed());
    assert_eq!(leader.send("GET", "/v1/subjects/agent-1", &[], None).unwrap().status, 404);
    assert_eq!(follower.send("GET", "/v1/subjects", &[], None).unwrap().status, 200, "its reads go on");
    let alarms = follower.get("/readyz")["alarms"].to_string();
    assert!(
        alarms.contains("the leader takes nothing from this node: ") && alarms.contains("UnknownIssuer"),
        "{alarms}"
    );
    assert!(second.said().contains("the leader takes nothing from this node"), "{}", second.said());
    assert!(first.said().contains("another node asks here with the cluster's secret, and is refused"));
    waits_for_status(&broker, &["certificate good", "certificate not good now"]);
    // Without a restart.
    put(dirs[1].path(), &[&ours], &ours.make(), &ours.make());
    second.signal(Signal::HUP);
    second.waits_to_say("other nodes are shown the certificate as it is now");
    assert_eq!(writes(&follower, "agent-1").0, 201);
    assert_eq!(follower.get("/readyz")["alarms"], json!([]));
    // A bad file changes nothing.
    fs::write(dirs[1].path().join("node-key.pem"), "no key").unwrap();
    second.signal(Signal::HUP);
    second.waits_to_say("the certificates of nodes could not be loaded; those before stay");
    assert_eq!(writes(&follower, "agent-2").0, 201);
}

/// Both authorities, then the new certificates, then the new authority alone: callers notice nothing, and who has only
/// a certificate of the old one is out, on connections too that were open.
#[test]
fn another_authority_takes_over_while_callers_go_on() {
    let Some(program) = broker::program("that the authority of nodes is replaced without a restart") else {
        return;
    };
    let broker = Broker::start(&program);
    let (old, new) = (Issuing::named("old"), Issuing::named("new"));
    let dirs = prepare(&broker, 2);
    let (old_pem, new_pem) = (old.pem(), new.pem());
    let roots = [&*old_pem, &*new_pem];
    let places = [dirs[0].path(), dirs[1].path()];
    let first_ones = [old.make(), old.make()];
    for number in 0..2 {
        put(places[number], &[&old], &first_ones[number], &first_ones[number]);
    }
    let ([mut first, mut second], [_, follower]) = start_both(&broker, places, &roots);
    let withdrawn = first.caller(places[0], &roots, Some(first_ones[1].shown()));
    assert_eq!(notes(&withdrawn, places[0]).status, 204);
    let (both, made) = ([&old, &new], [new.make(), new.make()]);
    for (number, (authorities, own)) in
        [(&both[..], &first_ones), (&both[..], &made), (&both[1..], &made)].into_iter().enumerate()
    {
        for (node, place, own) in [(&first, places[0], &own[0]), (&second, places[1], &own[1])] {
            put(place, authorities, own, own);
            node.signal(Signal::HUP);
        }
        for node in [&mut first, &mut second] {
            node.waits_to_say_times("other nodes are shown the certificate as it is now", number + 1);
        }
        assert_eq!(writes(&follower, &format!("agent-{number}")).0, 201);
    }
    is_refused(&notes(&withdrawn, places[0]), "UnknownIssuer");
}

fn waits_for_status(broker: &Broker, words: &[&str]) {
    let begun = stopwatch();
    loop {
        let (status, said) = cluster(broker, &["status"]);
        if status.success() && words.iter().all(|word| said.contains(word)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{said}");
        pause(Duration::from_millis(200));
    }
}
