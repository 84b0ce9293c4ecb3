//! What the webhooks have delivered, on disk: `DATA/webhooks.redb`. It survives a kill and a power cut, and can be thrown
//! away: then each webhook begins again at its creation.
//!
//! It is a store of its own and not part of the log, because an attempt to deliver is no fact about a session, and a
//! failing receiver would fill the log with them.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use minicbor::{Decode, Encode, bytes::ByteVec};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::delivery::queue::{DeliveryQueue, QueuedDelivery, UnsavedChanges};
use crate::notify::notice::NoticeId;
use tenure_core::{Position, WebhookId};
use tenure_threads::panics::caught;

/// How far each webhook has read.
const READ: TableDefinition<[u8; 16], u64> = TableDefinition::new("read");
/// What became of each notice: webhook, position and number, in CBOR.
const DELIVERIES: TableDefinition<([u8; 16], u64, u32), &[u8]> = TableDefinition::new("deliveries");
/// What the store keeps in memory of its own file.
const CACHE: usize = 4 << 20;

/// All accounts, as they are copied.
#[derive(Debug, Default, Encode, Decode)]
#[cbor(array)]
struct QueueCopy {
    /// How far each webhook has read.
    #[n(0)]
    read: Vec<(ByteVec, u64)>,
    /// What became of each notice.
    #[n(1)]
    deliveries: Vec<(ByteVec, u64, u32, ByteVec)>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {why}", path = path.display())]
pub(super) struct StoreError {
    path: PathBuf,
    why: String,
}

impl StoreError {
    /// What is wrong, without saying where the data directory is.
    pub(super) fn why(&self) -> &str {
        &self.why
    }
}

/// The store.
///
/// redb panics where it meets a page that it did not expect. So each call is caught, and a store that has failed or
/// panicked once is not used again: it is dropped, and opened and checked as at a start.
pub(super) struct DeliveryStore {
    path: PathBuf,
    /// Taken only when the store is dropped.
    database: Option<Database>,
    /// Whether there was none before.
    pub(super) is_new: bool,
}

impl DeliveryStore {
    /// Where it is.
    pub(super) fn path(data: &Path) -> PathBuf {
        data.join("webhooks.redb")
    }

    /// Opens the store, or makes one, and checks every page of it.
    ///
    /// # Errors
    /// The disk is full or failing, or the file is not what was written.
    pub(super) fn open(data: &Path) -> Result<Self, StoreError> {
        let path = Self::path(data);
        let is_new = !path.exists();
        match guarded(|| open(&path)) {
            Ok(database) => Ok(Self { path, database: Some(database), is_new }),
            Err(why) => Err(StoreError { path, why }),
        }
    }

    /// The account of each webhook.
    pub(super) fn load(&self) -> Result<BTreeMap<WebhookId, DeliveryQueue>, StoreError> {
        guarded(|| self.read_all()).map_err(|why| self.error(why))
    }

    fn read_all(&self) -> Result<BTreeMap<WebhookId, DeliveryQueue>, redb::Error> {
        let read = self.database().begin_read()?;
        let mut saved = BTreeMap::<[u8; 16], (Position, BTreeMap<NoticeId, QueuedDelivery>)>::new();
        for entry in read.open_table(READ)?.iter()? {
            let (webhook, position) = entry?;
            saved.insert(webhook.value(), (Position(position.value()), BTreeMap::new()));
        }
        for entry in read.open_table(DELIVERIES)?.iter()? {
            let (key, value) = entry?;
            let (webhook, position, number) = key.value();
            // What an older version wrote and this one cannot read is history; what is open is sent again.
            let Ok(delivery) = minicbor::decode(value.value()) else { continue };
            if let Some((_, deliveries)) = saved.get_mut(&webhook) {
                deliveries.insert(NoticeId { position: Position(position), number }, delivery);
            }
        }
        let account =
            |(id, (read, deliveries))| (WebhookId::from_bytes(id), DeliveryQueue::saved(read, deliveries));
        Ok(saved.into_iter().map(account).collect())
    }

