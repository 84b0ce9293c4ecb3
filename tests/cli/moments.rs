//! One grammar of moments, judged by the server's clock; and the clock itself.

use serde_json::json;

use crate::{
    fixture::{Fixture, ran},
    server::Server,
};

/// `--as-of 03:12` was refused, and `--since` took nothing but a length of time.
#[test]
fn every_option_that_looks_back_takes_the_same_moments() {
    let fixture = Fixture::new();
    fixture.server.session("agent", 3600);
    fixture.server.advance(86_400);
    for moment in ["1h", "'30m ago'", "03:12", "3am", "'yesterday 3am'", "2026-01-01", "2020-01-01T00:00:00Z"]
    {
        for line in ["events --since", "session list --as-of", "audit replay --at"] {
            fixture.tenure(&format!("{line} {moment}")).ok();
        }
    }
    let wrong = fixture.tenure("events --since soon");
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("30m ago") && wrong.stderr.contains("03:12"), "{wrong:?}");
}

/// Under a test clock that was moved ahead, `--since 1h` looked an hour back from the machine's time.
#[test]
fn a_moment_is_counted_from_the_servers_now() {
    let fixture = Fixture::new();
    fixture.server.session("agent", 3600);
    fixture.server.advance(43_200);
    fixture.server.create(&json!({"subjectId": "agent"}));
    let made = |since: &str| {
        let page = fixture.tenure(&format!("events --kinds SessionCreated --since {since} -o json")).json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!((made("1h"), made("13h")), (1, 2));
    let before = fixture.tenure("session list --status all --as-of 1h -q").ok().stdout;
    assert_eq!(before.lines().count(), 1, "{before}");
    let suspended = fixture.tenure("subject suspend agent --until 2h --yes -o json").json();
    let now = fixture.tenure("clock -o json").json()["now"].as_str().unwrap().to_owned();
    let now = tenure::core::Timestamp::parse(&now).unwrap();
    let until = tenure::core::Timestamp::parse(suspended["suspension"]["until"].as_str().unwrap()).unwrap();
    assert_eq!(until.seconds_since(now), 7_200);
}

#[test]
fn the_test_clock_is_shown_and_moved() {
    let fixture = Fixture::new();
    let now = |line: &str| {
        let shown = fixture.tenure(line).json();
        tenure::core::Timestamp::parse(shown["now"].as_str().unwrap()).unwrap()
    };
    let before = now("clock -o json");
    assert_eq!(now("clock advance 12h -o json").seconds_since(before), 43_200);
    assert_eq!(now("clock -o json").seconds_since(before), 43_200);
    let after = now("clock advance --to 03:12 -o json").to_string();
    assert!(after.contains("T03:12:00"), "{after}");
    assert_eq!(fixture.tenure("clock advance").code, 1);
}

#[test]
fn a_server_on_real_time_says_that_it_has_no_test_clock() {
    let server = Server::on_real_time();
    let fixture = Fixture::with(server);
    let refused = fixture.tenure("clock");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("--test-clock"), "{refused:?}");
    assert_eq!(ran(&mut fixture.by(&fixture.server.admin, &["whoami"])).code, 0);
}

/// Records and wide tables had moments in UTC on a terminal too, and nothing but `TZ=UTC` showed stories in it.
#[test]
fn a_terminal_shows_local_time_and_utc_where_it_is_asked_for() {
    let fixture = Fixture::new();
    fixture.server.session("agent", 3600);
    let exact = fixture.tenure("session show agent -o json").json()["createdAt"].as_str().unwrap().to_owned();
    let utc = tenure::core::Timestamp::parse(&exact).unwrap();
    // Nine hours ahead, without a database of time zones.
    let local = utc.plus_millis(9 * 3_600_000).to_string();
    let local = local[..19].replace('T', " ");
    let shown = |line: &str| fixture.on_terminal_in("JST-9", line, "").stdout;
    for line in ["session show agent", "session list -o wide", "session story agent"] {
        let (here, there) = (shown(line), shown(&format!("{line} --utc")));
        assert!(here.contains(&local) && !here.contains(&exact[..19]), "{line}: {local}: {here}");
        let there = there.replace(' ', "T");
        assert!(there.contains(&exact[..19]) && !there.contains(&local.replace(' ', "T")), "{line}: {there}");
    }
    assert!(fixture.tenure("session show agent").stdout.contains(&exact), "a program reads it in full");
    // What is shown can be typed: it is read by the same clock.
    let made = |options: &str| {
        let line = format!("events --kinds SessionCreated {options} -o json");
        serde_json::from_str::<serde_json::Value>(&shown(&line)).unwrap()["items"].as_array().unwrap().len()
    };
    let (day, time) = local.split_at(10);
    assert_eq!(made(&format!("--since '{day}{time}'")), 1);
    assert_eq!(made(&format!("--utc --since '{day}{time}'")), 0, "nine hours later");
}
