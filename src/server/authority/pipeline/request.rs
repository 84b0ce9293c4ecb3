//! What the sequencer is asked, and what it answers.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::personal_data::SubjectKey;
use crate::tokens::NewKey;
use tenure_core::{
    Actor, Position, SessionId, SubjectId, Timestamp,
    command::{BeginEpoch, Command, RotateKey, SystemCommand},
    commit::IdempotencyMark,
    refusal::Refusal,
    session::Session,
    subject::Subject,
};
use tenure_log::StoredCommit;

use super::{disk_room::RoomFor, recalled_sessions::RecalledSessions, timings::CommandTimings};

/// Who asks, and by which request: what is recorded beside the facts.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Who asks.
    pub actor: Actor,
    /// The id of the request, to find it again in the audit.
    pub correlation_id: Option<String>,
    /// The mark of an idempotent request.
    pub idempotency: Option<IdempotencyMark>,
}

impl RequestContext {
    /// Of this actor, without a request id or an idempotency key.
    pub const fn of(actor: Actor) -> Self {
        Self { actor, correlation_id: None, idempotency: None }
    }
}

/// A command, and whose stream it is decided in.
#[derive(Debug)]
pub(crate) enum CommandRequest {
    /// About a subject and its sessions.
    Subject(SubjectId, Command),
    /// The same, with texts that were sealed under this key.
    Sealed(SubjectId, Command, SubjectKey),
    /// About the authority itself.
    System(SystemCommand),
    /// Let this key seal from now on.
    Rotate(RotateKey, NewKey),
    /// Begin another epoch, in which these keys seal.
    BeginEpoch(Box<BeginEpoch>, [NewKey; 2]),
}

impl CommandRequest {
    /// Whether it goes before creates and renewals when the authority is busy.
    pub(crate) const fn is_urgent(&self) -> bool {
        match self {
            Self::Subject(_, command) | Self::Sealed(_, command, _) => command.is_urgent(),
            Self::System(command) => command.is_urgent(),
            Self::Rotate(..) | Self::BeginEpoch(..) => true,
        }
    }

    /// Whether there must be room for everything before it is decided. What a start records is small, and mostly known.
    pub(crate) fn needs(&self) -> RoomFor {
        match self {
            Self::System(SystemCommand::SetPolicy(_) | SystemCommand::AdmitKeys(_)) => RoomFor::Nothing,
            ask if ask.is_urgent() => RoomFor::Ends,
            Self::Subject(..)
            | Self::Sealed(..)
            | Self::System(_)
            | Self::Rotate(..)
            | Self::BeginEpoch(..) => RoomFor::All,
        }
    }

    /// Whether it grants something: then it waits until all of the history reads as it was written.
    pub(crate) const fn grants(&self) -> bool {
        match self {
            Self::Subject(_, command) | Self::Sealed(_, command, _) => command.grants(),
            Self::System(command) => command.grants(),
            Self::Rotate(..) | Self::BeginEpoch(..) => false,
        }
    }

    /// The subject that it suspends, if it does nothing else.
    pub(crate) const fn suspends(&self) -> Option<&SubjectId> {
        match self {
            Self::Subject(id, Command::SuspendSubject(_))
            | Self::Sealed(id, Command::SuspendSubject(_), _) => Some(id),
            Self::Subject(..)
            | Self::Sealed(..)
            | Self::System(_)
            | Self::Rotate(..)
            | Self::BeginEpoch(..) => None,
        }
    }

    /// Whether all sessions must be looked at to decide it.
    pub(crate) const fn is_bulk(&self) -> bool {
        match self {
            Self::System(command) => command.is_bulk(),
            Self::BeginEpoch(..) => true,
            Self::Subject(..) | Self::Sealed(..) | Self::Rotate(..) => false,
        }
    }
}

/// A command on its way to the sequencer.
pub(crate) struct QueuedRequest {
    pub(crate) ask: CommandRequest,
    pub(crate) context: RequestContext,
    /// Sessions that it needs and that are not in memory, once they were read.
    pub(crate) carried: Option<RecalledSessions>,
    pub(crate) caller: WaitingCaller,
}

