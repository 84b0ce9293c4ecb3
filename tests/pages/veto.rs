//! `docs/veto.md`, with a receiver that stands in for a phone: behind a renewal, what is shown is what it got.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc,
    time::Duration,
};

use crate::page::{Part, Reader, expect_shown, parts};

const PATIENCE: Duration = Duration::from_secs(20);

/// A receiver that takes everything and gives back the bodies.
fn receiver() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/alice-night", listener.local_addr().unwrap());
    let (tell, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream);
            let (mut head, mut length) = (String::new(), 0);
            while lines.read_line(&mut head).unwrap_or(0) > 2 {
                let line = head.to_lowercase();
                if let Some(value) = line.strip_prefix("content-length: ") {
                    length = value.trim().parse().unwrap();
                }
                head.clear();
            }
            let mut body = vec![0; length];
            lines.read_exact(&mut body).unwrap();
            drop((&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"));
            if tell.send(String::from_utf8(body).unwrap()).is_err() {
                return;
            }
        }
    });
    (url, bodies)
}

#[test]
fn the_night_goes_as_it_is_told() {
    let (url, bodies) = receiver();
    let reader = Reader::new(&["webhooks.allow_private=true"], format!("RECEIVER='{url}'"));
    let (mut said, mut shown) = (String::new(), 0);
    for part in parts("veto.md") {
        match part {
            Part::Commands(commands) => {
                said = reader.run(&commands);
                if commands.contains("session renew") && !commands.contains("||") {
                    // The words of the message are in a JSON text.
                    said = bodies.recv_timeout(PATIENCE).unwrap().replace("\\n", "\n");
                }
            }
            Part::Shown(words) => {
                expect_shown(&words, &said);
                shown += 1;
            }
            Part::Pass(seconds) => reader.pass(seconds),
        }
    }
    assert_eq!(shown, 4);
    // The veto reached the phone too.
    let vetoed = bodies.recv_timeout(PATIENCE).unwrap();
    assert!(vetoed.contains("night-bot"), "{vetoed}");
}
