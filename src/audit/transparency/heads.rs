//! The heads that this log has signed: each a continuation of the one before, each kept before it is shown.
//!
//! The tree holds only durable events, so only those are signed. Before a head is signed, the log proves, as it would
//! to a stranger, that the tree begins with the last head signed; a log that cannot prove it signs nothing more. At a
//! start the log must continue the last head of every place. A shorter log, cut or restored, is refused, and so is a
//! different one.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    head_store::{HeadStore, HeadStoreError},
    key::{HeadKey, VerifierKey},
    merkle_index::{MerkleIndex, ProofFailure},
    proof::{ProofError, verify_consistency},
    signed_head::SignedHead,
};
use tenure_core::Position;
use tenure_log::{EventLog, RootHash, tree::no_leaves};

/// Why no head is signed, or why the log is not the one that was signed.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// A kept head cannot be read or written.
    #[error(transparent)]
    Kept(#[from] HeadStoreError),
    /// The log ends before a head that it has signed.
    #[error(
        "{path} has a signed head of {signed} events, but the log ends at position {head}: events from position \
         {} on are missing, as when an older copy of the data directory was put back. Put the newest one back; to go \
         on without the missing events, set the file aside and keep it: it proves that they were there",
        head.next(),
        path = path.display()
    )]
    Missing {
        /// The file that the head is in.
        path: PathBuf,
        /// How many events were signed.
        signed: u64,
        /// Where the log ends.
        head: Position,
    },
    /// The key has signed, and what it has signed last is gone.
    #[error(
        "{path} is missing, and the head key beside it has signed this log: put the file back. To go on without it, \
         set the head key aside too; the log then signs under a new name",
        path = path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The log has other events than those that were signed.
    #[error(
        "{path} has a signed head of {signed} events, and they are not those of this log: one of the positions 1 to \
         {signed} holds another event. Put the log back that belongs to the head",
        path = path.display()
    )]
    Another {
        /// The file that the head is in.
        path: PathBuf,
        /// How many events were signed.
        signed: u64,
    },
    /// The log could not be read for the proof.
    #[error(transparent)]
    Unproved(#[from] ProofFailure),
    /// The tree does not continue the last signed head.
    #[error("the events up to position {size} do not continue the signed head of {signed}: {source}")]
    Fork {
        /// How many events were signed.
        signed: u64,
        /// How many there are.
        size: u64,
        /// What the proof lacks.
        source: ProofError,
    },
    /// The tree here and that of the log differ.
    #[error("the tree over {size} events is not that of the log: their roots differ")]
    TwoTrees {
        /// How many events.
        size: u64,
    },
    /// It could not be published to the other nodes.
    #[error("the head is not with the other nodes: {0}")]
    Unpublished(String),
    /// An earlier attempt found that the log cannot be signed.
    #[error("no head is signed any more: {0}")]
    Stopped(String),
}

/// Where the nodes of one log publish their heads to each other. One of them signs, the others compare and keep.
pub trait HeadPublication: Send + Sync {
    /// Whether this node signs now.
    fn signs(&self) -> bool;

    /// Publishes a head behind all others, once those are compared with this node's tree.
    ///
    /// # Errors
    /// It is not certain that the head is published; then it must not be shown.
    fn publish(&self, head: &SignedHead) -> Result<(), String>;
}

/// How a head of another node stands to the tree here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadComparison {
    /// The tree here had this root at this size.
    Same,
    /// The tree here is not that large yet.
    Ahead,
    /// The tree here had another root at this size.
    Differs,
}

/// What a log was called in earlier epochs.
#[derive(Debug, Default)]
pub struct LogLineage {
    /// Each name, and the last position that its epoch shares with this history.
    pub former: Vec<(String, Position)>,
    /// The former key and the number of the epoch that begins now, when one does.
    pub begins: Option<(HeadKey, u32)>,
}

/// The signed heads of a log, newest last, with the means to sign the next.
pub struct SignedHeads {
    key: HeadKey,
    log: Arc<dyn EventLog>,
    nodes: Arc<MerkleIndex>,
    kept: HeadStore,
    /// The other nodes of the log, if it has several.
    others: Option<Arc<dyn HeadPublication>>,
    /// Held while a head is signed.
    signing: Mutex<()>,
    last: Mutex<SignedHead>,
    signed: AtomicU64,
    failures: AtomicU64,
    /// Whether the last attempt could not keep its head.
    is_unkept: AtomicBool,
    stopped: OnceLock<String>,
}

