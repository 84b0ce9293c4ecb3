//! What only the node that leads can answer, found out where another one tries.
//!
//! A node that follows answers what it can. Somewhere on the way to an answer it may turn out that something is to be
//! recorded first, or that this node may merely not know it yet: the code that finds out says so here, and the request
//! goes to the leader from the beginning. Nothing has been done until then.

use std::cell::Cell;

tokio::task_local! {
    static IS_WANTED: Cell<bool>;
}

/// Does this work; also says whether the leader is to do it instead.
pub(crate) async fn unless_wanted<T>(work: impl Future<Output = T>) -> (T, bool) {
    let noting = async {
        let output = work.await;
        (output, IS_WANTED.with(Cell::get))
    };
    IS_WANTED.scope(Cell::new(false), noting).await
}

/// Says that the leader is to answer. On a node that leads it means nothing.
pub(crate) fn ask_the_leader() {
    // An error without a listener: there it is the leader who answers, or what is answered says so itself.
    let _nobody_listens = IS_WANTED.try_with(|is_wanted| is_wanted.set(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_is_of_one_request() {
        let one = unless_wanted(async { ask_the_leader() });
        let other = unless_wanted(async { 7 });
        assert_eq!(tokio::join!(one, other), (((), true), (7, false)));
        ask_the_leader();
    }
}
