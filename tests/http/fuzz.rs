//! Thousands of requests that nobody in their right mind would send. None is answered with 5xx, every answer
//! keeps to the conventions, and the server goes on.

use serde_json::json;

use crate::{
    routes::check_reply,
    server::{Reply, Request, Server, Session},
};

/// xorshift64*: the same seed gives the same requests.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

const SEED: u64 = 0x7e2d_5e55_1011_5eed;

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "POST", "PUT", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "X-Y",
];
const SEGMENTS: &[&str] = &[
    "v1",
    "sessions",
    "subjects",
    "credentials",
    "events",
    "introspect",
    "clock",
    "renew",
    "healthz",
    "metrics",
    "",
    ".",
    "..",
    "%2e%2e",
    "%00",
    "%ff",
    "%",
    "%zz",
    "a",
    "ä",
    "{sessionId}",
    "*",
    "01937500-0000-7000-8000-000000000000",
    "a;b=c",
    "//",
    "tnr_key_x",
    "null",
    "openapi.json",
    "@",
    "'",
    "\\",
];
const PARAMETERS: &[&str] = &[
    "limit",
    "cursor",
    "status",
    "subjectId",
    "ownerId",
    "device",
    "asOf",
    "asOfPosition",
    "minPosition",
    "after",
    "kinds",
    "sessionId",
    "reason",
    "rejectRenewal",
    "exceptSessionId",
    "colour",
    "",
];
const VALUES: &[&str] = &[
    "",
    "1",
    "200",
    "0",
    "-1",
    "all",
    "active",
    "true",
    "a",
    "%00",
    "%ff",
    "%",
    "&",
    "=",
    "YQ",
    "MA",
    "OQ",
    "9999999999999",
    "18446744073709551615",
    "2026-11-21T01:35:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "SessionCreated",
    "SessionCreated,,",
    "01937500-0000-7000-8000-000000000000",
    "%F0%9F%94%92",
];
const FIELDS: &[&str] = &[
    "subjectId",
    "ttl",
    "maxRenewals",
    "absoluteLifetime",
    "renewalRejectWindow",
    "device",
    "scopes",
    "metadata",
    "name",
    "kind",
    "ownerId",
    "maxSessions",
    "maxSessionsPerDevice",
    "onLimit",
    "onDeviceLimit",
    "token",
    "tokens",
    "include",
    "role",
    "colour",
    "",
];
const JSON_VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "1",
    "300",
    "604800",
    "-1",
    "1e400",
    "1.5",
    "18446744073709551616",
    "\"\"",
    "\"a\"",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "[]",
    "[[]]",
    "[\"a\"]",
    "{}",
    "{\"a\":{\"a\":1,\"a\":1}}",
    "\"agent\"",
    "\"admin\"",
    "\"owner\"",
    "\"evict_oldest\"",
    "\"metadata\"",
    "[\"metadata\"]",
    "nul",
    "\"",
    "[",
    "\u{1f512}",
];
const HEADERS: &[&str] = &[
    "idempotency-key",
    "x-request-id",
    "content-type",
    "accept",
    "authorization",
    "cookie",
    "x-forwarded-for",
    "last-event-id",
    "expect",
    "if-match",
    "range",
    "te",
    "upgrade",
    "x-http-method-override",
];

struct Fuzz {
    chance: Chance,
    server: Server,
    credentials: Vec<String>,
    sessions: Vec<Session>,
}

impl Fuzz {
    fn new() -> Self {
        let server = Server::start();
        let mut credentials = vec![server.admin.clone(), server.admin.clone(), server.admin.clone()];
        credentials.extend(["issuer", "verifier", "auditor"].map(|role| server.issue_key(role, None).0));
        credentials.push(server.issue_key("owner", Some("alice")).0);
        server.register("a", &json!({ "maxSessions": 10_000, "ownerId": "alice" }));
        let sessions: Vec<_> =
            (0..5).map(|_| server.create(&json!({ "subjectId": "a", "ttl": 604_800 }))).collect();
        credentials.extend(sessions.iter().map(|session| session.token.clone()));
        Self { chance: Chance(SEED), server, credentials, sessions }
    }

