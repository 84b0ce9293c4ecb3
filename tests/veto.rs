//! `docs/veto.md`, gone through with the real binary and a receiver that stands in for a phone.
//!
//! Time stands still but where the page says that half a day passes. A `text` block shows parts of lines of what
//! the block before it said, or, after the renewal, of what the receiver got.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

const BINARY: &str = env!("CARGO_BIN_EXE_tenure");
const PATIENCE: Duration = Duration::from_secs(20);

/// A running authority; killed at the end.
struct Serving {
    process: Child,
    url: String,
}

impl Serving {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(BINARY)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--test-clock",
                "--set",
                "webhooks.allow_private=true",
            ])
            .args(["--data", "data"])
            .current_dir(directory)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening on ").map(|(_, url)| url.to_owned()))
            .expect("it says where it listens");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { process, url }
    }

    fn half_a_day_passes(&self, key: &str) {
        let agent = ureq::agent();
        let moved =
            agent.put(format!("{}/v1/clock", self.url)).header("authorization", format!("Bearer {key}"));
        moved.content_type("application/json").send(r#"{"advance":43200}"#).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

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

/// What the page has in order: commands, what they say, and that time passes.
enum Part {
    Commands(String),
    Shown(String),
    HalfADay,
}

fn parts(page: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let mut block = || lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
        match line {
            "```sh" => parts.push(Part::Commands(block())),
            "```text" => parts.push(Part::Shown(block())),
            "<!-- half a day passes -->" => parts.push(Part::HalfADay),
            _ => {}
        }
    }
    parts
}

#[test]
fn the_night_goes_as_it_is_told() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/veto.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let serving = Serving::start(directory.path());
    let key = fs::read_to_string(directory.path().join("data/admin.key")).unwrap().trim().to_owned();
    let (url, bodies) = receiver();
    let binaries = Path::new(BINARY).parent().unwrap().display();
    let setting = format!("PATH='{binaries}':\"$PATH\"; RECEIVER='{url}'");
    let (mut said, mut shown) = (String::new(), 0);
    for part in parts(&page) {
        match part {
            Part::Commands(lines) => {
                // The page is one shell to its reader.
                let script = format!(
                    "{setting}; SESSION=$(cat session 2>&1 || :)\n{{ {lines}\n}} 2>&1\necho \"$SESSION\" > session"
                );
                let mut run = Command::new("sh");
                run.args(["-ec", &script]).current_dir(directory.path());
                let output = run.env("TENURE_URL", &serving.url).env("TENURE_KEY", &key).output().unwrap();
                said = String::from_utf8(output.stdout).unwrap();
                assert!(
                    output.status.success(),
                    "{lines}\n{said}{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                if lines.contains("session renew") && !lines.contains("||") {
                    // The words of the message are in a JSON text.
                    said = bodies.recv_timeout(PATIENCE).unwrap().replace("\\n", "\n");
                }
            }
            Part::Shown(words) => {
                for word in words.lines().flat_map(|line| line.split("  ")) {
                    assert!(said.contains(word), "{word:?} is not in\n{said}");
                }
                shown += 1;
            }
            Part::HalfADay => serving.half_a_day_passes(&key),
        }
    }
    assert_eq!(shown, 4);
    // The veto reached the phone too.
    let vetoed = bodies.recv_timeout(PATIENCE).unwrap();
    assert!(vetoed.contains("night-bot"), "{vetoed}");
}
