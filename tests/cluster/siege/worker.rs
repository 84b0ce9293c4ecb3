//! Callers that never rest, each with sessions of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use super::{CERTAIN, Chance};
use crate::node::{Caller, Reply};

/// So many sessions of a subject may live.
const SESSIONS: usize = 12;
/// So often each may be used.
const USES: u64 = 25;

/// What a caller was told of a session of its own.
struct Known {
    token: String,
    uses: u64,
    ended: Option<Instant>,
}

/// One caller: it repeats under the same key, at any node, until it knows what became of a request.
pub(super) struct Worker {
    name: String,
    nodes: Vec<Caller>,
    chance: Chance,
    known: BTreeMap<String, Known>,
    asked: u64,
    done: Arc<AtomicU64>,
}

impl Worker {
    pub(super) fn new(name: String, nodes: Vec<Caller>, seed: u64, done: Arc<AtomicU64>) -> Self {
        Self { name, nodes, chance: Chance(seed), known: BTreeMap::new(), asked: 0, done }
    }

    fn any(&mut self) -> Caller {
        let index = self.chance.next(self.nodes.len() as u64);
        self.nodes[usize::try_from(index).unwrap()].clone()
    }

    fn until_certain(&mut self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.asked += 1;
        self.until_certain_again(method, path, body)
    }

    /// The same under the key of the last one.
    fn until_certain_again(&mut self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        let key = format!("{}-{}", self.name, self.asked);
        let begun = stopwatch();
        loop {
            let reply = self.any().send(method, path, &[("idempotency-key", &key)], body);
            match reply {
                Some(reply) if ![421, 429, 500, 503].contains(&reply.status) => {
                    self.done.fetch_add(1, Ordering::SeqCst);
                    return reply;
                }
                other => {
                    let said = other.map(|reply| (reply.status, reply.body));
                    assert!(begun.elapsed() < CERTAIN, "{method} {path} is not certain: {said:?}");
                    pause(Duration::from_millis(20));
                }
            }
        }
    }

    pub(super) fn run(mut self, is_over: &AtomicBool) -> Self {
        let named =
            json!({ "kind": "agent", "name": format!("Agent {}", self.name), "maxSessions": SESSIONS });
        let made = self.until_certain("PUT", &format!("/v1/subjects/{}", self.name), Some(&named));
        assert!([200, 201].contains(&made.status), "{} {}", made.status, made.body);
        while !is_over.load(Ordering::SeqCst) {
            match self.chance.next(10) {
                0 | 1 => self.create(),
                2 => self.end(),
                3..6 => self.uses(),
                _ => self.looks(),
            }
        }
        self
    }

    /// One more than may live is refused; then one of them ends, and the same request is granted.
    fn create(&mut self) {
        if self.known.len() >= 900 {
            return;
        }
        let constraints = json!({ "maxTransactions": USES });
        let asked = json!({ "subjectId": self.name, "ttl": 604_800, "constraints": constraints });
        let live = self.known.values().filter(|known| known.ended.is_none()).count();
        let mut made = self.until_certain("POST", "/v1/sessions", Some(&asked));
        if live == SESSIONS {
            assert_eq!(
                (made.status, &made.body["code"]),
                (403, &json!("SESSION_LIMIT_EXCEEDED")),
                "{}",
                made.body
            );
            let asked_as = self.asked;
            self.end();
            self.asked = asked_as;
            made = self.until_certain_again("POST", "/v1/sessions", Some(&asked));
            self.asked += 1;
        }
        assert_eq!(made.status, 201, "{}", made.body);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        let known = Known { token: text("token"), uses: 0, ended: None };
        assert!(self.known.insert(text("sessionId"), known).is_none(), "one session was granted twice");
    }

    /// One of its sessions.
    fn one(&mut self, ended: bool) -> Option<String> {
        let of_kind: Vec<_> =
            self.known.iter().filter(|(_, known)| known.ended.is_some() == ended).map(|(id, _)| id).collect();
        let count = of_kind.len() as u64;
        (count > 0).then(|| of_kind[usize::try_from(self.chance.next(count)).unwrap()].clone())
    }

    fn end(&mut self) {
        let Some(id) = self.one(false) else { return };
        let ended = self.until_certain("DELETE", &format!("/v1/sessions/{id}"), None);
        assert_eq!(ended.status, 200, "{}", ended.body);
        self.known.get_mut(&id).unwrap().ended = Some(stopwatch());
    }

    fn uses(&mut self) {
        let Some(id) = self.one(false) else { return };
        let paid = json!({ "operation": "pay" });
        let used = self.until_certain("POST", &format!("/v1/sessions/{id}/usage"), Some(&paid));
        let known = self.known.get_mut(&id).unwrap();
        if known.uses == USES {
            assert_eq!(
                (used.status, &used.body["code"]),
                (403, &json!("CONSTRAINT_VIOLATED")),
                "{}",
                used.body
            );
            return;
        }
        assert_eq!(used.status, 200, "{}", used.body);
        known.uses += 1;
        assert_eq!(used.body["usage"]["transactions"], known.uses, "a use counts twice, or not at all");
    }

    /// What is live is never called dead; what has ended is called live only by who says that its state is older.
    fn looks(&mut self) {
        let (wants_ended, is_strict) = (self.chance.next(2) == 0, self.chance.next(3) == 0);
        let Some(id) = self.one(wants_ended) else { return };
        let (token, ended) = (self.known[&id].token.clone(), self.known[&id].ended);
        let mut asked = json!({ "token": token });
        if is_strict {
            asked["consistency"] = "strict".into();
        }
        let since = ended.map(|ended| ended.elapsed());
        let Some(said) = self.any().send("POST", "/v1/introspect", &[], Some(&asked)) else { return };
        if said.status != 200 {
            assert!([429, 500, 503].contains(&said.status), "{} {}", said.status, said.body);
            return;
        }
        let is_active = said.body["active"].as_bool().unwrap();
        match since {
            None => assert!(is_active, "a live session is called dead: {}", said.body),
            Some(_) if is_strict => assert!(!is_active, "an ended session is called live, strictly"),
            Some(since) if is_active => {
                let stale: u64 = said.header("x-tenure-staleness-ms").unwrap().parse().unwrap();
                let stale = Duration::from_millis(stale + 1);
                assert!(stale >= since, "it ended {since:?} ago, and a state of {stale:?} ago calls it live");
            }
            Some(_) => {}
        }
    }

    /// What was acknowledged is there, once.
    pub(super) fn check(&self, at: &Caller) {
        for (id, known) in &self.known {
            let session = at.get(&format!("/v1/sessions/{id}"));
            assert_eq!(session["usage"]["transactions"], known.uses, "{session}");
            let status = if known.ended.is_some() { "REVOKED" } else { "ACTIVE" };
            assert_eq!(session["status"].as_str().unwrap().to_uppercase(), status, "{session}");
            assert_eq!(at.is_active(&known.token), known.ended.is_none());
        }
        let subject = at.subject(&self.name);
        assert_eq!(subject["name"], format!("Agent {}", self.name));
        assert_eq!(self.count(at), self.known.len(), "there are sessions that nobody was told of");
    }

    fn count(&self, at: &Caller) -> usize {
        let (mut count, mut cursor) = (0, String::new());
        loop {
            let path = format!("/v1/sessions?subjectId={}&status=all&limit=100{cursor}", self.name);
            let page = at.get(&path);
            count += page["items"].as_array().unwrap().len();
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return count,
            }
        }
    }
}
