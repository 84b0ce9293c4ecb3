//! A directory with data directories and backups in it, and servers on them.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_testing::command::CommandOutput;

const BINARY: &str = env!("CARGO_BIN_EXE_tenure");

/// Where everything is.
pub(crate) struct Fixture {
    directory: TempDir,
    /// The public half of an identity, whose file is `identity`.
    pub(crate) recipient: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = age::x25519::Identity::generate();
        let text = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
        fs::write(directory.path().join("identity"), format!("# a comment\n{text}\n")).unwrap();
        fs::write(directory.path().join("passphrase"), "correct horse\n").unwrap();
        fs::write(directory.path().join("wrong"), "battery staple\n").unwrap();
        Self { directory, recipient: identity.to_public().to_string() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command here.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output =
            Command::new(BINARY).args(arguments).args(["-o", "json"]).current_dir(&self.directory).output();
        output.unwrap().into()
    }

    /// A server on a data directory, which makes backups in `backups`.
    pub(crate) fn serve(&self, data: &str) -> Server {
        self.try_serve(data, &[]).unwrap_or_else(|said| panic!("{said}"))
    }

    /// The same with more arguments; what it said, where it does not start.
    pub(crate) fn try_serve(&self, data: &str, arguments: &[&str]) -> Result<Server, String> {
        let mut process = Command::new(BINARY)
            .args(["serve", "--listen", "127.0.0.1:0", "--data", data, "--set", "backup.dir=backups"])
            .args(["--set", "webhooks.allow_private=true"])
            .args(arguments)
            .current_dir(&self.directory)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let url = lines.find_map(|line| {
            said.extend([line.as_str(), "\n"]);
            line.split_once("listening on ").map(|(_, url)| url.to_owned())
        });
        let Some(url) = url else {
            process.wait().unwrap();
            return Err(said);
        };
        std::thread::spawn(move || lines.for_each(drop));
        let key = fs::read_to_string(self.path(data).join("admin.key")).unwrap_or_default().trim().to_owned();
        Ok(Server { process, url, key, directory: self.directory.path().to_owned() })
    }

    /// What is in a backup, by name.
    pub(crate) fn files(&self, backup: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(backup)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn manifest(&self, backup: &str) -> Value {
        let text = fs::read_to_string(self.path(backup).join("manifest")).unwrap();
        serde_json::from_str(text.rsplit_once("\ncheck ").unwrap().0).unwrap()
    }

    /// Restores with the identity.
    pub(crate) fn restore(&self, backup: &str, data: &str, more: &[&str]) -> CommandOutput {
        self.run(&[&["restore", backup, "--data", data, "--identity", "identity"], more].concat())
    }
}

/// A server at work.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    /// The key of the first admin.
    pub(crate) key: String,
    directory: PathBuf,
}

/// What a request came to.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// `x-tenure-position`, if there is one.
    pub(crate) position: Option<String>,
}

impl Server {
    /// A request with a bearer.
    pub(crate) fn ask(&self, method: &str, path: &str, bearer: &str, body: Option<&Value>) -> Reply {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {bearer}"));
        let reply = match body {
            Some(body) => {
                agent.run(request.header("content-type", "application/json").body(body.to_string()).unwrap())
            }
            None => agent.run(request.body(()).unwrap()),
        };
        let mut reply = reply.unwrap();
        let position =
            reply.headers().get("x-tenure-position").map(|value| value.to_str().unwrap().to_owned());
        let text = reply.body_mut().read_to_string().unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: reply.status().as_u16(), body, position }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &self.key, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, &self.key, Some(body))
    }

    /// A subject with a session; the session's id and token.
    pub(crate) fn session(&self, subject: &str) -> (String, String) {
        let body = json!({ "name": format!("The name of {subject}"), "maxSessions": 1000 });
        let put = self.ask("PUT", &format!("/v1/subjects/{subject}"), &self.key, Some(&body));
        assert!(put.status == 200 || put.status == 201, "{put:?}");
        let made = self.post("/v1/sessions", &json!({ "subjectId": subject, "ttl": 300 }));
        assert_eq!(made.status, 201, "{made:?}");
        let text = |name: &str| made.body[name].as_str().unwrap().to_owned();
        (text("sessionId"), text("token"))
    }

    /// What an introspection says of a token: `active`, or the code.
    pub(crate) fn judge(&self, token: &str) -> String {
        let judged = self.post("/v1/introspect", &json!({ "token": token }));
        assert_eq!(judged.status, 200, "{judged:?}");
        match judged.body["active"].as_bool() {
            Some(true) => "active".to_owned(),
            Some(false) | None => judged.body["code"].as_str().unwrap().to_owned(),
        }
    }

    /// A backup of this server.
    pub(crate) fn back_up(&self, fixture: &Fixture, name: &str, incremental: bool) -> Reply {
        let body = json!({ "name": name, "incremental": incremental, "recipient": fixture.recipient });
        self.post("/v1/backup", &body)
    }

    /// The CLI with the admin's key.
    pub(crate) fn run(&self, arguments: &[&str]) -> CommandOutput {
        let output = Command::new(BINARY)
            .args(arguments)
            .args(["--url", &self.url, "-o", "json"])
            .env("TENURE_KEY", &self.key)
            .current_dir(&self.directory)
            .output();
        output.unwrap().into()
    }

    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        let kill = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(kill.success() && self.process.wait().unwrap().success());
    }

    /// Takes the power away.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies a directory as it is.
pub(crate) fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
