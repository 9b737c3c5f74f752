//! SQLite with one writer thread that commits in groups, and a folder for what is larger.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};
use strongroom_seal::{AccountId, Clock as _};
use tokio::sync::oneshot;

use crate::error::TestkitError;

/// The sealed store's inline limit.
const INLINE: usize = 64 << 10;
const QUEUE: usize = 2048;
const GROUP: usize = 256;
const COPY: usize = 1 << 20;

/// The sealed store's tables and settings, without what sealing needs.
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA wal_autocheckpoint = 4096;
PRAGMA cache_size = -8192;
PRAGMA mmap_size = 8388608;
PRAGMA temp_store = MEMORY;
CREATE TABLE IF NOT EXISTS record (
  seq      INTEGER PRIMARY KEY,
  account  BLOB NOT NULL,
  kind     TEXT NOT NULL,
  id       TEXT NOT NULL,
  created  INTEGER NOT NULL,
  expires  INTEGER,
  revision INTEGER NOT NULL,
  parts    INTEGER NOT NULL,
  body     BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS record_by_id ON record (account, kind, id);
CREATE INDEX IF NOT EXISTS record_by_kind ON record (account, kind);
CREATE INDEX IF NOT EXISTS record_by_expiry ON record (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS part (
  place INTEGER PRIMARY KEY,
  part  INTEGER NOT NULL,
  size  INTEGER NOT NULL,
  file  TEXT,
  body  BLOB,
  CHECK ((file IS NULL) <> (body IS NULL))
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS part_by_file ON part (file) WHERE file IS NOT NULL;";

/// Records and blobs in the clear.
pub struct PlainStore {
    folder: PathBuf,
    queue: SyncSender<Message>,
    reader: Mutex<Connection>,
}

/// What is stored of one object.
pub struct PlainRecord {
    /// Whose it is.
    pub account: AccountId,
    /// What it is.
    pub kind: &'static str,
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
    Put(PlainRecord, u64, oneshot::Sender<rusqlite::Result<()>>),
    Delete {
        account: AccountId,
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

    /// Stores one object, durably; says when it was created, in milliseconds since 1970.
    pub async fn put(&self, record: PlainRecord) -> Result<u64, TestkitError> {
        let created = wall_ms();
        let (reply, answer) = oneshot::channel();
        self.send(Message::Put(record, created, reply))?;
        answer.await.map_err(|_| ended())??;
        Ok(created)
    }

    /// Deletes one object.
    pub async fn delete(&self, account: AccountId, kind: &str, id: &str) -> Result<(), TestkitError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Delete {
            account,
            kind: kind.to_owned(),
            id: id.to_owned(),
            reply,
        })?;
        answer.await.map_err(|_| ended())?.map_err(Into::into)
    }

    /// One record's body.
    pub fn get(&self, account: AccountId, kind: &str, id: &str) -> Result<Option<Vec<u8>>, TestkitError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = "SELECT body FROM record WHERE account = ?1 AND kind = ?2 AND id = ?3";
        let mut statement = reader.prepare_cached(sql)?;
        let name = (account.as_bytes(), kind, id);
        Ok(statement.query_row(name, |row| row.get(0)).optional()?)
    }

    /// One object's content.
    pub fn blob(&self, account: AccountId, kind: &str, id: &str) -> Result<Option<PlainBlob>, TestkitError> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = reader.prepare_cached(
            "SELECT size, file, part.body FROM record JOIN part ON place = seq * 1024
             WHERE account = ?1 AND kind = ?2 AND id = ?3",
        )?;
        let found = statement.query_row((account.as_bytes(), kind, id), |row| {
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
        // No savepoints: what fails here fails at its first statement, and has changed nothing.
        for message in group {
            let (outcome, reply) = match message {
                Message::Put(record, created, reply) => (put(connection, &record, created), reply),
                Message::Delete {
                    account,
                    kind,
                    id,
                    reply,
                } => (delete(connection, account, &kind, &id), reply),
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

fn put(connection: &Connection, record: &PlainRecord, created: u64) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO record (account, kind, id, created, expires, revision, parts, body)
             VALUES (?1, ?2, ?3, ?4, NULL, 1, ?5, ?6)",
        )?
        .execute(params![
            record.account.as_bytes(),
            record.kind,
            record.id,
            created.cast_signed(),
            record.blob.is_some(),
            record.body
        ])?;
    let Some(blob) = &record.blob else { return Ok(()) };
    let (size, file, body) = match blob {
        PlainBlob::Inline(bytes) => (bytes.len() as u64, None, Some(bytes)),
        PlainBlob::File { name, size } => (*size, Some(name), None),
    };
    connection
        .prepare_cached("INSERT INTO part (place, part, size, file, body) VALUES (?1, 0, ?2, ?3, ?4)")?
        .execute(params![
            connection.last_insert_rowid() * 1024,
            size.cast_signed(),
            file,
            body
        ])
        .map(drop)
}

fn delete(connection: &Connection, account: AccountId, kind: &str, id: &str) -> rusqlite::Result<()> {
    let seq: i64 = connection
        .prepare_cached("SELECT seq FROM record WHERE account = ?1 AND kind = ?2 AND id = ?3")?
        .query_row((account.as_bytes(), kind, id), |row| row.get(0))?;
    connection
        .prepare_cached("DELETE FROM part WHERE place = ?1")?
        .execute([seq * 1024])?;
    connection
        .prepare_cached("DELETE FROM record WHERE seq = ?1")?
        .execute([seq])
        .map(drop)
}

fn step(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

fn wall_ms() -> u64 {
    let wall = strongroom::SystemClock.now().wall;
    u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)
}

fn ended() -> io::Error {
    io::Error::other("the twin's writer has ended")
}
