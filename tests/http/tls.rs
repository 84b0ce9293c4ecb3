//! TLS by the server itself: `server.tls_cert`, `server.tls_key`, and a reload by SIGHUP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tenure::clock::{pause, stopwatch};

use crate::server::{PATIENCE, Server};

/// Two files, beside each other.
struct Pair {
    directory: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { directory: tempfile::tempdir().unwrap() };
        pair.renew();
        pair
    }

    fn cert(&self) -> PathBuf {
        self.directory.path().join("tls.crt")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("tls.key")
    }

    /// Another certificate and its key, in place of those that are there.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(self.cert(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    fn settings(&self) -> [String; 2] {
        [
            format!("server.tls_cert={}", self.cert().display()),
            format!("server.tls_key={}", self.key().display()),
        ]
    }

    fn served(&self) -> Server {
        let [cert, key] = self.settings();
        Server::with(&[&cert, &key])
    }

    /// A connection of somebody who trusts the certificate that is in the file now.
    fn connect(&self, server: &Server) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.cert()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = StreamOwned::new(client, socket);
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }
}

/// The status of an answer on a connection that stays.
fn status(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
            length = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    lines.read_exact(&mut vec![0; length]).unwrap();
    first.trim().to_owned()
}

fn says(server: &Server, words: &str) {
    let begun = stopwatch();
    while !server.said().contains(words) {
        assert!(begun.elapsed() < PATIENCE, "never: {words}; but {}", server.said());
        pause(Duration::from_millis(10));
    }
}

#[test]
fn the_server_speaks_tls_and_the_command_line_with_it() {
    let pair = Pair::new();
    let server = pair.served();
    assert_eq!(status(&mut pair.connect(&server).unwrap()), "HTTP/1.1 200 OK");
    let listed = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["session", "list", "-o", "json"])
        .env_clear()
        .env("SSL_CERT_FILE", pair.cert())
        .env("TENURE_URL", format!("https://localhost:{}", server.address().port()))
        .env("TENURE_KEY", &server.admin)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let plain = server.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let plain = String::from_utf8_lossy(&plain);
    assert!(plain.starts_with("HTTP/1.1 400") && plain.contains("https://"), "{plain}");
}

/// Both were answered with what a library says of bytes that it does not know.
#[test]
fn an_address_with_the_wrong_scheme_is_told_the_right_one() {
    let pair = Pair::new();
    let (encrypted, plain) = (pair.served(), Server::start());
    for (server, wrong, right) in [(&encrypted, "http", "https"), (&plain, "https", "http")] {
        let there = format!("://localhost:{}", server.address().port());
        let asked = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .arg("whoami")
            .env_clear()
            .env("SSL_CERT_FILE", pair.cert())
            .env("TENURE_URL", format!("{wrong}{there}"))
            .env("TENURE_KEY", &server.admin)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&asked.stderr);
        assert!(told.contains(&format!("try {right}{there}")), "{told}");
    }
}

/// What a server of someone else sends that knows nothing but TLS.
#[test]
fn the_alert_of_a_tls_server_is_understood_as_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let alerting = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(socket.read(&mut [0; 4_096]).unwrap() > 0);
        socket.write_all(b"\x15\x03\x03\x00\x02\x02\x32").unwrap();
    });
    let asked = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .arg("whoami")
        .env_clear()
        .env("TENURE_URL", format!("http://{address}"))
        .env("TENURE_KEY", "tnr_key_of_nobody")
        .output()
        .unwrap();
    alerting.join().unwrap();
    let told = String::from_utf8_lossy(&asked.stderr);
    assert!(told.contains(&format!("try https://{address}")), "{told}");
}

#[test]
fn a_hangup_loads_the_pair_again_and_ends_nothing() {
    let pair = Pair::new();
    let server = pair.served();
    let mut before = pair.connect(&server).unwrap();
    assert_eq!(status(&mut before), "HTTP/1.1 200 OK");
    pair.renew();
    assert!(pair.connect(&server).is_err(), "the new certificate is not served before it was loaded");
    server.signal(Signal::HUP);
    says(&server, "new connections get the certificate as it is now");
    assert_eq!(status(&mut pair.connect(&server).unwrap()), "HTTP/1.1 200 OK");
    assert_eq!(status(&mut before), "HTTP/1.1 200 OK", "a connection goes on with what it began with");
}

