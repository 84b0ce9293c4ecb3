//! The same on a running server, and on what it leaves behind when it stops.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tenure_testing::command::CommandOutput;

use crate::commands::BINARY;

pub(crate) struct Serving {
    directory: Option<TempDir>,
    path: PathBuf,
    process: Child,
    url: String,
}

impl Serving {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut serving = Self::on(directory.path().to_owned(), &[]);
        serving.directory = Some(directory);
        serving
    }

    /// On `data` in a directory that is there.
    pub(crate) fn on(path: PathBuf, arguments: &[&str]) -> Self {
        Self::try_on(path, arguments).unwrap_or_else(|ran| panic!("{}", ran.stderr))
    }

    /// As [`Serving::on`]; what it said, where it does not start.
    pub(crate) fn try_on(path: PathBuf, arguments: &[&str]) -> Result<Self, CommandOutput> {
        let mut process = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--data", "data", "--test-clock"])
            .args(arguments)
            .current_dir(&path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let mut said = String::new();
        let url = lines.find_map(|line| {
            said.extend([line.as_str(), "\n"]);
            line.split_once("listening on ").map(|(_, url)| url.to_owned())
        });
        let Some(url) = url else {
            let code = process.wait().unwrap().code().unwrap();
            return Err(CommandOutput { code, stdout: String::new(), stderr: said });
        };
        // What is said behind it is read, or the server would stand still some day.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { directory: None, path, process, url })
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.run_as("json", arguments)
    }

    pub(crate) fn run_as(&self, form: &str, arguments: &[&str]) -> CommandOutput {
        let key = self.path.join("data/admin.key");
        let output = Command::new(BINARY)
            .args(arguments)
            .args(["--url", &self.url, "--key-file", key.to_str().unwrap(), "-o", form])
            .current_dir(&self.path)
            .output();
        output.unwrap().into()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The directory is kept for whoever holds what is returned.
    pub(crate) fn stop(mut self) -> Stopped {
        let kill = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(kill.success() && self.process.wait().unwrap().success());
        Stopped { path: self.path.clone(), _directory: self.directory.take() }
    }
}

/// What a server has left.
pub(crate) struct Stopped {
    path: PathBuf,
    _directory: Option<TempDir>,
}

impl Stopped {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_story() -> (Serving, String) {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent-7", "--name", "Seven", "--owner", "team"]).code, 0);
    let made = serving.run(&[
        "session",
        "create",
        "agent-7",
        "--token-file",
        "t",
        "--device",
        "laptop",
        "--scope",
        "read",
    ]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(serving.run(&["session", "renew", "--token-file", "t"]).code, 3);
    let id = made.json()["sessionId"].as_str().unwrap().to_owned();
    (serving, id)
}

#[test]
fn a_running_server_is_audited_from_outside() {
    let (serving, id) = a_story();
    let verdict = serving.run(&["audit", "verify"]);
    assert_eq!(verdict.code, 0, "{}", verdict.stderr);
    let to = verdict.json()["to"].as_u64().unwrap();
    assert!(to >= 5);
    let vkey = verdict.json()["verifierKey"].as_str().unwrap().to_owned();
    assert_eq!(serving.run(&["audit", "verify", "--verifier-key", &vkey]).json()["keyFrom"], "you");

    let compared = serving.run(&["audit", "replay", "--compare"]);
    assert_eq!((compared.code, &compared.json()["compared"]), (0, &1.into()), "{}", compared.stderr);
    let story = serving.run(&["audit", "show", &id]).json();
    assert_eq!(story["chapters"][1]["because"]["code"], "RENEWAL_TOO_EARLY");

    // A session as the audit tells it has the members of the HTTP reply, with the same values.
    let live = serving.run(&["session", "show", &id]).json();
    let told = &serving.run(&["audit", "replay"]).json()["items"][0];
    for (name, value) in told.as_object().unwrap() {
        assert_eq!(&live[name], value, "{name}");
    }

    let proof = serving.run(&["audit", "prove", "3"]);
    assert_eq!(proof.code, 0, "{}", proof.stderr);
    assert_eq!(serving.run(&["audit", "prove", "99999"]).code, 4);
    let part = serving.run(&["audit", "export", "part.export", "--from", "5", "--to", "6"]);
    assert_eq!((&part.json()["from"], &part.json()["to"]), (&5.into(), &6.into()));
    assert_eq!(serving.run(&["audit", "export", "part.export"]).code, 1, "it is there already");
    assert_eq!(serving.run(&["audit", "export", "beyond.export", "--to", "99999"]).code, 1);
    assert!(!serving.path().join("beyond.export").exists());
}

#[test]
fn the_uses_of_a_session_are_told_with_their_sums() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "buyer"]).code, 0);
    let limits = r#"{"maxTotalAmount": "20", "allowedOperations": ["pay"]}"#;
    let made = serving.run(&["session", "create", "buyer", "--constraints", limits, "--token-file", "t"]);
    let id = made.json()["sessionId"].as_str().unwrap().to_owned();
    let pay = ["session", "usage", &id, "--operation", "pay", "--amount", "12.50"];
    let used = serving.run(&[&pay[..], &["--destination", "acct:7", "--token-file", "t"]].concat());
    assert_eq!((used.code, &used.json()["totalAmount"]), (0, &"12.5".into()), "{}", used.stderr);
    let refused = serving.run(&pay);
    assert!(refused.code == 3 && refused.stderr.contains("maxTotalAmount"), "{}", refused.stderr);

    let chapters = serving.run(&["audit", "show", &id]).json()["chapters"].clone();
    let said = chapters[1].to_string();
    assert!(said.contains(": pay, 12.50, to acct:7. That was use 1, and makes 12.5 in all."), "{said}");
    let replayed = serving.run(&["audit", "replay", "--compare"]);
    assert_eq!((replayed.code, &replayed.json()["compared"]), (0, &1.into()), "{}", replayed.stderr);
    let item = serving.run(&["audit", "replay"]).json()["items"][0].clone();
    let live = serving.run(&["session", "show", &id]).json();
    assert_eq!((&item["usage"], &item["constraints"]), (&live["usage"], &live["constraints"]));
    assert_eq!(
        (&item["usage"]["transactions"], &item["constraints"]["maxTotalAmount"]),
        (&1.into(), &"20".into())
    );
    let position = item["asOfPosition"].as_u64().unwrap();
    let last = (position.to_string(), (position - 1).to_string());
    let changes = serving.run(&["audit", "diff", &last.1, &last.0]).json();
    assert_eq!((&changes["items"][0]["field"], &changes["items"][1]), (&"usage".into(), &().into()));

    assert_eq!(serving.run(&["session", "revoke", &id, "--yes"]).code, 0);
    assert_eq!(serving.run(&pay).code, 5);
}

