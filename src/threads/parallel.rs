//! One piece of work, shared by several threads.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Does this with each of the items, in this thread and in others, together so many; what comes of them is in no
/// particular order. Threads that the system does not give now are done without. `None` if one of them died.
///
/// # Errors
/// The first error that a thread met; the others may have gone on for a while.
pub fn in_parallel<I: Sync, T: Send, E: Send>(
    items: &[I],
    threads: usize,
    work: impl Fn(&I) -> Result<T, E> + Sync,
) -> Option<Result<Vec<T>, E>> {
    let next = AtomicUsize::new(0);
    let do_some = || {
        let mut done = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(item)?);
        }
        Ok(done)
    };
    let parts: Option<Vec<Result<Vec<T>, E>>> = thread::scope(|scope| {
        let others = 1..threads.min(items.len());
        let others: Vec<_> =
            others.filter_map(|_| thread::Builder::new().spawn_scoped(scope, do_some).ok()).collect();
        let own = do_some();
        let others = others.into_iter().map(|other| other.join().ok());
        others.chain([Some(own)]).collect()
    });
    let parts: Result<Vec<_>, _> = parts?.into_iter().collect();
    Some(parts.map(|parts| parts.into_iter().flatten().collect()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn each_item_is_done_once_whatever_the_number_of_threads() {
        let items: Vec<u32> = (0..100).collect();
        for threads in [1, 3, 1_000] {
            let mut done = in_parallel(&items, threads, |item| Ok::<_, ()>(*item)).unwrap().unwrap();
            done.sort_unstable();
            assert_eq!(done, items);
        }
        assert_eq!(in_parallel(&[] as &[u32], 4, |item| Ok::<_, ()>(*item)), Some(Ok(vec![])));
    }

    #[test]
    fn an_error_is_the_answer_and_a_panic_is_none() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(
            in_parallel(&items, 4, |item| if *item == 7 { Err("seven") } else { Ok(()) }),
            Some(Err("seven"))
        );
        // The thread that asks is not done before another has died.
        let (asking, dying) = (thread::current().id(), AtomicBool::new(false));
        let dies = |_: &u32| {
            if thread::current().id() == asking {
                while !dying.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                return Ok::<_, ()>(());
            }
            dying.store(true, Ordering::Relaxed);
            panic!("as it is to");
        };
        assert_eq!(in_parallel(&[1, 2], 2, dies), None);
    }
}
