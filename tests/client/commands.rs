//! Commands of `tenure` on a running server: what they ask by a session file, and what a dry run foretells.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_testing::command::CommandOutput;

use crate::server::Server;

pub(crate) struct Fixture {
    pub(crate) server: Server,
    directory: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { server: Server::start(), directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn run(&self, url: Option<&str>, line: &str) -> CommandOutput {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.args(line.split(' ')).current_dir(self.directory.path()).env_clear().stdin(Stdio::null());
        if let Some(url) = url {
            command.args(["--url", url, "--key-file"]).arg(self.server.data().join("admin.key"));
        }
        command.output().unwrap().into()
    }

    pub(crate) fn place(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// As an admin of the server.
    pub(crate) fn tenure(&self, line: &str) -> CommandOutput {
        self.run(Some(&format!("http://{}", self.server.address())), line)
    }

    fn session_file(&self) -> String {
        self.server.register("agent", &json!({}));
        self.tenure("session create agent -o json --session-file agent.session").json()["sessionId"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[test]
fn a_session_file_says_which_session_asks_and_which_server() {
    let fixture = Fixture::new();
    let id = fixture.session_file();
    // Without an address and a key: both would be another server's.
    let used = fixture.run(None, "session usage --session-file agent.session --operation pay -o json");
    assert_eq!(used.json()["transactions"], 1);
    let minted = fixture.run(None, "session access-token --session-file agent.session -o json").json();
    assert!(minted["accessToken"].as_str().unwrap().starts_with("v4.public."), "{minted}");
    let judged = fixture.tenure("introspect --session-file agent.session -o json").json();
    assert_eq!((&judged["active"], &judged["sessionId"]), (&json!(true), &json!(id)));
    let actors: Vec<_> =
        fixture.server.events("UsageRecorded").iter().map(|event| event["actor"]["id"].clone()).collect();
    assert_eq!(actors, [json!(id)], "the session itself has asked");
}

#[test]
fn which_session_is_meant_is_said_once() {
    let fixture = Fixture::new();
    fixture.session_file();
    for line in [
        "session usage --operation pay",
        "session usage some-id --session-file agent.session --operation pay",
        "session usage --session-file agent.session --token-file t --operation pay",
        "session access-token --session-file agent.session --token-file t",
        "introspect some-token --session-file agent.session",
        "introspect",
    ] {
        assert_eq!(fixture.tenure(line).code, 1, "{line}");
    }
}

/// Exit codes and data of a dry run are those of the real one, as far as that changes nothing.
#[track_caller]
fn refused_alike(fixture: &Fixture, line: &str, code: i32) {
    let dry = fixture.tenure(&format!("{line} --dry-run"));
    let real = fixture.tenure(&format!("{line} --yes"));
    assert_eq!((dry.code, real.code), (code, code), "{line}: {} {}", dry.stderr, real.stderr);
}

#[test]
fn what_would_be_refused_is_refused_in_a_dry_run_too() {
    let fixture = Fixture::new();
    refused_alike(&fixture, "subject logout nosuch", 4);
    refused_alike(&fixture, "session revoke nosuch", 4);
    refused_alike(&fixture, "webhook remove nosuch", 4);
    refused_alike(&fixture, "subject erase nosuch --reason over", 4);
    refused_alike(&fixture, "credential revoke nosuch", 4);
    fixture.server.register("agent", &json!({}));
    refused_alike(&fixture, "subject logout agent --except nosuch", 1);
    let unknown = "0199a2f0-1111-7111-9111-111111111111";
    refused_alike(&fixture, &format!("subject logout agent --except {unknown}"), 4);
    let of_another = fixture.server.session("another", 3600);
    refused_alike(&fixture, &format!("subject logout agent --except {}", of_another.id), 4);
    let session = fixture.server.create(&json!({ "subjectId": "agent" }));
    refused_alike(&fixture, &format!("session revoke {} --reject-renewal true", session.id), 1);
    let keys = fixture.tenure("credential list -o json").json();
    let admin = keys["items"][0]["credentialId"].as_str().unwrap();
    refused_alike(&fixture, &format!("credential revoke {admin}"), 5);
}

#[test]
fn a_rotation_that_is_too_soon_is_too_soon_in_a_dry_run_too() {
    let fixture = Fixture::new();
    for which in ["session", "access"] {
        let line = format!("keys rotate --which {which}");
        assert_eq!(fixture.tenure(&format!("{line} --dry-run")).code, 0);
        assert_eq!(fixture.tenure(&format!("{line} --yes")).code, 0);
        fixture.server.advance(299);
        refused_alike(&fixture, &line, 3);
        let dry = fixture.tenure(&format!("{line} --dry-run"));
        assert!(dry.stderr.contains("it may be again at 20"), "{}", dry.stderr);
        let now = fixture.tenure(&format!("{line} --retire now --dry-run"));
        assert_eq!(now.code, 0, "{}", now.stderr);
        fixture.server.advance(1);
        assert_eq!(fixture.tenure(&format!("{line} --dry-run")).code, 0);
        assert_eq!(fixture.tenure(&format!("{line} --yes")).code, 0);
        // That the old key ends at once makes nobody wait.
        fixture.server.advance(300);
        assert_eq!(fixture.tenure(&format!("{line} --retire now --yes")).code, 0);
        assert_eq!(fixture.tenure(&format!("{line} --dry-run")).code, 0);
    }
}

#[test]
fn a_dry_run_says_that_what_has_ended_would_not_change() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    let session = fixture.server.create(&json!({ "subjectId": "agent" }));
    let line = format!("session revoke {}", session.id);
    assert!(fixture.tenure(&format!("{line} --dry-run")).stderr.contains("would end"));
    assert_eq!(fixture.tenure(&format!("{line} --yes")).code, 0);
    assert!(fixture.tenure(&format!("{line} --dry-run")).stderr.contains("nothing would change"));
}

#[test]
fn a_key_that_was_revoked_is_seen_to_be() {
    let fixture = Fixture::new();
    let (_, id) = fixture.server.issue_key("auditor", None);
    assert_eq!(fixture.tenure(&format!("credential revoke {id} --yes")).code, 0);
    let list = fixture.tenure("credential list").stdout;
    let columns: Vec<_> = list.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns.last(), Some(&"REVOKED"), "{list}");
    let ends = |role: &str| {
        let line = list.lines().find(|line| line.contains(role)).unwrap();
        line.trim_end().ends_with('-')
    };
    assert!(ends(" admin ") && !ends(" auditor "), "{list}");
}

#[test]
fn a_key_of_a_stopped_server_is_told_with_the_members_of_the_reply() {
    let mut fixture = Fixture::new();
    let made = fixture.tenure("credential create --role auditor --name Ann -o json").json();
    assert!(fixture.server.stop().success());
    let data = fixture.server.data();
    let line = format!("credential create --role auditor --name Ann -o json --data {}", data.display());
    let offline = fixture.run(None, &line).json();
    let names = |made: &Value| made.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&offline), names(&made));
    assert_eq!(offline["revokedAt"], Value::Null);
    fixture.server.start_again();
    let keys = fixture.tenure("credential list -o json").json();
    let listed =
        keys["items"].as_array().unwrap().iter().find(|key| key["credentialId"] == offline["credentialId"]);
    assert_eq!(listed.unwrap()["createdAt"], offline["createdAt"]);
}

#[test]
fn a_proof_of_a_running_server_has_the_hash_of_the_record() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({ "ownerId": "alice" }));
    let proved = fixture.tenure("audit prove 1 -o json").json();
    let events =
        fixture.server.get("/v1/events?limit=1").bearer(&fixture.server.admin).send().expect(200).json();
    assert_eq!(proved["recordHash"], events["items"][0]["recordHash"]);
    assert!(proved["recordHash"].is_string());
    // An owner proves what it may not read, by its leaf alone.
    let (alice, _) = fixture.server.issue_key("owner", Some("alice"));
    std::fs::write(fixture.directory.path().join("alice.key"), alice).unwrap();
    let url = format!("http://{}", fixture.server.address());
    let line = format!("audit prove 1 -o json --url {url} --key-file alice.key");
    let proved = fixture.run(None, &line).json();
    assert_eq!(proved["recordHash"], Value::Null);
    assert!(proved["leafHash"].is_string());
}

