//! How a command can fail, and what the process then exits with.

use std::{io, ops::Deref, path::PathBuf};

use tenure_client as client;
use tenure_core::Timestamp;

/// The exit codes. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
    /// Done.
    Ok = 0,
    /// The command, a file that it names, or a value in the request is wrong.
    Usage = 1,
    /// The server could not be reached, or could not do it.
    Server = 2,
    /// The server understood and said no.
    Refused = 3,
    /// There is no such thing.
    NotFound = 4,
    /// It is at odds with what is there.
    Conflict = 5,
    /// The evidence does not hold.
    VerificationFailed = 6,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// What was typed cannot be done.
    #[error("{0}")]
    Usage(String),
    /// The server answered with a problem document.
    #[error("{}", .0.title)]
    Problem(Box<RefusedRequest>),
    /// No answer came, or none of Tenure's.
    #[error(transparent)]
    Unanswered(client::Error),
    /// A part of Tenure that runs in this process failed: `serve`, `credential create --data`.
    #[error("{0}")]
    Server(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something that was to be shown is not there.
    #[error("{0}")]
    Missing(String),
    /// `doctor` or `audit` found something wrong.
    #[error("{why}")]
    Unhealthy {
        /// What the process exits with.
        exit: ExitStatus,
        /// What is wrong.
        why: String,
    },
    /// What was typed fits several things.
    #[error("{0}")]
    Ambiguous(Box<AmbiguousName>),
    /// The question before a destructive command was not answered with yes.
    #[error("nothing was changed")]
    Declined,
    /// Stdout cannot be written to.
    #[error("stdout: {0}")]
    Output(#[source] io::Error),
}

impl CommandError {
    /// Something is not as it was written.
    pub(crate) const fn damaged(why: String) -> Self {
        Self::Unhealthy { exit: ExitStatus::VerificationFailed, why }
    }

    /// What the process exits with.
    pub(crate) fn exit(&self) -> ExitStatus {
        match self {
            Self::Usage(_) | Self::File { .. } | Self::Declined => ExitStatus::Usage,
            Self::Problem(problem) => exit_for_status(problem.status),
            Self::Missing(_) => ExitStatus::NotFound,
            Self::Unhealthy { exit, .. } => *exit,
            Self::Ambiguous(_) => ExitStatus::Conflict,
            // The reader that closed the pipe (`| head`) has what it wanted.
            Self::Output(source) if source.kind() == io::ErrorKind::BrokenPipe => ExitStatus::Ok,
            Self::Unanswered(_) | Self::Server(_) | Self::Output(_) => ExitStatus::Server,
        }
    }

    /// What the server said, when it was the server that refused.
    pub(crate) fn problem(&self) -> Option<&RefusedRequest> {
        if let Self::Problem(problem) = self { Some(problem) } else { None }
    }

    /// A refusal, with its thing by name.
    pub(crate) fn about(self, thing: String) -> Self {
        if let Self::Problem(problem) = self {
            Self::Problem(Box::new((*problem).about(Some(thing))))
        } else {
            self
        }
    }

    /// The server that gave no answer.
    pub(crate) fn silent_server(&self) -> Option<&str> {
        if let Self::Unanswered(client::Error::Unreachable { url, .. }) = self { Some(url) } else { None }
    }

    /// Whether the same may succeed a little later, without any intervention.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unanswered(error) => matches!(error, client::Error::Unreachable { .. }),
            Self::Problem(problem) => problem.is_transient(),
            Self::Usage(_)
            | Self::File { .. }
            | Self::Declined
            | Self::Server(_)
            | Self::Missing(_)
            | Self::Unhealthy { .. }
            | Self::Ambiguous(_)
            | Self::Output(_) => false,
        }
    }

    /// Whether the request may have had its effect all the same.
    pub(crate) fn leaves_it_open(&self) -> bool {
        match self {
            Self::Unanswered(_) => true,
            Self::Problem(problem) => problem.status >= 500,
            Self::Usage(_)
            | Self::File { .. }
            | Self::Declined
            | Self::Server(_)
            | Self::Missing(_)
            | Self::Unhealthy { .. }
            | Self::Ambiguous(_)
            | Self::Output(_) => false,
        }
    }
}

