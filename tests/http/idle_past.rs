//! The past of sessions with an idle time.
//!
//! It was told wrong: the past of one subject was folded from the subject's own events alone, and what was recorded of
//! the use of its sessions stands elsewhere. So `asOf` said EXPIRED of a session that use had kept alive, and from that
//! session's next event on every answer about the past of its subject was 404 or 503, and with it the repeats of keyed
//! requests.

use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Reply, Server, Session};

/// What was answered at some moment.
struct Heard {
    target: String,
    at: String,
    position: u64,
    body: Value,
}

struct Recorder {
    server: Server,
    proxy: String,
    heard: Vec<Heard>,
}

impl Recorder {
    fn start() -> Self {
        let server = Server::start();
        let (proxy, _) = server.issue_key("verifier", None);
        server.register("ada", &json!({ "name": "Ada" }));
        Self { server, proxy, heard: vec![] }
    }

    fn get(&self, target: &str) -> Reply {
        self.server.get(target).bearer(&self.server.admin).send()
    }

    /// Writes down what is answered now of the subject and its sessions, by every route. A use that is noted and not
    /// yet recorded shows in `lastSeenAt` now, and cannot show in the past.
    fn write_down(&mut self, session: &Session) {
        for target in [
            format!("{}?", session.path()),
            "/v1/subjects/ada?".to_owned(),
            "/v1/sessions?subjectId=ada&status=all&".to_owned(),
            "/v1/sessions?status=all&".to_owned(),
            "/v1/sessions?status=active&".to_owned(),
            "/v1/subjects?".to_owned(),
        ] {
            let reply = self.get(&target).expect(200);
            let position = last_position(&reply.json());
            let at = self.get("/v1/clock").expect(200).text("now");
            self.heard.push(Heard { target, at, position, body: reply.json() });
        }
        self.server.advance(1);
    }

    fn check(&self) {
        for heard in &self.heard {
            let reply = self.get(&format!("{}asOf={}", heard.target, heard.at)).expect(200);
            assert_eq!(
                settled(reply.json()),
                settled(heard.body.clone()),
                "{} at {}",
                heard.target,
                heard.at
            );
            self.get(&format!("{}asOfPosition={}", heard.target, heard.position)).expect(200);
        }
    }

    fn pass_through_proxy(&self, session: &Session) {
        let request = self.server.get("/v1/forward-auth").header("X-Tenure-Key", self.proxy.as_str());
        request.bearer(&session.token).send().expect(200);
    }

    /// The state rebuilt from the log is the one that is answered from.
    fn compare_replayed(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["audit", "replay", "--compare", "--url", &format!("http://{}", self.server.address())])
            .args(["--key", &self.server.admin])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn find_no_difference(&self) {
        let report = self.get("/v1/audit/check").expect(200).json();
        assert_eq!(report["differences"], json!([]), "{report}");
    }
}

fn last_position(body: &Value) -> u64 {
    body["asOfPosition"].as_u64().or_else(|| body["items"][0]["asOfPosition"].as_u64()).unwrap_or(1)
}

/// Without what a use that was not recorded yet, or the mark of a presented token, may have changed.
fn settled(mut body: Value) -> Value {
    fn walk(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in ["asOfPosition", "asOfTime", "lastSeenAt"] {
                    members.remove(name);
                }
                members.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    walk(&mut body);
    body
}

#[test]
fn a_session_kept_alive_by_introspection_and_usage_has_the_past_that_it_had() {
    let mut recorder = Recorder::start();
    let body = json!({ "subjectId": "ada", "ttl": 600, "idleTimeout": 100 });
    let session = recorder.server.create(&body);
    recorder.write_down(&session);
    for seconds in [89, 89] {
        recorder.server.advance(seconds);
        assert_eq!(recorder.server.introspect(&session.token).expect(200).json()["active"], true);
        recorder.write_down(&session);
    }
    recorder.server.advance(89);
    let usage = recorder.server.post(&format!("{}/usage", session.path())).bearer(&session.token);
    usage.json(&json!({ "operation": "read" })).send().expect(200);
    recorder.write_down(&session);
    recorder.server.advance(60);
    let renewed = session.renewed(&recorder.server.renew(&session).send().expect(200));
    recorder.write_down(&renewed);
    recorder.server.advance(89);
    recorder.server.introspect(&renewed.token).expect(200);
    recorder.write_down(&renewed);
    recorder.server.advance(150);
    recorder.write_down(&renewed);
    let shown = recorder.get(&renewed.path()).expect(200).json();
    assert_eq!(shown["status"], "EXPIRED");
    recorder.check();
    recorder.compare_replayed();
    recorder.find_no_difference();
    recorder.server.restart();
    recorder.check();
}

#[test]
fn a_sliding_session_has_the_past_that_it_had_and_keyed_requests_are_repeated() {
    let mut recorder = Recorder::start();
    let session = recorder.server.create(&json!({ "subjectId": "ada", "mode": "sliding" }));
    for seconds in [840, 1_020, 1_020] {
        recorder.server.advance(seconds);
        recorder.pass_through_proxy(&session);
        recorder.write_down(&session);
    }
    let firsts = keyed(&recorder.server);
    assert_eq!([firsts[0].status, firsts[1].status, firsts[2].status], [201, 200, 200]);
    assert_eq!(firsts[1].json()["activeSessions"], 2);
    recorder.server.restart();
    for (again, first) in keyed(&recorder.server).iter().zip(&firsts) {
        assert_eq!((again.status, without_token(again)), (first.status, without_token(first)));
    }
    recorder.check();
    recorder.compare_replayed();
}

/// A sign-in, a new name, and the end of all sessions, each under its key.
fn keyed(server: &Server) -> [Reply; 3] {
    let create = server.post("/v1/sessions").key("login").json(&json!({ "subjectId": "ada" }));
    let put = server.put("/v1/subjects/ada").key("rename").json(&json!({ "name": "Ada Lovelace" }));
    let end = server.delete("/v1/subjects/ada/sessions").key("all-out");
    [create, put, end].map(|request| request.bearer(&server.admin).send())
}

fn without_token(reply: &Reply) -> Value {
    let mut body = reply.json();
    if let Some(members) = body.as_object_mut() {
        members.remove("token");
    }
    body
}

#[test]
fn what_a_selection_ended_stays_ended_in_the_past_of_an_idle_session() {
    let mut recorder = Recorder::start();
    let session = recorder.server.create(&json!({ "subjectId": "ada", "ttl": 600, "idleTimeout": 100 }));
    recorder.server.advance(90);
    recorder.server.introspect(&session.token).expect(200);
    recorder.server.advance(50);
    let admin = recorder.server.admin.clone();
    let end = recorder.server.delete("/v1/subjects/ada/sessions").bearer(&admin).key("gone");
    let ended = end.send().expect(200);
    assert_eq!(ended.json()["matched"], 1);
    let other = recorder.server.create(&json!({ "subjectId": "ada", "idleTimeout": 100 }));
    recorder.server.advance(80);
    recorder.server.introspect(&other.token).expect(200);
    recorder.write_down(&other);
    let bulk = recorder.server.post("/v1/revocations").bearer(&admin);
    bulk.json(&json!({ "selector": { "all": true }, "reason": "drill" })).send().expect(200);
    recorder.write_down(&other);
    recorder.server.register("ada", &json!({ "name": "Ada again" }));
    recorder.write_down(&other);
    recorder.check();
    assert_eq!(end.send().expect(200).json(), ended.json());
    recorder.find_no_difference();
}
