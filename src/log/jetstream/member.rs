//! One node's part in the log: whether it follows or leads, a step at a time, as the lease says. Whoever calls it decides
//! what each step means for the node.

use std::{
    path::Path,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use tenure_protocol::clock::{pause, stopwatch};

use super::{
    BrokerConnection, BrokerError, JetStreamLog, JetStreamOptions, JetStreamWriter, Leadership, PATIENCE,
    StreamNames, bar,
    cluster_view::ClusterView,
    connection::ReplayedMessage,
    lease::{HeldLease, LeaseStore},
    opening::{self, OpenedCopy},
    publisher::{FramePublisher, PublishOutcome},
    read_end::ReadEnd,
    standby::{AWAY, FollowError, FrameFold, SilenceTimer, Standby, StandbyStatus, StatusListener},
    streams,
};
use crate::{OpenError, StartupFold, StoredCommit, sled::sealed_history::WholeFold};

/// How long a node that has given the lead away lets others go first.
const REST: Duration = Duration::from_secs(2);

/// A node that takes part in a log.
pub struct ClusterMember {
    standby: Standby,
    quiet: SilenceTimer,
    place: LeaseStore,
    /// What the broker says again; `None` while this node leads, which would hear all that it has said itself.
    tail: Option<Receiver<ReplayedMessage>>,
    /// With the log while this node leads.
    publisher: Option<FramePublisher>,
    log: Arc<JetStreamLog>,
}

/// What a look at the log and the lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStep {
    /// This node follows.
    Follows,
    /// It leads from now on.
    Leads,
}

