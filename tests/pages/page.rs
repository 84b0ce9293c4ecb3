//! A page of `docs/`, one shell to its reader.
//!
//! A `sh` block is run. A `text` block behind it shows parts of lines of what it said. Time stands still but where a
//! comment says how much of it passes: `<!-- 43200 s pass -->`.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_tenure");

/// What a page has in order.
pub(crate) enum Part {
    Commands(String),
    Shown(String),
    Pass(u64),
}

/// The parts of a page of `docs/`.
pub(crate) fn parts(name: &str) -> Vec<Part> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap();
    let mut parts = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let mut block = || lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
        match line {
            "```sh" => parts.push(Part::Commands(block())),
            "```text" => parts.push(Part::Shown(block())),
            _ => parts.extend(seconds_that_pass(line).map(Part::Pass)),
        }
    }
    parts
}

fn seconds_that_pass(line: &str) -> Option<u64> {
    line.strip_prefix("<!-- ")?.strip_suffix(" s pass -->")?.parse().ok()
}

/// Every part that is shown was said before, in parts of lines.
pub(crate) fn expect_shown(shown: &str, said: &str) {
    for words in shown.lines().flat_map(|line| line.split("  ")).filter(|words| !words.is_empty()) {
        assert!(said.contains(words), "{words:?} is not in\n{said}");
    }
}

/// A running authority with its reader's shell beside it; killed at the end.
pub(crate) struct Reader {
    directory: TempDir,
    process: Child,
    url: String,
    key: String,
    /// What the page says is known, such as `RECEIVER='http://…'`.
    known: String,
}

impl Reader {
    pub(crate) fn new(settings: &[&str], known: String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--test-clock", "--data", "data"])
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .current_dir(directory.path())
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
        let key = fs::read_to_string(directory.path().join("data/admin.key")).unwrap().trim().to_owned();
        Self { directory, process, url, key, known }
    }

    /// Runs a block in the shell that ran those before it: what they set is set.
    pub(crate) fn run(&self, commands: &str) -> String {
        let binaries = Path::new(BINARY).parent().unwrap().display();
        let script = format!(
            "export PATH='{binaries}':\"$PATH\"; {}; touch vars; . ./vars\n{{ {commands}\n}} 2>&1\n\
             set | grep -E '^[A-Z][A-Z_]*=' | grep -vE '^(PATH|PWD|OLDPWD|IFS|PPID|OPTIND|PS[124])=' > vars",
            self.known
        );
        let mut run = Command::new("sh");
        run.args(["-ec", &script]).current_dir(self.directory.path()).env_clear();
        let output = run.env("TENURE_URL", &self.url).env("TENURE_KEY", &self.key).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{commands}\n{said}{told}");
        said
    }

    /// Where a file of this name is for the shell.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file beside the shell.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.place(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn pass(&self, seconds: u64) {
        let moved = ureq::agent()
            .put(format!("{}/v1/clock", self.url))
            .header("authorization", format!("Bearer {}", self.key));
        moved.content_type("application/json").send(format!(r#"{{"advance":{seconds}}}"#)).unwrap();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