/// A caller that waits for its answer.
pub(crate) struct WaitingCaller {
    pub(crate) reply: oneshot::Sender<Result<CommandOutcome, CommandError>>,
    /// Whether it is woken before all others.
    pub(crate) goes_first: bool,
    pub(crate) passage: CommandTimings,
}

impl QueuedRequest {
    /// A request, and where its answer comes.
    pub(crate) fn of(
        ask: CommandRequest,
        context: RequestContext,
        carried: Option<RecalledSessions>,
        passage: CommandTimings,
    ) -> (Self, oneshot::Receiver<Result<CommandOutcome, CommandError>>) {
        let (reply, answer) = oneshot::channel();
        let goes_first = ask.is_urgent();
        (Self { ask, context, carried, caller: WaitingCaller { reply, goes_first, passage } }, answer)
    }
}

/// What became of a granted command.
#[derive(Debug)]
pub(crate) enum CommandOutcome {
    /// It was decided now.
    Done(CommandEffect),
    /// It is the repeat of a request whose commit begins here, and had no further effect.
    Repeat(Position),
    /// It was not decided: it needs sessions that left memory.
    Unread(Box<(CommandRequest, RequestContext)>),
}

/// A command that was decided and, if it said anything new, recorded.
#[derive(Clone, Debug)]
pub struct CommandEffect {
    /// The moment of the decision.
    pub at: Timestamp,
    /// What was recorded; `None` if nothing had to change.
    pub commit: Option<Arc<StoredCommit>>,
    /// What it left of the subject or session that it was about; `None` for a command about the authority itself, and
    /// for a repeat.
    pub(crate) after: Option<StateAfter>,
    /// Some of the sessions that a bulk revocation ended.
    pub sample: Vec<SessionId>,
    /// Whether it was decided before, for the first request under this idempotency key, and had no further effect.
    pub is_repeat: bool,
}

impl CommandEffect {
    /// The position of its last event.
    pub fn position(&self) -> Option<Position> {
        self.commit.as_ref().map(|commit| commit.last())
    }

    /// Of a repeat, what was recorded for the first request.
    pub(crate) fn first_commit(&self) -> Option<&StoredCommit> {
        self.commit.as_deref().filter(|_| self.is_repeat)
    }
}

/// What a command about a subject leaves of what it was about.
///
/// Of a command about one session it is that session alone: while a caller held the whole subject, the next command of
/// the batch about the same subject would have to copy the list of its sessions.
#[derive(Clone, Debug)]
pub(crate) enum StateAfter {
    /// The whole subject.
    Subject(Arc<Subject>),
    /// One session.
    Session(Session),
}

impl StateAfter {
    pub(super) fn of(command: &Command, subject: &Arc<Subject>) -> Option<Self> {
        match command.answers_with() {
            Some(id) => subject.session(id).cloned().map(Self::Session),
            None => Some(Self::Subject(Arc::clone(subject))),
        }
    }
}

/// Why a command was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A rule refuses it.
    #[error("{refusal}")]
    Refused {
        /// Which, with all that the answer needs.
        refusal: Refusal,
        /// The last event that was recorded of the refusal.
        recorded: Option<Position>,
    },
    /// Too many requests wait already; nothing was decided.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The caller has as many idempotency keys as are remembered, all of them of the last minute; nothing was decided.
    #[error("this caller has as many idempotency keys as are remembered")]
    TooManyKeys {
        /// In this number of seconds the oldest of them makes room.
        retry_after: u32,
    },
    /// The log takes no writes; nothing was decided.
    #[error("the authority cannot write: {why}")]
    StorageUnavailable {
        /// What the operator should know.
        why: String,
    },
    /// Another node leads; nothing was decided here, or ever will be.
    #[error("another node leads, or none: this one decides nothing")]
    NotLeading,
    /// It was done when it was first made, and its answer cannot be read back at present.
    #[error(
        "the request was done when it was first made, and its answer cannot be read back at present ({why}); ask again \
         with the same Idempotency-Key"
    )]
    AnswerUnread {
        /// What the operator should know.
        why: String,
    },
    /// It was decided, but may not have reached the disk.
    #[error("whether it had its effect is not known")]
    OutcomeUnknown,
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { refusal, recorded: None }
    }
}
