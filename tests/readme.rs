//! The README's commands, run for real: whoever copies them gets what it says.
//!
//! What stands in for what, and nothing else:
//!
//! - `cargo run --release -- serve` is the built binary with `serve`, on a free port, in an empty directory;
//! - `tenure` is the built binary, found on the `PATH`, and `TENURE_URL` names that port;
//! - `tests/run` is not run, for it would run this test.
//!
//! The README's Rust is compiled as a documentation test, see the end of `src/lib.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

const BINARY: &str = env!("CARGO_BIN_EXE_tenure");

/// The fenced blocks of this language, each without its fences.
fn blocks(language: &str) -> Vec<String> {
    let readme = fs::read_to_string("README.md").unwrap();
    let fence = format!("```{language}\n");
    let behind = readme.split(&fence).skip(1);
    behind.map(|rest| rest.split_once("```").expect("a fence that is closed").0.to_owned()).collect()
}

/// The authority that the README starts; killed at the end.
struct Serving {
    process: Child,
    url: String,
}

impl Serving {
    fn start(directory: &Path) -> Self {
        let mut process = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(directory)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listening on ").map(|(_, url)| url.to_owned()))
            .expect("it says where it listens");
        Self { process, url }
    }

    /// Runs lines of a shell, all in one shell.
    fn run(&self, directory: &Path, lines: &str) -> Vec<Ran> {
        let binaries = Path::new(BINARY).parent().unwrap();
        let mut script = format!("PATH='{}':\"$PATH\"\n", binaries.display());
        script.extend(lines.lines().map(|line| format!("{line}\nprintf '\\037%s\\036' $?\n")));
        let output = Command::new("sh")
            .args(["-c", &script])
            .current_dir(directory)
            .env("TENURE_URL", &self.url)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let of_each = said.split_terminator('\x1e').zip(lines.lines());
        of_each.map(|(said, line)| Ran::new(line, said)).collect()
    }
}

/// A line of a shell that was run.
struct Ran {
    line: String,
    stdout: String,
    code: i32,
}

impl Ran {
    fn new(line: &str, said: &str) -> Self {
        let (stdout, code) = said.split_once('\x1f').expect("a line ends with its exit code");
        Self { line: line.to_owned(), stdout: stdout.to_owned(), code: code.parse().unwrap() }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn its_commands_do_what_it_says() {
    let directory = tempfile::tempdir().unwrap();
    let [serve, flow, held, tests] =
        blocks("sh").try_into().expect("four blocks: serve, the flow, a command with a session, the tests");
    assert_eq!(serve, "cargo run --release -- serve\n");
    assert_eq!(tests, "tests/run\n");
    assert_ne!(fs::metadata("tests/run").unwrap().permissions().mode() & 0o111, 0, "it can be executed");

    let serving = Serving::start(directory.path());
    let ran = serving.run(directory.path(), &flow);
    assert_eq!(ran.len(), flow.lines().count());
    for Ran { line, stdout, code } in &ran {
        // The README says that this one is refused: 3.
        let expected = if line.starts_with("tenure session renew") { 3 } else { 0 };
        assert_eq!(*code, expected, "{line}\n{stdout}");
    }
    let said = |command: &str| -> Vec<&str> {
        let matching = ran.iter().filter(|ran| ran.line.starts_with(command));
        matching.map(|ran| &*ran.stdout).collect()
    };
    let introspected = said("tenure introspect");
    assert!(
        introspected[0].contains("yes") && introspected[1].contains("SESSION_REVOKED"),
        "{introspected:?}"
    );
    assert!(said("tenure session show")[0].contains("ACTIVE"), "at position 7 it lived");

    let rows: Vec<_> =
        said("tenure events")[0].lines().filter(|line| line.starts_with(char::is_numeric)).collect();
    let told =
        ["registered as agent", "began for 1h", "renewal refused: too early", "revoked: \"work done\""];
    for (row, (position, words)) in rows[4..].iter().zip((5..).zip(told)) {
        assert!(row.starts_with(&format!("{position} ")) && row.contains(words), "{words} in {rows:#?}");
    }
    let exported = flow.lines().next().unwrap();
    let recorded = serving.run(directory.path(), &format!("{exported}\ntenure events -o jsonl"));
    let events = recorded.last().unwrap().stdout.lines().map(serde_json::from_str::<serde_json::Value>);
    let kinds: Vec<_> = events.map(|event| event.unwrap()["kind"].as_str().unwrap().to_owned()).collect();
    let story = ["SubjectRegistered", "SessionCreated", "RenewalRejected", "SessionRevoked"];
    assert_eq!(
        kinds,
        [&["PolicyChanged", "KeyRotated", "KeyRotated", "CredentialIssued"][..], &story].concat()
    );

    let ran = serving.run(directory.path(), &format!("{exported}\n{held}"));
    let last = ran.last().unwrap();
    let is_a_token = last.stdout.trim().parse::<usize>().is_ok_and(|length| length > 100);
    assert!(last.code == 0 && is_a_token, "{}\n{}", last.line, last.stdout);
}

#[test]
fn its_example_runs_and_tells_its_story() {
    // To ask cargo to run it would be nearer to the README, and would build half of everything again: cargo's
    // own variables, which a test has and a shell has not, are inputs of some dependencies.
    let example = Path::new(BINARY).with_file_name("examples").join("embedded");
    assert!(example.exists(), "`cargo test` builds it, and so does `cargo build --examples`");
    let run = Command::new(example).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    for told in ["renewed", "superseded", "10  SessionRevoked"] {
        assert!(said.contains(told), "{told} in\n{said}");
    }
}
