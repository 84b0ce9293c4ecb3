//! `tenure audit show`

use std::ops::ControlFlow;

use clap::Args;
use serde_json::{Value, json};

use super::{candidates::CandidateStories, server_time, source::SourceArgs, trust::TrustArgs};
use crate::cli::{
    arguments::{
        find::{self, SessionScope},
        moments::{TypedMoment, moment},
    },
    context::GlobalArgs,
    failure::CommandError,
};
use tenure_audit::{
    replay::{HistoryReplay, ReplayEnd},
    story::{LiveDetails, SessionStory, StoryEntry},
};
use tenure_core::{Position, SessionId, Timestamp};

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The session, by its id or a unique beginning, or by its subject; a subject's name only of a running server
    #[arg(value_name = "SESSION|SUBJECT")]
    session: String,

    /// Its story up to this moment, and what was possible at it; such as 03:12 or 2026-11-22T03:12:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "position")]
    at: Option<TypedMoment>,

    /// Its story up to this position
    #[arg(long, value_name = "N")]
    position: Option<u64>,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
}

impl ShowArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let named = self.named(global)?;
        let live = if self.source.is_server() { server_time::session(global, &named)? } else { None };
        let mut replay = HistoryReplay::new(self.until(global, live.as_ref())?);
        let mut meant = CandidateStories::by(&named);
        let mut illegal = None;
        let ending = self.source.read(global, &self.known.read()?, &mut |stored| {
            replay.add_with_listener(&stored, &mut |state, step| meant.observe(state, step)).unwrap_or_else(
                |found| {
                    illegal = Some(found);
                    ControlFlow::Break(())
                },
            )
        })?;
        if let Some(illegal) = illegal {
            return Err(CommandError::damaged(illegal.to_string()));
        }
        let mut teller = meant.only(&replay)?;
        teller.know(live.as_ref().map(details).unwrap_or_default());
        let missing = || CommandError::Missing(format!("no session {named} is in this history up to there"));
        let story = teller.end(&replay).ok_or_else(missing)?;
        let recorded_at = replay.state().recorded_at;
        let last = (self.is_now() && live.is_some()).then_some(recorded_at);
        let keys = self.source.key_names(global)?;
        let lines: Vec<_> = lines(&story, last).iter().map(|line| keys.in_sentence(line)).collect();
        global.output().narrative(&json!(story), &lines)?;
        ending.report(global.output());
        Ok(())
    }

    /// A server finds more, by the names of subjects, which no export has.
    fn named(&self, global: &GlobalArgs) -> Result<String, CommandError> {
        if self.source.is_server() {
            find::session(&global.context()?, &self.session, SessionScope::Any)
        } else {
            Ok(self.session.clone())
        }
    }

    const fn is_now(&self) -> bool {
        self.at.is_none() && self.position.is_none()
    }

    /// A live server is judged at its own now, and not at its last event, which may be hours old.
    fn until(&self, global: &GlobalArgs, live: Option<&Value>) -> Result<ReplayEnd, CommandError> {
        Ok(match (self.at, self.position) {
            (Some(at), _) => ReplayEnd::Time(self.source.past(global, at)?),
            (None, Some(position)) => ReplayEnd::Position(Position(position)),
            (None, None) => live.and_then(server_time::of).map_or(ReplayEnd::End, ReplayEnd::Time),
        })
    }
}

/// What a running server knows of a session beyond what is recorded in the clear.
pub(super) fn live_details(global: &GlobalArgs, session: SessionId) -> Result<LiveDetails, CommandError> {
    let live = server_time::session(global, &session.to_string())?;
    Ok(live.as_ref().map(details).unwrap_or_default())
}

fn details(live: &Value) -> LiveDetails {
    LiveDetails {
        reason: live["revokedReason"].as_str().map(str::to_owned),
        last_seen_at: live["lastSeenAt"].as_str().and_then(Timestamp::parse),
    }
}

/// `last` is when the last event was recorded, where the story is judged at the server's now.
pub(super) fn lines(story: &SessionStory, last: Option<Timestamp>) -> Vec<String> {
    let session = &story.session;
    let mut lines = vec![format!("Session {} of {}", session.session_id, session.subject_id), String::new()];
    for chapter in &story.chapters {
        lines.extend(entry_lines(chapter));
    }
    let status = json!(session.status);
    let status = status.as_str().unwrap_or_default();
    let (at, position) = (session.as_of_time, session.as_of_position);
    lines.push(String::new());
    lines.push(match last {
        Some(last) => {
            format!("At {at}, the server's now (the last event, position {position}, is of {last}): {status}")
        }
        None => format!("At {at}, position {position}: {status}"),
    });
    lines.extend(story.next.iter().map(|next| format!("  {next}")));
    lines
}

fn entry_lines(chapter: &StoryEntry) -> Vec<String> {
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
