//! One flipped bit in any file of a data directory: it is refused by the file's name, or alarmed by it, or changes no
//! answer at all. Nothing is ever silently different.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::stopwatch;

use crate::{
    ambient::{Chance, say, setting},
    authority::{Authority, admin_key, serve},
    caller::{Caller, Reply},
    mounted_disk::copy,
};

/// What moves with time or with each reply.
const FLEETING: [&str; 4] = ["asOfTime", "expiresIn", "requestId", "token"];
/// So many copies are tried at a time.
const ABREAST: u64 = 2;

/// A stopped directory with something of everything in it.
struct Victim {
    dir: tempfile::TempDir,
    key: String,
    tokens: Vec<String>,
    /// Of the session that was renewed under a key: its id, and the token before.
    renewed: (String, String),
    events: usize,
}

fn start(data: &Path) -> Result<Authority, crate::authority::Ended> {
    let mut command = serve(data);
    command.args(["--set", "webhooks.allow_private=true"]);
    Authority::launch(command, data)
}

fn granted(reply: Result<Reply, crate::caller::Lost>) -> Reply {
    let reply = reply.unwrap();
    assert!(reply.is_granted(), "{reply:?}");
    reply
}

fn login(admin: &Caller) -> Reply {
    let body = json!({ "subjectId": "ada", "device": "laptop", "ttl": 86_400 });
    admin.post("/v1/sessions", Some("login"), &body).unwrap()
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let authority = start(&data).unwrap();
        let admin = authority.admin();
        let profile = json!({ "name": "Ada", "maxSessionsPerDevice": 2, "onDeviceLimit": "reject" });
        granted(admin.put("/v1/subjects/ada", None, &profile));
        granted(admin.put("/v1/subjects/bob", None, &json!({ "name": "Bob" })));
        granted(admin.put("/v1/subjects/eve", None, &json!({ "name": "Eve" })));
        granted(admin.post("/v1/subjects/eve/erase", None, &json!({ "reason": "asked for" })));
        let hook = json!({ "url": "http://127.0.0.1:9/hook", "kinds": ["SESSION_EXPIRED"] });
        granted(admin.post("/v1/webhooks", None, &hook));
        let first = granted(Ok(login(&admin)));
        let body = json!({ "subjectId": "ada", "device": "laptop", "ttl": 86_400 });
        let second = granted(admin.post("/v1/sessions", None, &body));
        let idle = json!({ "subjectId": "bob", "ttl": 86_400, "idleTimeout": 80_000 });
        let third = granted(admin.post("/v1/sessions", None, &idle));
        granted(admin.advance(43_300));
        let (id, old) = (second.text("sessionId"), second.text("token"));
        let renewed = granted(admin.renew(&id, &old, Some("renewal")));
        let rotation = json!({ "which": "session", "retire": "overlap" });
        granted(admin.post("/v1/keys/rotate", None, &rotation));
        let fourth = granted(admin.post("/v1/sessions", None, &json!({ "subjectId": "bob", "ttl": 86_400 })));
        let tokens = [&first, &third, &fourth].map(|reply| reply.text("token"));
        let tokens = tokens.into_iter().chain([renewed.text("token"), old.clone()]).collect();
        let mut victim = Self { dir, key: admin_key(&data), tokens, renewed: (id, old), events: 0 };
        // What the first answers record is recorded before the directory is copied.
        victim.answers(&authority);
        authority.stop_well();
        let authority = start(&data).unwrap();
        victim.events = authority.admin().list("/v1/events?limit=200").len();
        authority.stop_well();
        victim
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Everything that a caller may ask: lists, look-ups by device, notices, tokens, limits, keyed repeats.
    fn answers(&self, authority: &Authority) -> Vec<(&'static str, Value)> {
        let admin = authority.caller(&self.key);
        let mut answers = vec![];
        for list in [
            "/v1/subjects?limit=200",
            "/v1/sessions?status=all&limit=200",
            "/v1/sessions?status=all&device=laptop&limit=200",
            "/v1/credentials?limit=200",
            "/v1/webhooks?limit=200",
            "/v1/notices?limit=200",
        ] {
            answers.push((list, admin.list(list).into()));
        }
        let events = admin.list("/v1/events?limit=200").into_iter().take(self.events).collect();
        answers.push(("events", events));
        answers.push(("public keys", admin.get("/v1/keys").unwrap().body));
        let tokens: Vec<_> = self.tokens.iter().map(String::as_str).collect();
        answers.push(("tokens", admin.introspect(&tokens).into()));
        let repeat = login(&admin);
        answers.push(("a keyed repeat", json!([repeat.status, repeat.body["sessionId"]])));
        let (id, old) = &self.renewed;
        let repeat = admin.renew(id, old, Some("renewal")).unwrap();
        answers.push(("a repeated renewal", json!([repeat.status, repeat.body["renewalCount"]])));
        let body = json!({ "subjectId": "ada", "device": "laptop", "ttl": 86_400 });
        let beyond = admin.post("/v1/sessions", None, &body).unwrap();
        answers.push(("a session beyond the device's limit", json!([beyond.status, beyond.code()])));
        for (_, answer) in &mut answers {
            without_the_fleeting(answer);
        }
        answers
    }

    /// Starts on a copy of the directory in which one bit differs, and holds what comes of it against the truth.
    fn suffers(
        &self,
        copied: &Path,
        file: &str,
        place: u64,
        bit: u8,
        truth: &[(&'static str, Value)],
    ) -> Fate {
        if copied.exists() {
            fs::remove_dir_all(copied).unwrap();
        }
        copy(&self.data(), copied);
        flip(&copied.join(file), place, bit);
        let what = format!("byte {place} of {file}, bit {bit}");
        match start(copied) {
            Err(ended) => {
                assert_eq!(ended.status.code(), Some(2), "{what}: {ended:?}");
                assert!(!ended.said.contains("panicked"), "{what}: {ended:?}");
                assert!(names(&ended.said, file), "{what}: refused, and not by its name: {ended:?}");
                Fate::Refused
            }
            Ok(authority) => {
                let answers = self.answers(&authority);
                let said = authority.said();
                assert!(!said.contains("panicked"), "{what}: {said}");
                let other = answers.iter().zip(truth).find(|(answer, truth)| answer != truth);
                let is_named = names(&said, file);
                assert!(
                    other.is_none() || is_named,
                    "{what}: silently another answer: {other:?}; it said: {said}"
                );
                if is_named { Fate::Alarmed } else { Fate::Unchanged }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Refused,
    Alarmed,
    Unchanged,
}

/// A key that seals by the log and is not there is named by its directory, and what the store makes of its own files is
/// said of the store.
fn names(said: &str, file: &str) -> bool {
    let of_store = file.starts_with("log/") && said.contains("log/");
    let of_ring =
        ["keys/session", "keys/access"].into_iter().any(|ring| file.starts_with(ring) && said.contains(ring));
    said.contains(file) || of_store || of_ring
}

fn flip(path: &Path, place: u64, bit: u8) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, place).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], place).unwrap();
}

fn without_the_fleeting(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !FLEETING.contains(&name.as_str()));
            members.values_mut().for_each(without_the_fleeting);
        }
        Value::Array(items) => items.iter_mut().for_each(without_the_fleeting),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every file, below the directory, and how many bytes it has before it is all zeros.