    /// All accounts as they are saved, in one read of the store: webhook and position read; webhook, position, number and
    /// delivery, in CBOR.
    pub(super) fn copy(&self) -> Result<Vec<u8>, StoreError> {
        guarded(|| self.copied()).map_err(|why| self.error(why))
    }

    fn copied(&self) -> Result<Vec<u8>, redb::Error> {
        let read = self.database().begin_read()?;
        let mut accounts = QueueCopy::default();
        for entry in read.open_table(READ)?.iter()? {
            let (webhook, position) = entry?;
            accounts.read.push((webhook.value().to_vec().into(), position.value()));
        }
        for entry in read.open_table(DELIVERIES)?.iter()? {
            let (key, value) = entry?;
            let (webhook, position, number) = key.value();
            let delivery = (webhook.to_vec().into(), position, number, value.value().to_vec().into());
            accounts.deliveries.push(delivery);
        }
        Ok(minicbor::to_vec(&accounts).expect("writing to memory does not fail"))
    }

    /// Makes the store of a data directory from such a copy, without what lies beyond a position.
    ///
    /// # Errors
    /// It is no such copy, or the disk does not take it.
    pub(super) fn restore(data: &Path, copy: &[u8], end: Position) -> Result<(), StoreError> {
        let store = Self::open(data)?;
        let accounts: QueueCopy = minicbor::decode(copy).map_err(|error| store.error(error.to_string()))?;
        guarded(|| store.fill(&accounts, end)).map_err(|why| store.error(why))
    }

