//! The program as a process of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tenure::clock::{pause, stopwatch};

use crate::caller::Caller;

/// A start that is slower than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running `tenure serve`. It is killed when this is dropped.
pub(crate) struct Authority {
    child: Child,
    data: PathBuf,
    address: String,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

/// How a process ended that was meant to serve.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

/// The command that serves this directory on a port of its own, with time that stands still and a window of
/// idempotency that a test does not outlive.
pub(crate) fn serve(data: &Path) -> Command {
    serve_through(&[], data)
}

/// The same, run by another program, such as `strace` with its arguments.
pub(crate) fn serve_through(runner: &[&OsStr], data: &Path) -> Command {
    let program = OsStr::new(env!("CARGO_BIN_EXE_tenure"));
    let mut words = runner.iter().copied().chain([program]);
    let mut command = Command::new(words.next().expect("there is at least the program"));
    command.args(words).args(["serve", "--listen", "127.0.0.1:0", "--test-clock"]);
    // The store itself shall meet a full disk; what keeps it from that has a test of its own.
    command.args(["--set", "idempotency.window=86400", "--set", "data.reserve=0", "--data"]).arg(data);
    // Settings in the surroundings must not change what is tested.
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command
}

impl Authority {
    /// Starts on this directory and waits until it listens.
    pub(crate) fn start(data: &Path) -> Self {
        Self::launch(serve(data), data).unwrap_or_else(|ended| panic!("it did not start: {ended:?}"))
    }

    /// The same with these settings, which come after the others and so count.
    pub(crate) fn start_with(data: &Path, settings: &[&str]) -> Self {
        let mut command = serve(data);
        for setting in settings {
            command.args(["--set", setting]);
        }
        Self::launch(command, data).unwrap_or_else(|ended| panic!("it did not start: {ended:?}"))
    }

    /// Starts, or says how the start ended.
    pub(crate) fn try_start(data: &Path) -> Result<Self, Ended> {
        Self::launch(serve(data), data)
    }

    pub(crate) fn launch(mut command: Command, data: &Path) -> Result<Self, Ended> {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (tell, listens) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        let listener = thread::spawn({
            let said = Arc::clone(&said);
            move || listen(stderr, &said, &tell)
        });
        let mut authority =
            Self { child, data: data.to_owned(), address: String::new(), said, listener: Some(listener) };
        match listens.recv_timeout(PATIENCE) {
            Ok(address) => {
                authority.address = address;
                Ok(authority)
            }
            // It has closed its standard error: it has ended, or is about to.
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(authority.wait(PATIENCE)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("it neither listens nor ends: {}", authority.said())
            }
        }
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        self.address.clone()
    }

    /// A connection on which nothing is sent.
    pub(crate) fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(self.address.trim_start_matches("http://")).unwrap()
    }

    /// Waits until its log has these words: they come by a pipe, so behind the answer that they are about.
    pub(crate) fn until_said(&self, words: &str) {
        let begun = stopwatch();
        while !self.said().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{words} is not in: {}", self.said());
            pause(Duration::from_millis(10));
        }
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// A caller with the first admin key.
    pub(crate) fn admin(&self) -> Caller {
        self.caller(&admin_key(&self.data))
    }

    /// A caller with this key.
    pub(crate) fn caller(&self, key: &str) -> Caller {
        Caller::new(&self.address, key)
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(&mut self) {
        // It may be dead already; then there is nothing to kill.
        drop(self.child.kill());
        self.child.wait().unwrap();
        self.finish_listening();
    }

    /// SIGTERM; gives how it ended and after how long.
    pub(crate) fn stop(mut self) -> (Ended, Duration) {
        let asked = stopwatch();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let ended = self.wait(PATIENCE);
        (ended, asked.elapsed())
    }

    /// SIGTERM, which must end it in good order.
    pub(crate) fn stop_well(self) {
        let (ended, took) = self.stop();
        assert!(ended.status.success(), "{ended:?}");
        assert!(took < Duration::from_secs(10), "it took {took:?} to stop");
        assert!(!ended.said.contains("panicked"), "{}", ended.said);
    }

    fn wait(&mut self, patience: Duration) -> Ended {
        let begun = stopwatch();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < patience, "it does not end: {}", self.said());
            pause(Duration::from_millis(2));
        };
        self.finish_listening();
        Ended { status, said: self.said() }
    }

    fn finish_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.join().unwrap();
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.kill();
        }
    }
}

/// The first admin key of this directory.
pub(crate) fn admin_key(data: &Path) -> String {
    fs::read_to_string(data.join("admin.key")).unwrap().trim().to_owned()
}

/// Kills a start after so long, wherever it has got to.
pub(crate) fn kill_while_starting(data: &Path, after: Duration) {
    let mut child = serve(data).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    pause(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn listen(stderr: ChildStderr, said: &Mutex<String>, tell: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if let Some((_, address)) = line.split_once("listening on ") {
            // Whoever waited for it may have lost patience.
            drop(tell.send(address.trim().to_owned()));
        }
        let mut said = said.lock().unwrap();
        said.push_str(&line);
        said.push('\n');
    }
}