fn files(data: &Path) -> Vec<(String, u64)> {
    let mut found = BTreeSet::new();
    let mut directories = vec![data.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let used =
                    fs::read(&path).unwrap().iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                let name = path.strip_prefix(data).unwrap().to_str().unwrap().to_owned();
                found.insert((name, used as u64));
            }
        }
    }
    found.into_iter().filter(|(_, used)| *used > 0).collect()
}

/// A flipped digit of `digests.key` once started without an alarm: devices were not found again, their limit was
/// bypassed, and a repeat made a second session.
#[test]
fn a_flipped_bit_of_any_file_is_refused_or_alarmed_by_name_or_changes_no_answer() {
    let (flips, seconds) = (setting("TENURE_FLIPS", 300_u64), setting("TENURE_FLIPS_SECONDS", 45_u64));
    let victim = Victim::new();
    let files = files(&victim.data());
    for expected in
        ["FORMAT", "keys/bound", "keys/digests.key", "log/1/db", "snapshot", "uses.recorded", "webhooks.redb"]
    {
        assert!(files.iter().any(|(name, _)| name == expected), "no {expected} in {files:?}");
    }
    let undamaged = victim.dir.path().join("undamaged");
    copy(&victim.data(), &undamaged);
    let truth = victim.answers(&start(&undamaged).unwrap());
    copy(&victim.data(), &victim.dir.path().join("again"));
    let again = victim.answers(&start(&victim.dir.path().join("again")).unwrap());
    assert_eq!(truth, again, "without damage the answers are the same");
    let chance = Mutex::new(Chance::of_this_run("flips"));
    let (begun, next, fates) = (stopwatch(), AtomicU64::new(0), Mutex::new(vec![]));
    thread::scope(|scope| {
        for number in 0..ABREAST {
            let copied = victim.dir.path().join(format!("copy-{number}"));
            let (victim, files, truth, chance, next, fates) =
                (&victim, &files, &truth, &chance, &next, &fates);
            scope.spawn(move || {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    if turn >= flips || begun.elapsed() > Duration::from_secs(seconds) {
                        return;
                    }
                    let (file, used) = &files[usize::try_from(turn).unwrap() % files.len()];
                    let (place, bit) = {
                        let mut chance = chance.lock().unwrap();
                        (chance.below(*used), u8::try_from(chance.below(8)).unwrap())
                    };
                    let fate = victim.suffers(&copied, file, place, bit, truth);
                    fates.lock().unwrap().push(fate);
                }
            });
        }
    });
    let fates = fates.into_inner().unwrap();
    let count = |fate| fates.iter().filter(|known| **known == fate).count();
    assert!(fates.len() >= files.len(), "only {} of {} files had a turn", fates.len(), files.len());
    say(&format!(
        "flips: {} bits of {} files in {:?}: {} refused, {} alarmed, {} without effect",
        fates.len(),
        files.len(),
        begun.elapsed(),
        count(Fate::Refused),
        count(Fate::Alarmed),
        count(Fate::Unchanged)
    ));
}