#[test]
fn help_says_what_a_command_does() {
    let fixture = Fixture::new();
    for line in ["audit --help", "audit verify --help"] {
        let help = fixture.run(None, line).stdout;
        assert!(!help.contains("Arguments of"), "{line}: {help}");
    }
}

/// An account number of 23 digits went out of the command line, and came back to it, as a float of another number.
#[test]
fn metadata_goes_out_and_comes_back_with_its_digits() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    let metadata = r#"{"account":12345678901234567890123,"rate":1.10}"#;
    let made = fixture.tenure(&format!("session create agent -o json --metadata {metadata}")).json();
    let id = made["sessionId"].as_str().unwrap();
    for line in [
        format!("session show {id} -o jsonl"),
        format!("session show {id}"),
        "session list --subject agent -o jsonl".to_owned(),
        "events --kinds SessionCreated -o jsonl".to_owned(),
    ] {
        let shown = fixture.tenure(&line);
        assert!(shown.stdout.contains(metadata), "{line}: {}{}", shown.stdout, shown.stderr);
    }
    let pretty = fixture.tenure(&format!("session show {id} -o json")).stdout;
    assert!(pretty.contains("\"account\": 12345678901234567890123"), "{pretty}");
}

/// The item of a key: those of one millisecond have no order among themselves.
fn listed_as<'a>(list: &'a Value, id: &Value) -> &'a Value {
    let items = list["items"].as_array().unwrap();
    items.iter().find(|item| item["credentialId"] == *id).expect("it is in the list")
}

