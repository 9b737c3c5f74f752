//! SQLite with one writer thread that commits in groups, and a folder for what is larger.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::sync::oneshot;

use crate::error::TestkitError;

/// The sealed store's inline limit.
const INLINE: usize = 64 << 10;
const QUEUE: usize = 2048;
const GROUP: usize = 256;
const COPY: usize = 1 << 20;

const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA wal_autocheckpoint = 4096;
CREATE TABLE IF NOT EXISTS record (
  seq     INTEGER PRIMARY KEY,
  kind    TEXT NOT NULL,
  id      TEXT NOT NULL,
  created INTEGER NOT NULL,
  body    BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS record_by_id ON record (kind, id);
CREATE TABLE IF NOT EXISTS part (
  record INTEGER PRIMARY KEY,
  size   INTEGER NOT NULL,
  file   TEXT,
  body   BLOB
) STRICT;";

/// Records and blobs in the clear.
pub struct PlainStore {
    folder: PathBuf,
    queue: SyncSender<Message>,
    reader: Mutex<Connection>,
}

/// What is stored of one object.
pub struct PlainRecord {
    /// What it is.
    pub kind: String,
    /// Its id within the kind.
    pub id: String,
    /// Its record.
    pub body: Vec<u8>,
    /// Its content.
    pub blob: Option<PlainBlob>,
}

/// Content: small in memory, large in a durable file.
pub enum PlainBlob {
    /// Up to the inline limit.
    Inline(Vec<u8>),
    /// A file under the store's folder.
    File {
        /// Its name.
        name: String,
        /// Its length.
        size: u64,
    },
}

enum Message {
    Put(PlainRecord, oneshot::Sender<rusqlite::Result<()>>),
    Delete {
        kind: String,
        id: String,
        reply: oneshot::Sender<rusqlite::Result<()>>,
    },
}

impl PlainStore {
    /// Opens or makes the store.
    pub fn open(folder: &Path) -> Result<Self, TestkitError> {
        fs::create_dir_all(folder.join("blobs"))?;
        let database = folder.join("records.db");
        let writer = Connection::open(&database)?;
        writer.execute_batch(SCHEMA)?;
        let reader = Mutex::new(Connection::open(&database)?);
        let (queue, messages) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("twin-writer".to_owned())
            .spawn(move || write(&writer, &messages))?;
        Ok(Self {
            folder: folder.to_owned(),
            queue,
            reader,
        })
    }

    /// Stores one object, durably.
    pub async fn put(&self, record: PlainRecord) -> Result<(), TestkitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Put(record, reply))?;
        answer.await.map_err(|_| ended())?.map_err(Into::into)
    }

    /// Deletes one object.
    pub async fn delete(&self, kind: &str, id: &str) -> Result<(), TestkitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Delete {
            kind: kind.to_owned(),
            id: id.to_owned(),
            reply,
        })?;
        answer.await.map_err(|_| ended())?.map_err(Into::into)
    }

    /// One record's body.
    pub fn get(&self, kind: &str, id: &str) -> Result<Option<Vec<u8>>, TestkitError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = reader.prepare_cached("SELECT body FROM record WHERE kind = ?1 AND id = ?2")?;
        Ok(statement.query_row([kind, id], |row| row.get(0)).optional()?)
    }

    /// One object's content.
    pub fn blob(&self, kind: &str, id: &str) -> Result<Option<PlainBlob>, TestkitError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = reader.prepare_cached(
            "SELECT size, file, part.body FROM part JOIN record ON part.record = record.seq
             WHERE kind = ?1 AND id = ?2",
        )?;
        let found = statement.query_row([kind, id], |row| {
            let size: i64 = row.get(0)?;
            let file: Option<String> = row.get(1)?;
            Ok(match file {
                Some(name) => PlainBlob::File {
                    name,
                    size: size.unsigned_abs(),
                },
                None => PlainBlob::Inline(row.get(2)?),
            })
        });
        Ok(found.optional()?)
    }

    /// Where a blob's file lies.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join("blobs").join(name)
    }

    /// Begins to receive content.
    pub(super) fn incoming(&self) -> Incoming {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Incoming {
            folder: self.folder.join("blobs"),
            name,
            buffer: Vec::new(),
            file: None,
            size: 0,
        }
    }

    fn send(&self, message: Message) -> Result<(), TestkitError> {
        self.queue.send(message).map_err(|_| ended().into())
    }
}