impl SignedHeads {
    /// Compares the log with the last heads that it has signed, and signs the present one. With `must_be_kept`, there
    /// must be such a head in the data directory.
    ///
    /// # Errors
    /// See [`HeadError`]: above all a log shorter than one of its own heads, or a different log.
    pub fn open(
        data: &Path,
        head_file: Option<PathBuf>,
        must_be_kept: bool,
        key: HeadKey,
        log: Arc<dyn EventLog>,
        nodes: Arc<MerkleIndex>,
    ) -> Result<Self, HeadError> {
        let lineage = LogLineage { former: vec![], begins: None };
        Self::open_after(data, head_file, must_be_kept, key, &lineage, log, nodes)
    }

    /// The same, of a log that signed under other names in earlier epochs.
    ///
    /// # Errors
    /// As [`SignedHeads::open`].
    pub fn open_after(
        data: &Path,
        head_file: Option<PathBuf>,
        must_be_kept: bool,
        key: HeadKey,
        lineage: &LogLineage,
        log: Arc<dyn EventLog>,
        nodes: Arc<MerkleIndex>,
    ) -> Result<Self, HeadError> {
        if must_be_kept && !Self::is_kept_in(data) {
            return Err(HeadError::Gone { path: data.join(super::head_store::FILE) });
        }
        let kept = HeadStore::new(data, head_file)?;
        for (path, head) in kept.read(key.verifier(), &lineage.former)? {
            expect_continued(path, (head.size, head.root), &*log, &nodes)?;
        }
        for (path, size, root) in kept.former(&lineage.former)? {
            expect_continued(path, (size, root), &*log, &nodes)?;
        }
        // All of them are beginnings of this log, so this head continues them all.
        let (size, root) = nodes.head();
        let head = match &lineage.begins {
            None => SignedHead::sign(size, root, &key),
            Some((former, epoch)) => SignedHead::sign_first(size, root, &key, former, *epoch),
        };
        kept.keep(&head)?;
        Ok(Self {
            key,
            log,
            nodes,
            kept,
            others: None,
            signing: Mutex::new(()),
            last: Mutex::new(head),
            signed: AtomicU64::new(size),
            failures: AtomicU64::new(0),
            is_unkept: AtomicBool::new(false),
            stopped: OnceLock::new(),
        })
    }

    /// The same, of a log that several nodes have: nothing is signed before this node is the one that signs.
    ///
    /// # Errors
    /// As [`SignedHeads::open`].
    pub fn open_shared(
        data: &Path,
        head_file: Option<PathBuf>,
        key: HeadKey,
        lineage: &LogLineage,
        log: Arc<dyn EventLog>,
        nodes: Arc<MerkleIndex>,
        others: Arc<dyn HeadPublication>,
    ) -> Result<Self, HeadError> {
        let kept = HeadStore::new(data, head_file)?;
        // Of no events: every log begins with it.
        let mut last = SignedHead::sign(0, no_leaves(), &key);
        for (path, head) in kept.read(key.verifier(), &lineage.former)? {
            expect_continued(path, (head.size, head.root), &*log, &nodes)?;
            if head.size > last.size {
                last = head;
            }
        }
        Ok(Self {
            key,
            log,
            nodes,
            kept,
            others: Some(others),
            signing: Mutex::new(()),
            signed: AtomicU64::new(last.size),
            last: Mutex::new(last),
            failures: AtomicU64::new(0),
            is_unkept: AtomicBool::new(false),
            stopped: OnceLock::new(),
        })
    }

    /// How a head stands to the tree here.
    ///
    /// # Errors
    /// The log here does not have what the tree was made of.
    pub fn compare(&self, head: &SignedHead) -> Result<HeadComparison, ProofFailure> {
        if head.size > self.nodes.size() {
            return Ok(HeadComparison::Ahead);
        }
        let is_same = self.nodes.root(&*self.log, head.size)? == head.root;
        Ok(if is_same { HeadComparison::Same } else { HeadComparison::Differs })
    }

