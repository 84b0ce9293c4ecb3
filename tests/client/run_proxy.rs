//! `tenure run --proxy`: a command that reaches a service with its session's token, and never has the token.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
};

use tenure::clock::{pause, stopwatch};

use crate::{
    run::Fixture,
    server::{PATIENCE, Server},
};

/// A service that keeps the head of each request, and answers as it was told to.
pub(crate) struct Upstream {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (Arc::clone(&heads), Arc::new(answer));
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || serve(&stream.unwrap(), &kept, &*answer));
            }
        });
        Self { url, heads }
    }

    pub(crate) fn ok() -> Self {
        Self::answering(|_| "200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned())
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut stream: &TcpStream, kept: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> String) {
    let mut lines = BufReader::new(stream);
    let mut head = String::new();
    while lines.read_line(&mut head).unwrap() > 2 {}
    let length = head
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .map_or(0, |text| text.lines().next().unwrap().parse::<usize>().unwrap());
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    head.push_str(&String::from_utf8_lossy(&body));
    kept.lock().unwrap().push(head.clone());
    stream.write_all(format!("HTTP/1.1 {}", answer(&head)).as_bytes()).unwrap();
    // As servers do that have waited long enough: what comes next on this connection gets no answer.
    drop(lines.read_line(&mut head));
}

fn bearer(head: &str) -> &str {
    let line = head.lines().find(|line| line.to_lowercase().starts_with("authorization: ")).unwrap();
    line.split_once("Bearer ").unwrap().1
}

/// Runs a script with a proxy to an upstream, and without a session file.
fn run(fixture: &Fixture, upstream: &str, script: &str) -> (bool, String) {
    let options =
        ["run", "--proxy", upstream, "--subject", "agent-7", "--check", "1s", "--", "sh", "-c", script];
    let output = fixture.tenure(&options).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_command_reaches_the_upstream_with_a_token_that_it_never_has() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "
        test \"$(curl -sf ${TENURE_PROXY_URL}items?q=1)\" = hello || exit 1
        curl -sf -H 'Authorization: Bearer mine' -H 'X-Own: 1' --data some ${TENURE_PROXY_URL} || exit 1
        env; cat /proc/$PPID/cmdline; grep -rl tnr_ . ; ls -A";
    let (is_well, said) = run(&fixture, &format!("{}/v1/", upstream.url), script);
    assert!(is_well, "{said}");
    assert!(said.contains("TENURE_PROXY_URL=http://127.0.0.1:"), "{said}");
    for secret in ["tnr_sess_", "tnr_key_", "TENURE_SESSION_FILE", "agent.session", "TENURE_TOKEN"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
    let heads = upstream.heads();
    assert!(heads[0].starts_with("GET /v1/items?q=1 HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[1].starts_with("POST /v1/ HTTP/1.1\r\n") && heads[1].ends_with("some"), "{heads:?}");
    assert!(heads[1].to_lowercase().contains("x-own: 1") && !heads[1].contains("mine"), "{heads:?}");
    for head in &heads {
        let judged = fixture.server.introspect(bearer(head)).json();
        assert_eq!(
            judged["code"], "SESSION_REVOKED",
            "of this session, which ended with the command: {judged}"
        );
    }
}

#[test]
fn only_the_command_is_let_in_and_it_gets_nowhere_else() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "
        base=${TENURE_PROXY_URL%/*/}; port=${base##*:}
        ask() { curl -s -o /dev/null -w '%{http_code} ' --path-as-is \"$@\"; }
        ask $base/; ask $base/items; ask $base/00000000000000000000000000000000/items
        ask ${TENURE_PROXY_URL%/}x/items
        ask -H 'Host: evil.example' $TENURE_PROXY_URL
        ask -H \"Host: localhost:$port\" $TENURE_PROXY_URL
        ask -H 'Origin: http://evil.example' $TENURE_PROXY_URL
        ask -H \"Origin: $base\" $TENURE_PROXY_URL
        ask ${TENURE_PROXY_URL}../admin; ask ${TENURE_PROXY_URL}%2e%2e/admin
        ask ${TENURE_PROXY_URL}..%2fadmin; ask \"${TENURE_PROXY_URL}..;/admin\"
        ask $TENURE_PROXY_URL";
    let (is_well, said) = run(&fixture, &format!("{}/v1", upstream.url), script);
    assert!(is_well, "{said}");
    assert!(said.contains(&format!("{}200 ", "403 ".repeat(12))), "{said}");
    assert_eq!(upstream.heads().len(), 1);
}

#[test]
fn a_redirect_elsewhere_is_followed_without_the_token() {
    let (fixture, elsewhere) = (Fixture::new(), Upstream::ok());
    let away = elsewhere.url.clone();
    let upstream = Upstream::answering(move |head| {
        let to = match head.split(' ').nth(1).unwrap() {
            "/v1/away" => format!("{away}/there"),
            "/v1/within" => "/v1/items".to_owned(),
            _ => return "200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        };
        format!("302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    });
    let script = "curl -sfL ${TENURE_PROXY_URL}away; curl -sfL ${TENURE_PROXY_URL}within";
    let (is_well, said) = run(&fixture, &format!("{}/v1", upstream.url), script);
    assert!(is_well && said.contains("hellohello"), "{said}");
    let [head] = &elsewhere.heads()[..] else { panic!("one request comes there") };
    assert!(head.starts_with("GET /there ") && !head.to_lowercase().contains("authorization"), "{head}");
    let last = upstream.heads().pop().unwrap();
    assert!(last.starts_with("GET /v1/items ") && bearer(&last).starts_with("tnr_sess_"), "{last}");
}

/// The proxy kept its connections to the upstream for the next request. One that the upstream closed just then took the
/// request and lost it: 502, once in ten.
#[test]
fn a_connection_that_the_upstream_closes_loses_no_request() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "for n in 1 2 3 4 5; do curl -s --data $n $TENURE_PROXY_URL; done";
    let (is_well, said) = run(&fixture, &upstream.url, script);
    assert!(is_well && said.contains(&"hello".repeat(5)), "{said}");
    assert_eq!(upstream.heads().len(), 5);
}

/// An upstream answers TRACE with what it was sent, and that has the token.
#[test]
fn what_would_show_the_token_or_cannot_be_passed_on_is_refused_in_words() {
    let fixture = Fixture::new();
    let upstream =
        Upstream::answering(|head| format!("200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len()));
    let script = "
        ask() { curl -s -w '%{http_code}\n' \"$@\" $TENURE_PROXY_URL; }
        ask -X TRACE
        ask -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Key: x' -H 'Sec-WebSocket-Version: 13'
        env; ls";
    let (is_well, said) = run(&fixture, &upstream.url, script);
    assert!(is_well && !said.contains("tnr_"), "{said}");
    assert!(said.contains("TRACE is not passed on: its answer would show the token\n405"), "{said}");
    assert!(said.contains("upgrades (WebSocket, CONNECT) are not passed on\n501"), "{said}");
    assert!(upstream.heads().is_empty());
}

#[test]
fn what_is_about_one_connection_or_tells_the_way_in_stays_here() {
    let fixture = Fixture::new();
    let upstream = Upstream::answering(|_| {
        "200 OK\r\ncontent-length: 0\r\nconnection: x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\nx-yours: 2\r\n\r\n"
            .to_owned()
    });
    let script = "curl -s -i -H 'Connection: x-private, te' -H 'X-Private: 1' -H 'TE: trailers' \
        -H 'Keep-Alive: 5' -H 'Proxy-Authorization: Basic eA==' -H 'Expect: 100-continue' -H 'X-Public: 2' \
        -e ${TENURE_PROXY_URL}page --data some $TENURE_PROXY_URL
        curl -s -e https://page.example/ $TENURE_PROXY_URL";
    let (is_well, said) = run(&fixture, &upstream.url, script);
    assert!(is_well && said.contains("x-yours: 2"), "{said}");
    assert!(!said.contains("x-mine") && !said.contains("keep-alive"), "{said}");
    let [head, second] = &upstream.heads()[..] else { panic!("two requests") };
    let head = head.to_lowercase();
    for name in
        ["x-private", "\nte:", "keep-alive", "proxy-authorization", "expect", "referer", "connection: x"]
    {
        assert!(!head.contains(name), "{name} in {head}");
    }
    assert!(head.contains("x-public: 2") && head.contains("content-length: 4"), "{head}");
    assert!(second.to_lowercase().contains("referer: https://page.example/"), "{second}");
}

/// Any user of the machine can connect. Each connection costs a descriptor, and renewals need some.
#[test]
fn connections_beyond_a_number_wait_and_the_session_goes_on() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "echo $TENURE_PROXY_URL >url.new; mv url.new url; echo $PPID >pid; touch ready
        until test -e go; do sleep 0.02; done; curl -sf $TENURE_PROXY_URL";
    let options = ["run", "--proxy", &upstream.url, "--subject", "agent-7", "--", "sh", "-c", script];
    let child = fixture.tenure(&options).spawn().unwrap();
    fixture.wait_for("ready");
    let read = |name: &str| std::fs::read_to_string(fixture.place(name)).unwrap();
    let url = read("url");
    let address = url.split('/').nth(2).unwrap();
    let idle: Vec<_> = (0..350).map(|_| TcpStream::connect(address).unwrap()).collect();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", read("pid").trim())).unwrap().count();
    let begun = stopwatch();
    while descriptors() < 256 {
        assert!(begun.elapsed() < PATIENCE, "{} descriptors", descriptors());
        pause(std::time::Duration::from_millis(10));
    }
    pause(std::time::Duration::from_millis(100));
    assert!(descriptors() < 256 + 48, "{}", descriptors());
    drop(idle);
    std::fs::write(fixture.place("go"), "").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.ends_with(b"hello"), "{output:?}");
}

/// A renewal makes the last token void at once, also for a request that is on its way with it.
#[test]
fn a_request_that_a_renewal_overtakes_is_sent_once_more_with_the_new_token() {
    let fixture = Fixture::with(Server::start());
    let (arrived, arrivals) = std::sync::mpsc::channel();
    let (go, goes) = std::sync::mpsc::channel::<()>();
    let waits = Mutex::new((arrived, goes, None));
    let upstream = Upstream::answering(move |head| {
        let (arrived, goes, first) = &mut *waits.lock().unwrap();
        if first.get_or_insert_with(|| bearer(head).to_owned()) != bearer(head) {
            return "200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned();
        }
        arrived.send(()).unwrap();
        goes.recv().unwrap();
        "401 Unauthorized\r\ncontent-length: 2\r\n\r\nno".to_owned()
    });
    let script = "curl -s --data some $TENURE_PROXY_URL";
    let options = ["run", "--session-file", "a.session", "--proxy", &upstream.url, "--subject", "agent-7"];
    let child = fixture.tenure(&[&options[..], &["--", "sh", "-c", script]].concat()).spawn().unwrap();
    arrivals.recv().unwrap();
    fixture.server.advance(43_200);
    let renewed = fixture.tenure(&["session", "renew", "--session-file", "a.session"]).output().unwrap();
    assert!(renewed.status.success(), "{renewed:?}");
    go.send(()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello");
    let [first, second] = &upstream.heads()[..] else { panic!("{:?}", upstream.heads()) };
    assert!(first.ends_with("some") && second.ends_with("some"), "{first} {second}");
    assert_ne!(bearer(first), bearer(second));
}

#[test]
fn after_the_end_nothing_is_passed_on_and_the_answer_says_why() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "touch ready; until curl -s -w '%{http_code}' $TENURE_PROXY_URL >said && grep -q 503 said; do sleep 0.05
        done; cat said";
    let options =
        ["run", "--proxy", &upstream.url, "--subject", "agent-7", "--check", "1s", "--on-end", "warn"];
    let child = fixture.tenure(&[&options[..], &["--", "sh", "-c", script]].concat()).spawn().unwrap();
    fixture.wait_for("ready");
    let created = fixture.server.events("SessionCreated");
    let id = created[0]["sessionId"].as_str().unwrap();
    fixture.server.delete(&format!("/v1/sessions/{id}")).bearer(&fixture.server.admin).send().expect(200);
    let said = child.wait_with_output().unwrap().stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("the session is over, and nothing is passed on: SESSION_REVOKED"), "{said}");
}

#[test]
fn an_upstream_that_is_down_is_502_in_words() {
    let fixture = Fixture::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = "curl -s -w '%{http_code}' $TENURE_PROXY_URL";
    let (_, said) = run(&fixture, &format!("http://127.0.0.1:{port}"), script);
    assert!(said.contains("tenure run: the upstream cannot be reached") && said.contains("502"), "{said}");
    assert!(said.to_lowercase().contains("connection refused") && !said.contains("tnr_"), "{said}");
}

/// What the command reads from the upstream is read as it comes, and of any length.
#[test]
fn long_bodies_pass_both_ways() {
    let fixture = Fixture::new();
    let upstream = Upstream::answering(|head| {
        let body = "x".repeat(3_000_000);
        format!("200 OK\r\nx-got: {}\r\ncontent-length: {}\r\n\r\n{body}", head.len() > 2_000_000, body.len())
    });
    let script = "head -c 2000000 /dev/zero >zeros
        curl -sf -D head --data-binary @zeros $TENURE_PROXY_URL | wc -c; cat head";
    let (is_well, said) = run(&fixture, &upstream.url, script);
    assert!(is_well && said.contains("3000000") && said.contains("x-got: true"), "{said}");
}

#[test]
fn after_a_veto_the_command_ends_and_the_token_in_memory_is_dead() {
    let (fixture, upstream) = (Fixture::new(), Upstream::ok());
    let script = "curl -sf $TENURE_PROXY_URL >first; sleep 100";
    let options =
        ["run", "--proxy", &upstream.url, "--subject", "agent-7", "--check", "1s", "--", "sh", "-c", script];
    let mut child = fixture.tenure(&options).stdout(Stdio::null()).spawn().unwrap();
    let begun = stopwatch();
    while upstream.heads().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no request comes");
        pause(std::time::Duration::from_millis(10));
    }
    let created = fixture.server.events("SessionCreated");
    let id = created[0]["sessionId"].as_str().unwrap();
    fixture.server.delete(&format!("/v1/sessions/{id}")).bearer(&fixture.server.admin).send().expect(200);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{said}");
    assert!(!said.contains("(memory)") && !said.contains("tnr_"), "{said}");
    assert_eq!(fixture.server.introspect(bearer(&upstream.heads()[0])).json()["active"], false);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_created() {
    let fixture = Fixture::new();
    for (options, said) in [
        (&["--proxy", "https://h/"][..], "give --subject"),
        (&["--proxy", "http://192.0.2.1/", "--subject", "agent-7"], "https://"),
        (&["--proxy", "h", "--subject", "agent-7"], "--proxy"),
        (&["--proxy", "https://h/", "--subject", "agent-7", "--env"], "--env"),
        (&["--proxy", "https://h/", "--subject", "agent-7", "--keep"], "--session-file"),
        (&["--subject", "agent-7"], "--session-file"),
    ] {
        let output = fixture.tenure(&[&["run"], options, &["--", "true"]].concat()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && error.contains(said), "{options:?}: {error}");
    }
    assert!(fixture.server.events("SessionCreated").is_empty());
}