/// What an admin does is looked into first, and was in no difference at all.
#[test]
fn keys_webhooks_and_api_keys_are_in_the_difference() {
    let serving = Serving::start();
    let changes = |words: &[&str]| {
        let position = || serving.run(&["audit", "replay"]).json()["asOfPosition"].to_string();
        let before = position();
        let done = serving.run(words);
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        let found = serving.run(&["audit", "diff", &before, &position()]).json();
        let found = found["items"].as_array().unwrap().iter().map(|item| {
            let of = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            (of("what"), of("field"))
        });
        (found.collect::<Vec<_>>(), done)
    };
    let pair = |what: &str, field: &str| (what.to_owned(), field.to_owned());
    let (found, _) = changes(&["keys", "rotate", "--which", "session", "--retire", "overlap", "--yes"]);
    assert!(found.contains(&pair("key", "new")) && found.contains(&pair("key", "retireAt")), "{found:?}");
    let (found, made) = changes(&["webhook", "add", "https://example.com/hook"]);
    assert_eq!(found, [pair("webhook", "new")]);
    let id = made.json()["webhookId"].as_str().unwrap().to_owned();
    let (found, _) = changes(&["webhook", "remove", &id, "--yes"]);
    assert_eq!(found, [pair("webhook", "deleted")]);
    let (found, made) = changes(&["credential", "create", "--role", "auditor", "--expires-in", "1h"]);
    assert_eq!(found, [pair("credential", "new")]);
    let id = made.json()["credentialId"].as_str().unwrap().to_owned();
    let (found, _) = changes(&["credential", "revoke", &id, "--yes"]);
    assert_eq!(found, [pair("credential", "revokedAt")]);
}

