//! What a node that follows answers by itself, and what it has the leader answer.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    node::{Caller, Granted, Reply},
    pair::Pair,
};

const PATIENCE: Duration = Duration::from_secs(20);

impl Pair {
    /// How many requests the follower has handed on.
    fn handed_on(&self) -> u64 {
        let metrics = self.follower.text("/metrics").unwrap();
        let line = metrics.lines().find_map(|line| line.strip_prefix("tenure_forwarded_requests_total "));
        line.unwrap().parse().unwrap()
    }

    /// What the follower answers to something that the leader did while it slept: the request is there before it can have
    /// heard anything.
    fn asleep<T: Send + 'static>(
        &self,
        doing: impl FnOnce(&Caller) -> T,
        asking: impl FnOnce(&Caller, &T) -> Reply + Send + 'static,
    ) -> Reply {
        self.second.signal(Signal::STOP);
        let done = doing(&self.leader);
        let follower = self.follower.clone();
        let asked = thread::spawn(move || asking(&follower, &done));
        pause(Duration::from_millis(50));
        self.second.signal(Signal::CONT);
        asked.join().unwrap()
    }
}

fn post(caller: &Caller, path: &str, body: &Value) -> Value {
    let reply = caller.send("POST", path, &[], Some(body)).unwrap();
    assert!([200, 201].contains(&reply.status), "{path}: {}", reply.body);
    reply.body
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A session of a person at a browser, and the key of the proxy that asks.
fn signed_in(leader: &Caller, name: &str) -> (Granted, String) {
    leader.create(name);
    let asked = json!({ "subjectId": name, "mode": "sliding", "ttl": 3_600, "idleTimeout": 86_400 });
    let made = post(leader, "/v1/sessions", &asked);
    let key = text(&post(leader, "/v1/credentials", &json!({ "role": "verifier" }))["key"]);
    (Granted { id: text(&made["sessionId"]), token: text(&made["token"]) }, key)
}

fn may_pass(node: &Caller, granted: &Granted, key: &str) -> Reply {
    let cookie = format!("__Host-tenure_session={}", granted.token);
    let headers = [("authorization", "none"), ("x-tenure-key", key), ("cookie", &cookie)];
    node.send("GET", "/v1/forward-auth", &headers, None).unwrap()
}

#[test]
fn a_follower_lets_users_in_and_leaves_what_is_to_be_recorded_to_the_leader() {
    let Some(pair) = Pair::start_under_clock("that a follower answers forward-auth") else { return };
    let (granted, key) = signed_in(&pair.leader, "ann");
    assert_eq!(may_pass(&pair.follower, &granted, &key).status, 200);
    let before = pair.handed_on();
    for _ in 0..5 {
        let passed = may_pass(&pair.follower, &granted, &key);
        assert_eq!((passed.status, passed.header("x-tenure-subject")), (200, Some("ann")));
        assert!(passed.header("x-tenure-staleness-ms").is_some() && passed.header("set-cookie").is_none());
    }
    assert_eq!(pair.handed_on(), before, "it answers by itself");
    // Neither a session nor a proxy's key that it has not heard of is called false.
    for number in 0..3 {
        let name = format!("user-{number}");
        let reply = pair.asleep(
            move |leader| signed_in(leader, &name),
            |follower, (granted, key)| may_pass(follower, granted, key),
        );
        assert!([200, 503].contains(&reply.status), "{} {}", reply.status, reply.body);
    }
    // Half of its period is over: the leader begins another one.
    let before = pair.handed_on();
    post_clock(&pair.leader, 1_900);
    let begun = stopwatch();
    let refreshed = loop {
        let passed = may_pass(&pair.follower, &granted, &key);
        assert_eq!(passed.status, 200);
        if let Some(cookie) = passed.header("set-cookie") {
            break cookie.to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "nothing is refreshed by way of the follower");
        pause(Duration::from_millis(20));
    };
    assert!(refreshed.contains("__Host-tenure_session=tnr_sess_"), "{refreshed}");
    assert_eq!(pair.handed_on(), before + 1);
    // What is over for good the follower says by itself.
    assert_eq!(pair.leader.revoke(&granted).unwrap().0, 200);
    let begun = stopwatch();
    while may_pass(&pair.follower, &granted, &key).status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let before = pair.handed_on();
    let refused = may_pass(&pair.follower, &granted, &key);
    assert_eq!((refused.status, &refused.body["code"]), (401, &json!("SESSION_REVOKED")));
    assert_eq!(pair.handed_on(), before);
    // What seems to be over for want of a refresh is the leader's to say.
    let (other, _) = signed_in(&pair.leader, "bob");
    post_clock(&pair.leader, 3_700);
    let begun = stopwatch();
    while may_pass(&pair.follower, &other, &key).status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let before = pair.handed_on();
    let refused = may_pass(&pair.follower, &other, &key);
    assert_eq!((refused.status, &refused.body["code"]), (401, &json!("SESSION_EXPIRED")));
    assert_eq!(pair.handed_on(), before + 1);
}

fn post_clock(caller: &Caller, seconds: u64) {
    let moved = caller.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": seconds }))).unwrap();
    assert_eq!(moved.status, 200, "{}", moved.body);
}

/// A selector of a bulk revocation covers what was signed before it. Signed by a node that has not heard of it, a token of
/// an ended session would have passed for one of a session that lives.
#[test]
fn an_access_token_is_minted_by_who_knows_of_every_end() {
    let Some(pair) = Pair::start_under_clock("that access tokens are minted by the leader") else { return };
    let granted = pair.leader.create("agent-1");
    let minted = |granted: &Granted| {
        let bearer = format!("Bearer {}", granted.token);
        let asked = json!({ "audience": "orders" });
        let asking = [("authorization", &*bearer)];
        pair.follower.send("POST", "/v1/access-tokens", &asking, Some(&asked)).unwrap()
    };
    let before = pair.handed_on();
    assert_eq!(minted(&granted).status, 200);
    assert_eq!(pair.handed_on(), before + 1);
    pair.leader.revoke(&granted).unwrap();
    assert_eq!(minted(&granted).status, 401, "at once, whatever the follower has heard");
}

#[test]
fn a_follower_proves_the_history_as_far_as_a_head_covers_it() {
    let Some(pair) = Pair::start_under_clock("that a follower answers audits") else { return };
    let Pair { leader, follower, .. } = &pair;
    for number in 0..5 {
        leader.create(&format!("agent-{number}"));
    }
    let signed = leader.get("/v1/audit/head");
    let size = signed["size"].as_u64().unwrap();
    // Soon it has the head, and nothing is recorded meanwhile.
    let begun = stopwatch();
    loop {
        let before = pair.handed_on();
        let head = follower.get("/v1/audit/head");
        assert_eq!(head, signed);
        if pair.handed_on() == before {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the follower does not take the head over");
        pause(Duration::from_millis(100));
    }
    let before = pair.handed_on();
    for path in [
        format!("/v1/audit/proof?position=3&size={size}"),
        format!("/v1/audit/proof?position={size}"),
        format!("/v1/audit/consistency?from=2&to={size}"),
    ] {
        assert_eq!(follower.get(&path), leader.get(&path), "{path}");
    }
    let checked = follower.get("/v1/audit/check");
    assert_eq!((&checked["agrees"], &checked["position"]), (&json!(true), &json!(size)), "{checked}");
    let exported = |node: &Caller| node.text(&format!("/v1/audit/export?to={size}")).unwrap();
    let last = |text: String| text.trim_end().lines().next_back().unwrap().to_owned();
    assert_eq!(last(exported(follower)), last(exported(leader)));
    assert_eq!(pair.handed_on(), before, "it answers by itself");
    // What no head covers here yet is the leader's to prove, and is never called wrong.
    for number in 0..3 {
        let granted = leader.create(&format!("later-{number}"));
        let named = json!({ "kind": "agent", "name": "later" });
        let made = leader.send("PUT", &format!("/v1/subjects/later-{number}"), &[], Some(&named)).unwrap();
        let position = made.header("x-tenure-position").unwrap().to_owned();
        for path in [
            format!("/v1/audit/proof?position={position}&minPosition={position}"),
            format!("/v1/audit/export?to={position}"),
            format!("/v1/sessions/{}?minPosition={position}", granted.id),
        ] {
            let reply = follower.send("GET", &path, &[], None).unwrap();
            assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        }
    }
}

#[test]
fn what_a_follower_has_not_heard_of_is_not_called_missing() {
    let Some(pair) = Pair::start_under_clock("that a follower calls nothing missing that is new") else {
        return;
    };
    for number in 0..3 {
        let name = format!("agent-{number}");
        let reply = pair.asleep(
            move |leader| leader.create(&name),
            |follower, granted| {
                follower.send("GET", &format!("/v1/sessions/{}", granted.id), &[], None).unwrap()
            },
        );
        assert!([200, 503].contains(&reply.status), "{} {}", reply.status, reply.body);
        let name = format!("other-{number}");
        let reply = pair.asleep(
            move |leader| {
                let made = leader.send(
                    "PUT",
                    &format!("/v1/subjects/{name}"),
                    &[],
                    Some(&json!({ "kind": "user" })),
                );
                made.unwrap().header("x-tenure-position").unwrap().to_owned()
            },
            |follower, position| {
                follower.send("GET", &format!("/v1/sessions?asOfPosition={position}"), &[], None).unwrap()
            },
        );
        assert!([200, 503].contains(&reply.status), "{} {}", reply.status, reply.body);
    }
    let nobody = pair.follower.send("GET", "/v1/subjects/nobody", &[], None).unwrap();
    assert_eq!((nobody.status, &nobody.body["code"]), (404, &json!("SUBJECT_NOT_FOUND")));
}

/// What a browser gets from the console.
fn browse(url: &str, request: &str, cookie: &str, form: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\ncookie: {cookie}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn sign_in(url: &str, key: &str) -> String {
    let answer = browse(url, "POST /console/sign-in", "", &format!("key={key}"));
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[test]
fn a_follower_shows_the_console_and_what_was_done_there_at_once() {
    let Some(pair) = Pair::start_under_clock("that a follower shows the console") else { return };
    let (here, there) = (pair.second.url().to_owned(), pair.first.url().to_owned());
    let key = fs::read_to_string(pair.dirs[0].path().join("admin.key")).unwrap();
    pair.leader.create("agent-1");
    let cookie = sign_in(&here, key.trim());
    let before = pair.handed_on();
    for path in ["", "/agents", "/log", "/settings", "/subjects/agent-1", "/what-if"] {
        let page = browse(&here, &format!("GET /console{path}"), &cookie, "");
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert!(page.contains("x-tenure-staleness-ms: "), "{path}");
    }
    assert_eq!(pair.handed_on(), before, "it answers by itself");
    for path in ["/keys", "/webhooks"] {
        let before = pair.handed_on();
        let page = browse(&here, &format!("GET /console{path}"), &cookie, "");
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        assert_eq!(pair.handed_on(), before + 1, "{path} needs the leader");
    }
    // A sign-in at another node is one here, before this node can have heard of it.
    pair.second.signal(Signal::STOP);
    let other = sign_in(&there, key.trim());
    let asked = thread::spawn({
        let here = here.clone();
        move || browse(&here, "GET /console/agents", &other, "")
    });
    pause(Duration::from_millis(50));
    pair.second.signal(Signal::CONT);
    let page = asked.join().unwrap();
    assert!(page.starts_with("HTTP/1.1 200") || page.starts_with("HTTP/1.1 503"), "{page}");
    // What is done here is seen here.
    let page = browse(&here, "GET /console/subjects/agent-1", &cookie, "");
    let (_, after) = page.split_once(r#"name="mark" value=""#).unwrap();
    let mark = after.split('"').next().unwrap().to_owned();
    for (done, shown) in [("suspend", true), ("resume", false)] {
        let form = format!("mark={mark}&reason=tried");
        let answer = browse(&here, &format!("POST /console/subjects/agent-1/{done}"), &cookie, &form);
        assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
        assert!(!answer.contains("tenure-node-position"), "{answer}");
        let page = browse(&here, "GET /console/subjects/agent-1", &cookie, "");
        assert_eq!(page.contains("/console/subjects/agent-1/resume"), shown, "{done}: {page}");
    }
    // Who is signed in nowhere is told so.
    let page = browse(&here, "GET /console/agents", "tenure_console=tnr_sess_x", "");
    assert!(page.starts_with("HTTP/1.1 401"), "{page}");
}
