//! `tenure bench start`

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::{
    conditions::{ScratchDir, load_average, machine},
    failed,
    fixture::policy,
    memory::start_apart,
    report::print_with,
    synthetic::{commit, created, registered, renewed, revoked, subject},
};
use crate::cli::{context::GlobalArgs, failure::CommandError, output::Column};
use tenure_core::{CommitId, Event, Position, Seconds, StreamId, Timestamp};
use tenure_log::{AppendOutcome, EncodedCommit, EventLog, encode};
use tenure_protocol::clock::{pause, stopwatch, worked};
use tenure_protocol::entropy::{self, Entropy, OsEntropy};
use tenure_server::node::{Node, NodeOptions, snapshot};
use tenure_server::projections::history;

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    sessions: u64,

    /// How many of them each subject has
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=5))]
    per_subject: u64,

    /// How many events the log has at least; what the sessions leave are renewals
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,

    /// How many questions about the past are asked
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    questions: u32,

    /// How many starts from a checkpoint are measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Where to put the temporary data directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Leave the data directory there, on the same disk as --dir, to be served or measured further
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("SECONDS", "seconds"),
    Column::plain("CPU SECONDS", "cpuSeconds"),
    Column::plain("RESIDENT", "residentBytes"),
    Column::plain("P50 MS", "p50Millis"),
    Column::plain("P99 MS", "p99Millis"),
    Column::plain("MOST MS", "mostMillis"),
    Column::plain("LOAD", "loadAverage"),
];

/// The longest wait for a history to be sealed.
const LONGEST: Duration = Duration::from_mins(30);
/// Commits appended together.
const BATCH: usize = 512;

impl StartArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let scratch = ScratchDir::new(&self.dir)?;
        let data = scratch.path().join("data");
        open(&data)?.0.stop();
        let events = fill(&data, self.sessions, self.per_subject, self.events)?;
        let mut items = Vec::new();
        fs::remove_file(snapshot::path(&data)).map_err(failed)?;
        items.push(start_of(&data, "start without a snapshot")?);
        items.push(start_of(&data, "start with a snapshot")?);
        let node = open(&data)?.0;
        items.extend(self.past(&node)?);
        settle(&node)?;
        node.stop();
        for _ in 0..self.rounds {
            items.push(start_of(&data, "start of a sealed history")?);
        }
        let (checkpoints, aside) = (data.join("checkpoints"), scratch.path().join("checkpoints"));
        fs::rename(&checkpoints, &aside).map_err(failed)?;
        items.push(start_of(&data, "the same without a checkpoint")?);
        // That start may have begun another one.
        if checkpoints.exists() {
            fs::remove_dir_all(&checkpoints).map_err(failed)?;
        }
        fs::rename(&aside, &checkpoints).map_err(failed)?;
        if let Some(keep) = &self.keep {
            fs::rename(&data, keep).map_err(failed)?;
        }
        let mut conditions = machine();
        conditions.insert("sessions".into(), self.sessions.into());
        conditions.insert("perSubject".into(), self.per_subject.into());
        conditions.insert("events".into(), events.into());
        print_with(global.output(), &conditions, &items, COLUMNS)
    }

    /// One session, as of a position, and as of a time.
    fn past(&self, node: &Node) -> Result<[Value; 2], CommandError> {
        let log = node.authority.log();
        let head = log.head().position.0;
        let (mut by_position, mut by_time) = (Vec::new(), Vec::new());
        for _ in 0..self.questions {
            let subject = subject(draw(self.sessions.div_ceil(self.per_subject)));
            let position = Position(1 + draw(head));
            let ask =
                |position| history::subject_at(log, &node.projections, &subject, position).map_err(failed);
            let begun = stopwatch();
            ask(position)?;
            by_position.push(begun.elapsed());
            let stored = history::commit_at(log, position).map_err(failed)?;
            let moment = stored.map_or(Timestamp::ZERO, |stored| stored.commit.recorded_at);
            let begun = stopwatch();
            ask(history::position_at(log, moment).map_err(failed)?)?;
            by_time.push(begun.elapsed());
        }
        Ok([times("a subject as of a position", by_position), times("a subject as of a time", by_time)])
    }
}

/// Writes the history behind what a first start has recorded, and says how many events the log has.
pub(super) fn fill(data: &Path, sessions: u64, per_subject: u64, events: u64) -> Result<u64, CommandError> {
    fill_after(0, data, sessions, per_subject, events)
}

/// The same, after `ended` other sessions of the same subjects.
pub(super) fn fill_after(
    ended: u64,
    data: &Path,
    sessions: u64,
    per_subject: u64,
    events: u64,
) -> Result<u64, CommandError> {
    let log = tenure_log::open(data, &mut |_| Ok(())).map_err(failed)?;
    let head = log.head();
    let mut history = HistoryGenerator::new(sessions, per_subject, head.position, head.recorded_at);
    history.ended = ended;
    while history.has_more(events) {
        let batch: Result<Vec<_>, _> = (0..BATCH).map(|_| history.next()).collect();
        if log.append(log.head().position, batch?).map_err(failed)? != AppendOutcome::Appended {
            return Err(failed("the log did not take the history"));
        }
    }
    Ok(log.head().position.0)
}

