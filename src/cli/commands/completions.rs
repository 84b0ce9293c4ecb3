//! `tenure completions`: a script for a shell, which then asks this program what may come next. So subjects and sessions
//! are completed too, those of the server that the environment or the context names.

use std::{
    ffi::{OsStr, OsString},
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::{Arg, Args, Command, Parser};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::Shells,
};
use serde_json::Value;

use crate::cli::{connection::client::ApiRequest, context::GlobalArgs, failure::CommandError, output};

/// The shell's script sets it when it asks.
const ASKED_BY: &str = "TENURE_COMPLETE";
/// The longest wait for candidates.
const TIMEOUT: Duration = Duration::from_millis(900);

#[derive(Debug, Args)]
#[command(after_help = "\
    The script asks `tenure` for candidates each time, and so completes subjects and sessions too.\n\n\
    Example: source <(tenure completions bash)")]
pub(crate) struct CompletionsArgs {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(&self) -> Result<(), CommandError> {
        let name = self.shell.to_string();
        let shells = Shells::builtins();
        let shell = shells.completer(&name);
        let shell =
            shell.ok_or_else(|| CommandError::Usage(format!("{name}: there is no script for this shell")))?;
        let mut script = Vec::new();
        shell
            .write_registration(ASKED_BY, "tenure", "tenure", "tenure", &mut script)
            .map_err(CommandError::Output)?;
        output::raw(&script)
    }
}

/// Answers a shell that asks what may come next; false when none does.
pub(in crate::cli) fn answer(args: &[OsString], tree: fn() -> Command) -> Result<bool, clap::Error> {
    let here = std::env::current_dir().ok();
    CompleteEnv::with_factory(tree).var(ASKED_BY).try_complete(args, here.as_deref())
}

/// The argument with what may be its value, where a server knows that.
pub(in crate::cli) fn with_candidates(argument: Arg) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match name.as_deref() {
        Some("SUBJECT") => argument.add(ArgValueCompleter::new(subjects)),
        Some("SESSION") => argument.add(ArgValueCompleter::new(sessions)),
        Some("SUBJECT|SESSION" | "SESSION|SUBJECT") => argument.add(ArgValueCompleter::new(either)),
        Some("WEBHOOK") => argument.add(ArgValueCompleter::new(webhooks)),
        Some(_) | None => argument,
    }
}

fn subjects(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, "subjects", "subjectId", &["name", "ownerId"])
}

fn sessions(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, "sessions", "sessionId", &["subjectId", "subjectName", "status"])
}

fn webhooks(begun: &OsStr) -> Vec<CompletionCandidate> {
    candidates(begun, "webhooks", "webhookId", &["url"])
}

/// A subject stands for its session.
fn either(begun: &OsStr) -> Vec<CompletionCandidate> {
    let mut all = subjects(begun);
    all.extend(sessions(begun));
    all
}

/// Items of a list with this beginning of an id, described by these fields; empty if the server does not answer in
/// time.
fn candidates(begun: &OsStr, list: &'static str, id: &str, told: &[&str]) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str() else { return Vec::new() };
    let Some(page) = fetch(list) else { return Vec::new() };
    let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |item: &Value| {
        let value = item[id].as_str().filter(|value| value.starts_with(begun))?;
        let told: Vec<_> = told.iter().filter_map(|field| item[field].as_str()).collect();
        Some(CompletionCandidate::new(value).help(Some(told.join(" ").into())))
    };
    items.iter().filter_map(one).collect()
}

/// As the environment and the context say; options on the line are not known here.
#[derive(Parser)]
struct CompletionContext {
    #[command(flatten)]
    global: GlobalArgs,
}

fn fetch(list: &'static str) -> Option<Value> {
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || {
        let global = CompletionContext::try_parse_from(["tenure"]).ok()?.global;
        let request = ApiRequest::get(&["v1", list]).query("limit", Some(200));
        let page = global.context().ok()?.client.send(&request).ok()?.body;
        answer.send(page).ok()
    });
    answered.recv_timeout(TIMEOUT).ok()
}
