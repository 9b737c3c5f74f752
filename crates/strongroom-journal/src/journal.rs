//! The journal as its users hold it: one writer thread, many appenders, receipts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::{Notify, oneshot};

use crate::error::JournalError;
use crate::limits::{GATHERING, GROUP_LENGTH, MAX_ENTRY_BYTES, MAX_READ, QUEUE_LENGTH};
use crate::note::{SigningKey, VerifyingKey};
use crate::tiles::{FileNodes, Tiles, read_entries};
use crate::tree::{Hash, consistency_proof, inclusion_proof, range_root};

/// An open journal. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    queue: SyncSender<Unit>,
}

struct Shared {
    folder: PathBuf,
    key: SigningKey,
    tiles: Mutex<Tiles>,
    durable: AtomicU64,
    /// The disk failed: what is in memory may differ from what is on it, and only the latter counts.
    doubtful: AtomicBool,
    /// Fires whenever the writer took something out of the queue.
    room: Notify,
}

struct Unit {
    entry: Vec<u8>,
    done: oneshot::Sender<Result<u64, JournalError>>,
}

/// Resolves when the entry is durable. Dropping it does not take the append back.
pub struct Receipt(oneshot::Receiver<Result<u64, JournalError>>);

impl Receipt {
    /// Waits until the entry is on disk and returns its index.
    pub async fn durable(self) -> Result<u64, JournalError> {
        self.0.await.unwrap_or(Err(JournalError::Closed))
    }

    /// The same for a thread that may block. Must not be called from within an async runtime.
    pub fn wait(self) -> Result<u64, JournalError> {
        self.0.blocking_recv().unwrap_or(Err(JournalError::Closed))
    }
}

impl Journal {
    /// Opens the journal in `folder`, or begins one there. Whoever opens it must be its only writer.
    ///
    /// What is there must be what the folder's checkpoint was signed over, and may go on after it: an append that a crash cut
    /// off there is dropped. Else nothing is touched and the answer is `Shortened`, `Altered` or `BadNote`.
    pub fn open(folder: &Path, key: SigningKey) -> Result<Self, JournalError> {
        let tiles = Tiles::open(folder, &key.verifying_key())?;
        let durable = AtomicU64::new(tiles.size());
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            key,
            tiles: Mutex::new(tiles),
            durable,
            doubtful: AtomicBool::new(false),
            room: Notify::new(),
        });
        let (queue, units) = sync_channel(QUEUE_LENGTH);
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_groups(&writer, &units))?;
        Ok(Self { shared, queue })
    }

    /// Queues an entry. It counts as journalled once the receipt says so.
    pub fn append(&self, entry: Vec<u8>) -> Result<Receipt, JournalError> {
        let (unit, receipt) = unit(entry)?;
        match self.queue.try_send(unit) {
            Ok(()) => Ok(receipt),
            Err(TrySendError::Full(_)) => Err(JournalError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(JournalError::Closed),
        }
    }

    /// The same for whoever can wait: never `Busy`, it resolves when the queue had room.
    pub async fn append_in_turn(&self, entry: Vec<u8>) -> Result<Receipt, JournalError> {
        let (mut unit, receipt) = unit(entry)?;
        loop {
            // From here on no room that comes free is missed.
            let room = self.shared.room.notified();
            match self.queue.try_send(unit) {
                Ok(()) => return Ok(receipt),
                Err(TrySendError::Full(back)) => unit = back,
                Err(TrySendError::Disconnected(_)) => return Err(JournalError::Closed),
            }
            room.await;
        }
    }

    /// Number of durable entries.
    pub fn size(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
    }

    /// The durable entries `start .. end`, at most 65,536 at once.
    pub fn read(&self, start: u64, end: u64) -> Result<Vec<Vec<u8>>, JournalError> {
        let size = self.size();
        if start > end || end > size || end - start > MAX_READ {
            return Err(JournalError::OutOfRange { size });
        }
        read_entries(&self.shared.folder, size, start, end)
    }

    /// Signs the present tree head and writes it, with the partial tiles that it needs, into the folder.
    pub fn checkpoint(&self) -> Result<String, JournalError> {
        let tiles = self.shared.tiles()?;
        let size = tiles.size();
        let root = range_root(&FileNodes { tiles: &tiles }, 0, size)?;
        let note = self.shared.key.sign(size, &root);
        tiles.publish(&note)?;
        Ok(note)
    }

    /// Signs the head of the tree of the first `size` entries, without writing it: what was handed out of a younger tree can be handed out
    /// again, byte for byte.
    pub fn checkpoint_at(&self, size: u64) -> Result<String, JournalError> {
        let tiles = self.shared.tiles()?;
        if size > tiles.size() {
            return Err(JournalError::OutOfRange { size: tiles.size() });
        }
        let root = range_root(&FileNodes { tiles: &tiles }, 0, size)?;
        Ok(self.shared.key.sign(size, &root))
    }

    /// The proof that entry `index` is in the tree of `size` entries.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, JournalError> {
        let tiles = self.shared.tiles()?;
        if size > tiles.size() || index >= size {
            return Err(JournalError::OutOfRange { size: tiles.size() });
        }
        inclusion_proof(&FileNodes { tiles: &tiles }, index, size)
    }

    /// The proof that the tree of `old` entries is a prefix of the one of `new` entries.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, JournalError> {
        let tiles = self.shared.tiles()?;
        if new > tiles.size() || old > new {
            return Err(JournalError::OutOfRange { size: tiles.size() });
        }
        consistency_proof(&FileNodes { tiles: &tiles }, old, new)
    }

    /// The public key that checkpoints of this journal verify with.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.shared.key.verifying_key()
    }
}

