//! Work that several threads do, and whose results come one by one, in the order in which it was given out.

use std::{
    num::NonZero,
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, Builder},
};

use parking_lot::Mutex;

/// More threads than this would wait for the one that takes the results.
const MOST_THREADS: usize = 4;
/// Maximum results per thread in flight.
const AHEAD: usize = 2;

/// What there is to do, and where is said who will give the next result.
struct WorkSource<N, R> {
    next: N,
    /// `None` once nothing is left to do, or no more is wanted.
    promise: Option<SyncSender<Receiver<R>>>,
}

/// Has all that `next` gives worked on, by as many threads as the machine has processors, and `take` take the results
/// on this one. Work is begun only a little ahead of `take`.
///
/// # Errors
/// The first one of `take`. Nothing more is begun then.
pub(super) fn in_order<T: Send, R: Send, E>(
    next: impl FnMut() -> Option<T> + Send,
    work: impl Fn(T) -> R + Sync,
    take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    by_threads(if processors == 1 { 0 } else { processors.min(MOST_THREADS) }, next, work, take)
}

fn by_threads<T: Send, R: Send, E>(
    threads: usize,
    next: impl FnMut() -> Option<T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let (promise, promised) = mpsc::sync_channel(AHEAD * threads);
    let source = Mutex::new(WorkSource { next, promise: Some(promise) });
    thread::scope(|scope| {
        let begin =
            || Builder::new().name("tenure-start".into()).spawn_scoped(scope, || source_out(&source, &work));
        if (0..threads).filter(|_| begin().is_ok()).count() == 0 {
            // There is one processor, or the system gives no thread.
            return std::iter::from_fn(|| (source.lock().next)()).try_for_each(|it| take(work(it)));
        }
        // Who panics gives no result, and the panic goes on at the end of the scope. The channel ends with `take`, so
        // no thread waits to promise more.
        promised.into_iter().map_while(|result| result.recv().ok()).try_for_each(take)
    })
}

/// Works until there is nothing more to do.
fn source_out<T, R, N: FnMut() -> Option<T>>(source: &Mutex<WorkSource<N, R>>, work: &impl Fn(T) -> R) {
    while let Some((it, result)) = take_on(&mut source.lock()) {
        // If `take` has ended, the result is dropped.
        drop(result.send(work(it)));
    }
}

/// The next piece of work, and whereto its result is promised. A thread that waits here for room holds nothing that
/// another waits for: what was promised before is being worked on.
fn take_on<T, R, N: FnMut() -> Option<T>>(source: &mut WorkSource<N, R>) -> Option<(T, SyncSender<R>)> {
    let promise = source.promise.as_ref()?;
    let (result, promised) = mpsc::sync_channel(1);
    let it = (source.next)().filter(|_| promise.send(promised).is_ok());
    if it.is_none() {
        source.promise = None;
    }
    it.map(|it| (it, result))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn doubled(threads: usize, until: u32, last: u32) -> (Vec<u32>, Result<(), u32>, u32) {
        let (mut given, mut taken) = (0..until, Vec::new());
        let begun = AtomicU32::new(0);
        let work = |it: u32| {
            begun.fetch_add(1, Ordering::SeqCst);
            // Those that come first are done last.
            (0..(until - it) * 50).for_each(|_| std::hint::spin_loop());
            it * 2
        };
        let end = by_threads(
            threads,
            || given.next(),
            work,
            |result| {
                taken.push(result);
                if result == last { Err(result) } else { Ok(()) }
            },
        );
        (taken, end, begun.into_inner())
    }

    #[test]
    fn results_are_taken_in_the_order_in_which_the_work_was_given_out() {
        for threads in 0..5 {
            let (taken, end, _) = doubled(threads, 300, u32::MAX);
            assert_eq!((taken, end), ((0..300).map(|it| it * 2).collect(), Ok(())), "{threads} threads");
        }
    }

    #[test]
    fn the_first_error_ends_it_and_little_more_is_begun() {
        for threads in 0..5 {
            let (taken, end, begun) = doubled(threads, 10_000, 20);
            assert_eq!((taken.len(), end), (11, Err(20)), "{threads} threads");
            assert!(begun < 100, "{begun} were begun by {threads} threads");
        }
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_of_a_thread_is_one_of_the_whole() {
        let mut given = 0..9;
        let end: Result<(), ()> = by_threads(2, || given.next(), |it| assert!(it != 5), |()| Ok(()));
        assert_eq!(end, Ok(()));
    }
}