#[test]
fn a_hangup_with_a_bad_pair_keeps_the_one_before() {
    let pair = Pair::new();
    let server = pair.served();
    let good = std::fs::read(pair.key()).unwrap();
    for bad in ["", "no key", &std::fs::read_to_string(Pair::new().key()).unwrap()] {
        std::fs::write(pair.key(), bad).unwrap();
        let said = server.said().len();
        server.signal(Signal::HUP);
        let begun = stopwatch();
        while !server.said()[said..].contains("the certificate could not be loaded; the one before stays") {
            assert!(begun.elapsed() < PATIENCE, "{}", server.said());
            pause(Duration::from_millis(10));
        }
        assert!(server.said()[said..].contains("tls.key"), "the file is named: {}", server.said());
        assert_eq!(status(&mut pair.connect(&server).unwrap()), "HTTP/1.1 200 OK");
    }
    std::fs::write(pair.key(), good).unwrap();
    server.signal(Signal::HUP);
    says(&server, "new connections get the certificate as it is now");
}

#[test]
fn a_bad_pair_stops_the_start_and_is_named() {
    let (pair, other) = (Pair::new(), Pair::new());
    let missing = pair.directory.path().join("missing");
    let said = |settings: &[String]| {
        let data = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path().join("data"))
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success());
        assert!(!data.path().join("data").exists(), "nothing is made before");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let cert = |path: &Path| format!("server.tls_cert={}", path.display());
    let key = |path: &Path| format!("server.tls_key={}", path.display());
    assert!(said(&[cert(&pair.cert())]).contains("certificate and key go together"));
    assert!(said(&[key(&pair.key())]).contains("certificate and key go together"));
    assert!(said(&[cert(&missing), key(&pair.key())]).contains("missing: "));
    assert!(said(&[cert(&pair.key()), key(&pair.key())]).contains("there is no certificate in it"));
    assert!(said(&[cert(&pair.cert()), key(&pair.cert())]).contains("tls.crt: "));
    assert!(said(&[cert(&pair.cert()), key(&other.key())]).contains("are no pair"));
}

/// A browser that opens connections in advance would have held up every stop.
#[test]
fn a_connection_without_a_handshake_delays_no_stop() {
    let pair = Pair::new();
    let mut server = pair.served();
    let _silent = server.connect();
    // Answered: so the silent connection before it was accepted, too.
    status(&mut pair.connect(&server).unwrap());
    let begun = stopwatch();
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

/// Only a proxy in front made the console believe in HTTPS.
#[test]
fn the_console_knows_that_its_connection_is_encrypted() {
    let pair = Pair::new();
    let server = pair.served();
    let mut stream = pair.connect(&server).unwrap();
    let form = format!("key={}", server.admin);
    let host = "tenure.example.com";
    let head = format!(
        "POST /console/sign-in HTTP/1.1\r\nhost: {host}\r\norigin: https://{host}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 303"), "{reply}");
    let cookie = reply.lines().find(|line| line.to_lowercase().starts_with("set-cookie: ")).unwrap();
    assert!(cookie.contains("__Host-tenure_console=tnr_sess_") && cookie.contains("; Secure"), "{cookie}");
}

/// Whoever typed the address without `https` sent the first request in the clear, each time.
#[test]
fn browsers_are_told_to_come_by_tls_only_where_there_is_tls() {
    let pair = Pair::new();
    let told = |settings: &[&str], path: &str| {
        let [cert, key] = pair.settings();
        let server = Server::with(&[&[cert.as_str(), key.as_str()], settings].concat());
        let mut stream = pair.connect(&server).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let head = answer.split("\r\n\r\n").next().unwrap().to_owned();
        assert!(head.starts_with("HTTP/1.1 "), "{answer}");
        head.lines().find_map(|line| line.strip_prefix("strict-transport-security: ").map(str::to_owned))
    };
    for path in ["/healthz", "/console/sign-in", "/v1/sessions", "/nowhere"] {
        assert_eq!(told(&[], path).as_deref(), Some("max-age=31536000"), "{path}");
    }
    assert_eq!(told(&["server.hsts=60"], "/console/sign-in").as_deref(), Some("max-age=60"));
    assert_eq!(told(&["server.hsts=0"], "/console/sign-in"), None);
    let plain = Server::start().get("/healthz").send().expect(200);
    assert_eq!(plain.header("strict-transport-security"), None);
}
