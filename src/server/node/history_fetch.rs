//! A new node takes the files of the history from another one, so that it need not read the whole stream of the broker
//! and fold it.
//!
//! They come into a directory of their own, part by part, and are put in place when all are there and read as they were
//! written; a node that was killed meanwhile goes on where it was. The start then treats them as its own, and uses them
//! only when a signed head vouches for them (`head_check`). Whatever is wrong, the history is read from the broker.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tenure_files::{key_files::private_directory, replacement::sync_directory};
use tenure_log::{
    check_segment,
    jetstream::{NodeRecord, NodeRegistry, StreamNames},
};
use tenure_protocol::clock::{pause, stopwatch, wall_time};
use tokio::task::JoinHandle;

use super::{
    NodeOptions, StartError,
    broker_wait::connected,
    cluster_options::ClusterOptions,
    history_client::HistoryClient,
    history_files::{self, HistoryFile, HistoryList},
    node_mac::NodeMac,
};

/// Where the files are until all are there, below the data directory.
const JOINING: &str = "joining";
/// The folders of them; the segments last, for they are what makes a start look at the others.
const FOLDERS: [&str; 3] = ["checkpoints", "indexes", "segments"];
/// How often all nodes are asked, if each fails.
const ROUNDS: usize = 3;
/// How often progress is logged.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// Segments read at once.
const CHECKED_AT_ONCE: usize = 2;

/// The fetching of one node.
pub(super) struct HistoryFetch<'f> {
    pub(super) options: &'f NodeOptions,
    pub(super) cluster: &'f ClusterOptions,
    pub(super) names: &'f StreamNames,
    pub(super) node: &'f str,
    pub(super) mac: NodeMac,
}

/// How far it is.
struct FetchProgress {
    from: String,
    done: u64,
    all: u64,
    told: Option<Instant>,
}

/// Reads segments again, aside from the fetching.
#[derive(Default)]
struct SegmentChecks(Vec<JoinHandle<Result<(), String>>>);

