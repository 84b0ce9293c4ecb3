//! The life of a session as a picture, drawn here: periods as bars, marks for what happened, what can still come.

use tenure_audit::story::SessionStory;
use tenure_core::{EventKind, Timestamp};

use super::words::PageTime;
use crate::console::pages::session::SessionItem;

/// The picture's width and margins, in its own units.
const WIDTH: f64 = 960.0;
const MARGIN: f64 = 12.0;
/// The line on which the periods lie.
const BAR_TOP: f64 = 34.0;
const BAR_HEIGHT: f64 = 22.0;
/// The window of a veto lies above them.
const WINDOW_TOP: f64 = 26.0;
const WINDOW_HEIGHT: f64 = 6.0;

/// A bar: a period, or the window of a veto.
pub(super) struct TimelineBar {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) class: &'static str,
    pub(super) title: String,
}

/// A mark: an event that can be looked up.
pub(super) struct TimelineMark {
    pub(super) x: f64,
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) position: u64,
}

/// The picture.
pub(super) struct TimelineView {
    pub(super) bars: Vec<TimelineBar>,
    pub(super) marks: Vec<TimelineMark>,
    /// Where the present is, in a picture of a live session that goes on to it.
    pub(super) now: Option<f64>,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// Maps moments to places.
struct TimeScale {
    start: i64,
    length: f64,
}

impl TimeScale {
    fn place(&self, at: Timestamp) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a picture has a thousand places")]
        let part = (at.as_millis() - self.start) as f64 / self.length;
        (MARGIN + part.clamp(0.0, 1.0) * (WIDTH - 2.0 * MARGIN)).round()
    }

    fn bar(&self, from: Timestamp, to: Timestamp, class: &'static str, title: String) -> TimelineBar {
        let x = self.place(from);
        let width = (self.place(to) - x).max(2.0);
        TimelineBar { x, y: BAR_TOP, width, height: BAR_HEIGHT, class, title }
    }
}

/// Which part of the life is shown.
#[derive(Clone, Copy)]
pub(super) struct StoryWindow {
    /// It goes on to the present.
    pub(super) is_newest: bool,
    /// It begins with the session.
    pub(super) is_first: bool,
}

impl TimelineView {
    /// What its colours mean, by the class of each.
    pub(super) const fn legend(is_past: bool) -> [(&'static str, &'static str); 6] {
        [
            ("grant", "granted"),
            ("refusal", "refused"),
            ("end", "ended"),
            ("other", "anything else"),
            ("window", "time to veto"),
            ("now", if is_past { "the moment shown" } else { "now" }),
        ]
    }

    /// Of a part of the story of a session, told in order, at this moment.
    pub(super) fn of(
        story: &SessionStory,
        session: &SessionItem,
        window: StoryWindow,
        now: Timestamp,
    ) -> Self {
        let (first, last) = (story.chapters.first(), story.chapters.last());
        let start = first.map_or(session.view.created_at, |first| first.recorded_at);
        let start = if window.is_first { session.view.created_at } else { start };
        let end = last.map_or(start, |last| last.recorded_at);
        let end = if window.is_newest { last_moment(session, start, now) } else { end };
        #[expect(clippy::cast_precision_loss, reason = "a picture has a thousand places")]
        let length = (end.as_millis() - start.as_millis()).max(1) as f64;
        let scale = TimeScale { start: start.as_millis(), length };
        Self {
            bars: bars(story, session, window, (start, end), &scale),
            marks: marks(story, &scale),
            now: (window.is_newest && session.is_active()).then(|| scale.place(now)),
            start,
            end,
        }
    }
}

/// The picture ends a little after what is known to come: the end of the period, or of the session.
fn last_moment(session: &SessionItem, start: Timestamp, now: Timestamp) -> Timestamp {
    let known = session.view.revoked_at.unwrap_or(session.view.expires_at);
    let known = if session.is_active() { known.max(now) } else { known };
    let length = known.as_millis() - start.as_millis();
    known.plus_millis((length / 20).max(1_000))
}

/// Each period from its grant to the next one or its end, and the window in which the last can be vetoed. Of a part that
/// does not begin with the session, the first period had begun before.
fn bars(
    story: &SessionStory,
    session: &SessionItem,
    window: StoryWindow,
    (start, end): (Timestamp, Timestamp),
    scale: &TimeScale,
) -> Vec<TimelineBar> {
    let is_grant = |kind: EventKind| matches!(kind, EventKind::SessionCreated | EventKind::SessionRenewed);
    let grants = story.chapters.iter().filter(|chapter| is_grant(chapter.kind));
    let begun = (!window.is_first).then_some(start);
    let grants: Vec<_> = begun.into_iter().chain(grants.map(|chapter| chapter.recorded_at)).collect();
    let over = session.view.revoked_at.map_or(session.view.expires_at, |at| at.min(session.view.expires_at));
    let end = if window.is_newest { over } else { end };
    let mut bars: Vec<_> = (1..)
        .zip(grants.iter().zip(grants.iter().skip(1).chain([&end])))
        .map(|(number, (from, to))| {
            let class = if number % 2 == 1 { "period odd" } else { "period even" };
            let which = if window.is_first { format!("Period {number}") } else { "A period".to_owned() };
            let title = format!("{which}: {} to {}", from.utc(), to.utc());
            scale.bar(*from, *to, class, title)
        })
        .collect();
    if let (Some(renewed), Some(until), true) =
        (session.view.renewed_at, session.veto_until, window.is_newest)
    {
        let title = format!("Veto expected until {}", until.utc());
        let bar = scale.bar(renewed, until, "window", title);
        bars.push(TimelineBar { y: WINDOW_TOP, height: WINDOW_HEIGHT, ..bar });
    }
    bars
}

fn marks(story: &SessionStory, scale: &TimeScale) -> Vec<TimelineMark> {
    let mark = |chapter: &tenure_audit::story::StoryEntry| TimelineMark {
        x: scale.place(chapter.recorded_at),
        class: class_of(chapter.kind),
        title: format!("{}: {}", chapter.recorded_at.utc(), chapter.words),
        position: chapter.position.0,
    };
    story.chapters.iter().map(mark).collect()
}

fn class_of(kind: EventKind) -> &'static str {
    match kind {
        EventKind::SessionCreated | EventKind::SessionRenewed | EventKind::SessionRefreshed => "mark grant",
        EventKind::RenewalRejected => "mark refusal",
        EventKind::SessionRevoked
        | EventKind::SessionsRevoked
        | EventKind::SelectionRevoked
        | EventKind::SessionExpired
        | EventKind::SubjectSuspended
        | EventKind::SubjectErased
        | EventKind::EpochBegan => "mark end",
        EventKind::SubjectRegistered
        | EventKind::SubjectResumed
        | EventKind::TokensPresented
        | EventKind::CredentialIssued
        | EventKind::CredentialRevoked
        | EventKind::CredentialConfirmed
        | EventKind::PolicyChanged
        | EventKind::KeyRotated
        | EventKind::SessionsSeen
        | EventKind::UsageRecorded
        | EventKind::WebhookCreated
        | EventKind::WebhookDeleted
        | EventKind::LogSegmented => "mark other",
    }
}
