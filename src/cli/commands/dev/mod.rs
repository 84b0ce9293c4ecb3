//! `tenure dev`

mod demo;
mod lossy_network;
mod temp_directory;

use std::{net::SocketAddr, path::Path, sync::Arc, thread};

use clap::Args;
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::json;

use self::temp_directory::TempDirectory;
use super::serve;
use crate::cli::{failure::CommandError, files::secret_file, output::Output};
use tenure_server::{
    config::ConfigFlag,
    serve as server,
    telemetry::{self, LineFormat},
};

#[derive(Debug, Args)]
#[command(after_help = "\
    An authority in a temporary directory, on loopback, with a key for you. It is deleted when the command ends: \
    keep no real sessions in it.\n\n\
    Example: tenure dev --demo")]
pub(crate) struct DevArgs {
    /// Show a first session, a renewal, a lost reply and a veto by the commands that do it, and end
    #[arg(long)]
    demo: bool,

    /// Address to listen on, a loopback one [default: 127.0.0.1:7300; any free port with --demo]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// Let time run; otherwise it stands still until `tenure clock advance` moves it
    #[arg(long, conflicts_with = "demo")]
    real_time: bool,
}

impl DevArgs {
    pub(crate) fn run(self, output: Output) -> Result<(), CommandError> {
        telemetry::init(if self.demo { "error" } else { "warn" }, LineFormat::Text)
            .map_err(|error| CommandError::Usage(error.to_string()))?;
        let place = Arc::new(TempDirectory::make()?);
        let config = serve::effective(None, self.flags(&place.data()))?;
        if !config.server.listen.ip().is_loopback() {
            let address = config.server.listen;
            return Err(CommandError::Usage(format!(
                "--listen {address}: tenure dev is for a loopback address"
            )));
        }
        let outcome = Arc::new(Mutex::new(Ok(())));
        let (told, seen) = (Arc::clone(&outcome), Arc::clone(&place));
        let served = server::run(&config, !self.real_time, |listening| {
            let address = listening.address;
            thread::spawn(move || {
                let said = if self.demo {
                    demo::run(output, address, &seen)
                } else {
                    self.report(output, address, &seen)
                };
                let is_over = self.demo || said.is_err();
                *told.lock() = said;
                if is_over {
                    stop();
                }
            });
        });
        // The thread may still have it.
        place.remove();
        served.map_err(|error| CommandError::Server(error.to_string()))?;
        std::mem::replace(&mut *outcome.lock(), Ok(()))
    }

    fn flags(&self, data: &Path) -> Vec<ConfigFlag> {
        let listen = match (&self.listen, self.demo) {
            (Some(address), _) => address,
            (None, true) => "127.0.0.1:0",
            (None, false) => "127.0.0.1:7300",
        };
        vec![
            ConfigFlag::of_its_own("--data", "data.dir", &data.to_string_lossy()),
            ConfigFlag::of_its_own("--listen", "server.listen", listen),
            ConfigFlag::set("webhooks.allow_private=true"),
            ConfigFlag::set("data.reserve=0"),
        ]
    }

    /// What to type to work with it.
    fn report(&self, output: Output, address: SocketAddr, place: &TempDirectory) -> Result<(), CommandError> {
        let key = secret_file::read(&place.key_file())?;
        let url = format!("http://{address}");
        let document = json!({
            "url": url, "key": key.expose(), "keyFile": place.key_file(), "testClock": !self.real_time,
        });
        let lines = [format!("export TENURE_URL={url}"), format!("export TENURE_KEY={}", key.expose())];
        output.narrative(&document, &lines)?;
        let clock = if self.real_time {
            ""
        } else {
            "\nTime stands still here; to move it: tenure clock advance 12h"
        };
        output.hint(&format!(
            "\nA throw-away authority listens on {url}. Set the two variables in another shell, and try:\n  \
             tenure subject put agent-7 --kind agent\n  tenure session create agent-7 --session-file agent-7.session\n\
             Instead of the variables: tenure context add dev --use --url {url} --key-file {}\n\
             Webhooks may go to loopback addresses.{clock}\nCtrl-C ends it and removes everything.",
            place.key_file().display()
        ));
        Ok(())
    }
}

/// As Ctrl-C would.
fn stop() {
    // The process is there: it is this one.
    let _ = kill_process(getpid(), Signal::TERM);
}