#[test]
fn a_key_with_an_end_is_created_and_listed_also_on_a_stopped_server() {
    let mut fixture = Fixture::new();
    let made = fixture.tenure("credential create --role verifier --expires-in 90m -o json").json();
    let created = fixture.server.events("CredentialIssued");
    assert_eq!(created[1]["data"]["expiresIn"], 5_400);
    let listed = fixture.tenure("credential list -o json").json();
    let item = listed_as(&listed, &made["credentialId"]);
    assert_eq!(item["expiresAt"], made["expiresAt"]);
    assert_eq!(item["lastUsedAt"], Value::Null);
    let table = fixture.tenure("credential list").stdout;
    assert!(table.contains("EXPIRES") && table.contains("LAST USED"), "{table}");
    // Of two admin keys the one without an end stays.
    fixture.tenure("credential create --role admin --expires-in 1h -o json").json();
    let items = listed["items"].as_array().unwrap();
    let first = items.iter().find(|item| item["role"] == "admin").unwrap()["credentialId"].as_str().unwrap();
    refused_alike(&fixture, &format!("credential revoke {first}"), 5);
    assert!(fixture.server.stop().success());
    let data = fixture.server.data();
    let line = format!("credential create --role auditor --expires-in 1d -o json --data {}", data.display());
    let made = fixture.run(None, &line).json();
    fixture.server.start_again();
    let listed = fixture.tenure("credential list -o json").json();
    let item = listed_as(&listed, &made["credentialId"]);
    assert_eq!(item["expiresAt"], made["expiresAt"]);
}

#[test]
fn a_subject_is_suspended_and_resumed_on_the_command_line() {
    let fixture = Fixture::new();
    let id = fixture.session_file();
    let dry = fixture.tenure("subject suspend agent --dry-run");
    assert!(dry.code == 0 && dry.stderr.contains("would be suspended"), "{}{}", dry.stdout, dry.stderr);
    let asked = fixture.tenure("subject suspend agent");
    assert_eq!(asked.code, 1, "without a terminal and without --yes: {}", asked.stderr);
    let suspended = fixture.tenure("subject suspend agent --reason odd --for 2h --yes -o json").json();
    let moment = |value: &Value| tenure::core::Timestamp::parse(value.as_str().unwrap()).unwrap();
    let (at, until) = (moment(&suspended["suspension"]["at"]), moment(&suspended["suspension"]["until"]));
    assert_eq!((until.seconds_since(at), &suspended["suspension"]["reason"]), (7_200, &json!("odd")));
    let list = fixture.tenure("subject list -o wide").stdout;
    assert!(list.contains("SUSPENDED") && list.contains(&at.to_string()), "{list}");
    let shown = fixture.tenure("subject show agent").stdout;
    for said in ["suspension.at", &at.to_string(), &until.to_string(), "2h left", "odd"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let created = fixture.tenure("session create agent");
    assert_eq!(created.code, 3, "{}", created.stderr);
    assert!(
        created.stderr.contains("SUBJECT_SUSPENDED") && created.stderr.contains("retry at"),
        "{}",
        created.stderr
    );
    let watched = fixture.tenure("events --kinds SubjectSuspended -o jsonl").stdout;
    assert!(watched.contains("\"odd\""), "{watched}");
    let past = fixture.tenure("subject suspend agent --until 2020-01-01T00:00:00Z --yes");
    assert!(past.code == 1 && past.stderr.contains("--until"), "{}", past.stderr);
    assert_eq!(fixture.tenure("subject suspend agent --until 2030-01-01T00:00:00Z --for 1h --yes").code, 1);
    assert_eq!(fixture.tenure("subject suspend ghost --yes").code, 4);
    let resumed = fixture.tenure("subject resume agent --reason well -o json").json();
    assert_eq!(resumed["suspension"], Value::Null);
    assert_eq!(fixture.tenure("introspect --session-file agent.session -o json").json()["active"], true);
    let ended =
        fixture.tenure(&format!("session revoke {id} --suspend --reason stolen --yes -o json")).json();
    assert_eq!(ended["status"], "REVOKED");
    let shown = fixture.tenure("subject show agent -o json").json();
    assert_eq!(shown["suspension"]["reason"], "stolen");
}
