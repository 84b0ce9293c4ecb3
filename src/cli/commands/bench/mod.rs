//! `tenure bench …`: how fast the authority is here, and what it holds in memory.
//!
//! Each command measures in rounds and gives the median round, with the conditions that it measured under:
//! on a shared machine a single figure says nothing. What is compared is measured in turn within one run.

mod background;
mod backup;
mod baseline;
mod baseline_fan_out;
mod callers;
mod cluster;
mod conditions;
mod fan_out;
mod fixture;
mod http;
mod introspect;
mod lists;
mod memory;
mod null_log;
mod renew;
mod replay;
mod report;
mod revoke_all;
mod rounds;
mod start;
mod synthetic;
mod upkeep;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{context::GlobalArgs, failure::CommandError};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Renewals per second, each on disk before its caller gets the answer
    Renew(renew::RenewArgs),
    /// Introspections per second
    Introspect(introspect::IntrospectArgs),
    /// How soon an event reaches a thousand readers, and what that costs renewals
    FanOut(fan_out::FanOut),
    /// Events per second proved, and folded
    Replay(replay::ReplayArgs),
    /// How long a start takes, and a question about the past
    Start(start::StartArgs),
    /// Bytes per second of a backup, and what it costs renewals
    Backup(backup::BackupArgs),
    /// What sealing, checkpoints and the scrub cost renewals
    Upkeep(upkeep::UpkeepArgs),
    /// How long it takes to end all sessions at once
    RevokeAll(revoke_all::RevokeAll),
    /// Bytes of memory for each live session
    Memory(memory::MemoryArgs),
    /// How long a page of a list takes, by every filter
    Lists(lists::ListsArgs),
    /// Three nodes: renewals beside one node on sled, outages, followers
    Cluster(cluster::ClusterBench),
}

impl BenchCommand {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        match self {
            Self::Renew(renew) => renew.run(global),
            Self::Introspect(introspect) => introspect.run(global),
            Self::FanOut(fan_out) => fan_out.run(global),
            Self::Replay(replay) => replay.run(global),
            Self::Start(start) => start.run(global),
            Self::Backup(backup) => backup.run(global),
            Self::Upkeep(upkeep) => upkeep.run(global),
            Self::RevokeAll(revoke_all) => revoke_all.run(global),
            Self::Memory(memory) => memory.run(global),
            Self::Lists(lists) => lists.run(global),
            Self::Cluster(cluster) => cluster.run(global),
        }
    }
}

/// How much is measured.
#[derive(Clone, Debug, Args)]
pub(crate) struct EffortArgs {
    /// How many rounds; the median one counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// How long a round takes
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,

    /// Where to put the temporary data directory: the disk of this directory is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// What went wrong in a benchmark.
fn failed(why: impl std::fmt::Display) -> CommandError {
    CommandError::Server(why.to_string())
}
