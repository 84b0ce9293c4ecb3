//! An agent in a process of its own: this very test program, started again. It holds the session of a file by a clock
//! that its parent tells, and does what it is told, line by line.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tenure::{
    client::{Client, DeadToken, Error, HandleOptions, Secret, SessionHandle, TokenStatus},
    core::Timestamp,
};

use crate::{
    manual_clock::{ManualClock, now_of},
    server::Server,
};

/// What makes this program an agent: the file, the address of the authority, and the key of a verifier.
const FILE: &str = "TENURE_TEST_AGENT_FILE";
const URL: &str = "TENURE_TEST_AGENT_URL";
const KEY: &str = "TENURE_TEST_AGENT_KEY";
/// What an agent's lines begin with; the harness writes others before them.
const SAYS: &str = "agent: ";

/// The parent's end of an agent.
pub(crate) struct Agent {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    pub(crate) fn start(file: &Path, url: &str, verifier: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "agent::an_agent_does_what_it_is_told", "--nocapture"])
            .envs([(FILE, file.as_os_str()), (URL, url.as_ref()), (KEY, verifier.as_ref())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders, said }
    }

    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    /// What it says to the order that it was told first of those not answered.
    pub(crate) fn answer(&mut self) -> String {
        let said = self.said.by_ref().map_while(Result::ok);
        let mut said = said.filter_map(|line| line.split_once(SAYS).map(|(_, said)| said.to_owned()));
        said.next().expect("the agent lives")
    }

    pub(crate) fn ask(&mut self, order: &str) -> String {
        self.tell(order);
        self.answer()
    }

    /// Without a warning, wherever it is.
    pub(crate) fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have been killed already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn an_agent_does_what_it_is_told() {
    if let Some(file) = std::env::var_os(FILE) {
        return live(Path::new(&file));
    }
    let server = Server::start();
    let (verifier, _) = server.issue_key("verifier", None);
    let directory = tempfile::tempdir().unwrap();
    let file = session_file(&server, directory.path(), &json!({ "subjectId": "agent-7" }));
    let mut agent = Agent::start(&file, &format!("http://{}", server.address()), &verifier);
    assert_eq!(agent.ask(&format!("time {}", now_of(&server).as_millis())), "live 0");
    assert_eq!(agent.ask("use"), "used");
    assert_eq!(agent.ask("introspect"), "live");
}

/// A session of a subject that is registered for it, in a file.
pub(crate) fn session_file(
    server: &Server,
    directory: &Path,
    asked: &serde_json::Value,
) -> std::path::PathBuf {
    server.register(asked["subjectId"].as_str().unwrap(), &json!({}));
    let reply = server.post("/v1/sessions").bearer(&server.admin).json(asked).send().expect(201).json();
    let created = serde_json::from_value(reply).unwrap();
    let grant = tenure::client::SessionGrant::created(&format!("http://{}", server.address()), &created);
    let file = tenure::client::SessionFile::at(directory.join("agent.session"));
    file.lock().unwrap().write(&grant).unwrap();
    file.path().to_owned()
}

fn told(variable: &str) -> String {
    std::env::var_os(variable).unwrap().into_string().unwrap()
}

#[expect(clippy::print_stdout, reason = "an agent answers its parent")]
#[tokio::main(flavor = "current_thread")]
async fn live(file: &Path) {
    let time = ManualClock::new(Timestamp::ZERO);
    let client = Client::new(&told(URL)).unwrap().with_retry_timeout(Duration::ZERO);
    let held_by = client.clone().with_time(Arc::<ManualClock>::clone(&time));
    let holder = SessionHandle::open_with(held_by, file, HandleOptions::default()).unwrap();
    let verifier = client.with_credential(Secret::new(&told(KEY)));
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for order in std::io::stdin().lines().map_while(Result::ok) {
            drop(sender.send(order));
        }
    });
    while let Some(order) = orders.recv().await {
        let said = match order.split_once(' ') {
            Some(("time", millis)) => {
                time.tell(Timestamp::from_millis(millis.parse().unwrap()));
                tokio::select! {
                    () = time.at_rest() => format!("live {}", holder.grant().renewal_count),
                    end = holder.ended() => format!("ended: {end}"),
                }
            }
            _ if order == "use" => tried(async || holder.session().await.map(|_| "used".to_owned())).await,
            _ if order == "introspect" => tried(async || judged(&holder, &verifier).await).await,
            _ => panic!("no order: {order}"),
        };
        println!("{SAYS}{said}");
    }
}

/// Again while it fails for the moment. Nobody waits: the clock stands still.
async fn tried(call: impl AsyncFn() -> Result<String, Error>) -> String {
    for _ in 0..100 {
        match call().await {
            Err(error) if error.is_transient() => {}
            Err(error) => return format!("failed: {error}"),
            Ok(said) => return said,
        }
    }
    "failed a hundred times".to_owned()
}

/// What a service is told of this agent's token; an agent whose token is superseded shows the next one.
async fn judged(holder: &SessionHandle, verifier: &Client) -> Result<String, Error> {
    let mut token = holder.token();
    loop {
        match verifier.introspect(&token).await? {
            TokenStatus::Live(_) => return Ok("live".to_owned()),
            TokenStatus::Dead(DeadToken { code, .. }) => match holder.token_instead_of(&token).await {
                Some(next) => token = next,
                None => return Ok(format!("dead: {code}")),
            },
        }
    }
}
