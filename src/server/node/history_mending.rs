//! A segment that is found to be damaged while the node runs is made good by the file of another node, for all nodes make
//! the same; where none has it, by the frames that the broker has.
//!
//! The node keeps the header of what it has lost and believes no other file, so it does not matter who sends it, or of
//! what it is made. The scrub reads again what was put in its place; when that is sound, the alarm is over and the node grants again.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tenure_log::{EventLog, jetstream::FrameReader};
use tenure_protocol::{clock::stopwatch, entropy::OsEntropy};
use tenure_threads::worker::WorkerThread;
use tokio::time::timeout;

use super::{
    cluster::SharedLog,
    history_client::HistoryClient,
    history_files::{HistoryFiles, PART},
};

/// How often it is looked whether there is damage.
const LOOK: Duration = Duration::from_secs(1);
/// How often the others are asked again for the same file.
const AGAIN: Duration = Duration::from_secs(10);
/// No stop waits longer for an answer.
const STOPS_WITHIN: Duration = Duration::from_millis(200);
/// Where a file is until it is whole, below the data directory.
const MENDING: &str = "mending";

/// What it works with.
pub(super) struct HistoryMending {
    shared: Arc<SharedLog>,
    frames: FrameReader,
    /// For which segments the others were asked, by number, and when.
    asked: Vec<(usize, Instant)>,
}

impl HistoryMending {
    /// Begins, until what is given back is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(shared: Arc<SharedLog>, frames: FrameReader) -> io::Result<WorkerThread> {
        let mut mending = Self { shared, frames, asked: Vec::new() };
        WorkerThread::start("tenure-mend", move |stop| {
            while stop.pause(LOOK).is_continue() {
                mending.look(&|| !stop.is_over());
            }
        })
    }

    fn look(&mut self, go_on: &dyn Fn() -> bool) {
        let damaged: Vec<_> = self.shared.files().doubted().iter().map(|segment| segment.number).collect();
        self.asked.retain(|(asked, when)| damaged.contains(asked) && when.elapsed() < AGAIN);
        for number in damaged {
            if !go_on() || self.asked.iter().any(|(asked, _)| *asked == number) {
                continue;
            }
            self.asked.push((number, stopwatch()));
            let files = self.shared.sealed_files();
            let Some(path) = files.get(number).map(|file| file.path().to_owned()) else { continue };
            let path = path.display();
            match self.mend(number, go_on) {
                Ok(Some(from)) => {
                    tracing::info!(%path, from, "a damaged segment is replaced by the file of another node");
                }
                Ok(None) => {
                    tracing::info!(%path, "a damaged segment is made again of the broker's log");
                }
                Err(why) => {
                    tracing::warn!(%path, why, again_after = ?AGAIN, "a damaged segment cannot be replaced yet");
                }
            }
        }
    }

    /// Gives which node it came from; `None` if from the broker.
    fn mend(&self, number: usize, go_on: &dyn Fn() -> bool) -> Result<Option<String>, String> {
        let files = self.shared.sealed_files();
        let name = files.get(number).and_then(|file| file.path().file_name()).ok_or("it is gone")?;
        let data = self.shared.history().map(HistoryFiles::data).ok_or("the node is just starting")?;
        let place = begin(data, name.as_ref()).map_err(|error| error.to_string())?;
        let done = self.fetch_from_others(number, &place, go_on).map(Some).or_else(|others| {
            let made = self.shared.rebuild(number, &self.frames, &place, go_on);
            made.map(|()| None).map_err(|broker| format!("{others}; of the broker's log: {broker}"))
        });
        if let Err(error) = fs::remove_dir_all(data.join(MENDING)) {
            tracing::warn!(%error, "what is left of it cannot be removed");
        }
        done
    }

    fn fetch_from_others(
        &self,
        number: usize,
        place: &Path,
        go_on: &dyn Fn() -> bool,
    ) -> Result<String, String> {
        let name = format!("segments/{}", place.file_name().unwrap_or_default().to_string_lossy());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let client = self.shared.certificates().client();
        let client = HistoryClient { client, mac: self.shared.mac(), entropy: &OsEntropy };
        let mut peers = self.shared.peers().unwrap_or_default();
        peers.retain(|peer| peer.address != self.shared.address() && peer.difference.is_none());
        let mut failed = "no other node is there".to_owned();
        for peer in peers {
            let fetched = runtime.block_on(fetch(&client, &peer.address, &name, place, go_on));
            match fetched.and_then(|()| self.shared.mend(number, place)) {
                Ok(()) => return Ok(peer.address),
                Err(why) => failed = format!("{}: {why}", peer.address),
            }
        }
        Err(failed)
    }
}

/// Where a file of this name is to be fetched to.
fn begin(data: &Path, name: &Path) -> io::Result<PathBuf> {
    let dir = data.join(MENDING);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    DirBuilder::new().mode(0o700).create(&dir)?;
    Ok(dir.join(name))
}

async fn fetch(
    client: &HistoryClient<'_>,
    address: &str,
    name: &str,
    place: &Path,
    go_on: &dyn Fn() -> bool,
) -> Result<(), String> {
    let said = |error: io::Error| format!("{}: {error}", place.display());
    let mut options = File::options();
    let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(place).map_err(said)?;
    let mut from = 0;
    loop {
        let mut asking = pin!(client.ask(address, Some(name), from));
        let part = loop {
            match timeout(STOPS_WITHIN, &mut asking).await {
                Ok(part) => break part?,
                Err(_) if go_on() => {}
                Err(_) => return Err("this node stops".to_owned()),
            }
        };
        out.write_all(&part).map_err(said)?;
        from += part.len() as u64;
        if part.len() < PART {
            return out.sync_all().map_err(said);
        }
    }
}