/// 400 and its kin are usage: the request itself was wrong. 429 is policy.
const fn exit_for_status(status: u16) -> ExitStatus {
    match status {
        400 | 405 | 413 | 415 => ExitStatus::Usage,
        404 => ExitStatus::NotFound,
        409 | 422 => ExitStatus::Conflict,
        401..=499 => ExitStatus::Refused,
        _ => ExitStatus::Server,
    }
}

/// What an ambiguous word may have meant.
#[derive(Clone, Debug)]
pub(crate) struct AmbiguousName {
    /// As it was typed.
    pub typed: String,
    /// Of what kind the things are.
    pub noun: &'static str,
    /// One line of each.
    pub lines: Vec<String>,
    /// How many more there are.
    pub more: usize,
}

impl std::fmt::Display for AmbiguousName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" is ambiguous; which {} do you mean?", self.typed, self.noun)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))?;
        if self.more > 0 { write!(f, "\n… and {} more", self.more) } else { Ok(()) }
    }
}

/// A refusal, and what the command line adds to it.
#[derive(Clone, Debug)]
pub(crate) struct RefusedRequest {
    said: client::Problem,
    /// Whether the request carried a key or token.
    pub with_credential: bool,
    /// What is not there, or why it cannot be had, such as `no subject "ghost"`.
    pub missing: Option<String>,
    /// What time it was at the server, if it said so.
    pub then: Option<Timestamp>,
}

impl RefusedRequest {
    pub(crate) const fn of(said: client::Problem, with_credential: bool) -> Self {
        Self { said, with_credential, missing: None, then: None }
    }

    /// The same, refused at this time of the server.
    pub(crate) fn at(self, then: Option<Timestamp>) -> Self {
        Self { then, ..self }
    }

    /// The same, about this missing thing.
    pub(crate) fn about(self, missing: Option<String>) -> Self {
        Self { missing, ..self }
    }
}

impl Deref for RefusedRequest {
    type Target = client::Problem;

    fn deref(&self) -> &client::Problem {
        &self.said
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(status: u16) -> CommandError {
        let document = json!({"type": "about:blank", "title": "No", "status": status, "code": "X"});
        CommandError::Problem(Box::new(RefusedRequest::of(client::Problem::read(document).unwrap(), true)))
    }

    #[test]
    fn the_exit_code_says_what_kind_of_no_it_was() {
        for (status, exit) in [
            (400, ExitStatus::Usage),
            (401, ExitStatus::Refused),
            (403, ExitStatus::Refused),
            (404, ExitStatus::NotFound),
            (409, ExitStatus::Conflict),
            (413, ExitStatus::Usage),
            (422, ExitStatus::Conflict),
            (429, ExitStatus::Refused),
            (500, ExitStatus::Server),
            (503, ExitStatus::Server),
        ] {
            assert_eq!(problem(status).exit(), exit, "{status}");
        }
    }

    #[test]
    fn what_never_arrived_and_what_failed_inside_is_left_open() {
        assert!(problem(503).leaves_it_open());
        assert!(!problem(403).leaves_it_open());
        let unreachable = client::Error::Unreachable { url: String::new(), why: String::new() };
        assert!(CommandError::Unanswered(unreachable).leaves_it_open());
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        assert_eq!(CommandError::Output(io::ErrorKind::BrokenPipe.into()).exit(), ExitStatus::Ok);
    }

    #[test]
    fn a_document_without_a_code_is_no_problem_document() {
        assert!(client::Problem::read(json!({"title": "Not Found", "status": 404})).is_none());
        assert!(client::Problem::read(json!("nginx")).is_none());
    }
}
