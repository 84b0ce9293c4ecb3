//! A node of several, for as long as it runs: it follows, leads, and follows again.

use std::{
    path::Path,
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use tenure_protocol::clock::{pause, stopwatch};

use super::{
    Connection, JetStreamLog, Leadership, Options, PATIENCE, Writer, bar,
    connection::Said,
    copy::Copy,
    end::End,
    lease::{Held, Place},
    publisher::{Publisher, Put},
    sight::Sight,
    standby::{AWAY, Fault, Follow, Quiet, Standby, Standing, Told},
    streams,
};
use crate::{OpenError, StoredCommit};

/// Whoever has given the lead away lets others go first for so long.
const REST: Duration = Duration::from_secs(2);

/// A node that takes part in a log.
pub struct Member {
    standby: Standby,
    quiet: Quiet,
    place: Place,
    tail: Receiver<Said>,
    /// With the log while this node leads.
    publisher: Option<Publisher>,
    log: Arc<JetStreamLog>,
}

/// What a look at the log and the lease came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This node follows.
    Follows,
    /// It leads from now on.
    Leads,
}

/// Begins to take part in the log of these machines, as one that follows: all that it has of the log is handed to `fold`,
/// in order, and what it waits for to `told`. It has not read the end of the log yet: see [`Member::step`].
///
/// # Errors
/// [`OpenError`]: nothing is repaired but this node's copy, where it is damaged or behind.
pub fn join(
    data_dir: &Path,
    options: &Options,
    told: Told,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<Member, OpenError> {
    let copy = Arc::new(Copy::open(data_dir)?);
    let mut end = End::new();
    copy.scan(&mut end, fold)?;
    let head = end.tail.head();
    let mut standby = Standby::new(options.clone(), Arc::clone(&copy), end, told);
    let connection = connect(&mut standby, "log")?;
    let place = Place { connection: Arc::new(connect(&mut standby, "lease")?), names: options.names.clone() };
    checked(&mut standby, |standby| {
        streams::check(&place.connection, &standby.options.names)?;
        standby.compare(&connection)
    })?;
    let subjects = [options.names.tail(), options.names.pulse()];
    let tail = checked(&mut standby, |_| Ok(connection.listen(&subjects)?))?;
    let publisher = Publisher::new(connection, options.names.clone());
    let log = Arc::new(JetStreamLog::of(copy, head, Arc::clone(&publisher.resent)));
    let (quiet, publisher) = (Quiet::new(standby.end.sequence), Some(publisher));
    Ok(Member { standby, quiet, place, tail, publisher, log })
}

/// Connects, and goes on trying while there is nobody to connect to.
fn connect(standby: &mut Standby, what: &str) -> Result<Connection, OpenError> {
    let name = format!("{}_{what}", standby.options.claim.node);
    checked(standby, |standby| Ok(Connection::open(&standby.options.access, &name)?))
}

/// Does it until the broker answers.
fn checked<T>(
    standby: &mut Standby,
    mut work: impl FnMut(&mut Standby) -> Result<T, Fault>,
) -> Result<T, OpenError> {
    loop {
        match work(standby) {
            Ok(done) => return Ok(done),
            Err(Fault::Passing(error)) => {
                standby.tell(Standing::Away { why: error.to_string() });
                pause(AWAY);
            }
            Err(Fault::Behind(error) | Fault::Lasting(error)) => return Err(error),
        }
    }
}

impl Member {
    /// The log as this node has it.
    pub fn log(&self) -> &Arc<JetStreamLog> {
        &self.log
    }

    /// What this node knows of the leader while it follows.
    pub const fn sight(&self) -> &Sight {
        &self.standby.sight
    }

    /// Follows for a moment, or takes the lead where nobody has it. The commits of each frame are handed to `fold`; they
    /// can be read from the log then.
    ///
    /// # Errors
    /// What will not pass.
    pub fn step(
        &mut self,
        fold: &mut dyn FnMut(Vec<StoredCommit>) -> Result<(), String>,
    ) -> Result<Step, OpenError> {
        let log = Arc::clone(&self.log);
        let mut fold = |end: &End, commits: Vec<StoredCommit>| {
            *log.head.write() = end.tail.head();
            if commits.is_empty() { Ok(()) } else { fold(commits) }
        };
        match self.standby.once(&self.place, &mut self.quiet, &mut fold) {
            Ok(None) => {
                self.standby.listen(&self.tail, &mut fold).map_err(lasting)?;
                self.standby.sight.reached(&self.standby.end);
                Ok(Step::Follows)
            }
            Ok(Some(sequence)) => self.take_the_lead(sequence, &mut fold),
            Err(fault @ (Fault::Passing(_) | Fault::Behind(_))) => {
                self.standby.tell(Standing::Away { why: fault.to_string() });
                // While the broker is away claims run out without anybody being dead.
                self.quiet.restart();
                pause(AWAY);
                Ok(Step::Follows)
            }
            Err(Fault::Lasting(error)) => Err(error),
        }
    }

    fn take_the_lead(&mut self, sequence: u64, fold: &mut Follow<'_>) -> Result<Step, OpenError> {
        let taken = stopwatch();
        self.standby.tell(Standing::Taking);
        let (leadership, claim) = (Leadership::begin(), self.standby.options.claim.clone());
        let lease = Held::keep(self.place.clone(), claim, sequence, &leadership)?;
        tracing::debug!(after = ?taken.elapsed(), "the lease is this node's");
        while leadership.lost().is_none() {
            if self.bars(fold)? {
                self.leads(lease, leadership);
                return Ok(Step::Leads);
            }
        }
        Ok(Step::Follows)
    }

    /// Reads to the end and appends the frame that begins a leadership; whether it is there.
    fn bars(&mut self, fold: &mut Follow<'_>) -> Result<bool, OpenError> {
        let Some(publisher) = &self.publisher else { return Ok(false) };
        let filled = self.standby.fill(publisher.connection(), fold);
        let why = match filled.map(|()| bar(&mut self.standby, publisher)) {
            Ok(Ok(Put::Stored)) => return Ok(true),
            // Somebody was quicker by a frame, or the broker is away for the moment.
            Ok(Ok(Put::Deposed)) => return Ok(false),
            Ok(Ok(Put::Unknown(why) | Put::Full(why))) => why,
            Ok(Ok(Put::Broken(why)) | Err(why)) => return Err(OpenError::Broker { why }),
            Err(Fault::Lasting(error)) => return Err(error),
            Err(fault @ (Fault::Passing(_) | Fault::Behind(_))) => fault.to_string(),
        };
        self.standby.tell(Standing::Away { why });
        pause(AWAY);
        Ok(false)
    }

    fn leads(&mut self, lease: Held, leadership: Arc<Leadership>) {
        let Some(publisher) = self.publisher.take() else { return };
        let end = self.standby.end.clone();
        leadership.reaches(end.sequence, end.position(), end.term);
        lease.say(&leadership);
        *self.log.head.write() = end.tail.head();
        *self.log.leadership.write() = Some(leadership);
        *self.log.lease.lock() = Some(lease);
        *self.log.writer.lock() = Some(Writer { publisher, end, patience: PATIENCE });
        self.standby.sight = Sight::default();
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
        self.quiet = Quiet::new(self.standby.end.sequence);
    }
}

fn lasting(fault: Fault) -> OpenError {
    match fault {
        Fault::Passing(error) => error.into(),
        Fault::Behind(error) | Fault::Lasting(error) => error,
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Member({:?})", self.log)
    }
}
