//! `tenure audit show` of a subject, from wherever the history is read. From a file or a stopped server's directory it took
//! nothing but a session's whole id, which one had to find by a replay first.

use tenure_testing::command::CommandOutput;

use crate::{
    commands::{BOT, audit},
    incident::{path, vkey},
    server::Serving,
};

fn shown(words: &[&str]) -> CommandOutput {
    let (file, key) = (path("incident.export"), vkey());
    let words = [&["show"], words, &["--file", file.to_str().unwrap(), "--verifier-key", &key, "-o", "json"]]
        .concat();
    audit(&words)
}

fn id(ran: &CommandOutput) -> String {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.json()["session"]["sessionId"].as_str().unwrap().to_owned()
}

#[test]
fn an_export_is_asked_by_subject_or_by_the_beginning_of_an_id() {
    // While it lived, and after its end: it is the newest then.
    let at = ["payments-bot", "--at", "2026-11-22T03:12:00Z"];
    let whole = shown(&[BOT, "--at", "2026-11-22T03:12:00Z"]);
    assert_eq!(shown(&at).stdout, whole.stdout);
    assert_eq!(id(&shown(&["payments-bot", "--at", "2026-11-22T03:09:00Z"])), BOT);
    for beginning in ["01a200c4", "01a200c4-6280-7013-ac66-70bf18b2a29"] {
        assert_eq!(id(&shown(&[beginning, "--at", "2026-11-22T03:12:00Z"])), BOT, "{beginning}");
    }
    assert_eq!(
        id(&shown(&["payments", "--at", "2026-11-22T03:12:00Z"])),
        BOT,
        "the beginning of a subject's id"
    );
    // At the end the subject has newer ones.
    assert_ne!(id(&shown(&["payments-bot"])), BOT);
}

#[test]
fn what_fits_several_is_a_conflict_with_the_candidates_and_what_fits_nothing_is_missing() {
    let both = shown(&["01a20144"]);
    assert_eq!(both.code, 5, "{}", both.stderr);
    assert!(both.stderr.matches("01a20144-8f00-7").count() >= 2, "{}", both.stderr);
    for nothing in ["nonsense", "01a", "mail", "pay", BOT.replace("29c", "29d").as_str()] {
        let code = if nothing == "mail" { 0 } else { 4 };
        assert_eq!(shown(&[nothing]).code, code, "{nothing}");
    }
    assert_eq!(shown(&["payments-bot", "--position", "5"]).code, 4, "before its first session");
}

/// The same words on a live server, its stopped directory and its export.
#[test]
fn a_live_server_its_directory_and_its_export_say_the_same_of_a_subject() {
    let serving = Serving::start();
    assert_eq!(serving.run(&["subject", "put", "agent-7"]).code, 0);
    assert_eq!(serving.run(&["subject", "put", "agent-8"]).code, 0);
    for subject in ["agent-7", "agent-8", "agent-8"] {
        let token = format!("{subject}.token");
        let _ = std::fs::remove_file(serving.path().join(&token));
        assert_eq!(serving.run(&["session", "create", subject, "--token-file", &token]).code, 0);
    }
    let chapters = |ran: CommandOutput| ran.json()["chapters"].clone();
    let live = chapters(serving.run(&["audit", "show", "agent-7"]));
    assert_eq!(live[0]["kind"], "SessionCreated");
    let of_two = serving.run(&["audit", "show", "agent-8"]);
    assert_eq!(of_two.code, 5, "{}", of_two.stderr);
    assert_eq!(serving.run(&["audit", "export", "all.export"]).code, 0);
    let stopped = serving.stop();
    let (data, export) = (stopped.path().join("data"), stopped.path().join("all.export"));
    for source in [["--data", data.to_str().unwrap()], ["--file", export.to_str().unwrap()]] {
        let show = |whom| audit(&[&["show", whom, "-o", "json"][..], &source].concat());
        assert_eq!(chapters(show("agent-7")), live, "{source:?}");
        assert_eq!(show("agent-8").code, 5, "{source:?}");
        assert_eq!(show("agent").code, 5, "two subjects begin so: {source:?}");
    }
}