    fn fill(&self, accounts: &QueueCopy, end: Position) -> Result<(), redb::Error> {
        let other = || redb::Error::Corrupted("the id of a webhook has another length".to_owned());
        let id = |bytes: &ByteVec| <[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| other());
        let write = self.database().begin_write()?;
        {
            let mut read = write.open_table(READ)?;
            for (webhook, position) in &accounts.read {
                read.insert(id(webhook)?, (*position).min(end.0))?;
            }
            let mut deliveries = write.open_table(DELIVERIES)?;
            for (webhook, position, number, delivery) in &accounts.deliveries {
                if *position <= end.0 {
                    deliveries.insert((id(webhook)?, *position, *number), delivery.as_slice())?;
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Saves what changed of every account and forgets the accounts of some webhooks, all or nothing.
    pub(super) fn save(
        &self,
        changed: &[(WebhookId, UnsavedChanges)],
        forgotten: &[WebhookId],
    ) -> Result<(), StoreError> {
        guarded(|| self.write(changed, forgotten)).map_err(|why| self.error(why))
    }

    fn write(
        &self,
        changed: &[(WebhookId, UnsavedChanges)],
        forgotten: &[WebhookId],
    ) -> Result<(), redb::Error> {
        let write = self.database().begin_write()?;
        {
            let mut read = write.open_table(READ)?;
            let mut deliveries = write.open_table(DELIVERIES)?;
            for (webhook, unsaved) in changed {
                read.insert(webhook.as_bytes(), unsaved.read.0)?;
                for (id, delivery) in &unsaved.deliveries {
                    let key = (*webhook.as_bytes(), id.position.0, id.number);
                    match delivery {
                        None => drop(deliveries.remove(key)?),
                        Some(delivery) => drop(deliveries.insert(key, to_cbor(delivery).as_slice())?),
                    }
                }
            }
            for webhook in forgotten {
                read.remove(webhook.as_bytes())?;
                let all = (*webhook.as_bytes(), 0, 0)..=(*webhook.as_bytes(), u64::MAX, u32::MAX);
                deliveries.retain_in(all, |_, _| false)?;
            }
        }
        write.commit()?;
        Ok(())
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is taken only by drop")
    }

    fn error(&self, why: String) -> StoreError {
        StoreError { path: self.path.clone(), why }
    }
}

impl Drop for DeliveryStore {
    fn drop(&mut self) {
        let database = self.database.take();
        if let Err(panic) = caught(|| drop(database)) {
            tracing::error!(path = %self.path.display(), panic, "the delivery state of webhooks is damaged");
        }
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let mut database = Database::builder().set_cache_size(CACHE).create_file(file(path)?)?;
    if !database.check_integrity()? {
        return Err(redb::Error::Corrupted("a page is not as it was written".to_owned()));
    }
    let write = database.begin_write()?;
    write.open_table(READ)?;
    write.open_table(DELIVERIES)?;
    write.commit()?;
    Ok(database)
}

fn file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path)
}

/// Runs a call into redb, and puts its error or its panic into words.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, String> {
    match caught(work) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("it is damaged ({panic})")),
    }
}

fn to_cbor(delivery: &QueuedDelivery) -> Vec<u8> {
    minicbor::to_vec(delivery).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::{
        NoticeName,
        notice::{ExpiredDetails, Notice, NoticeDetails, NoticeKind},
        webhooks::delivery::outcome::DeliveryOutcome,
    };
    use tenure_core::{SessionId, Timestamp, event::ExpiryCause};

    fn notice(position: u64) -> Notice {
        Notice {
            notice_id: NoticeName { epoch: 1, id: NoticeId { position: Position(position), number: 1 } },
            kind: NoticeKind::SessionExpired,
            position: Position(position),
            occurred_at: Timestamp::ZERO,
            session_id: Some(SessionId::from_bytes([7; 16])),
            subject_id: Some("a".parse().unwrap()),
            subject_name: Some("somebody's name".into()),
            owner_id: None,
            details: NoticeDetails::Expired(ExpiredDetails {
                expires_at: Timestamp::ZERO,
                cause: ExpiryCause::Ttl,
            }),
        }
    }

    #[test]
    fn what_was_saved_is_loaded_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let (id, other) = (WebhookId::from_bytes([1; 16]), WebhookId::from_bytes([2; 16]));
        let mut account = DeliveryQueue::new(Position(3));
        let news = [notice(5), notice(6)];
        account.take(news.iter(), (Position(4), Position(9)), Timestamp::ZERO);
        account.depart(Timestamp::ZERO);
        account.arrive(news[0].notice_id.id, DeliveryOutcome::Delivered.into(), Timestamp::ZERO, 0);
        let told = account.newest(None, 10);
        let store = DeliveryStore::open(directory.path()).unwrap();
        assert!(store.is_new);
        let unsaved = account.unsaved().unwrap();
        let nothing = DeliveryQueue::new(Position(8)).unsaved().unwrap();
        store.save(&[(id, unsaved), (other, nothing)], &[]).unwrap();
        drop(store);
        let store = DeliveryStore::open(directory.path()).unwrap();
        assert!(!store.is_new);
        let loaded = store.load().unwrap();
        assert_eq!((loaded[&id].read(), loaded[&other].read()), (Position(9), Position(8)));
        assert_eq!(loaded[&id].newest(None, 10), told);
        account.withdraw(news[1].notice_id.id);
        store.save(&[(id, account.unsaved().unwrap())], &[other]).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.keys().collect::<Vec<_>>(), [&id]);
        assert_eq!(loaded[&id].newest(None, 10).len(), 1);
        let bytes = std::fs::read(DeliveryStore::path(directory.path())).unwrap();
        assert!(!bytes.windows(8).any(|window| window == b"somebody"), "no text about people is kept");
    }

    #[test]
    fn two_do_not_share_a_store() {
        let directory = tempfile::tempdir().unwrap();
        let _first = DeliveryStore::open(directory.path()).unwrap();
        let said = DeliveryStore::open(directory.path()).err().unwrap().to_string();
        assert!(said.contains("webhooks.redb"), "{said}");
    }
}
