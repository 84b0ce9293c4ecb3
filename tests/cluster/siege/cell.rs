//! Several callers of one session at once, and what each of them was told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tenure::{
    clock::{pause, stopwatch},
    core::Timestamp,
};

use super::{CERTAIN, Chance};
use crate::{
    linear::{Deed, History, No},
    node::{Caller, Reply},
};

/// The period of these sessions, and how far the clock is moved for the next renewal.
const PERIOD: u64 = 300;
const HALF: u64 = PERIOD / 2;
/// A session of which so much was asked gives way to another one.
const ENOUGH: usize = 1_500;
/// The same of one that can hardly be renewed any more.
const MOST_RENEWALS: u32 = 70;

/// The clock that all nodes share, and who has renewed since it was moved.
#[derive(Clone)]
pub(super) struct Moves {
    moved: Arc<AtomicU64>,
    renewed: Arc<Vec<AtomicU64>>,
}

/// The number of a cell that needs no renewal.
const NO_SESSION: u64 = u64::MAX;

impl Moves {
    pub(super) fn new(cells: usize) -> Self {
        let renewed = (0..cells).map(|_| AtomicU64::new(NO_SESSION)).collect();
        Self { moved: Arc::default(), renewed: Arc::new(renewed) }
    }

    fn now(&self) -> u64 {
        self.moved.load(Ordering::SeqCst)
    }

    fn is_renewed(&self, cell: usize, at: u64) {
        self.renewed[cell].store(at, Ordering::SeqCst);
    }

    fn is_due(&self) -> bool {
        let now = self.now();
        self.renewed.iter().all(|renewed| renewed.load(Ordering::SeqCst) >= now)
    }

    /// Moves the clock by half a period whenever all sessions have been renewed: none of them expires.
    pub(super) fn run(&self, callers: &[Caller], is_over: &AtomicBool) {
        let begun = callers[0].get("/v1/clock")["now"].as_str().and_then(Timestamp::parse).unwrap();
        while !is_over.load(Ordering::SeqCst) {
            if self.is_due() {
                let seconds = i64::try_from((self.now() + 1) * HALF).unwrap();
                move_to(callers, begun.plus_millis(seconds * 1_000));
                self.moved.fetch_add(1, Ordering::SeqCst);
            }
            pause(Duration::from_millis(500));
        }
    }
}

/// Moves the clock of all nodes on.
pub(super) fn move_by(callers: &[Caller], time: Duration) {
    let now = callers[0].get("/v1/clock")["now"].as_str().and_then(Timestamp::parse).unwrap();
    move_to(callers, now.plus_millis(i64::try_from(time.as_millis()).unwrap()));
}

fn move_to(callers: &[Caller], to: Timestamp) {
    let begun = stopwatch();
    for caller in callers.iter().cycle() {
        let moved = caller.send("PUT", "/v1/clock", &[], Some(&json!({ "to": to })));
        // 400: it is there or beyond.
        if moved.is_some_and(|reply| [200, 400].contains(&reply.status)) {
            return;
        }
        assert!(begun.elapsed() < CERTAIN, "the clock cannot be moved");
        pause(Duration::from_millis(50));
    }
}

/// One session.
struct Shared {
    seed: u64,
    id: String,
    subject: String,
    tokens: Mutex<BTreeMap<u32, String>>,
    history: History,
    is_over: AtomicBool,
}

impl Shared {
    fn newest(&self) -> (u32, String) {
        let tokens = self.tokens.lock().unwrap();
        tokens.last_key_value().map(|(of, token)| (*of, token.clone())).unwrap()
    }

    fn any(&self, chance: u64) -> (u32, String) {
        let tokens = self.tokens.lock().unwrap();
        let nth = usize::try_from(chance).unwrap() % tokens.len();
        tokens.iter().nth(nth).map(|(of, token)| (*of, token.clone())).unwrap()
    }
}

/// What a request came to.
enum Came {
    Answer(Reply),
    /// It was refused before anything was done.
    Nothing,
    Unknown,
}

/// Where a session is renewed, checked, suspended and ended by several callers at once, one session after another.
pub(super) struct Cell {
    pub(super) number: usize,
    pub(super) nodes: Vec<Caller>,
    pub(super) seed: u64,
    pub(super) done: Arc<AtomicU64>,
    pub(super) moves: Moves,
}

