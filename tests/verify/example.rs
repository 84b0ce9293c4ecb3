//! `examples/protected_service.rs`, run as it stands.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    fake::{API_KEY, Fake, eventually},
    introspection::live,
    real::Real,
    tokens::{Key, claims, noon, session_id},
};

/// The example; it ends with the test.
struct Example {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Example {
    fn start(authority: &str, directory: tempfile::TempDir) -> Self {
        let key = directory.path().join("verifier.key");
        let mut process = Command::new(binary())
            .args([authority, key.to_str().unwrap(), "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().to_owned();
        Self { process, address, _directory: directory }
    }

    fn status(&self, method: &str, path: &str, token: &str) -> u16 {
        self.reply(method, path, token).split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn reply(&self, method: &str, path: &str, token: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A run of this test target alone has not built the example; otherwise nothing is built here.
fn binary() -> PathBuf {
    let build = ["build", "--locked", "--offline", "--quiet", "--example", "protected_service"];
    assert!(Command::new(env!("CARGO")).args(build).status().unwrap().success(), "the example is built");
    let tests = std::env::current_exe().unwrap();
    tests.parent().unwrap().with_file_name("examples").join("protected_service")
}

#[test]
fn the_example_lets_in_whom_it_should_and_nobody_else() {
    let mut fake = Fake::start();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("verifier.key"), format!("{API_KEY}\n")).unwrap();
    let example = Example::start(&fake.url(), directory);
    eventually("it is ready", || example.status("GET", "/ready", "") == 200);

    let session = session_id(noon(), 1);
    let mut said = claims(&session);
    said["aud"] = json!("orders");
    let token = Key::number(1).sign(&said);
    assert_eq!(example.status("GET", "/orders", &token), 200);
    (said["aud"], said["scopes"]) = (json!("orders"), json!([]));
    assert_eq!(example.status("GET", "/orders", &Key::number(1).sign(&said)), 403);
    assert_eq!(example.status("GET", "/orders", &Key::number(1).sign(&claims(&session))), 401, "for nobody");
    fake.revoke(&json!({ "sessionId": session }));
    eventually("it is refused", || example.status("GET", "/orders", &token) == 401);

    let mut judgement = live();
    judgement["scopes"] = json!(["payments"]);
    fake.tell(|told| told.judgement = judgement);
    assert_eq!(example.status("POST", "/payments", "tnr_sess_x"), 200);
    assert_eq!(example.status("POST", "/payments", &token), 401, "no session token");
    fake.tell(|told| told.judgement = json!({ "active": false, "code": "SESSION_REVOKED" }));
    assert_eq!(example.status("POST", "/payments", "tnr_sess_x"), 401);
    fake.stop();
    assert_eq!(example.status("POST", "/payments", "tnr_sess_x"), 503);
}

/// It started, and each of its rounds said that the authority could not be reached.
#[test]
fn the_example_does_not_start_where_nobody_can_be_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let [key, none] = ["verifier.key", "none.pem"].map(|name| directory.path().join(name));
    std::fs::write(&key, API_KEY).unwrap();
    std::fs::write(&none, "").unwrap();
    let ended = Command::new("timeout")
        .arg("10")
        .arg(binary())
        .args(["https://127.0.0.1:1", key.to_str().unwrap(), "127.0.0.1:0"])
        .env("SSL_CERT_FILE", none)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && said.contains("NoRoots"), "{said}");
}

/// The line of the page that makes the example's key, in a shell where `tenure` is this one.
fn make_the_key(real: &Real, directory: &Path) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verify.md");
    let page = std::fs::read_to_string(page).unwrap();
    let line = page.lines().find(|line| line.starts_with("tenure credential create")).unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_tenure")).parent().unwrap();
    let shell = Command::new("sh")
        .args(["-euc", line])
        .current_dir(directory)
        .env("PATH", format!("{}:/usr/bin:/bin", binaries.display()))
        .env("TENURE_URL", real.url())
        .env("TENURE_KEY", &real.server.admin)
        .status();
    assert!(shell.unwrap().success());
}

#[test]
fn the_example_works_with_the_real_authority_and_a_key_made_as_the_page_says() {
    let real = Real::start();
    let directory = tempfile::tempdir().unwrap();
    make_the_key(&real, directory.path());
    let example = Example::start(&real.url(), directory);
    eventually("it is ready", || example.status("GET", "/ready", "") == 200);

    real.server.register("agent-7", &json!({ "ownerId": "alice" }));
    let of = |scopes: Value| real.server.create(&json!({ "subjectId": "agent-7", "scopes": scopes }));
    let (session, other) = (of(json!(["orders:read", "payments"])), of(json!([])));
    let [token, of_other] =
        [&session, &other].map(|session| real.mint(session, &json!({ "audience": "orders" })));
    assert!(example.reply("GET", "/orders", &token).ends_with("the orders of agent-7\n"));
    assert_eq!(example.status("GET", "/orders", &of_other), 403);
    assert_eq!(example.status("GET", "/orders", &real.mint(&session, &json!({}))), 401, "for nobody");
    assert_eq!(example.status("GET", "/orders", &session.token), 401, "no access token");
    let paid = example.reply("POST", "/payments", &session.token);
    assert!(paid.contains("paid by agent-7") && paid.contains("alice"), "{paid}");
    assert_eq!(example.status("POST", "/payments", &other.token), 403);

    real.revoking(&session).send().expect(200);
    assert_eq!(example.status("POST", "/payments", &session.token), 401, "at the next request");
    eventually("it is refused", || example.status("GET", "/orders", &token) == 401);
    assert_eq!(example.status("GET", "/orders", &of_other), 403, "the other is still known");
}
