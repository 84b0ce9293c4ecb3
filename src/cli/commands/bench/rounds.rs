//! Many callers at once, each waiting for its answer before it asks again, lap by lap.
//!
//! In a lap every caller goes through its sessions once. Between two laps all callers stand still, and time
//! can be moved, so that what was just renewed may be renewed again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::Barrier;

use super::failed;
use crate::cli::failure::CommandError;
use tenure_protocol::clock::{stopwatch, worked};

/// One that asks and waits.
pub(super) trait BenchCaller: Send + 'static {
    /// How often it asks in a lap.
    fn len(&self) -> usize;
    /// Waits until it may ask again. One that is not held to a rate asks at once.
    fn turn(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
    /// Asks for the `index`th time in this lap.
    fn call(&mut self, index: usize) -> impl Future<Output = Result<(), String>> + Send;
}

/// What happens before each lap.
pub(super) trait LapSetup: Send + Sync + 'static {
    /// Prepares the next lap; false when there cannot be one.
    fn prepare(&self) -> impl Future<Output = Result<bool, String>> + Send;
}

/// Nothing needs to happen.
pub(super) struct NoSetup;

impl LapSetup for NoSetup {
    async fn prepare(&self) -> Result<bool, String> {
        Ok(true)
    }
}

/// What a round gave.
#[derive(Debug, Default)]
pub(super) struct RoundTimes {
    /// How long it took.
    pub(super) took: Duration,
    /// How long processors worked on it, in this process.
    pub(super) worked: Duration,
    /// The microseconds of each call, in order of length.
    pub(super) micros: Vec<u32>,
}

impl RoundTimes {
    /// Calls per second.
    pub(super) fn rate(&self) -> f64 {
        many(self.micros.len()) / self.took.as_secs_f64()
    }

    /// The duration that a number in a thousand calls stayed within.
    pub(super) fn quantile(&self, thousandths: usize) -> Duration {
        let place = self.micros.len() * thousandths / 1_000;
        let micros = self.micros.get(place.min(self.micros.len().saturating_sub(1)));
        Duration::from_micros(micros.copied().unwrap_or(0).into())
    }
}

/// A count to reckon with. There are never more than four thousand million calls in a round.
pub(super) fn many(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

struct RoundState<B> {
    between: B,
    barrier: Barrier,
    least: Duration,
    begun: Instant,
    over: AtomicBool,
    fault: Mutex<Option<String>>,
}

/// Has the callers run lap after lap for about this time, and gives them back.
pub(super) async fn run<C: BenchCaller, B: LapSetup>(
    callers: Vec<C>,
    between: B,
    least: Duration,
) -> Result<(RoundTimes, Vec<C>), CommandError> {
    let shared = Arc::new(RoundState {
        between,
        barrier: Barrier::new(callers.len()),
        least,
        begun: stopwatch(),
        over: AtomicBool::new(false),
        fault: Mutex::new(None),
    });
    let before = worked();
    let running: Vec<_> =
        callers.into_iter().map(|one| tokio::spawn(laps(one, Arc::clone(&shared)))).collect();
    let mut round = RoundTimes::default();
    let mut back = Vec::with_capacity(running.len());
    for caller in running {
        let (caller, micros) = caller.await.map_err(failed)?;
        back.push(caller);
        round.micros.extend(micros);
    }
    round.took = shared.begun.elapsed();
    round.worked = worked().saturating_sub(before);
    if let Some(fault) = shared.fault.lock().take() {
        return Err(failed(fault));
    }
    round.micros.sort_unstable();
    Ok((round, back))
}

async fn laps<C: BenchCaller, B: LapSetup>(mut caller: C, shared: Arc<RoundState<B>>) -> (C, Vec<u32>) {
    let mut micros = Vec::new();
    loop {
        if shared.barrier.wait().await.is_leader() {
            shared.prepare().await;
        }
        shared.barrier.wait().await;
        if shared.over.load(Ordering::Relaxed) {
            return (caller, micros);
        }
        for index in 0..caller.len() {
            caller.turn().await;
            let asked = stopwatch();
            if let Err(fault) = caller.call(index).await {
                shared.fault.lock().get_or_insert(fault);
                break;
            }
            micros.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
}

impl<B: LapSetup> RoundState<B> {
    async fn prepare(&self) {
        let is_over = self.begun.elapsed() >= self.least || self.fault.lock().is_some();
        let goes_on = !is_over
            && self.between.prepare().await.unwrap_or_else(|fault| {
                self.fault.lock().get_or_insert(fault);
                false
            });
        self.over.store(!goes_on, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct CountingCaller(usize);

    impl BenchCaller for CountingCaller {
        fn len(&self) -> usize {
            3
        }
        async fn call(&mut self, index: usize) -> Result<(), String> {
            self.0 += 1;
            if self.0 > 30 { Err(format!("no {index} any more")) } else { Ok(()) }
        }
    }

    struct CountedSetup(Mutex<usize>);

    impl LapSetup for CountedSetup {
        async fn prepare(&self) -> Result<bool, String> {
            let mut left = self.0.lock();
            let goes_on = *left > 0;
            *left = left.saturating_sub(1);
            Ok(goes_on)
        }
    }

    fn ran(laps: usize) -> Result<(RoundTimes, Vec<CountingCaller>), CommandError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let between = CountedSetup(Mutex::new(laps));
        runtime.block_on(run(vec![CountingCaller(0), CountingCaller(0)], between, Duration::from_mins(1)))
    }

    #[test]
    fn every_caller_goes_through_all_laps() {
        let (round, callers) = ran(4).unwrap();
        assert_eq!(round.micros.len(), 24);
        assert!(callers.iter().all(|caller| caller.0 == 12));
    }

    #[test]
    fn a_call_that_fails_ends_the_round() {
        let failure = ran(100).map(|_| ()).unwrap_err();
        assert_eq!(failure.to_string(), "no 0 any more");
    }

    #[test]
    fn quantiles_are_of_the_ordered_calls() {
        let round =
            RoundTimes { took: Duration::from_secs(2), micros: (1..=100).collect(), ..RoundTimes::default() };
        assert_eq!(round.quantile(500), Duration::from_micros(51));
        assert_eq!(round.quantile(990), Duration::from_micros(100));
        assert!((round.rate() - 50.0).abs() < f64::EPSILON);
    }
}
