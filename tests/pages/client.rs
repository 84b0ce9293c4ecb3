//! `docs/client.md` and `docs/verify.md`: what they say to type is typed.
//!
//! What stands in for what: `./agent` is a script that shows its token, or asks through its proxy as the page does.
//! What the pages call with `cargo` are tests and the example, which are run as such.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::page::{Part, Reader, parts};

/// The blocks of commands on a page, without those that call cargo.
fn blocks(page: &str) -> Vec<String> {
    let of_part = |part| if let Part::Commands(commands) = part { Some(commands) } else { None };
    parts(page).into_iter().filter_map(of_part).filter(|commands| !commands.contains("cargo test")).collect()
}

#[test]
fn a_command_with_a_session_is_started_as_the_page_says() {
    let reader = Reader::new(&[], "true".into());
    let [held, proxied, asked, minted] = blocks("client.md").try_into().expect("four blocks of commands");
    let agent = format!("if [ -n \"${{TENURE_PROXY_URL-}}\" ]; then {asked}; else tenure session token; fi");
    reader.write("agent", &format!("#!/bin/sh\n{agent}\n"), 0o755);
    let said = reader.run(&held);
    assert!(said.contains("\ntnr_sess_"), "{said}");
    // Nobody is at that address here, and the proxy says so: with the session's token it would be asked.
    let said = reader.run(&proxied.replace("api.example.com", "api.example.invalid"));
    assert!(said.contains("tenure run: ") && !said.contains("tnr_sess_"), "{said}");
    reader.run("tenure session create agent-7 --session-file agent-7.session");
    let said = reader.run(&minted);
    assert!(said.contains("accessToken: v4.public."), "{said}");
}

#[test]
fn a_service_gets_its_key_in_a_file_of_its_own() {
    let reader = Reader::new(&[], "true".into());
    let first = blocks("verify.md").swap_remove(0);
    let (own, example) = first.rsplit_once('\n').unwrap();
    assert!(
        example.starts_with("cargo run --example protected_service -- http://127.0.0.1:7300 verifier.key ")
    );
    reader.run(own);
    let path = reader.place("verifier.key");
    assert!(fs::read_to_string(&path).unwrap().starts_with("tnr_key_"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
