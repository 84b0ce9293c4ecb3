//! A server for tests: it gives prepared answers on a real socket, and records the requests.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener},
    thread::{self, JoinHandle},
};

/// Status, perhaps with more header lines, and body; or none, to hang up after the request was read.
pub(crate) type Answer = Option<(&'static str, &'static str)>;

/// Gives these answers, each on a connection of its own, and then what was asked.
pub(crate) fn answering(answers: Vec<Answer>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = thread::spawn(move || answers.into_iter().map(|answer| serve(&listener, answer)).collect());
    (url, asked)
}

fn serve(listener: &TcpListener, answer: Answer) -> String {
    // A client that hangs up without a request is a stray of another test, whose server had this port before.
    let (mut stream, asked) = loop {
        let (stream, _) = listener.accept().unwrap();
        if let Some(asked) = read_request(&mut BufReader::new(&stream)) {
            break (stream, asked);
        }
    };
    if let Some((head, body)) = answer {
        let length = body.len();
        let rest = format!("connection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        write!(stream, "HTTP/1.1 {head}\r\n{rest}").unwrap();
        // To close on what was not read resets the connection, and the reply may be lost with it.
        stream.shutdown(Shutdown::Write).unwrap();
        drop(stream.read_to_end(&mut Vec::new()));
    }
    asked
}

/// Head and body, in lower case; `None` if they are cut short.
fn read_request(stream: &mut impl BufRead) -> Option<String> {
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if stream.read_line(&mut request).ok()? == 0 {
            return None;
        }
    }
    let head = request.to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(head + &String::from_utf8(body).ok()?.to_lowercase())
}