/// What became of the histories of a cell.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) sessions: usize,
    pub(super) entries: usize,
}

impl Cell {
    /// Goes on until it is over; each history must have an order.
    pub(super) fn run(&self, is_over: &AtomicBool) -> Judged {
        let mut judged = Judged::default();
        while !is_over.load(Ordering::SeqCst) {
            let shared = self.begin(judged.sessions);
            thread::scope(|scope| {
                let one = |part: u64| One::new(self, &shared, part);
                for part in 0..2 {
                    scope.spawn(move || one(part).renews(is_over));
                    scope.spawn(move || one(part + 2).checks(is_over));
                }
                one(4).changes(is_over);
            });
            self.moves.is_renewed(self.number, NO_SESSION);
            one_last(self, &shared);
            judged.sessions += 1;
            judged.entries += shared.history.len();
            if let Err(stuck) = shared.history.order() {
                panic!("session {} of {}: {stuck}", shared.id, shared.subject);
            }
        }
        judged
    }

    fn begin(&self, session: usize) -> Shared {
        let subject = format!("cell-{}-{session}", self.number);
        let seed = self.seed.wrapping_add(session as u64 * 31);
        let mut asks = Asks { cell: self, chance: Chance(seed), name: subject.clone(), asked: 0 };
        let named = json!({ "kind": "agent" });
        let (made, _) = asks.until_certain("PUT", &format!("/v1/subjects/{subject}"), None, Some(&named));
        assert!([200, 201].contains(&made.status), "{} {}", made.status, made.body);
        // Its period begins now; the clock waits for it.
        self.moves.is_renewed(self.number, self.moves.now());
        let asked = json!({ "subjectId": subject, "ttl": PERIOD, "maxRenewals": 100 });
        let (made, _) = asks.until_certain("POST", "/v1/sessions", None, Some(&asked));
        assert_eq!(made.status, 201, "{}", made.body);
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        let tokens = Mutex::new(BTreeMap::from([(0, text("token"))]));
        let (history, is_over) = (History::new(), AtomicBool::new(false));
        Shared { seed, id: text("sessionId"), subject, tokens, history, is_over }
    }
}

/// What all nodes must agree on in the end.
fn one_last(cell: &Cell, shared: &Shared) {
    for node in 0..cell.nodes.len() {
        let begun = stopwatch();
        let mut one = One::new(cell, shared, 5);
        while !one.check(node, true, shared.newest()) {
            assert!(begun.elapsed() < CERTAIN, "no strict check is answered");
            pause(Duration::from_millis(50));
        }
    }
}

/// Asks at any node.
struct Asks<'a> {
    cell: &'a Cell,
    chance: Chance,
    name: String,
    asked: u64,
}

impl Asks<'_> {
    fn once(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Came {
        let index = usize::try_from(self.chance.next(self.cell.nodes.len() as u64)).unwrap();
        match self.cell.nodes[index].send(method, path, headers, body) {
            None => Came::Unknown,
            Some(reply) if reply.status == 500 || reply.body["code"] == "OUTCOME_UNKNOWN" => Came::Unknown,
            Some(reply) if [421, 429, 503].contains(&reply.status) => Came::Nothing,
            Some(reply) => {
                if reply.status < 300 {
                    self.cell.done.fetch_add(1, Ordering::SeqCst);
                }
                Came::Answer(reply)
            }
        }
    }

    /// Repeats it under one key. A request that was not answered may still lie somewhere and be done later, unless its
    /// key is remembered by then; the answer says whether there is one.
    fn until_certain(
        &mut self,
        method: &str,
        path: &str,
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> (Reply, bool) {
        self.asked += 1;
        let key = format!("{}-{}", self.name, self.asked);
        let headers = [Some(("idempotency-key", &*key)), bearer.map(|bearer| ("authorization", bearer))];
        let headers: Vec<_> = headers.into_iter().flatten().collect();
        let (begun, mut is_one_out) = (stopwatch(), false);
        loop {
            match self.once(method, path, &headers, body) {
                Came::Answer(reply) => return (reply, is_one_out),
                Came::Nothing => {}
                Came::Unknown => is_one_out = true,
            }
            assert!(begun.elapsed() < CERTAIN, "{method} {path} is not certain");
            pause(Duration::from_millis(20));
        }
    }
}

/// One of the callers of a session.
struct One<'a> {
    shared: &'a Shared,
    asks: Asks<'a>,
}

