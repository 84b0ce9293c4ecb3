//! A session under `tenure run` idles by what its command does, and by nothing else.

use std::{fs, time::Duration};

use tenure::clock::pause;

use crate::{
    run::{Fixture, code, text},
    server::Server,
};

/// `tenure run` asked after its session every few seconds, and each time was a use: a command that did nothing kept its
/// session for as long as it ran.
#[test]
fn a_command_that_does_nothing_lets_its_session_go_idle() {
    let fixture = Fixture::with(Server::start());
    let running = fixture.run(&["--idle-timeout", "60s"], "touch ready; exec sleep 60").spawn().unwrap();
    fixture.wait_for("ready");
    for _ in 0..2 {
        fixture.server.advance(50);
        // The keeper looks every second.
        pause(Duration::from_millis(2_500));
    }
    let output = running.wait_with_output().unwrap();
    let heard = text(&output.stderr);
    assert!(heard.contains("SESSION_IDLE"), "{heard}");
    assert_eq!(code(&output), 2, "{heard}");
}

#[test]
fn what_a_command_does_keeps_its_session() {
    let fixture = Fixture::with(Server::start());
    let script = "touch ready; while ! [ -e go ]; do \
                  if [ -e use ]; then rm use; tenure session usage --session-file agent.session --operation work \
                  && touch used; fi; sleep 0.05; done";
    let running = fixture.run(&["--idle-timeout", "60s"], script).spawn().unwrap();
    fixture.wait_for("ready");
    for _ in 0..3 {
        fixture.server.advance(50);
        fs::write(fixture.place("use"), "").unwrap();
        fixture.wait_for("used");
        fs::remove_file(fixture.place("used")).unwrap();
    }
    pause(Duration::from_millis(2_500));
    fs::write(fixture.place("go"), "").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
}
