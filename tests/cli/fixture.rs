//! A server, a directory to work in, and the command line as one would type it.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use tempfile::TempDir;
use tenure_testing::command::CommandOutput;

use crate::server::Server;

pub(crate) struct Fixture<S = Server> {
    pub(crate) server: S,
    directory: TempDir,
}

impl Fixture<()> {
    /// Without a server.
    pub(crate) fn empty() -> Self {
        Self { server: (), directory: tempfile::tempdir().unwrap() }
    }
}

impl<S> Fixture<S> {
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command in this directory with an empty environment, without a server and a key.
    pub(crate) fn bare(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command
            .args(words)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Server::start())
    }

    pub(crate) fn with(server: Server) -> Self {
        Self { server, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The same for this server, by this key.
    pub(crate) fn by(&self, key: &str, words: &[&str]) -> Command {
        let mut command = self.bare(words);
        command.env("TENURE_URL", self.url()).env("TENURE_KEY", key);
        command
    }

    /// What an admin's command does. A word with spaces stands in apostrophes.
    pub(crate) fn tenure(&self, line: &str) -> CommandOutput {
        self.tenure_by(&self.server.admin, line)
    }

    /// The same by another key.
    pub(crate) fn tenure_by(&self, key: &str, line: &str) -> CommandOutput {
        let words = words(line);
        ran(&mut self.by(key, &words.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}

impl Fixture {
    /// A key of an owner.
    pub(crate) fn owner(&self, owner: &str) -> String {
        self.server.issue_key("owner", Some(owner)).0
    }

    /// What an admin's command shows on a terminal of 80 columns, to one who types this.
    pub(crate) fn on_terminal(&self, line: &str, typed: &str) -> CommandOutput {
        self.on_terminal_in("UTC", line, typed)
    }

    /// The same in another time zone.
    pub(crate) fn on_terminal_in(&self, zone: &str, line: &str, typed: &str) -> CommandOutput {
        let words: Vec<_> = words(line).iter().map(|word| format!("'{word}'")).collect();
        let program = env!("CARGO_BIN_EXE_tenure");
        let shell = format!("stty cols 80; exec '{program}' {}", words.join(" "));
        let mut command = Command::new("script");
        command
            .args(["-qec", &shell, "/dev/null"])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env("HOME", self.directory.path())
            .env("TZ", zone)
            .env("TENURE_URL", self.url())
            .env("TENURE_KEY", &self.server.admin)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Without an end of input, the command would see the terminal hung up.
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        drop(stdin);
        CommandOutput {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap().replace('\r', ""),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

pub(crate) fn ran(command: &mut Command) -> CommandOutput {
    command.output().unwrap().into()
}
