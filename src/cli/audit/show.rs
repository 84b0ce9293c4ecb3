//! `tenure audit show`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::json;

use super::{known::Known, source::Source, stopped::damaged};
use crate::{
    audit::{
        replay::{Replay, Until},
        story::{Chapter, Story, Teller},
    },
    cli::{
        context::{Global, moment},
        failure::Failure,
    },
    domain::{Position, SessionId, Timestamp},
};

/// Arguments of `tenure audit show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The session's id
    #[arg(value_name = "SESSION")]
    session: String,

    /// Its story up to this moment (RFC 3339), and what was possible at it
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "position")]
    at: Option<Timestamp>,

    /// Its story up to this position
    #[arg(long, value_name = "N")]
    position: Option<u64>,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    known: Known,
}

impl Show {
    pub(crate) fn run(&self, global: &Global) -> Result<(), Failure> {
        // An id that is no UUID is an unknown id.
        let missing =
            || Failure::Missing(format!("no session {} is in this history up to there", self.session));
        let id: SessionId = self.session.parse().map_err(|_| missing())?;
        let until = match (self.at, self.position) {
            (Some(at), _) => Until::Time(at),
            (None, Some(position)) => Until::Position(Position(position)),
            (None, None) => Until::End,
        };
        let mut replay = Replay::new(until);
        let mut teller = Teller::of(id);
        let mut illegal = None;
        let ending = self.source.read(global, &self.known.read()?, &mut |stored| {
            replay.add_telling(&stored, &mut |state, step| teller.hear(state, step)).unwrap_or_else(|found| {
                illegal = Some(found);
                ControlFlow::Break(())
            })
        })?;
        ending.warn(global.output());
        if let Some(illegal) = illegal {
            return Err(damaged(illegal.to_string()));
        }
        let story = teller.end(&replay).ok_or_else(missing)?;
        global.output().told(&json!(story), &lines(&story))
    }
}

fn lines(story: &Story) -> Vec<String> {
    let session = &story.session;
    let mut lines = vec![format!("Session {} of {}", session.session_id, session.subject_id), String::new()];
    for chapter in &story.chapters {
        lines.extend(told(chapter));
    }
    let status = json!(session.status);
    lines.push(String::new());
    lines.push(format!(
        "At {}, position {}: {}",
        session.as_of_time,
        session.as_of_position,
        status.as_str().unwrap_or_default()
    ));
    lines.extend(story.next.iter().map(|next| format!("  {next}")));
    lines
}

fn told(chapter: &Chapter) -> Vec<String> {
    let mut lines = vec![format!("{:>6}  {}  {}", chapter.position, chapter.recorded_at, chapter.words)];
    if let Some(because) = &chapter.because {
        let confirmed = match because.confirmed {
            Some(true) => "; asked again, the rules say the same",
            Some(false) => "; ASKED AGAIN, THE RULES SAY OTHERWISE",
            None => "",
        };
        lines.push(format!("{:>34}the rule: {}{confirmed}", "", because.rule));
    }
    lines
}
