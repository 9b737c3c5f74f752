//! The instance's journals: the service's, with what waits for it, the vault's and the control plane's; and their checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use strongroom_journal::{Journal, JournalError, SigningKey};
use strongroom_seal::{BoxFuture, Clock};
use strongroom_service::ServiceEvent;
use strongroom_store::{NotKept, StoreEvent, Witness};
use tokio::time::{MissedTickBehavior, interval};

use crate::folder::DataFolder;
use crate::limits;
use crate::start::StartError;
use crate::status::JournalRow;

/// All journals.
#[derive(Clone)]
pub(crate) struct Journals {
    service: Kept,
    vault: Kept,
    control: Kept,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Kept {
    name: &'static str,
    journal: Journal,
    /// How many entries the latest checkpoint of this run covers.
    covered: Arc<AtomicU64>,
}

impl Journals {
    /// They lie beside the logs; the keys that sign their checkpoints lie with the control plane's.
    pub(crate) fn open(folder: &DataFolder, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let open = |name| Kept::open(folder, name).map_err(|cause| StartError::Journal { name, cause });
        Ok(Self {
            service: open("service")?,
            vault: open("vault")?,
            control: open("control")?,
            clock,
        })
    }

    /// What the service's events go to.
    pub(crate) fn service(&self) -> &Journal {
        &self.service.journal
    }

    /// What the vault's operations go to.
    pub(crate) fn vault(&self) -> &Journal {
        &self.vault.journal
    }

    /// What the activity log goes to.
    pub(crate) fn control(&self) -> &Journal {
        &self.control.journal
    }

    /// Resolves when the line is on the disk: what it tells of must not happen before.
    pub(crate) async fn tell(&self, event: StoreEvent) -> Result<(), JournalError> {
        self.service.journal.append(line(event))?.durable().await?;
        Ok(())
    }

    async fn keep_all(&self, events: Vec<StoreEvent>) -> Result<(), JournalError> {
        let mut receipts = Vec::with_capacity(events.len());
        for event in events {
            receipts.push(self.service.journal.append_in_turn(line(event)).await?);
        }
        for receipt in receipts {
            receipt.durable().await?;
        }
        Ok(())
    }

    /// Signs what each journal holds, at once and then at a steady pace.
    pub(crate) async fn keep_checkpoints(self) {
        let mut pace = interval(limits::CHECKPOINT);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.checkpoint().await;
        }
    }

    /// The last line and the last checkpoint. All that was told before is on the disk then.
    pub(crate) async fn finish(&self) {
        let at_ms = self.now_ms();
        let last = json!({ "event": "stopped", "at_ms": at_ms }).to_string();
        match self.service.journal.append_in_turn(last.into_bytes()).await {
            Ok(receipt) => {
                if let Err(error) = receipt.durable().await {
                    tracing::error!(%error, "the service's journal did not take its last lines");
                }
            }
            Err(error) => tracing::error!(%error, "the service's journal did not take its last line"),
        }
        self.checkpoint().await;
    }

    /// What lines are dated with.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().wall.as_millis()).unwrap_or(u64::MAX)
    }

    /// How they stand, for `status`.
    pub(crate) fn rows(&self) -> Vec<JournalRow> {
        [&self.service, &self.vault, &self.control].map(Kept::row).into()
    }

    async fn checkpoint(&self) {
        for kept in [&self.service, &self.vault, &self.control].map(Kept::clone) {
            // It reads and writes files.
            let signed = tokio::task::spawn_blocking(move || kept.checkpoint());
            if let Ok(Err(error)) = signed.await {
                tracing::error!(%error, "a journal has no new checkpoint");
            }
        }
    }
}

/// What the store must not forget before it is on record.
impl Witness for Journals {
    fn keep(&self, events: Vec<StoreEvent>) -> BoxFuture<'_, Result<(), NotKept>> {
        Box::pin(async move {
            let kept = self.keep_all(events).await;
            kept.map_err(|error| NotKept(error.to_string()))
        })
    }
}

fn line(event: StoreEvent) -> Vec<u8> {
    let entry = ServiceEvent::Store(event).to_entry();
    Value::Object(entry).to_string().into_bytes()
}

impl Kept {
    fn open(folder: &DataFolder, name: &'static str) -> Result<Self, JournalError> {
        let key = folder.control().join(format!("{name}-journal-key"));
        let key = SigningKey::load_or_create(&key, &format!("strongroom.localhost/{name}"))?;
        let kept = Self {
            name,
            journal: Journal::open(&folder.logs().join(format!("{name}-journal")), key)?,
            covered: Arc::default(),
        };
        let key = kept.journal.verifying_key();
        tracing::info!(journal = name, %key, "checkpoints of this journal verify with this key");
        Ok(kept)
    }

    fn checkpoint(&self) -> Result<(), JournalError> {
        let note = self.journal.checkpoint()?;
        let checkpoint = self.journal.verifying_key().verify(&note)?;
        self.covered.store(checkpoint.size, Ordering::Relaxed);
        Ok(())
    }

    fn row(&self) -> JournalRow {
        JournalRow {
            journal: self.name.to_owned(),
            verifier_key: self.journal.verifying_key().to_string(),
            entries: self.journal.size(),
            checkpoint: self.covered.load(Ordering::Relaxed),
        }
    }
}
