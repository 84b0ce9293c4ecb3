//! Who tried what they may not leaves a line in the log: an attack was seen in a number only, without an address.

use std::process::{Command, Stdio};

use crate::server::Server;

fn lines(said: &str, what: &str) -> Vec<String> {
    let refused = said.lines().filter(|line| line.contains("requests were refused") && line.contains(what));
    refused.map(str::to_owned).collect()
}

#[test]
fn refused_calls_leave_one_line_a_minute_with_address_code_and_route() {
    let mut server = Server::with(&["security.limit_loopback=true"]);
    let (auditor, id) = server.issue_key("auditor", None);
    for _ in 0..30 {
        server.get("/v1/sessions").bearer("tnr_key_wrong").send();
        server.get("/v1/clock").bearer(&auditor).send().expect(403);
        server.get("/v1/subjects").send().expect(401);
    }
    server.stop();
    let said = server.said();
    for (code, route) in
        [("INVALID_TOKEN", "/v1/sessions"), ("RATE_LIMITED", "/v1/sessions"), ("FORBIDDEN", "/v1/clock")]
    {
        let found = lines(&said, code);
        assert_eq!(found.len(), 1, "{code}: {said}");
        assert!(found[0].contains("127.0.0.1") && found[0].contains(route), "{found:?}");
        assert_eq!(found[0].contains(&id), code == "FORBIDDEN", "{found:?}");
    }
    assert!(!said.contains("/v1/subjects") && !said.contains("tnr_key_wrong"), "{said}");
}

#[test]
fn every_request_is_logged_for_who_asks_for_it() {
    for asked in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let flags: &[&str] = if asked { &["--access-log"] } else { &[] };
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .args(flags)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("listening on http://") {
            assert!(std::io::BufRead::read_line(&mut lines, &mut said).unwrap() > 0, "{said}");
        }
        let address = said.split_once("listening on http://").unwrap().1.trim().to_owned();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: t\r\nx-request-id: mine\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, request).unwrap();
        std::io::Read::read_to_string(&mut stream, &mut String::new()).unwrap();
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
        child.wait().unwrap();
        let line = said.lines().find(|line| line.contains("tenure::access"));
        assert_eq!(line.is_some(), asked, "{said}");
        let has_all = |line: &str| ["/healthz", "200", "mine"].iter().all(|word| line.contains(word));
        assert!(line.is_none_or(has_all), "{said}");
    }
}