/// A suspension is no event of a session, and yet belongs to the story of each: no token worked meanwhile.
#[test]
fn a_suspension_is_in_the_story_the_replay_the_difference_and_the_import() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent-7", "--owner", "team"]).code, 0);
    let made = serving.run(&["session", "create", "agent-7", "--token-file", "t"]);
    let id = made.json()["sessionId"].as_str().unwrap().to_owned();
    let suspend = ["subject", "suspend", "agent-7", "--reason", "odd", "--for", "1h", "--yes"];
    assert_eq!(serving.run(&suspend).code, 0);
    let story = serving.run(&["audit", "show", &id]).json();
    let said = story["chapters"][1].to_string();
    assert!(said.contains("Its subject was suspended by API key") && said.contains("it is sealed"), "{said}");
    let next = story["next"].to_string();
    assert!(
        next.contains("no token of it works until") && next.contains("while its subject is suspended"),
        "{next}"
    );
    assert!(!next.contains("Its token works") && next.contains("Its period ends"), "{next}");
    let position = story["session"]["asOfPosition"].as_u64().unwrap();
    let changes = serving.run(&["audit", "diff", &(position - 1).to_string(), &position.to_string()]).json();
    let change = &changes["items"][0];
    assert_eq!((&change["field"], &change["before"]), (&"suspension".into(), &().into()), "{changes}");
    let compared = serving.run(&["audit", "replay", "--compare"]);
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    fs::write(serving.path().join("policy.toml"), "session.ttl = 600\n").unwrap();
    let what_if = serving.run(&["audit", "what-if", "--policy", "policy.toml"]);
    assert_eq!(
        (what_if.code, &what_if.json()["divergences"]),
        (0, &serde_json::json!([])),
        "{}",
        what_if.stderr
    );
    assert_eq!(serving.run(&["subject", "resume", "agent-7"]).code, 0);
    let story = serving.run(&["audit", "show", &id]).json();
    assert!(
        story["chapters"][2]["words"]
            .as_str()
            .unwrap()
            .starts_with("The suspension of its subject was lifted by")
    );
    assert_eq!(serving.run(&["session", "revoke", &id, "--yes"]).code, 0);
    let next_of_ended = || serving.run(&["audit", "show", &id]).json()["next"].to_string();
    assert!(next_of_ended().contains("may be given a new session"), "it is resumed");
    assert_eq!(serving.run(&suspend).code, 0);
    let next = next_of_ended();
    assert!(next.contains("is given no session until") && !next.contains("may be given"), "{next}");
    assert_eq!(serving.run(&["audit", "export", "all.export"]).code, 0);
    let imported = serving.run(&["audit", "import", "all.export", "--data", "copy"]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    let state = |source: &[&str]| {
        let replayed = serving.run(&[&["audit", "replay"], source].concat());
        assert_eq!(replayed.code, 0, "{}", replayed.stderr);
        (replayed.json()["stateDigest"].clone(), replayed.json()["asOfPosition"].clone())
    };
    assert_eq!(state(&["--data", "copy"]), state(&["--file", "all.export"]));
}

#[test]
fn an_export_has_no_text_about_people_no_token_and_no_key() {
    let (serving, _) = a_story();
    assert_eq!(serving.run(&["audit", "export", "all.export"]).code, 0);
    let export = fs::read_to_string(serving.path().join("all.export")).unwrap();
    let decoded: Vec<u8> = export
        .lines()
        .filter_map(|line| Some(line.split_once("\"commit\":\"")?.1.trim_end_matches("\"}").to_owned()))
        .flat_map(|text| base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap())
        .collect();
    let raw = String::from_utf8_lossy(&decoded);
    assert!(raw.contains("agent-7"), "ids are in it");
    for secret in ["Seven", "laptop", "tnr_"] {
        assert!(!raw.contains(secret) && !export.contains(secret), "{secret}");
    }
}

#[test]
fn a_stopped_server_says_the_same_as_the_running_one() {
    let (serving, _) = a_story();
    // An export signs a head; what is recorded behind it comes under the next one.
    assert_eq!(serving.run(&["audit", "export", "first.export"]).code, 0);
    assert_eq!(serving.run(&["credential", "create", "--role", "auditor"]).code, 0);
    assert_eq!(serving.run(&["audit", "export", "all.export"]).code, 0);
    let in_use = serving.run(&["audit", "verify", "--data", "data"]);
    assert_eq!(in_use.code, 2, "{}", in_use.stderr);
    let directory = serving.stop();
    let run = |arguments: &[&str]| -> CommandOutput {
        let command = Command::new(BINARY)
            .arg("audit")
            .args(arguments)
            .args(["-o", "json"])
            .current_dir(directory.path())
            .output();
        command.unwrap().into()
    };
    let verdict = run(&["verify", "--data", "data"]);
    assert_eq!(verdict.code, 0, "{}", verdict.stderr);
    let compared = run(&["replay", "--compare", "--data", "data"]);
    assert_eq!(compared.code, 0, "{}", compared.stderr);
    assert_eq!(run(&["prove", "2", "--data", "data"]).code, 0);
    let exported = run(&["export", "stopped.export", "--data", "data"]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    let lines = |name: &str| -> Vec<String> {
        fs::read_to_string(directory.path().join(name)).unwrap().lines().map(str::to_owned).collect()
    };
    let (served, stopped) = (lines("all.export"), lines("stopped.export"));
    let heads = served.iter().filter(|line| line.starts_with("{\"head\"")).count();
    assert!(heads > 0, "a forged record is found between two heads, and there are some: {heads}");
    let commits = served.len() - 1;
    assert_eq!(served[..commits], stopped[..commits], "the same records under the same key");
}