impl<'a> One<'a> {
    fn new(cell: &'a Cell, shared: &'a Shared, part: u64) -> Self {
        let chance = Chance(shared.seed.wrapping_add(part));
        let name = format!("{}-{part}", shared.subject);
        Self { shared, asks: Asks { cell, chance, name, asked: 0 } }
    }

    fn is_over(&self, is_over: &AtomicBool) -> bool {
        is_over.load(Ordering::SeqCst) || self.shared.is_over.load(Ordering::SeqCst)
    }

    fn rests(&mut self, most: u64) {
        pause(Duration::from_millis(1 + self.asks.chance.next(most)));
    }

    /// Two of these renew with the same token, each under keys of its own.
    fn renews(mut self, is_over: &AtomicBool) {
        while !self.is_over(is_over) {
            self.rests(80);
            let moved = self.asks.cell.moves.now();
            let is_newest = self.asks.chance.next(6) > 0;
            let (of, token) =
                if is_newest { self.shared.newest() } else { self.shared.any(self.asks.chance.next(1_000)) };
            // A few are given up at once: what became of them is never known.
            let told = if self.asks.chance.next(40) == 0 {
                self.renew_once(of, &token)
            } else {
                Some(self.renew(of, &token))
            };
            self.heeds(told, of, moved);
        }
    }

    fn heeds(&self, told: Option<Result<u32, No>>, of: u32, moved: u64) {
        let is_newest = self.shared.newest().0 == of;
        match told {
            Some(Ok(_)) => self.asks.cell.moves.is_renewed(self.asks.cell.number, moved),
            Some(Err(No::TooEarly)) if is_newest => {
                self.asks.cell.moves.is_renewed(self.asks.cell.number, moved);
            }
            // Nobody has its token any more, or it has come to its end.
            Some(Err(No::Ended | No::Expired)) => self.shared.is_over.store(true, Ordering::SeqCst),
            Some(Err(No::Superseded)) if is_newest => self.shared.is_over.store(true, Ordering::SeqCst),
            Some(Err(No::Suspended | No::Superseded | No::TooEarly)) | None => {}
        }
    }

    fn renew(&mut self, of: u32, token: &str) -> Result<u32, No> {
        let (path, bearer) = (format!("/v1/sessions/{}/renew", self.shared.id), format!("Bearer {token}"));
        let asked = self.shared.history.now();
        let (reply, is_one_out) = self.asks.until_certain("PUT", &path, Some(&bearer), None);
        let told = self.renewed(of, asked, &reply);
        // A refusal is not remembered: the one that is out may yet be granted.
        if is_one_out && told.is_err() {
            self.shared.history.untold(asked, Deed::Renew { of, told: None });
        }
        told
    }

    fn renew_once(&mut self, of: u32, token: &str) -> Option<Result<u32, No>> {
        let (path, bearer) = (format!("/v1/sessions/{}/renew", self.shared.id), format!("Bearer {token}"));
        let asked = self.shared.history.now();
        match self.asks.once("PUT", &path, &[("authorization", &bearer)], None) {
            Came::Answer(reply) => Some(self.renewed(of, asked, &reply)),
            Came::Nothing => None,
            Came::Unknown => {
                self.shared.history.untold(asked, Deed::Renew { of, told: None });
                None
            }
        }
    }

    fn renewed(&self, of: u32, asked: u64, reply: &Reply) -> Result<u32, No> {
        let told = said(reply, reply.status == 200);
        self.shared.history.told(asked, Deed::Renew { of, told: Some(told) });
        if let Ok(generation) = told {
            let token = reply.body["token"].as_str().unwrap().to_owned();
            self.shared.tokens.lock().unwrap().insert(generation, token);
        }
        told
    }

