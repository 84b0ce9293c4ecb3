//! A broker whose users have tokens: an operator signs for accounts, an account for its users, and a `.creds` file holds
//! the token of a user and its seed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tenure_protocol::clock::{pause, stopwatch, wall_time};

use super::{Broker, BrokerAccess, MAKING, broker, led, names, node};
use crate::{
    EventLog,
    conformance::append_all,
    jetstream::{BrokerConnection, BrokerError, IdentityFile, JetStreamOptions, init, status},
    samples::small,
};

/// An operator with the account of a log, and the one that every such broker needs for itself.
struct Signers {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

fn now() -> i64 {
    wall_time().as_millis() / 1_000
}

/// A token in which one key says something about another.
fn token(by: &KeyPair, name: &str, about: &KeyPair, until: Option<i64>, said: &Value) -> String {
    let mut claims = json!({
        "jti": name, "iat": now() - 60, "iss": by.public_key(), "sub": about.public_key(), "name": name, "nats": said,
    });
    if let Some(until) = until {
        claims["exp"] = json!(until);
    }
    let encoded = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let said = format!("{}.{}", encoded(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), encoded(&claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(by.sign(said.as_bytes()).unwrap());
    format!("{said}.{signature}")
}

impl Signers {
    fn new() -> Self {
        let (operator, account, system) =
            (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_account());
        Self { operator, account, system }
    }

    /// The lines of a server's settings that have it take this operator's word.
    fn settings(&self) -> String {
        let system = self.system.public_key();
        let own = json!({ "type": "operator", "version": 2, "system_account": system });
        let limits = |streams: i64| {
            json!({
                "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
                "leaf": -1, "mem_storage": streams, "disk_storage": streams, "streams": streams, "consumer": streams,
            })
        };
        let of = |account: &KeyPair, streams| {
            let said = json!({ "type": "account", "version": 2, "limits": limits(streams) });
            let name = account.public_key();
            format!("{name}: \"{}\"", token(&self.operator, &name, account, None, &said))
        };
        format!(
            "operator: \"{}\"\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload {{\n{}\n{}\n}}",
            token(&self.operator, "operator", &self.operator, None, &own),
            of(&self.account, -1),
            of(&self.system, 0)
        )
    }

    /// The `.creds` of a user that may publish this; everything without a list.
    fn user(&self, path: &Path, may_publish: Option<&[&str]>, until: Option<i64>) {
        Self::user_by(&self.account, path, may_publish, until);
    }

    fn user_by(by: &KeyPair, path: &Path, may_publish: Option<&[&str]>, until: Option<i64>) {
        let mut said = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        if let Some(may) = may_publish {
            said["pub"] = json!({ "allow": may });
        }
        let user = KeyPair::new_user();
        let (token, seed) = (token(by, "user", &user, until, &said), user.seed().unwrap());
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(path, text).unwrap();
    }
}

fn access(broker: &Broker, file: PathBuf) -> BrokerAccess {
    let identity = Some(IdentityFile::Credentials(file));
    BrokerAccess { url: broker.url(), identity, ..BrokerAccess::default() }
}

#[test]
fn a_node_shows_credentials_that_an_account_has_signed() {
    let Some(program) = broker::program("that nodes show credentials") else { return };
    let (operator, dir) = (Signers::new(), tempfile::tempdir().unwrap());
    let broker = Broker::start_with(&program, &operator.settings());
    let path = |name: &str| dir.path().join(name);
    operator.user(&path("operator"), None, None);
    let connection = BrokerConnection::open(&access(&broker, path("operator")), "operator").unwrap();
    init(&connection, &names(1), MAKING).unwrap();
    let looks = ["$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "t1.v1.lease"];
    operator.user(&path("node"), Some(&[&looks[..], &["t1.v1.log"]].concat()), None);
    operator.user(&path("reader"), Some(&looks), None);
    let options =
        |file: &str| JetStreamOptions { access: access(&broker, path(file)), ..node(&broker, 1, "a") };
    let data = tempfile::tempdir().unwrap();
    let log = led(data.path(), &options("node")).unwrap();
    append_all(&log, vec![small(1)]);
    assert_eq!(log.head().position.0, 1);
    drop(log);
    let denied = led(data.path(), &options("reader")).unwrap_err().to_string();
    assert!(denied.to_lowercase().contains("permissions violation"), "{denied}");
    // Of another account, too late, or nothing at all.
    Signers::user_by(&KeyPair::new_account(), &path("stranger"), None, None);
    operator.user(&path("expired"), None, Some(now() - 30));
    let none = BrokerAccess { url: broker.url(), ..BrokerAccess::default() };
    for wrong in [access(&broker, path("stranger")), access(&broker, path("expired")), none] {
        let refused = BrokerConnection::open(&wrong, "a").unwrap_err();
        assert!(matches!(refused, BrokerError::Refused { .. }), "{wrong:?}: {refused}");
    }
    let missing = BrokerConnection::open(&access(&broker, path("missing")), "a").unwrap_err();
    assert!(matches!(missing, BrokerError::File { .. }), "{missing}");
}

/// Tokens of users have an end. The broker closes the connection then, and a node that had read its file once would have
/// shown the same token for ever.
#[test]
fn credentials_are_renewed_by_replacing_their_file() {
    let Some(program) = broker::program("that credentials are read again") else { return };
    let (operator, dir) = (Signers::new(), tempfile::tempdir().unwrap());
    let broker = Broker::start_with(&program, &operator.settings());
    let path = dir.path().join("node.creds");
    let until = now() + 3;
    operator.user(&path, None, Some(until));
    let connection = BrokerConnection::open(&access(&broker, path.clone()), "a").unwrap();
    init(&connection, &names(1), MAKING).unwrap();
    operator.user(&path, None, None);
    while now() <= until + 1 {
        pause(Duration::from_millis(100));
    }
    let begun = stopwatch();
    while let Err(error) = status(&connection, &names(1)) {
        assert!(begun.elapsed() < Duration::from_secs(10), "it does not come back: {error}");
        pause(Duration::from_millis(100));
    }
}
