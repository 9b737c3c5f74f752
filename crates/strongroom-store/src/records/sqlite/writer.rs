//! The one thread that writes: it drains its queue into one transaction, so that one fsync serves many units.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;
use tracing::error;

use super::{
    apply::{Current, Unit},
    schema::{fault, told, write_to},
    slots::Slots,
    usage::Usage,
};
use crate::{
    blobs::LitterBin,
    error::StorageFault,
    limits,
    records::{Receipt, Rejected, Returned, Transaction},
};

type Answer = Result<Receipt, Box<Returned>>;

/// The sending end of the writer's queue.
pub(super) struct Writer {
    queue: SyncSender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
}

enum Message {
    Unit(Waiting),
    Erase(oneshot::Sender<Result<bool, StorageFault>>),
    Stop(oneshot::Sender<()>),
}

struct Waiting {
    transaction: Transaction,
    reply: oneshot::Sender<Answer>,
    weight: usize,
}

impl Writer {
    /// Starts the thread; it ends when it is told to stop or every sender is gone.
    pub(super) fn start(connection: Connection, bin: LitterBin) -> Result<Self, StorageFault> {
        let (queue, messages) = sync_channel(limits::WRITER_QUEUE);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let slots = Slots::load(&connection).map_err(fault)?;
        let next_seq = connection
            .query_row("SELECT coalesce(max(seq), 0) + 1 FROM record", [], |row| {
                row.get(0)
            })
            .map_err(fault)?;
        let work = Work {
            connection,
            slots,
            next_seq,
            current: None,
            bin,
            waiting_bytes: Arc::clone(&waiting_bytes),
            was_full: false,
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work.run(&messages))?;
        Ok(Self { queue, waiting_bytes })
    }

    pub(super) async fn commit(&self, transaction: Transaction) -> Answer {
        let weight = transaction.weight();
        // A unit heavier than the whole allowance still gets through when nothing else waits.
        let before = self.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        if before > 0 && before + weight > limits::WRITER_BYTES {
            self.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            return Err(Returned::new(Rejected::Busy, Some(transaction)));
        }
        let (reply, answer) = oneshot::channel();
        if let Err(refused) = self.queue.try_send(Message::Unit(Waiting {
            transaction,
            reply,
            weight,
        })) {
            self.waiting_bytes.fetch_sub(weight, Ordering::Relaxed);
            let (reason, message) = match refused {
                TrySendError::Full(message) => (Rejected::Busy, message),
                TrySendError::Disconnected(message) => (Rejected::Closed, message),
            };
            let transaction = match message {
                Message::Unit(waiting) => Some(waiting.transaction),
                Message::Erase(_) | Message::Stop(_) => None,
            };
            return Err(Returned::new(reason, transaction));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Returned::new(Rejected::Closed, None)))
    }

    pub(super) async fn erase(&self) -> Result<bool, StorageFault> {
        let (reply, answer) = oneshot::channel();
        match self.queue.try_send(Message::Erase(reply)) {
            Ok(()) => answer.await.unwrap_or(Ok(false)),
            Err(_) => Ok(false),
        }
    }

    /// Returns once everything queued before is done and the connection is closed.
    pub(super) async fn stop(&self) {
        let (reply, mut stopped) = oneshot::channel();
        let mut message = Message::Stop(reply);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => message = back,
            }
            tokio::task::yield_now().await;
        }
        // An error says that the thread ended, which is what was wanted.
        let _ = (&mut stopped).await;
    }
}