    fn path(&mut self) -> String {
        let session = self.sessions[self.chance.below(self.sessions.len())].id.clone();
        match self.chance.below(10) {
            0 | 1 => "/v1/sessions".into(),
            2 => format!("/v1/sessions/{session}"),
            3 => format!("/v1/sessions/{session}/renew"),
            4 => format!("/v1/subjects/{}", self.chance.one(SEGMENTS).replace([' ', 'ä'], "")),
            5 => {
                ["/v1/subjects", "/v1/events", "/v1/introspect", "/v1/credentials", "/v1/subjects/a/sessions"]
                    [self.chance.below(5)]
                .into()
            }
            _ => {
                let depth = 1 + self.chance.below(4);
                let segments: Vec<_> = (0..depth).map(|_| self.chance.one(SEGMENTS)).collect();
                format!("/{}", segments.join("/"))
            }
        }
    }

    fn query(&mut self) -> String {
        let count = self.chance.below(4).saturating_sub(1);
        let pairs: Vec<_> = (0..count)
            .map(|_| format!("{}={}", self.chance.one(PARAMETERS), self.chance.one(VALUES)))
            .collect();
        // A small minPosition would be waited for.
        let pairs: Vec<_> = pairs.into_iter().filter(|pair| !pair.starts_with("minPosition=2")).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    fn body(&mut self) -> Vec<u8> {
        match self.chance.below(8) {
            0 | 1 => vec![],
            2 => self.chance.bytes(60),
            3 => vec![b'['; self.chance.below(2_000)],
            4 if self.chance.below(20) == 0 => vec![b' '; 65_530 + self.chance.below(20)],
            _ => {
                let count = self.chance.below(4);
                let mut members: Vec<_> = (0..count)
                    .map(|_| format!("\"{}\":{}", self.chance.one(FIELDS), self.chance.one(JSON_VALUES)))
                    .collect();
                if self.chance.below(2) == 0 {
                    members.push("\"subjectId\":\"a\"".into());
                }
                format!("{{{}}}", members.join(",")).into_bytes()
            }
        }
    }

    fn request(&mut self) -> Request {
        let (path, query) = (self.path(), self.query());
        let method = self.chance.one(METHODS);
        let mut request = self.server.request(method, &format!("{path}{query}"));
        if self.chance.below(6) > 0 {
            request = request.bearer(&self.credentials[self.chance.below(self.credentials.len())]);
        }
        if self.chance.below(4) > 0 {
            request = request.header("content-type", "application/json");
        }
        for _ in 0..self.chance.below(3) {
            let name = self.chance.one(HEADERS);
            let mut value = self.chance.bytes(40);
            value.retain(|byte| *byte >= b' ' && *byte != 0x7f);
            request = request.header(name, value);
        }
        let body = self.body();
        if body.is_empty() { request } else { request.body(body) }
    }
}

#[test]
fn thousands_of_odd_requests_get_honest_answers() {
    let mut fuzz = Fuzz::new();
    let mut statuses = std::collections::BTreeMap::<u16, u32>::new();
    for n in 0..4_000 {
        let request = fuzz.request();
        let reply = request.send();
        assert!(reply.status < 500, "request {n} of seed {SEED:#x}: {request:?}\n{reply:?}");
        // What hyper cannot read as HTTP never reaches the API.
        if reply.header("content-type").is_some() {
            check_reply(&reply);
        } else {
            assert!([400, 414, 431].contains(&reply.status), "{request:?}\n{reply:?}");
        }
        *statuses.entry(reply.status).or_default() += 1;
    }
    for common in [200, 400, 401, 403, 404, 405] {
        assert!(statuses.get(&common).is_some_and(|count| *count > 20), "too few {common}: {statuses:?}");
    }
    assert!(fuzz.server.is_running());
    assert!(!fuzz.server.said().contains("panicked"), "{}", fuzz.server.said());
    assert_eq!(fuzz.server.get("/readyz").send().expect(200).text("status"), "ready");
}

#[test]
fn random_bytes_are_survived() {
    let mut chance = Chance(SEED);
    let mut server = Server::start();
    for _ in 0..500 {
        let mut bytes = match chance.below(3) {
            0 => vec![],
            1 => b"GET /v1/sessions HTTP/1.1\r\nhost: t\r\nconnection: close\r\n".to_vec(),
            _ => format!("POST /v1/introspect HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\ncontent-length: 5\r\n", server.admin).into_bytes(),
        };
        bytes.extend(chance.bytes(200));
        bytes.extend(b"\r\n\r\n\r\n\r\n");
        if let Some(reply) = Reply::parse(&server.raw(&bytes)) {
            assert!(reply.status < 500, "{bytes:?}: {reply:?}");
        }
    }
    assert!(server.is_running() && !server.said().contains("panicked"), "{}", server.said());
    server.get("/healthz").send().expect(200);
}
