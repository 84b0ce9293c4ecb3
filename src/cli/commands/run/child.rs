//! The command of `tenure run`: its signals and its end.

use std::{
    io::{self, IsTerminal},
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{
    process::{self, Command},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Signals passed on to the command: those that programs use themselves, and those that end one in order.
const PASSED_ON: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// The signals that this process gets, instead of being ended by them.
#[derive(Debug)]
pub(super) struct SignalStream(mpsc::UnboundedReceiver<Signal>);

impl SignalStream {
    pub(super) fn listen() -> io::Result<Self> {
        let (heard, signals) = mpsc::unbounded_channel();
        for (kind, passed_on) in PASSED_ON {
            let mut stream = signal(kind)?;
            let heard = heard.clone();
            tokio::spawn(
                async move { while stream.recv().await.is_some() && heard.send(passed_on).is_ok() {} },
            );
        }
        Ok(Self(signals))
    }

    pub(super) async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

/// The running command.
#[derive(Debug)]
pub(super) struct ChildProcess {
    process: process::Child,
    /// None once its end was seen: its number may be another process by then.
    id: Option<Pid>,
    /// On a terminal it stays in the foreground, with us; else it has a group of its own, so that what it started gets
    /// its signals too. The group has its number for as long as there is anybody in it.
    group: Option<Pid>,
}

impl ChildProcess {
    pub(super) fn spawn(mut command: Command) -> io::Result<Self> {
        let has_group = !io::stdin().is_terminal();
        if has_group {
            command.process_group(0);
        }
        let process = command.spawn()?;
        let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { process, id, group: id.filter(|_| has_group) })
    }

    /// Waits for its end; again, for the same end.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        self.id = None;
        Ok(status)
    }

    /// Gives it a signal that we got. What is typed on a terminal it got from there already.
    pub(super) fn pass_on(&self, signal: Signal) {
        let is_typed = signal == Signal::INT || signal == Signal::QUIT;
        if self.group.is_some() || !is_typed {
            self.send(signal);
        }
    }

    pub(super) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    pub(super) fn kill(&self) {
        self.send(Signal::KILL);
    }

    /// Whether something that it started is still in its group, once it has ended itself. If not, the group is over.
    pub(super) fn has_left_others(&mut self) -> bool {
        self.group = self.group.filter(|group| test_kill_process_group(*group).is_ok());
        self.group.is_some()
    }

    fn send(&self, signal: Signal) {
        // It may have ended a moment ago, and then the signal has no target.
        let _ = match (self.group, self.id) {
            (Some(group), _) => kill_process_group(group, signal),
            (None, Some(id)) => kill_process(id, signal),
            (None, None) => return,
        };
    }
}

/// The command's own code, or 128 and the number of the signal that killed it, as shells say it.
pub(super) fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// What shells exit with when there is no such command (127), or it cannot be run (126).
pub(super) fn code_of_start(error: &io::Error) -> u8 {
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_commands_own_or_tells_the_signal() {
        assert_eq!(code_of(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
        assert_eq!(code_of_start(&io::ErrorKind::NotFound.into()), 127);
        assert_eq!(code_of_start(&io::ErrorKind::PermissionDenied.into()), 126);
    }
}
