//! `tenure dev`: what a newcomer sees in the first two minutes.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use tenure_testing::command::CommandOutput;

use crate::fixture::{Fixture, ran};

/// The README's first command; every command in it is one that anybody can type.
#[test]
fn the_demo_shows_a_session_a_renewal_a_lost_reply_and_a_veto_and_leaves_nothing() {
    let fixture = Fixture::empty();
    std::fs::create_dir(fixture.place("tmp")).unwrap();
    let shown = ran(fixture.bare(&["dev", "--demo"]).env("TMPDIR", fixture.place("tmp"))).ok();
    for said in [
        "$ tenure session create night-bot --ttl 24h --session-file night-bot.session",
        "$ tenure clock advance 13h",
        "renewalCount       1",
        "$ tenure session renew --session-file night-bot.session --url http://a-bad-network",
        "renewalCount       2",
        "night-bot  Night shift  2 of 30",
        "Vetoed renewal 2 of night-bot.",
        "renewal vetoed, by Alice's phone",
        "ended: vetoed: \"not at night\", by Alice's phone",
    ] {
        assert!(shown.stdout.contains(said), "{said}: {}", shown.stdout);
    }
    assert!(!shown.stdout.contains("renewalCount       3"), "the lost reply cost nothing: {}", shown.stdout);
    assert!(shown.stderr.contains("code: SESSION_REVOKED"), "{}", shown.stderr);
    assert!(!format!("{shown:?}").contains("tnr_"), "no secret is shown: {shown:?}");
    assert_eq!(std::fs::read_dir(fixture.place("tmp")).unwrap().count(), 0, "it is thrown away");
}

#[test]
fn an_authority_to_try_things_on_says_how_to_reach_it_and_is_gone_when_it_ends() {
    let fixture = Fixture::empty();
    std::fs::create_dir(fixture.place("tmp")).unwrap();
    let mut dev = fixture
        .bare(&["dev", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", fixture.place("tmp"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(dev.stdout.take().unwrap()).lines().map(Result::unwrap);
    let exports: Vec<_> =
        lines.take(2).map(|line| line.strip_prefix("export ").unwrap().to_owned()).collect();
    let tenure = |line: &str| -> CommandOutput {
        let mut command = fixture.bare(&line.split(' ').collect::<Vec<_>>());
        ran(command.envs(exports.iter().map(|export| export.split_once('=').unwrap())))
    };
    assert_eq!(tenure("whoami -o json").json()["role"], "admin");
    tenure("subject put agent-7 --kind agent").ok();
    tenure("session create agent-7 --session-file agent-7.session").ok();
    tenure("clock advance 13h").ok();
    tenure("session renew --session-file agent-7.session").ok();
    kill_process(Pid::from_child(&dev), Signal::INT).unwrap();
    assert!(dev.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(fixture.place("tmp")).unwrap().count(), 0, "it is thrown away");
}

#[test]
fn it_is_for_this_host_only() {
    let fixture = Fixture::empty();
    let refused = ran(&mut fixture.bare(&["dev", "--listen", "0.0.0.0:0"]));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("loopback"), "{refused:?}");
}
