//! `tenure bench lists`

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    conditions::{ScratchDir, load_average, machine},
    failed,
    http::BenchConnection,
    report::print_with,
    start,
};
use crate::cli::{context::GlobalArgs, failure::CommandError, output::Column};
use tenure_core::Actor;
use tenure_protocol::clock::stopwatch;
use tenure_server::{
    authority::{AskedBulk, Authority, NewProfile, NewSession, RequestContext, SessionSelection},
    node::Node,
};

#[derive(Debug, Args)]
pub(crate) struct ListsArgs {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// How many others ended long before
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    ended: u32,

    /// How many pages of each list are read
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pages: u32,

    /// Where to put the temporary data directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

const COLUMNS: &[Column] = &[
    Column::plain("LIST", "list"),
    Column::plain("ITEMS", "items"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("MOST MS", "mostMillis"),
    Column::plain("LOAD", "loadAverage"),
];

/// Sessions of each subject.
const EACH: usize = 5;
/// Owners and devices, each of the same part of the sessions.
const OWNERS: usize = 100;
const DEVICES: usize = 1_000;
/// Subjects made at once.
const MAKERS: usize = 256;
/// Between the end of the others and now.
const DAYS: u64 = 3 * 86_400;

impl ListsArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let scratch = ScratchDir::new(&self.dir)?;
        let data = scratch.path().join("data");
        let runtime = Runtime::new().map_err(failed)?;
        global.output().progress("making sessions");
        self.fill(&runtime, &data)?;
        let items = runtime.block_on(self.measure(&data))?;
        let mut conditions = machine();
        let told = [
            ("sessions", json!(self.sessions)),
            ("ended", json!(self.ended)),
            ("owners", json!(OWNERS)),
            ("devices", json!(DEVICES)),
            ("where", json!("over HTTP, one connection, 50 a page, client on this machine")),
        ];
        conditions.extend(told.map(|(name, value)| (name.to_owned(), value)));
        print_with(global.output(), &conditions, &items, COLUMNS)
    }

    /// Sessions that end, and days later others that live.
    fn fill(&self, runtime: &Runtime, data: &Path) -> Result<(), CommandError> {
        let node = start::open(data)?.0;
        make(runtime, &node, "gone", self.ended as usize)?;
        let asked = AskedBulk { selection: SessionSelection::default(), reason: "a benchmark".into() };
        let revoked = node.authority.revoke_matching(RequestContext::of(Actor::AUTHORITY), asked);
        runtime.block_on(revoked).map_err(failed)?;
        let clock = node.test_clock.as_ref().ok_or_else(|| failed("the node has no test clock"))?;
        clock.advance(DAYS).map_err(failed)?;
        make(runtime, &node, "live", self.sessions as usize)?;
        node.stop();
        // A start signs a head over all of it, without which nothing is sealed; the clock of the test stands still.
        let node = start::open(data)?.0;
        start::settle(&node)?;
        node.stop();
        Ok(())
    }

    async fn measure(&self, data: &Path) -> Result<Vec<Value>, CommandError> {
        let key = fs::read_to_string(data.join("admin.key")).map_err(failed)?;
        let server = BenchServer::start(data)?;
        let mut connection = BenchConnection::open(&server.host).await.map_err(failed)?;
        // Under a test clock nobody looks for sessions that have expired, unless told to.
        connection.ask("POST", "/v1/sweep", key.trim(), None).await.map_err(failed)?;
        let mut items = Vec::new();
        for status in ["active", "expired", "revoked", "all"] {
            for filter in ["", "ownerId", "device", "subjectId", "ownerId and device"] {
                let mut took = Vec::new();
                let mut shown = 0;
                for page in 0..self.pages as usize {
                    let path = format!("/v1/sessions?status={status}{}", filter_of(filter, status, page));
                    let begun = stopwatch();
                    let body = connection.ask("GET", &path, key.trim(), None).await.map_err(failed)?;
                    took.push(begun.elapsed());
                    let read: Value = serde_json::from_slice(body).map_err(failed)?;
                    shown += read["items"].as_array().map_or(0, Vec::len);
                }
                let mut item = start::times(&list_named(status, filter), took);
                item["list"] = item["work"].take();
                item["items"] = (shown / self.pages as usize).into();
                item["loadAverage"] = load_average().into();
                items.push(item);
            }
        }
        Ok(items)
    }
}

fn list_named(status: &str, filter: &str) -> String {
    if filter.is_empty() { status.to_owned() } else { format!("{status}, by {filter}") }
}

/// Others for each page, so that no page is read twice in a row.
fn filter_of(filter: &str, status: &str, page: usize) -> String {
    let (owner, device) = (page % OWNERS, page % DEVICES);
    let subject = if status == "revoked" { "gone" } else { "live" };
    match filter {
        "ownerId" => format!("&ownerId=owner-{owner}"),
        "device" => format!("&device=device-{device}"),
        "subjectId" => format!("&subjectId={subject}-{page}"),
        "ownerId and device" => format!("&ownerId=owner-{owner}&device=device-{device}"),
        _ => String::new(),
    }
}

/// Makes this number of sessions, of owners and on devices in turn.
fn make(runtime: &Runtime, node: &Node, name: &'static str, count: usize) -> Result<(), CommandError> {
    let subjects = count.div_ceil(EACH);
    let makers: Vec<_> = (0..MAKERS.min(subjects))
        .map(|first| {
            let authority = Arc::clone(&node.authority);
            runtime.spawn(async move {
                for number in (first..subjects).step_by(MAKERS) {
                    make_subject(&authority, name, number).await?;
                }
                Ok::<_, CommandError>(())
            })
        })
        .collect();
    makers.into_iter().try_for_each(|maker| runtime.block_on(maker).map_err(failed)?)
}

async fn make_subject(authority: &Authority, name: &str, number: usize) -> Result<(), CommandError> {
    let id: tenure_core::SubjectId = format!("{name}-{number}").parse().map_err(failed)?;
    let owner = format!("owner-{}", number % OWNERS).parse().map_err(failed)?;
    let profile = NewProfile { owner_id: Some(owner), ..NewProfile::default() };
    let context = || RequestContext::of(Actor::AUTHORITY);
    let refused = |failure| failed(format!("{failure:?}"));
    authority.register_subject(context(), id.clone(), profile, true).await.map_err(refused)?;
    for session in 0..EACH {
        let device = Some(format!("device-{}", (number * EACH + session) % DEVICES));
        let new = NewSession { device, ..NewSession::of(id.clone()) };
        authority.create_session(context(), new).await.map_err(refused)?;
    }
    Ok(())
}

/// A server of its own on this directory.
struct BenchServer {
    child: Child,
    host: String,
}

impl BenchServer {
    fn start(data: &Path) -> Result<Self, CommandError> {
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["serve", "--test-clock", "--listen", "127.0.0.1:0", "--set", "log.scrub_rate=0"]);
        command.args(["--set", "limits.per_subject=5", "--data"]).arg(data);
        let mut child = command.env_clear().stderr(Stdio::piped()).spawn().map_err(failed)?;
        let said = child.stderr.take().ok_or_else(|| failed("the server says nothing"))?;
        let mut said = BufReader::new(said).lines();
        let listening = |line: String| Some(line.split_once("listening on http://")?.1.trim().to_owned());
        let host = said.by_ref().map_while(Result::ok).find_map(listening);
        // It must not wait for a reader of its output.
        std::thread::spawn(move || said.for_each(drop));
        match host {
            Some(host) => Ok(Self { child, host }),
            None => Err(failed("the server does not start")),
        }
    }
}

impl Drop for BenchServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