    /// Keeps and shows a head of another node, which was compared. An older one is left alone.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn adopt(&self, head: &SignedHead) -> Result<(), HeadError> {
        let mut last = self.last.lock();
        if head.size <= last.size {
            return Ok(());
        }
        self.kept.keep(head)?;
        self.signed.store(head.size, Ordering::Release);
        *last = head.clone();
        Ok(())
    }

    /// Signs nothing from here on, for this reason.
    pub fn stop(&self, why: &str) {
        drop(self.stopped.set(why.to_owned()));
    }

    /// Whether the data directory has a head, and therefore had a key.
    pub fn is_kept_in(data: &Path) -> bool {
        data.join(super::head_store::FILE).exists()
    }

    /// The key that judges the heads.
    pub const fn verifier(&self) -> &VerifierKey {
        self.key.verifier()
    }

    /// The tree under them.
    pub fn nodes(&self) -> &MerkleIndex {
        &self.nodes
    }

    /// The last head that was signed.
    pub fn last(&self) -> SignedHead {
        self.last.lock().clone()
    }

    /// Some of the heads that were signed before, ascending: what an export shows beside the last. Reads the disk.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn trail(&self) -> Result<Vec<SignedHead>, HeadError> {
        Ok(self.kept.trail(self.key.verifier())?)
    }

    /// How many events the last head covers.
    pub fn signed(&self) -> u64 {
        self.signed.load(Ordering::Acquire)
    }

    /// How often a head could not be signed or kept since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why heads are no longer signed; `None` if they are.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.get().map(String::as_str)
    }

    /// What is said while heads cannot be kept, and so not shown; the log names the file.
    pub fn unkept(&self) -> Option<&str> {
        let said = "signed heads cannot be kept, in head.note or in the file of audit.head_file: none is shown until they can";
        self.is_unkept.load(Ordering::Relaxed).then_some(said)
    }

    /// The head of everything durable: the last one, or a new one if something was recorded since. Waits for the
    /// disk.
    ///
    /// # Errors
    /// A head that could not be proved or kept; the last one stands.
    pub fn sign(&self) -> Result<SignedHead, HeadError> {
        let signed = self.try_sign();
        self.is_unkept.store(matches!(signed, Err(HeadError::Kept(_))), Ordering::Relaxed);
        if let Err(error) = &signed {
            self.failures.fetch_add(1, Ordering::Relaxed);
            if is_alarm(error) && self.stopped.set(error.to_string()).is_ok() {
                tracing::error!(%error, "the log contradicts its own signed head; no head is signed any more");
            }
        }
        signed
    }

    fn try_sign(&self) -> Result<SignedHead, HeadError> {
        if let Some(why) = self.stopped.get() {
            return Err(HeadError::Stopped(why.clone()));
        }
        let _one_at_a_time = self.signing.lock();
        let (last, (size, root)) = (self.last(), self.nodes.head());
        if size == last.size || self.others.as_ref().is_some_and(|others| !others.signs()) {
            return Ok(last);
        }
        self.prove(&last, size, root)?;
        let head = SignedHead::sign(size, root, &self.key);
        if let Some(others) = &self.others {
            others.publish(&head).map_err(HeadError::Unpublished)?;
        }
        self.kept.keep(&head)?;
        *self.last.lock() = head.clone();
        self.signed.store(size, Ordering::Release);
        Ok(head)
    }

    /// The head at an orderly stop, after which nothing is recorded. Waits for the disk.
    ///
    /// # Errors
    /// As [`SignedHeads::sign`].
    pub fn close(&self) -> Result<SignedHead, HeadError> {
        let signed = self.sign()?;
        if self.others.is_some() {
            // The log goes on at another node.
            return Ok(signed);
        }
        let head = SignedHead::sign_closed(signed.size, signed.root, &self.key);
        self.kept.keep(&head)?;
        *self.last.lock() = head.clone();
        Ok(head)
    }

    fn prove(&self, last: &SignedHead, size: u64, root: RootHash) -> Result<(), HeadError> {
        let hashes = self.nodes.consistency(&*self.log, last.size, size)?;
        verify_consistency((last.size, last.root), (size, root), &hashes)
            .map_err(|source| HeadError::Fork { signed: last.size, size, source })?;
        let head = self.log.head();
        let is_same = head.position.0 != size || head.root == root;
        if is_same { Ok(()) } else { Err(HeadError::TwoTrees { size }) }
    }
}