impl HistoryFetch<'_> {
    /// Fetches what there is, if this node has nothing yet.
    ///
    /// # Errors
    /// The broker denies this node what it must do.
    pub(super) fn run(&self) -> Result<(), StartError> {
        let data = &self.options.data;
        if ["copy", "segments", "log", "log.head"].iter().any(|name| data.join(name).exists()) {
            return Ok(());
        }
        let connection = connected(&self.cluster.access, &format!("{}_join", self.node))?;
        let registry = NodeRegistry::on(connection.into(), self.names.clone());
        let begun = stopwatch();
        match self.fetch(&registry) {
            Ok(Some(position)) => {
                let after = begun.elapsed();
                tracing::info!(
                    position,
                    ?after,
                    "this node joins by the files of another one, and by what follows"
                );
            }
            Ok(None) => tracing::info!("no other node has a checkpoint: the history is read from the broker"),
            Err(why) => tracing::warn!(
                why,
                "this node cannot join by the files of another one: all of the history is read from the broker"
            ),
        }
        if let Err(error) = remove(&data.join(JOINING)) {
            tracing::warn!(%error, "what was fetched cannot be removed");
        }
        Ok(())
    }

    /// Asks one node after the other; gives where the checkpoint stands.
    fn fetch(&self, registry: &NodeRegistry) -> Result<Option<u64>, String> {
        let entropy = &*self.options.entropy;
        let client = HistoryClient { client: self.cluster.certificates.client(), mac: &self.mac, entropy };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let mut failed = None;
        for round in 0..ROUNDS {
            if round > 0 {
                pause(Duration::from_secs(1));
            }
            let (peers, mut has_nothing) = (self.peers(registry)?, false);
            for peer in &peers {
                match runtime.block_on(self.from(&client, registry, peer)) {
                    Ok(Some(position)) => {
                        self.put_in_place().map_err(|error| error.to_string())?;
                        return Ok(Some(position));
                    }
                    Ok(None) => has_nothing = true,
                    Err(why) => {
                        tracing::warn!(
                            from = peer.address,
                            why,
                            "the files of the history do not come from this node"
                        );
                        failed = Some(format!("{}: {why}", peer.address));
                    }
                }
            }
            // One that is well has no more than the others. One that was killed is named here for a while.
            if failed.is_none() || has_nothing {
                return Ok(None);
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The nodes that may be asked; the one that leads has other things to do.
    fn peers(&self, registry: &NodeRegistry) -> Result<Vec<NodeRecord>, String> {
        let mut peers = registry.all().map_err(|error| error.to_string())?;
        peers.retain(|peer| {
            peer.node != self.node && peer.difference.is_none() && peer.joining.is_none() && peer.position > 0
        });
        peers.sort_by_key(|peer| (peer.leads, std::cmp::Reverse(peer.position)));
        Ok(peers)
    }

    async fn from(
        &self,
        from: &HistoryClient<'_>,
        registry: &NodeRegistry,
        peer: &NodeRecord,
    ) -> Result<Option<u64>, String> {
        let list = from.ask(&peer.address, None, 0).await?;
        let list: HistoryList = serde_json::from_slice(&list).map_err(|error| error.to_string())?;
        if list.files.is_empty() {
            return Ok(None);
        }
        if let Some(bad) = list.files.iter().find(|file| !history_files::is_name(&file.name)) {
            return Err(format!("{:?} is no file of the history", bad.name));
        }
        let joining = self.options.data.join(JOINING);
        begin(&joining, &list.files).map_err(|error| error.to_string())?;
        let all = list.files.iter().map(|file| file.bytes).sum();
        let mut progress = FetchProgress { from: peer.address.clone(), done: 0, all, told: None };
        let mut checks = SegmentChecks::default();
        for file in &list.files {
            let path = joining.join(&file.name);
            if !has(&path, file.bytes) {
                self.part_by_part(from, registry, peer, file, &mut progress).await?;
            }
            progress.done += file.bytes;
            // Its segment is in front of it in the list.
            if let Some(segment) = file.name.strip_prefix("indexes/") {
                checks.begin(&joining, segment).await?;
            }
        }
        checks.end().await?;
        Ok(Some(list.position))
    }

    /// Fetches a file, from where an earlier attempt has stopped.
    async fn part_by_part(
        &self,
        client: &HistoryClient<'_>,
        registry: &NodeRegistry,
        peer: &NodeRecord,
        file: &HistoryFile,
        progress: &mut FetchProgress,
    ) -> Result<(), String> {
        let path = self.options.data.join(JOINING).join(&file.name);
        let unfinished = unfinished(&path);
        let said = |error: io::Error| format!("{}: {error}", unfinished.display());
        let mut out = File::options().create(true).append(true).open(&unfinished).map_err(said)?;
        let mut from = out.metadata().map_err(said)?.len();
        if from > file.bytes {
            out.set_len(0).map_err(said)?;
            from = 0;
        }
        while from < file.bytes {
            let part = client.ask(&peer.address, Some(&file.name), from).await?;
            if part.is_empty() {
                return Err(format!("{} is shorter than was said", file.name));
            }
            out.write_all(&part).map_err(said)?;
            from += part.len() as u64;
            self.tell(registry, progress, from);
        }
        out.sync_all().map_err(said)?;
        fs::rename(&unfinished, &path).map_err(said)
    }

    fn tell(&self, registry: &NodeRegistry, progress: &mut FetchProgress, of_file: u64) {
        if progress.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return;
        }
        progress.told = Some(stopwatch());
        let (done, all) = ((progress.done + of_file) >> 20, progress.all >> 20);
        tracing::info!(from = progress.from, "files of the history: {done} of {all} MiB");
        let record = NodeRecord {
            node: self.node.to_owned(),
            address: self.cluster.address.clone(),
            leads: false,
            position: 0,
            term: 0,
            staleness_ms: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keys: Vec::new(),
            compared: 0,
            difference: None,
            certificate: None,
            joining: Some(format!("{done} of {all} MiB from {}", progress.from)),
            at: wall_time().as_millis(),
        };
        // It is only to be seen.
        drop(registry.say(&record));
    }

    /// Makes what was fetched this node's own: the start finds it all, or nothing of it.
    fn put_in_place(&self) -> io::Result<()> {
        let data = &self.options.data;
        for folder in FOLDERS {
            let place = data.join(folder);
            // Of an attempt that was cut short here: without segments it is nothing.
            remove(&place)?;
            sync_directory(&data.join(JOINING).join(folder))?;
            fs::rename(data.join(JOINING).join(folder), place)?;
            sync_directory(data)?;
        }
        Ok(())
    }
}

impl SegmentChecks {
    async fn begin(&mut self, joining: &Path, index: &str) -> Result<(), String> {
        if self.0.len() >= CHECKED_AT_ONCE {
            ended(self.0.remove(0)).await?;
        }
        let (joining, name) = (joining.to_owned(), index.replace(".index", ".segment"));
        self.0.push(tokio::task::spawn_blocking(move || check(&joining, &name)));
        Ok(())
    }

    async fn end(self) -> Result<(), String> {
        for check in self.0 {
            ended(check).await?;
        }
        Ok(())
    }
}

async fn ended(check: JoinHandle<Result<(), String>>) -> Result<(), String> {
    check.await.map_err(|error| error.to_string())?
}

/// That a segment and its index read as they were written. One that does not is fetched again, from its beginning.
fn check(joining: &Path, name: &str) -> Result<(), String> {
    let checked = check_segment(&joining.join("segments"), name);
    let Some(fault) = checked.fault.or(checked.index_fault) else { return Ok(()) };
    for path in [joining.join("segments").join(name), index_of(joining, name)] {
        fs::remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Err(format!("segments/{name}: {fault}"))
}

fn index_of(joining: &Path, segment: &str) -> PathBuf {
    joining.join("indexes").join(segment.replace(".segment", ".index"))
}

/// Makes the folders, and removes what is not wanted any more: a checkpoint that another one has followed.
fn begin(joining: &Path, wanted: &[HistoryFile]) -> io::Result<()> {
    for folder in [""].iter().chain(&FOLDERS) {
        private_directory(&joining.join(folder)).map_err(io::Error::other)?;
    }
    for folder in FOLDERS {
        for entry in fs::read_dir(joining.join(folder))? {
            let path = entry?.path();
            let is_wanted = |file: &HistoryFile| {
                let own = joining.join(&file.name);
                path == own || path == unfinished(&own)
            };
            if !wanted.iter().any(is_wanted) {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

fn has(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == bytes)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
