use std::{
    sync::{Barrier, mpsc},
    time::Duration,
};

use tokio::time::timeout;

use super::*;
use tenure_protocol::clock;

const PATIENCE: Duration = Duration::from_secs(20);

/// Work that begins when it is let, and says that it has begun.
struct Held {
    begun: mpsc::Receiver<()>,
    end: mpsc::Sender<()>,
}

/// A task that waits for work that does not end before it is let.
fn hold(gate: &WorkGate) -> (Held, tokio::task::JoinHandle<Result<(), GateRefusal>>) {
    let ((say, begun), (end, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let gate = gate.clone();
    let task = tokio::spawn(async move {
        gate.run(move |_| {
            say.send(()).unwrap();
            assert!(wait.recv().is_err(), "nothing is sent; the other end is dropped");
        })
        .await
    });
    (Held { begun, end }, task)
}

async fn until(what: impl Fn() -> bool) {
    let met = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, met).await.expect("it comes to pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_jobs_run_so_many_wait_and_the_next_is_turned_away() {
    let gate = WorkGate::new("tested", 2, 3);
    let held: Vec<_> = (0..5).map(|_| hold(&gate)).collect();
    until(|| gate.load().running == 2 && gate.load().waiting == 3).await;
    assert_eq!(gate.run(|_| ()).await, Err(GateRefusal::Away));
    assert_eq!(gate.load().refused, 1);
    // Which of them run and which wait is chance, so all are let go before the first is waited for.
    let (held, tasks): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    let (_begun, ends): (Vec<_>, Vec<_>) = held.into_iter().map(|held| (held.begun, held.end)).unzip();
    drop(ends);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    until(|| gate.load().running == 0).await;
    assert_eq!(gate.run(|_| 7).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_is_told_when_its_caller_has_gone() {
    let gate = WorkGate::new("tested", 1, 1);
    let (say_begun, begun) = mpsc::channel();
    let (say, ended) = mpsc::channel();
    let caller = {
        let gate = gate.clone();
        tokio::spawn(async move {
            gate.run(move |wanted| {
                say_begun.send(()).unwrap();
                while wanted.is_wanted() {
                    clock::pause(Duration::from_millis(1));
                }
                say.send(()).unwrap();
            })
            .await
        })
    };
    // A running thread has not looked yet whether its job is wanted, and an unwanted one is never begun.
    begun.recv_timeout(PATIENCE).unwrap();
    assert_eq!(gate.load().running, 1);
    caller.abort();
    ended.recv_timeout(PATIENCE).expect("it stops by itself");
    until(|| gate.load().running == 0).await;
    assert_eq!(gate.load().abandoned, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_whose_caller_has_gone_is_not_begun_and_gives_its_place_away() {
    let gate = WorkGate::new("tested", 1, 1);
    let (first, running) = hold(&gate);
    first.begun.recv_timeout(PATIENCE).unwrap();
    let (queued, gone) = hold(&gate);
    until(|| gate.load().waiting == 1).await;
    gone.abort();
    until(|| gate.load().waiting == 0).await;
    let (third, task) = hold(&gate);
    until(|| gate.load().waiting == 1).await;
    drop((first.end, third.end));
    assert_eq!(running.await.unwrap(), Ok(()));
    assert_eq!(task.await.unwrap(), Ok(()));
    assert!(queued.begun.try_recv().is_err(), "nobody waited for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_questions_share_one_answer_and_each_caller_reads_it_for_itself() {
    let gate = WorkGate::new("tested", 1, 4);
    let questions: Arc<SharedQuestions<u32, String>> = Arc::new(SharedQuestions::at(gate.clone()));
    let found = Arc::new(AtomicU64::new(0));
    let (first, running) = hold(&gate);
    first.begun.recv_timeout(PATIENCE).unwrap();
    let ask = |key: u32, least: usize| {
        let (questions, found) = (Arc::clone(&questions), Arc::clone(&found));
        tokio::spawn(async move {
            let find = move |_: &CancelCheck<'_>| {
                found.fetch_add(1, Ordering::SeqCst);
                format!("{key}{key}")
            };
            questions.ask(key, find, move |text| text.len() + least).await
        })
    };
    let asked: Vec<_> = (0..9).map(|number| ask(1, number)).chain([ask(22, 100)]).collect();
    until(|| gate.load().waiting == 2 && gate.load().shared == 8).await;
    drop(first.end);
    running.await.unwrap().unwrap();
    for (number, answer) in asked.into_iter().enumerate() {
        let expected = if number < 9 { 2 + number } else { 104 };
        assert_eq!(answer.await.unwrap(), Ok(expected));
    }
    assert_eq!(found.load(Ordering::SeqCst), 2);
    assert!(questions.open.lock().is_empty(), "nothing is remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_given_up_only_when_the_last_of_its_callers_has_gone() {
    let gate = WorkGate::new("tested", 1, 4);
    let questions: Arc<SharedQuestions<u32, bool>> = Arc::new(SharedQuestions::at(gate.clone()));
    let ask = || {
        let questions = Arc::clone(&questions);
        tokio::spawn(async move {
            let find = |wanted: &CancelCheck<'_>| {
                while wanted.is_wanted() {
                    clock::pause(Duration::from_millis(1));
                }
                true
            };
            questions.ask(1, find, |found| *found).await
        })
    };
    let (one, other) = (ask(), ask());
    until(|| gate.load().running == 1 && gate.load().shared == 1).await;
    one.abort();
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(gate.load().running, 1, "one of them waits yet");
    other.abort();
    until(|| gate.load().running == 0).await;
    assert_eq!(gate.load().abandoned, 1);
    assert!(questions.open.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_panics_takes_nobody_else_with_it() {
    let gate = WorkGate::new("tested", 1, 4);
    let barrier = Arc::new(Barrier::new(2));
    let panicking = {
        let (gate, barrier) = (gate.clone(), Arc::clone(&barrier));
        tokio::spawn(async move {
            gate.run(move |_| {
                barrier.wait();
                panic!("on purpose");
            })
            .await
        })
    };
    until(|| gate.load().running == 1).await;
    let next = {
        let gate = gate.clone();
        tokio::spawn(async move { gate.run(|_| 3).await })
    };
    until(|| gate.load().waiting == 1).await;
    barrier.wait();
    let lost: Result<(), GateRefusal> = panicking.await.unwrap();
    assert_eq!(lost, Err(GateRefusal::Lost));
    assert_eq!(next.await.unwrap(), Ok(3));
    until(|| gate.load().running == 0).await;
}
