//! The real binary, in an environment and with arguments that the test gives.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tenure::clock::{pause, stopwatch};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tenure");
/// So long a test waits for anything that the server is to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A file of this repository.
pub(crate) fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Where a tool is, and whether it is there at all.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = crate::surroundings::variable("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|place| place.is_file())
}

/// A running server; killed when it goes out of scope.
pub(crate) struct Server {
    directory: TempDir,
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// `command`, which ends in the binary, with `serve` and arguments behind it.
    pub(crate) fn start(command: &[&str], arguments: &[&str], environment: &HashMap<&str, String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .args(arguments)
            .current_dir(directory.path())
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let url = lines.by_ref().find_map(|line| {
            // In JSON a quote ends it.
            line.split_once("listening on ").and_then(|(_, url)| url.split('"').next().map(str::to_owned))
        });
        std::thread::spawn(move || lines.for_each(drop));
        Self { directory, child, url: url.expect("it says where it listens") }
    }

    /// With its data in `data`, on a free port.
    pub(crate) fn with(settings: &[&str], environment: &HashMap<&str, String>) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<_> =
            ["serve", "--listen", "127.0.0.1:0", "--data", "data"].into_iter().chain(settings).collect();
        Self::start(&[BINARY], &arguments, environment)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.wait()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = stopwatch();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not stop");
            pause(Duration::from_millis(20));
        }
    }

    /// Runs `tenure` in its folder, with its first admin key.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let key = fs::read_to_string(self.directory().join("data/admin.key")).unwrap();
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.directory()).env_clear();
        command.envs([("TENURE_URL", &*self.url), ("TENURE_KEY", key.trim())]).output().unwrap()
    }

    /// The body of a reply to a request without a credential.
    pub(crate) fn get(&self, path: &str) -> String {
        ureq::get(format!("{}{path}", self.url)).call().unwrap().body_mut().read_to_string().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