/// What the thread owns.
struct Work {
    connection: Connection,
    slots: Slots,
    next_seq: i64,
    /// What the last unit found. Nobody else changes it, so it holds until a transaction is undone.
    current: Option<Current>,
    bin: LitterBin,
    waiting_bytes: Arc<AtomicUsize>,
    /// The last group found no room on the disk: that was logged, and need not be for each that follows.
    was_full: bool,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut group = Vec::new();
            let mut other = None;
            let mut next = Some(first);
            while let Some(message) = next.take() {
                match message {
                    Message::Unit(waiting) => group.push(waiting),
                    message => {
                        other = Some(message);
                        break;
                    }
                }
                if group.len() < limits::GROUP {
                    next = messages.try_recv().ok();
                }
            }
            if !group.is_empty() {
                self.commit_group(group);
            }
            match other {
                Some(Message::Erase(reply)) => drop(reply.send(self.erase())),
                Some(Message::Stop(reply)) => {
                    if let Err((_, error)) = self.connection.close() {
                        error!(%error, "the record database did not close cleanly");
                    }
                    // Nobody waiting is fine.
                    let _ = reply.send(());
                    return;
                }
                Some(Message::Unit(_)) | None => {}
            }
        }
    }

    /// Commits a group. A unit whose gate has closed by the time of the commit is taken out and the rest applied anew.
    fn commit_group(&mut self, mut group: Vec<Waiting>) {
        let taken: usize = group.iter().map(|waiting| waiting.weight).sum();
        while !group.is_empty() {
            match self.try_group(&group) {
                Ok(answers) => {
                    self.was_full = false;
                    for (mut waiting, answer) in group.drain(..).zip(answers) {
                        let answer = match answer {
                            Ok(mut receipt) => {
                                waiting.transaction.keep_files();
                                receipt.committed(&self.bin);
                                Ok(receipt)
                            }
                            Err(reason) => Err(Returned::new(reason, Some(waiting.transaction))),
                        };
                        // Nobody waits any more: what the answer holds is cleaned up by dropping it.
                        drop(waiting.reply.send(answer));
                    }
                }
                Err(Undone::GateClosed) => group = self.refuse_closed(group),
                Err(undone) => {
                    let fault = match undone {
                        Undone::Failed(fault) => fault,
                        // Units are undone by themselves by now.
                        Undone::GateClosed | Undone::HalfWay => StorageFault::new("a unit was not undone"),
                    };
                    let said = self.told(fault.clone());
                    if !self.was_full || !said.is_full() {
                        error!(fault = %said, "a group of {} units was not committed", group.len());
                    }
                    self.was_full = said.is_full();
                    for mut waiting in group.drain(..) {
                        // Where a write found no room the log does not hold the whole commit. Else whether it does is unknown now:
                        // the files stay until the next start tells.
                        if !fault.is_full() {
                            waiting.transaction.leave_files();
                        }
                        let reason = Rejected::Fault(said.clone());
                        drop(
                            waiting
                                .reply
                                .send(Err(Returned::new(reason, Some(waiting.transaction)))),
                        );
                    }
                }
            }
        }
        self.waiting_bytes.fetch_sub(taken, Ordering::Relaxed);
    }

    /// Whether it was for want of room is asked of the folder, where the database does not say so.
    fn told(&self, fault: StorageFault) -> StorageFault {
        let folder = self.connection.path().and_then(|path| Path::new(path).parent());
        match folder.filter(|_| !fault.is_full()) {
            Some(folder) => told(fault, write_to(folder)),
            None => fault,
        }
    }

    fn refuse_closed(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        let mut open = Vec::with_capacity(group.len());
        for waiting in group {
            match waiting.transaction.gate_open() {
                Ok(()) => open.push(waiting),
                Err(denied) => {
                    let returned = Returned::new(Rejected::Key(denied), Some(waiting.transaction));
                    drop(waiting.reply.send(Err(returned)));
                }
            }
        }
        open
    }

    /// Applies and commits a group. Savepoints cost as much as an insertion, so they are set only where a unit has turned out to
    /// fail half-way, and the whole group is applied anew then.
    fn try_group(&mut self, group: &[Waiting]) -> Result<Vec<Answered>, Undone> {
        self.slots.refill(&self.connection)?;
        match self.in_transaction(group, Savepoints::None) {
            Err(Undone::HalfWay) => self.in_transaction(group, Savepoints::Each),
            answers => answers,
        }
    }

    fn in_transaction(&mut self, group: &[Waiting], savepoints: Savepoints) -> Result<Vec<Answered>, Undone> {
        let start = self.slots.mark();
        let answers = self.apply_group(group, savepoints);
        if answers.is_ok() {
            self.slots.committed();
            return answers;
        }
        self.slots.back_to(start);
        self.current = None;
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            error!(%error, "a failed transaction was not rolled back");
        }
        answers
    }

    fn apply_group(&mut self, group: &[Waiting], savepoints: Savepoints) -> Result<Vec<Answered>, Undone> {
        self.step("BEGIN IMMEDIATE")?;
        let mut usage = Usage::default();
        let mut answers = Vec::with_capacity(group.len());
        for waiting in group {
            answers.push(self.apply_unit(&waiting.transaction, &mut usage, savepoints)?);
        }
        usage.write(&self.connection)?;
        let applied = group.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
        for (waiting, _) in applied {
            waiting.transaction.gate_open().map_err(|_| Undone::GateClosed)?;
        }
        self.step("COMMIT")?;
        Ok(answers)
    }

    fn apply_unit(
        &mut self,
        transaction: &Transaction,
        usage: &mut Usage,
        savepoints: Savepoints,
    ) -> Result<Answered, Undone> {
        if savepoints == Savepoints::Each {
            self.step("SAVEPOINT unit")?;
        }
        let (slots, rows) = (self.slots.mark(), self.connection.total_changes());
        let mut unit_usage = Usage::default();
        let answer = Unit {
            connection: &self.connection,
            slots: &mut self.slots,
            next_seq: &mut self.next_seq,
            usage: &mut unit_usage,
            current: &mut self.current,
        }
        .apply(transaction);
        if let Err(Rejected::Fault(fault)) = &answer
            && self.connection.is_autocommit()
        {
            // The database undid the whole transaction by itself, as it does where it finds no room.
            return Err(Undone::Failed(fault.clone()));
        }
        if answer.is_ok() {
            usage.absorb(unit_usage);
        } else {
            self.slots.back_to(slots);
            self.current = None;
            if savepoints == Savepoints::Each {
                self.step("ROLLBACK TO unit")?;
            } else if self.connection.total_changes() != rows {
                return Err(Undone::HalfWay);
            }
        }
        if savepoints == Savepoints::Each {
            self.step("RELEASE unit")?;
        }
        Ok(answer)
    }

    fn step(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Copies the log back into the database, where deleted content was overwritten, and cuts it to nothing.
    fn erase(&self) -> Result<bool, StorageFault> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .map(|busy| busy == 0)
            .map_err(fault)
    }
}

type Answered = Result<Receipt, Rejected>;

/// Whether each unit of a group can be undone by itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Savepoints {
    None,
    Each,
}

/// Why nothing of a group was committed.
enum Undone {
    GateClosed,
    /// A unit failed after it had changed something.
    HalfWay,
    Failed(StorageFault),
}

impl From<rusqlite::Error> for Undone {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(fault(error))
    }
}
