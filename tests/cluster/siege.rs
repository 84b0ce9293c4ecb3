//! Callers that never rest, at every node, while nodes and brokers die, sleep and come back.

use std::{
    collections::BTreeMap,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};
use tenure_testing::surroundings::{say, variable};

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, Reply, prepare_on},
};

/// A request that is not certain by then has failed.
const CERTAIN: Duration = Duration::from_mins(2);
const CALLERS: u64 = 4;

/// Chance that can be had again.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What a caller was told of a session of its own.
struct Known {
    token: String,
    uses: u64,
    ended: Option<Instant>,
}

/// One caller: it repeats under the same key, at any node, until it knows what became of a request.
struct Worker {
    name: String,
    nodes: Vec<Caller>,
    chance: Chance,
    known: BTreeMap<String, Known>,
    asked: u64,
    done: Arc<AtomicU64>,
}

impl Worker {
    fn any(&mut self) -> Caller {
        let index = self.chance.next(self.nodes.len() as u64);
        self.nodes[usize::try_from(index).unwrap()].clone()
    }

    fn until_certain(&mut self, method: &str, path: &str, body: Option<&Value>) -> Reply {
        self.asked += 1;
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

    fn run(mut self, is_over: &AtomicBool) -> Self {
        let named = json!({ "kind": "agent", "name": format!("Agent {}", self.name), "maxSessions": 1_000 });
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

    fn create(&mut self) {
        if self.known.len() >= 900 {
            return;
        }
        let asked = json!({ "subjectId": self.name, "constraints": { "maxTransactions": 100_000 } });
        let made = self.until_certain("POST", "/v1/sessions", Some(&asked));
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
        assert_eq!(used.status, 200, "{}", used.body);
        let known = self.known.get_mut(&id).unwrap();
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
    fn check(&self, at: &Caller) {
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

/// The machines.
struct House {
    brokers: Vec<Broker>,
    nodes: Vec<Node>,
    callers: Vec<Caller>,
    chance: Chance,
    done: Arc<AtomicU64>,
}

impl House {
    /// Which node leads; waits for one.
    fn leader(&self) -> usize {
        let begun = stopwatch();
        loop {
            for (index, caller) in self.callers.iter().enumerate() {
                let ready = caller.send("GET", "/readyz", &[], None);
                if ready.is_some_and(|ready| ready.body["role"] == "leader") {
                    return index;
                }
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "nobody leads");
            pause(Duration::from_millis(50));
        }
    }

    fn follower(&mut self) -> usize {
        let leader = self.leader();
        let others: Vec<_> = (0..self.nodes.len()).filter(|index| *index != leader).collect();
        others[usize::try_from(self.chance.next(others.len() as u64)).unwrap()]
    }

    /// Waits until so much more is done.
    fn goes_on(&self) -> Duration {
        let (begun, wanted) = (stopwatch(), self.done.load(Ordering::SeqCst) + 20);
        while self.done.load(Ordering::SeqCst) < wanted {
            assert!(begun.elapsed() < CERTAIN, "nothing is acknowledged any more");
            pause(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    fn sleeps(&self, node: usize) {
        self.nodes[node].signal(Signal::STOP);
        pause(Duration::from_millis(4_500));
        self.nodes[node].signal(Signal::CONT);
    }

    fn dies(&mut self, node: usize) {
        self.nodes[node].kill();
        pause(Duration::from_millis(300));
        self.nodes[node].restart();
    }

    fn fault(&mut self, kind: u64) -> &'static str {
        let broker = usize::try_from(self.chance.next(self.brokers.len() as u64)).unwrap();
        match kind {
            0 => {
                let leader = self.leader();
                self.sleeps(leader);
                "the leader sleeps"
            }
            1 => {
                let leader = self.leader();
                self.dies(leader);
                "the leader dies"
            }
            2 => {
                let follower = self.follower();
                self.sleeps(follower);
                "a follower sleeps"
            }
            3 => {
                let follower = self.follower();
                self.dies(follower);
                "a follower dies"
            }
            4 => {
                let leader = self.leader();
                self.nodes[leader].signal(Signal::TERM);
                assert!(self.nodes[leader].ends().success(), "{}", self.nodes[leader].said());
                self.nodes[leader].restart();
                "the leader is stopped"
            }
            5 => {
                self.brokers[broker].kill();
                self.goes_on();
                self.brokers[broker].begin();
                "a broker dies"
            }
            6 => {
                self.brokers[broker].freeze();
                pause(Duration::from_secs(3));
                self.brokers[broker].thaw();
                "a broker sleeps"
            }
            7 => {
                self.brokers.iter().for_each(Broker::freeze);
                pause(Duration::from_secs(3));
                self.brokers.iter().for_each(Broker::thaw);
                "all brokers sleep"
            }
            _ => {
                self.brokers.iter_mut().for_each(Broker::kill);
                self.brokers.iter_mut().for_each(Broker::begin);
                "all brokers die"
            }
        }
    }

    /// Ends when all nodes have the same log, and nothing more is recorded.
    fn settles(&self) {
        let begun = stopwatch();
        let mut last = (vec![], stopwatch());
        loop {
            let all: Vec<_> = self.callers.iter().map(position).collect();
            let is_same = all.iter().all(|position| position.is_some() && *position == all[0]);
            if !is_same || last.0 != all {
                last = (all, stopwatch());
            } else if last.1.elapsed() > Duration::from_millis(4_500) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "they do not come to agree: {last:?}");
            pause(Duration::from_millis(100));
        }
    }
}

/// The last event that a node has; none while it does not answer.
fn position(caller: &Caller) -> Option<u64> {
    let text = caller.text("/metrics")?;
    text.lines().find_map(|line| line.strip_prefix("tenure_position "))?.trim().parse().ok()
}

/// Size and root of the last head that a stopped node has signed.
fn head(data: &Path) -> (u64, String) {
    let note = fs::read_to_string(data.join("head.note")).unwrap();
    let mut lines = note.lines().skip(1);
    (lines.next().unwrap().parse().unwrap(), lines.next().unwrap().to_owned())
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_dies_or_sleeps() {
    let test = "that nothing acknowledged is lost whatever dies or sleeps";
    let Some(program) = broker::program(test) else { return };
    let is_long = variable("TENURE_TEST_CLUSTER_LONG").is_some();
    let brokers = if is_long { Broker::three(&program) } else { vec![Broker::start(&program)] };
    let drawn = || RandomState::new().build_hasher().finish();
    let seed = variable("TENURE_TEST_SEED").and_then(|seed| seed.parse().ok()).unwrap_or_else(drawn);
    say(&format!("the siege of a cluster has the seed {seed}"));
    let urls: Vec<_> = brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port())).collect();
    let url = format!("nats://{}", urls.join(","));
    let dirs = prepare_on(&url, brokers.len(), 3);
    let mut nodes = vec![Node::start_with(&url, dirs[0].path(), &[])];
    let first = nodes[0].leader(dirs[0].path());
    nodes.extend(dirs[1..].iter().map(|dir| Node::start_with(&url, dir.path(), &[])));
    let callers: Vec<_> = nodes.iter_mut().map(|node| node.admin(dirs[0].path()).patient(8)).collect();
    first.waits_for_role("leader");
    let (done, is_over) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let mut house =
        House { brokers, nodes, callers: callers.clone(), chance: Chance(seed), done: Arc::clone(&done) };
    let workers = thread::scope(|scope| {
        let sent = |number: u64| {
            let (name, nodes, done) = (format!("worker-{number}"), callers.clone(), Arc::clone(&done));
            let chance = Chance(seed.wrapping_add(number));
            let worker = Worker { name, nodes, chance, known: BTreeMap::new(), asked: 0, done };
            let is_over = &is_over;
            scope.spawn(move || worker.run(is_over))
        };
        let workers: Vec<_> = (0..CALLERS).map(sent).collect();
        // Whatever fails here must end the callers too.
        let faulty = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            house.goes_on();
            let rounds = if is_long { 24 } else { 2 };
            for round in 0..rounds {
                let kind = if is_long { house.chance.next(9) } else { round };
                let begun = stopwatch();
                let what = house.fault(kind);
                let rest = house.goes_on();
                say(&format!("{what}: {:?}, and {rest:?} until all went on", begun.elapsed()));
            }
        }));
        is_over.store(true, Ordering::SeqCst);
        let workers: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        faulty.unwrap();
        workers
    });
    house.settles();
    for caller in &callers {
        for worker in &workers {
            worker.check(caller);
        }
    }
    for node in &mut house.nodes {
        node.signal(Signal::TERM);
        assert!(node.ends().success(), "{}", node.said());
    }
    let heads: Vec<_> = dirs.iter().map(|dir| head(dir.path())).collect();
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
}
