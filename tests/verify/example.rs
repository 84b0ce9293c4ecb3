//! `examples/protected_service.rs`, run as it stands.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    fake::{API_KEY, Fake, eventually},
    introspection::live,
    tokens::{Key, claims, noon, session_id},
};

/// The example; it ends with the test.
struct Example {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Example {
    fn start(authority: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("verifier.key");
        std::fs::write(&key, format!("{API_KEY}\n")).unwrap();
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
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply.split(' ').nth(1).unwrap().parse().unwrap()
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
    let example = Example::start(&fake.url());
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