/// Content on its way in: copied once into one buffer, written where blocking is allowed.
pub(super) struct Incoming {
    folder: PathBuf,
    name: String,
    buffer: Vec<u8>,
    file: Option<File>,
    size: u64,
}

impl Incoming {
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), TestkitError> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(COPY - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == COPY {
                self.flush().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<PlainBlob, TestkitError> {
        if self.file.is_none() && self.buffer.len() <= INLINE {
            return Ok(PlainBlob::Inline(self.buffer));
        }
        self.flush().await?;
        let (size, name) = (self.size, self.name.clone());
        blocking(move || {
            let file = self.file.take().ok_or_else(|| io::Error::other("no file"))?;
            file.sync_all()?;
            fs::rename(
                self.folder.join(format!("{}.incoming", self.name)),
                self.folder.join(&self.name),
            )?;
            File::open(&self.folder)?.sync_all()
        })
        .await?;
        Ok(PlainBlob::File { name, size })
    }

    async fn flush(&mut self) -> Result<(), TestkitError> {
        let path = self.folder.join(format!("{}.incoming", self.name));
        let (file, mut buffer) = (self.file.take(), std::mem::take(&mut self.buffer));
        let (file, buffer) = blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => File::create_new(path)?,
            };
            file.write_all(&buffer)?;
            buffer.clear();
            Ok((file, buffer))
        })
        .await?;
        self.file = Some(file);
        self.buffer = buffer;
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, TestkitError> {
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?;
    Ok(done?)
}

fn write(connection: &Connection, messages: &Receiver<Message>) {
    while let Ok(first) = messages.recv() {
        let mut group = vec![first];
        while group.len() < GROUP
            && let Ok(next) = messages.try_recv()
        {
            group.push(next);
        }
        let mut answers = Vec::with_capacity(group.len());
        let begun = step(connection, "BEGIN IMMEDIATE");
        for message in group {
            let (outcome, reply) = match message {
                Message::Put(record, reply) => (unit(connection, || put(connection, &record)), reply),
                Message::Delete { kind, id, reply } => {
                    (unit(connection, || delete(connection, &kind, &id)), reply)
                }
            };
            answers.push((outcome, reply));
        }
        let committed = begun.and_then(|()| step(connection, "COMMIT"));
        for (outcome, reply) in answers {
            let answer = match &committed {
                Ok(()) => outcome,
                Err(_) => Err(rusqlite::Error::InvalidQuery),
            };
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        }
    }
}

fn unit(connection: &Connection, work: impl FnOnce() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
    step(connection, "SAVEPOINT unit")?;
    let outcome = work();
    if outcome.is_err() {
        step(connection, "ROLLBACK TO unit")?;
    }
    step(connection, "RELEASE unit")?;
    outcome
}

fn put(connection: &Connection, record: &PlainRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO record (kind, id, created, body) VALUES (?1, ?2, unixepoch(), ?3)")?
        .execute(params![record.kind, record.id, record.body])?;
    let Some(blob) = &record.blob else { return Ok(()) };
    let (size, file, body) = match blob {
        PlainBlob::Inline(bytes) => (bytes.len() as u64, None, Some(bytes)),
        PlainBlob::File { name, size } => (*size, Some(name), None),
    };
    connection
        .prepare_cached("INSERT INTO part (record, size, file, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            connection.last_insert_rowid(),
            size.cast_signed(),
            file,
            body
        ])
        .map(drop)
}

fn delete(connection: &Connection, kind: &str, id: &str) -> rusqlite::Result<()> {
    let seq: i64 = connection
        .prepare_cached("SELECT seq FROM record WHERE kind = ?1 AND id = ?2")?
        .query_row([kind, id], |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM part WHERE record = ?1")?
        .execute([seq])?;
    connection
        .prepare_cached("DELETE FROM record WHERE seq = ?1")?
        .execute([seq])
        .map(drop)
}

fn step(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn ended() -> io::Error {
    io::Error::other("the twin's writer has ended")
}