/// Waits until every full range is sealed, and a checkpoint stands at the end of what is, where one is made.
///
/// # Errors
/// That takes longer than half an hour.
pub(super) fn settle(node: &Node) -> Result<(), CommandError> {
    let (storage, begun) = (node.authority.storage(), stopwatch());
    let is_settled = || {
        let figures = storage.figures();
        figures.unsealed == 0 && storage.checkpoints().position >= figures.sealed && figures.bytes > 0
    };
    while !is_settled() {
        if begun.elapsed() > LONGEST {
            return Err(failed("the history is not sealed, or has no checkpoint, after half an hour"));
        }
        pause(Duration::from_millis(50));
    }
    Ok(())
}

/// What a start took.
pub(super) struct StartFigures {
    took: Duration,
    worked: Duration,
}

impl StartFigures {
    pub(super) fn seconds(&self) -> f64 {
        rounded(self.took.as_secs_f64())
    }

    pub(super) fn cpu_seconds(&self) -> f64 {
        rounded(self.worked.as_secs_f64())
    }
}

fn start_of(data: &Path, work: &str) -> Result<Value, CommandError> {
    let mut item = start_apart(data)?;
    item["work"] = work.into();
    item["seconds"] = item["startSeconds"].take();
    item["loadAverage"] = load_average().into();
    Ok(item)
}

pub(super) fn times(work: &str, mut took: Vec<Duration>) -> Value {
    took.sort_unstable();
    let millis = |place: usize| rounded(took[place.min(took.len() - 1)].as_secs_f64() * 1e3);
    json!({
        "work": work,
        "p50Millis": millis(took.len() / 2),
        "p99Millis": millis(took.len() * 99 / 100),
        "mostMillis": millis(took.len() - 1),
        "loadAverage": load_average(),
    })
}

/// To thousandths.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

pub(super) fn open(data: &Path) -> Result<(Node, StartFigures), CommandError> {
    let mut options = NodeOptions::new(data);
    options.policy = Some(policy());
    options.test_clock = true;
    // What ended before the rest of a history has gone.
    options.retention = Seconds(60);
    let (begun, before) = (stopwatch(), worked());
    let node = Node::open(options).map_err(failed)?;
    let (took, worked) = (begun.elapsed(), worked().saturating_sub(before));
    Ok((node, StartFigures { took, worked }))
}

fn draw(below: u64) -> u64 {
    u64::from_be_bytes(entropy::bytes(&OsEntropy as &dyn Entropy)) % below
}

/// Sessions that begin one after another, and then are renewed in turn.
struct HistoryGenerator {
    sessions: u64,
    per_subject: u64,
    /// Number of sessions that begin and end before them.
    ended: u64,
    /// The last position of each subject's stream.
    last: Vec<Position>,
    begin: Timestamp,
    head: Position,
    made: u64,
}

impl HistoryGenerator {
    fn new(sessions: u64, per_subject: u64, head: Position, begin: Timestamp) -> Self {
        let subjects = usize::try_from(sessions.div_ceil(per_subject)).unwrap_or(usize::MAX);
        let last = vec![Position::ZERO; subjects];
        Self { sessions, per_subject, ended: 0, last, begin, head, made: 0 }
    }

    fn has_more(&self, events: u64) -> bool {
        self.made < self.sessions + 2 * self.ended || self.head.0 < events
    }

    fn next(&mut self) -> Result<EncodedCommit, CommandError> {
        // A millisecond apart: there are many moments to ask about, and no session ends meanwhile.
        let at = self.begin.plus_millis(i64::try_from(self.made).unwrap_or(i64::MAX));
        // What ended has done so for longer than ended sessions stay in the part of a checkpoint that a start reads.
        let is_later = self.ended > 0 && self.made >= 2 * self.ended;
        let at = if is_later { at.plus(LATER) } else { at };
        let (number, happened) = match self.made.checked_sub(2 * self.ended) {
            Some(made) => self.of_those_that_live(made, at),
            None => self.of_those_that_end(self.made, at),
        };
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let is_new = self.last[place] == Position::ZERO;
        let events: Vec<_> = is_new.then(registered).into_iter().chain([happened]).collect();
        let id = CommitId::from_bytes((0x7000_u128 << 64 | u128::from(self.made)).to_be_bytes());
        self.head = self.head.plus(events.len() as u64);
        self.made += 1;
        let expected = std::mem::replace(&mut self.last[place], self.head);
        let commit = commit(id, StreamId::Subject(subject(number)), expected, at, events);
        encode(&commit).map_err(failed)
    }

    fn of_those_that_live(&self, made: u64, at: Timestamp) -> (u64, Event) {
        let (round, session) = (made / self.sessions, made % self.sessions);
        let event = if round == 0 { created(session, at) } else { renewed(session, round, at) };
        (session / self.per_subject, event)
    }

    fn of_those_that_end(&self, made: u64, at: Timestamp) -> (u64, Event) {
        let session = ENDED + made / 2;
        let event = if made.is_multiple_of(2) { created(session, at) } else { revoked(session) };
        (made / 2 % self.sessions.div_ceil(self.per_subject), event)
    }
}

/// How much later the live ones begin.
const LATER: Seconds = Seconds(2 * 86_400);

/// The first number of those that end before others begin.
const ENDED: u64 = 1 << 40;