/// Begins to take part in the log of these machines, as one that follows: all that it has of the log is handed to
/// `fold`, in order, and what it waits for to `told`. It has not read the end of the log yet: see
/// [`ClusterMember::step`].
///
/// # Errors
/// [`OpenError`]: nothing is repaired but this node's copy, where it is damaged or behind.
pub fn join(
    data_dir: &Path,
    options: &JetStreamOptions,
    told: StatusListener,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<ClusterMember, OpenError> {
    join_for(data_dir, options, told, &mut WholeFold(fold))
}

/// The same for a start that may have what some segments lead to: of those only the headers are read.
///
/// # Errors
/// As of [`join`].
pub fn join_for(
    data_dir: &Path,
    options: &JetStreamOptions,
    told: StatusListener,
    folding: &mut dyn StartupFold,
) -> Result<ClusterMember, OpenError> {
    let OpenedCopy { copy, segment_store, end } = opening::open(data_dir, folding)?;
    let head = end.tail.head();
    let (log_id, segments) =
        (segment_store.ends().first().map(|first| first.log_id), segment_store.directory().to_owned());
    let mut standby = Standby::new(options.clone(), Arc::clone(&copy), end, told);
    let connection = connect(&mut standby, "log")?;
    let place =
        LeaseStore { connection: Arc::new(connect(&mut standby, "lease")?), names: options.names.clone() };
    checked(&mut standby, |standby| {
        streams::check(&place.connection, &standby.options.names)?;
        if let Some(id) = log_id {
            standby.compare_first(&connection, (id, segments.as_path()))?;
        }
        if standby.end.is_placed() { standby.compare(&connection) } else { standby.find_place(&connection) }
    })?;
    let tail = Some(checked(&mut standby, |_| Ok(listen(&connection, &options.names)?))?);
    let publisher = FramePublisher::new(connection, options.names.clone());
    let log =
        Arc::new(JetStreamLog::of(copy, segment_store, options.cut, head, Arc::clone(&publisher.resent)));
    let (quiet, publisher) = (SilenceTimer::new(standby.end.sequence), Some(publisher));
    Ok(ClusterMember { standby, quiet, place, tail, publisher, log })
}

/// What the broker says again of frames and of the lease.
fn listen(
    connection: &BrokerConnection,
    names: &StreamNames,
) -> Result<Receiver<ReplayedMessage>, BrokerError> {
    connection.listen(&[names.tail(), names.pulse()])
}

/// Connects, and goes on trying while there is no server to connect to.
fn connect(standby: &mut Standby, what: &str) -> Result<BrokerConnection, OpenError> {
    let name = format!("{}_{what}", standby.options.claim.node);
    checked(standby, |standby| Ok(BrokerConnection::open(&standby.options.access, &name)?))
}

/// Does it until the broker answers.
fn checked<T>(
    standby: &mut Standby,
    mut work: impl FnMut(&mut Standby) -> Result<T, FollowError>,
) -> Result<T, OpenError> {
    loop {
        match work(standby) {
            Ok(done) => return Ok(done),
            Err(FollowError::Passing(error)) => {
                standby.tell(StandbyStatus::Away { why: error.to_string() });
                pause(AWAY);
            }
            Err(FollowError::Behind(error) | FollowError::Lasting(error)) => return Err(error),
        }
    }
}

impl ClusterMember {
    /// The log as this node has it.
    pub fn log(&self) -> &Arc<JetStreamLog> {
        &self.log
    }

    /// What this node knows of the leader while it follows.
    pub const fn sight(&self) -> &ClusterView {
        &self.standby.sight
    }

    /// Follows for a moment, or takes the lead where no node has it. The commits of each frame are handed to `fold`;
    /// they can be read from the log then.
    ///
    /// # Errors
    /// What will not pass.
    pub fn step(
        &mut self,
        fold: &mut dyn FnMut(Vec<StoredCommit>) -> Result<(), String>,
    ) -> Result<MemberStep, OpenError> {
        let log = Arc::clone(&self.log);
        let mut fold = |end: &ReadEnd, commits: Vec<StoredCommit>| {
            *log.head.write() = end.tail.head();
            if commits.is_empty() { Ok(()) } else { fold(commits) }
        };
        match self.look(&mut fold) {
            Ok(None) => {
                if let Some(tail) = &self.tail {
                    self.standby.listen(tail, &mut fold).map_err(lasting)?;
                }
                self.standby.sight.reached(&self.standby.end);
                Ok(MemberStep::Follows)
            }
            Ok(Some(sequence)) => self.take_the_lead(sequence, &mut fold),
            Err(fault @ (FollowError::Passing(_) | FollowError::Behind(_))) => {
                self.standby.tell(StandbyStatus::Away { why: fault.to_string() });
                // While the broker is away claims run out without anybody being dead.
                self.quiet.restart();
                pause(AWAY);
                Ok(MemberStep::Follows)
            }
            Err(FollowError::Lasting(error)) => Err(error),
        }
    }

    /// Looks at the log and at the lease; listens from before, so that nothing comes between the two unheard.
    fn look(&mut self, fold: &mut FrameFold<'_>) -> Result<Option<u64>, FollowError> {
        if let (None, Some(publisher)) = (&self.tail, &self.publisher) {
            self.tail = Some(listen(publisher.connection(), &self.standby.options.names)?);
        }
        self.standby.once(&self.place, &mut self.quiet, fold)
    }

    fn take_the_lead(&mut self, sequence: u64, fold: &mut FrameFold<'_>) -> Result<MemberStep, OpenError> {
        let taken = stopwatch();
        self.standby.tell(StandbyStatus::Taking);
        let (leadership, claim) = (Leadership::begin(), self.standby.options.claim.clone());
        let lease = HeldLease::keep(self.place.clone(), claim, sequence, &leadership)?;
        tracing::debug!(after = ?taken.elapsed(), "the lease is this node's");
        while leadership.lost().is_none() {
            if self.bars(fold)? {
                self.leads(lease, leadership);
                return Ok(MemberStep::Leads);
            }
        }
        Ok(MemberStep::Follows)
    }

    /// Reads to the end and appends the frame that begins a leadership; whether it is there.
    fn bars(&mut self, fold: &mut FrameFold<'_>) -> Result<bool, OpenError> {
        let Some(publisher) = &self.publisher else { return Ok(false) };
        let filled = self.standby.fill(publisher.connection(), fold);
        let why = match filled.map(|()| bar(&mut self.standby, publisher)) {
            Ok(Ok(PublishOutcome::Stored)) => return Ok(true),
            // Another node was quicker by a frame, or the broker is away for the moment.
            Ok(Ok(PublishOutcome::Deposed)) => return Ok(false),
            Ok(Ok(PublishOutcome::Unknown(why) | PublishOutcome::Full(why))) => why,
            Ok(Ok(PublishOutcome::Broken(why)) | Err(why)) => return Err(OpenError::Broker { why }),
            Err(FollowError::Lasting(error)) => return Err(error),
            Err(fault @ (FollowError::Passing(_) | FollowError::Behind(_))) => fault.to_string(),
        };
        self.standby.tell(StandbyStatus::Away { why });
        pause(AWAY);
        Ok(false)
    }

    fn leads(&mut self, lease: HeldLease, leadership: Arc<Leadership>) {
        let Some(publisher) = self.publisher.take() else { return };
        self.tail = None;
        let end = self.standby.end.clone();
        leadership.reaches(end.sequence, end.position(), end.term);
        lease.say(&leadership);
        *self.log.head.write() = end.tail.head();
        *self.log.leadership.write() = Some(leadership);
        *self.log.lease.lock() = Some(lease);
        *self.log.writer.lock() = Some(JetStreamWriter { publisher, end, patience: PATIENCE });
        self.standby.sight = ClusterView::default();
    }

    /// Whether this node waits for others to take the lead first, for as long as it follows: it is not sure of what it
    /// has.
    pub const fn hesitates(&mut self, hesitates: bool) {
        self.standby.hesitates = hesitates;
    }

    /// Leads no more, whether the lead was lost or is given away, and follows from where it was sure of the log. One
    /// that gives it away lets others go first for a while.
    pub fn follow(&mut self, gives_away: bool) {
        if let Some(writer) = self.log.writer.lock().take() {
            (self.publisher, self.standby.end) = (Some(writer.publisher), writer.end);
        }
        drop(self.log.lease.lock().take());
        *self.log.leadership.write() = None;
        self.standby.rests_until = gives_away.then(|| stopwatch() + REST);
        self.standby.sight.term = self.standby.end.term;
        self.quiet = SilenceTimer::new(self.standby.end.sequence);
    }
}

fn lasting(fault: FollowError) -> OpenError {
    match fault {
        FollowError::Passing(error) => error.into(),
        FollowError::Behind(error) | FollowError::Lasting(error) => error,
    }
}

impl std::fmt::Debug for ClusterMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member({:?})", self.log)
    }
}