/// What no later attempt can put right.
const fn is_alarm(error: &HeadError) -> bool {
    match error {
        HeadError::Fork { .. } | HeadError::TwoTrees { .. } => true,
        HeadError::Kept(_)
        | HeadError::Missing { .. }
        | HeadError::Gone { .. }
        | HeadError::Another { .. }
        | HeadError::Unproved(_)
        | HeadError::Unpublished(_)
        | HeadError::Stopped(_) => false,
    }
}

fn expect_continued(
    path: PathBuf,
    (signed, root): (u64, RootHash),
    log: &dyn EventLog,
    nodes: &MerkleIndex,
) -> Result<(), HeadError> {
    let size = nodes.size();
    if signed > size {
        return Err(HeadError::Missing { path, signed, head: Position(size) });
    }
    if nodes.root(log, signed)? != root {
        return Err(HeadError::Another { path, signed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::transparency::merkle_index::tests::log_of;
    use tenure_log::MemoryLog;
    use tenure_protocol::entropy::SeededEntropy;

    fn open(dir: &Path, (log, nodes): (MemoryLog, MerkleIndex)) -> Result<SignedHeads, HeadError> {
        let key = HeadKey::draw(&SeededEntropy::new(1));
        fs::create_dir_all(dir.join("data")).unwrap();
        let further = Some(dir.join("heads"));
        SignedHeads::open(&dir.join("data"), further, false, key, Arc::new(log), Arc::new(nodes))
    }

    fn grown(commits: &[usize]) -> (MemoryLog, MerkleIndex) {
        let (log, nodes, _) = log_of(commits);
        (log, nodes)
    }

    #[test]
    fn a_log_that_goes_on_is_signed_on() {
        let dir = tempfile::tempdir().unwrap();
        for commits in [&[][..], &[3], &[3, 300], &[3, 300, 7]] {
            let heads = open(dir.path(), grown(commits)).unwrap();
            assert_eq!(heads.last().size, commits.iter().sum::<usize>() as u64);
            assert_eq!(SignedHead::open(heads.last().note(), heads.verifier()), Ok(heads.last()));
        }
    }

    #[test]
    fn a_shorter_log_is_refused_with_file_and_position() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), grown(&[3, 300])).unwrap();
        let said = open(dir.path(), grown(&[3])).err().unwrap().to_string();
        let words = "head.note has a signed head of 303 events, but the log ends at position 3: events from position 4 on";
        assert!(said.contains(words), "{said}");
        // A copy of the whole directory brings its own head with it; the further file does not.
        fs::remove_file(dir.path().join("data/head.note")).unwrap();
        let said = open(dir.path(), grown(&[3])).err().unwrap().to_string();
        assert!(said.contains("/heads has a signed head of 303 events"), "{said}");
    }

    #[test]
    fn another_log_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), grown(&[3, 300])).unwrap();
        for other in [&[4, 299][..], &[4, 300], &[2, 1, 300, 5]] {
            let said = open(dir.path(), grown(other)).err().unwrap().to_string();
            assert!(said.contains("one of the positions 1 to 303 holds another event"), "{said}");
        }
    }

    #[test]
    fn a_tree_that_does_not_continue_its_head_is_never_signed_again() {
        let dir = tempfile::tempdir().unwrap();
        let heads = open(dir.path(), grown(&[3, 300])).unwrap();
        let signed = heads.last();
        let forked = grown(&[4, 299, 10]);
        let heads = SignedHeads { log: Arc::new(forked.0), nodes: Arc::new(forked.1), ..heads };
        assert!(matches!(heads.sign(), Err(HeadError::Fork { signed: 303, size: 313, .. })));
        assert!(heads.stopped().unwrap().contains("do not continue the signed head of 303"));
        assert!(matches!(heads.sign(), Err(HeadError::Stopped(_))));
        assert_eq!((heads.last(), heads.failures()), (signed, 2));
    }

    #[test]
    fn a_head_that_cannot_be_kept_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let heads = open(dir.path(), grown(&[3])).unwrap();
        let (log, nodes) = grown(&[3, 4]);
        let heads = SignedHeads { log: Arc::new(log), nodes: Arc::new(nodes), ..heads };
        fs::rename(dir.path().join("data"), dir.path().join("gone")).unwrap();
        assert!(matches!(heads.sign(), Err(HeadError::Kept(_))));
        assert_eq!((heads.last().size, heads.stopped()), (3, None));
        assert!(heads.unkept().unwrap().contains("head.note"));
        fs::rename(dir.path().join("gone"), dir.path().join("data")).unwrap();
        assert_eq!(heads.sign().unwrap().size, 7);
        assert_eq!(heads.unkept(), None);
    }

    #[test]
    fn a_key_that_has_signed_misses_its_head() {
        let dir = tempfile::tempdir().unwrap();
        let (log, nodes) = grown(&[3]);
        let key = HeadKey::draw(&SeededEntropy::new(1));
        let opened = SignedHeads::open(dir.path(), None, true, key, Arc::new(log), Arc::new(nodes));
        assert!(opened.err().unwrap().to_string().contains("head.note is missing"));
    }

    /// A node among others: whether it signs is said from outside, and what it publishes can be looked at.
    #[derive(Default)]
    struct TestBoard {
        signs: AtomicBool,
        heads: Mutex<Vec<SignedHead>>,
        is_away: AtomicBool,
    }

    impl HeadPublication for TestBoard {
        fn signs(&self) -> bool {
            self.signs.load(Ordering::SeqCst)
        }

        fn publish(&self, head: &SignedHead) -> Result<(), String> {
            if self.is_away.load(Ordering::SeqCst) {
                return Err("no answer".into());
            }
            self.heads.lock().push(head.clone());
            Ok(())
        }
    }

    fn shared(dir: &Path, board: &Arc<TestBoard>, (log, nodes): (MemoryLog, MerkleIndex)) -> SignedHeads {
        let (key, lineage) = (HeadKey::draw(&SeededEntropy::new(1)), LogLineage::default());
        fs::create_dir_all(dir).unwrap();
        let others = Arc::clone(board) as Arc<dyn HeadPublication>;
        SignedHeads::open_shared(dir, None, key, &lineage, Arc::new(log), Arc::new(nodes), others).unwrap()
    }

    /// Of several nodes one signs; the others compare each head with the tree that they have, whatever its size by then.
    #[test]
    fn of_several_nodes_one_signs_and_the_others_compare() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let board = Arc::new(TestBoard::default());
        let leader = shared(one.path(), &board, grown(&[3, 300]));
        assert_eq!(leader.sign().unwrap().size, 0, "nobody signs before it is its turn");
        board.signs.store(true, Ordering::SeqCst);
        board.is_away.store(true, Ordering::SeqCst);
        assert!(matches!(leader.sign(), Err(HeadError::Unpublished(_))));
        assert_eq!((leader.last().size, leader.signed(), leader.stopped()), (0, 0, None));
        board.is_away.store(false, Ordering::SeqCst);
        assert_eq!(leader.sign().unwrap().size, 303);
        let head = board.heads.lock()[0].clone();
        for (commits, expected) in [
            (&[3, 299][..], HeadComparison::Ahead),
            (&[3, 300], HeadComparison::Same),
            (&[3, 300, 70], HeadComparison::Same),
            (&[4, 299], HeadComparison::Differs),
            (&[4, 299, 600], HeadComparison::Differs),
        ] {
            let follower = shared(two.path(), &Arc::default(), grown(commits));
            assert_eq!(follower.compare(&head), Ok(expected), "{commits:?}");
        }
        let follower = shared(two.path(), &Arc::default(), grown(&[3, 300, 70]));
        follower.adopt(&head).unwrap();
        assert_eq!((follower.last(), follower.signed()), (head.clone(), 303));
        // The stop of one node is not the end of the log, and its next start knows the head.
        assert_eq!(follower.close().unwrap(), head);
        assert!(!follower.last().is_closed());
        assert_eq!(shared(two.path(), &Arc::default(), grown(&[3, 300, 71])).last(), head);
    }
}
