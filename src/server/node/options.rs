//! How to open a node.

use std::{path::PathBuf, sync::Arc};

use tenure_core::{Policy, Seconds};
use tenure_log::{SegmentEvents, VerifyScope};
use tenure_protocol::entropy::{Entropy, OsEntropy};

use super::{ClusterOptions, EpochRequest};
use crate::{authority::TokenIssuance, notify::webhooks};

/// How to open a node.
pub struct NodeOptions {
    /// The data directory; made when it is not there.
    pub data: PathBuf,
    /// The limits that apply from now on; none keeps those recorded last, or the defaults.
    pub policy: Option<Policy>,
    /// How long idempotency keys are remembered, `idempotency.window`.
    pub idempotency_window: Seconds,
    /// How many are, `idempotency.max`.
    pub idempotency_max: usize,
    /// Within how long what was recorded is under a signed head, `audit.head_interval`.
    pub head_interval: Seconds,
    /// A further file for signed heads, `audit.head_file`.
    pub head_file: Option<PathBuf>,
    /// Disk space reserved for revocations, vetoes and suspensions, in bytes; 0 reserves none.
    pub reserve: u64,
    /// By how many events the history is cut into segments, `log.segment_events`.
    pub segment_events: SegmentEvents,
    /// How much of the log a start reads, `log.verify`.
    pub verify: VerifyScope,
    /// How fast segments are read again, in bytes a second, `log.scrub_rate`; 0 for never.
    pub scrub_rate: u64,
    /// How long ended sessions stay in memory, `retention.memory`.
    pub retention: Seconds,
    /// Whether time stands still until it is moved.
    pub test_clock: bool,
    /// What webhooks obey.
    pub webhooks: webhooks::WebhookSettings,
    /// What tokens obey.
    pub issuing: TokenIssuance,
    /// Where ids and keys come from.
    pub entropy: Arc<dyn Entropy>,
    /// Begins another epoch at this start, after a restore that may have lost events.
    pub begin_epoch: Option<EpochRequest>,
    /// The log of several machines that this node takes part in; none for a log of its own.
    pub cluster: Option<ClusterOptions>,
    /// Whether this start is part of a restore into the directory, which no other process may use before it is
    /// finished.
    pub restoring: bool,
}

impl NodeOptions {
    /// Those to open the data directory of a stopped server with. What it appends is proved in the further file of
    /// heads that its server kept last, or a restore would take that for the end of the history.
    pub fn of_stopped(data: impl Into<PathBuf>) -> Self {
        let data = data.into();
        Self { head_file: tenure_audit::further_head_file(&data), ..Self::new(data) }
    }

    /// The defaults, on this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            policy: None,
            idempotency_window: Seconds(600),
            idempotency_max: 1_000_000,
            head_interval: Seconds(1),
            head_file: None,
            reserve: 64 << 20,
            segment_events: SegmentEvents::AsRecorded,
            verify: VerifyScope::Hot,
            scrub_rate: 16 << 20,
            retention: Seconds(86_400),
            test_clock: false,
            webhooks: webhooks::WebhookSettings::default(),
            issuing: TokenIssuance::default(),
            entropy: Arc::new(OsEntropy),
            begin_epoch: None,
            cluster: None,
            restoring: false,
        }
    }
}