impl Shared {
    /// The tree as it is on disk. After a failure it is read again, as at a start, before anything is built on it.
    fn tiles(&self) -> Result<MutexGuard<'_, Tiles>, JournalError> {
        let mut tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner);
        if self.doubtful.load(Ordering::Acquire) {
            let found = Tiles::open(&self.folder, &self.key.verifying_key())?;
            if found.size() < self.durable.load(Ordering::Acquire) {
                return Err(JournalError::Damaged {
                    what: "durable entries are gone",
                });
            }
            self.durable.store(found.size(), Ordering::Release);
            *tiles = found;
            self.doubtful.store(false, Ordering::Release);
        }
        Ok(tiles)
    }
}

fn unit(entry: Vec<u8>) -> Result<(Unit, Receipt), JournalError> {
    if entry.is_empty() || entry.len() > MAX_ENTRY_BYTES {
        return Err(JournalError::EntrySize { bytes: entry.len() });
    }
    let (done, receipt) = oneshot::channel();
    Ok((Unit { entry, done }, Receipt(receipt)))
}

/// Takes what waits, up to a group, and makes it durable with one synchronisation. Ends with the last `Journal`.
/// What the disk fails to take is refused, never kept for later; a full disk that has room again takes the next.
fn write_groups(shared: &Shared, units: &Receiver<Unit>) {
    let mut before = 0;
    while let Ok(first) = units.recv() {
        let mut group = vec![first];
        if before > 1 {
            // Several append at once: one synchronisation costs as much as many entries.
            thread::sleep(GATHERING);
        }
        group.extend(units.try_iter().take(GROUP_LENGTH - 1));
        before = group.len();
        shared.room.notify_waiters();
        let mut refused = None;
        while !group.is_empty() && refused.is_none() {
            refused = write_some(shared, &mut group).err();
        }
        if let Some(error) = refused {
            group
                .drain(..)
                .for_each(|unit| answer(unit, Err(refusal(&error))));
        }
    }
}

/// Writes as many units of the group as the head has room for and answers them.
fn write_some(shared: &Shared, group: &mut Vec<Unit>) -> Result<(), JournalError> {
    let mut tiles = shared.tiles()?;
    let units: Vec<Unit> = group.drain(..tiles.room().min(group.len())).collect();
    let first = tiles.size();
    let result = tiles.append(units.iter().map(|unit| unit.entry.as_slice()));
    shared.durable.store(tiles.size(), Ordering::Release);
    shared.doubtful.store(result.is_err(), Ordering::Release);
    drop(tiles);
    for (index, unit) in (first..).zip(units) {
        let told = match &result {
            Ok(()) => Ok(index),
            Err(error) => Err(refusal(error)),
        };
        answer(unit, told);
    }
    result
}

/// What whoever appends is told of it.
fn refusal(error: &JournalError) -> JournalError {
    match error {
        JournalError::Io(cause)
            if matches!(
                cause.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ) =>
        {
            JournalError::Full
        }
        _ => JournalError::Failing,
    }
}

fn answer(unit: Unit, result: Result<u64, JournalError>) {
    // Whoever does not wait for the receipt has dropped it.
    let _ = unit.done.send(result);
}
