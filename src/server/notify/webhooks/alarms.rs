//! What an operator must look into about webhooks. Each alarm names the file, below the data directory.

use std::{
    collections::BTreeMap,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::store::StoreError;
use tenure_core::{Position, WebhookId};
use tenure_files::key_files::KeyFileError;
use tenure_threads::panics::PanicWatch;

/// The alarms of all webhooks.
#[derive(Debug)]
pub(super) struct WebhookAlarms {
    store: Mutex<Option<String>>,
    store_failures: AtomicU64,
    files: Mutex<BTreeMap<WebhookId, String>>,
    is_store_ahead: OnceLock<String>,
    /// Over the tasks of all webhooks.
    pub(super) tasks: PanicWatch,
}

impl WebhookAlarms {
    pub(super) const fn new() -> Self {
        Self {
            store: Mutex::new(None),
            store_failures: AtomicU64::new(0),
            files: Mutex::new(BTreeMap::new()),
            is_store_ahead: OnceLock::new(),
            tasks: PanicWatch::over("a task of the webhooks"),
        }
    }

    /// All of them, in words.
    pub(super) fn list(&self) -> Vec<String> {
        let once = self.is_store_ahead.get().map(String::as_str).into_iter().chain(self.tasks.alarm());
        let mut list: Vec<_> = once.map(str::to_owned).collect();
        list.extend(self.store.lock().clone());
        list.extend(self.files.lock().values().cloned());
        list
    }

    pub(super) fn store_fails(&self) -> bool {
        self.store.lock().is_some()
    }

    pub(super) fn store_failures(&self) -> u64 {
        self.store_failures.load(Ordering::Relaxed)
    }

    /// The store works.
    pub(super) fn store_works(&self) {
        if self.store.lock().take().is_some() {
            tracing::info!("the delivery state of webhooks is saved again");
        }
    }

    /// The store does not open, or does not take what is to be saved. Said once for each cause.
    pub(super) fn store_failed(&self, error: &StoreError, consequence: &str) {
        self.store_failures.fetch_add(1, Ordering::Relaxed);
        let alarm = format!("webhooks.redb: {}; {consequence}", error.why());
        let before = self.store.lock().replace(alarm.clone());
        if before != Some(alarm) {
            tracing::error!(%error, "{consequence}");
        }
    }

    /// The store has delivered more than the log holds.
    pub(super) fn store_is_ahead(&self, told: Position, head: Position) {
        let alarm = format!(
            "webhooks.redb: it has delivered positions up to {told}, but the log ends at {head}: one of the two is an \
             older copy. Webhooks go on at the end of the log; what happens there may have the ids of earlier notices"
        );
        tracing::error!("{alarm}");
        drop(self.is_store_ahead.set(alarm));
    }

    /// The file of a webhook is right, or gone with its webhook.
    pub(super) fn file_is_right(&self, id: WebhookId) {
        self.files.lock().remove(&id);
    }

    /// The file of a webhook cannot be used; reported once per cause. None means that the file is missing.
    pub(super) fn file_failed(&self, id: WebhookId, error: Option<&KeyFileError>) {
        let why = error.map_or("is missing", KeyFileError::in_short);
        let alarm = format!("keys/webhooks/{id} {why}: put it back, or delete the webhook");
        let before = self.files.lock().insert(id, alarm.clone());
        if before.as_ref() != Some(&alarm) {
            let error = error.map(ToString::to_string);
            tracing::error!(error, "{alarm}");
        }
    }
}