    /// Asks about tokens, strictly or not: one that is not strict may be true of a moment as long ago as it says.
    fn checks(mut self, is_over: &AtomicBool) {
        while !self.is_over(is_over) {
            self.rests(30);
            let is_newest = self.asks.chance.next(3) > 0;
            let one =
                if is_newest { self.shared.newest() } else { self.shared.any(self.asks.chance.next(1_000)) };
            let node = usize::try_from(self.asks.chance.next(self.asks.cell.nodes.len() as u64)).unwrap();
            let is_strict = self.asks.chance.next(2) == 0;
            self.check(node, is_strict, one);
        }
    }

    /// Whether it was answered.
    fn check(&mut self, node: usize, is_strict: bool, (of, token): (u32, String)) -> bool {
        let mut body = json!({ "token": token });
        if is_strict {
            body["consistency"] = "strict".into();
        }
        let asked = self.shared.history.now();
        let reply = self.asks.cell.nodes[node].send("POST", "/v1/introspect", &[], Some(&body));
        let Some(reply) = reply.filter(|reply| ![429, 500, 503].contains(&reply.status)) else {
            return false;
        };
        assert_eq!(reply.status, 200, "{}", reply.body);
        let told = said(&reply, reply.body["active"] == true);
        let age: u64 = reply.header("x-tenure-staleness-ms").unwrap().parse().unwrap();
        // What is asked strictly is the newest, also where the leader was not sure of that before it was asked.
        let age = if is_strict || age == 0 { Duration::ZERO } else { Duration::from_millis(age + 1) };
        self.shared.history.told_of_before(asked, age, Deed::Check { of, told });
        true
    }

    /// Suspends, resumes, and at last ends it.
    fn changes(mut self, is_over: &AtomicBool) {
        while !self.is_over(is_over) {
            self.rests(600);
            match self.asks.chance.next(8) {
                0..3 => self.suspends(),
                3 if self.shared.history.len() > 60 => break,
                _ if self.shared.history.len() > ENOUGH || self.shared.newest().0 > MOST_RENEWALS => break,
                _ => {}
            }
        }
        self.ends();
    }

    fn suspends(&mut self) {
        let of_subject = format!("/v1/subjects/{}", self.shared.subject);
        self.change("POST", &format!("{of_subject}/suspend"), Deed::Suspend);
        self.rests(150);
        while !self.change("POST", &format!("{of_subject}/resume"), Deed::Resume) {
            self.rests(20);
        }
    }

    fn ends(&mut self) {
        let path = format!("/v1/sessions/{}", self.shared.id);
        while !self.change("DELETE", &path, Deed::End) {
            self.rests(20);
        }
        // The others see it, and do what they can.
        self.rests(100);
        self.shared.is_over.store(true, Ordering::SeqCst);
    }

    /// Does it once without a key, or until it is certain; whether it is.
    fn change(&mut self, method: &str, path: &str, deed: Deed) -> bool {
        let asked = self.shared.history.now();
        let body = (method == "POST").then(|| json!({}));
        let (came, is_one_out) = if self.asks.chance.next(3) == 0 {
            (self.asks.once(method, path, &[], body.as_ref()), false)
        } else {
            let (reply, is_one_out) = self.asks.until_certain(method, path, None, body.as_ref());
            // The key of what recorded nothing is not remembered.
            let is_remembered = reply.header("x-tenure-position").is_some();
            (Came::Answer(reply), is_one_out && !is_remembered)
        };
        if is_one_out || matches!(came, Came::Unknown) {
            self.shared.history.untold(asked, deed);
        }
        let Came::Answer(reply) = came else { return false };
        assert_eq!(reply.status, 200, "{}", reply.body);
        self.shared.history.told(asked, deed);
        true
    }
}

/// The generation, or why not.
fn said(reply: &Reply, is_good: bool) -> Result<u32, No> {
    if is_good {
        return Ok(reply.body["renewalCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap());
    }
    Err(match reply.body["code"].as_str() {
        Some("SESSION_REVOKED") => No::Ended,
        Some("SUBJECT_SUSPENDED") => No::Suspended,
        Some("TOKEN_SUPERSEDED" | "SESSION_RENEWAL_MISMATCH") => No::Superseded,
        Some("TOKEN_EXPIRED") => No::Expired,
        Some("RENEWAL_TOO_EARLY") => No::TooEarly,
        other => panic!("{} {other:?}: {}", reply.status, reply.body),
    })
}
