//! The same records unsealed: plain SQLite with the same settings, the same indexes and the same group commit.

use std::{
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

const GROUP: usize = 256;

/// A table of records with one writer thread.
pub(crate) struct PlainRecords {
    queue: SyncSender<Write>,
}

struct Write {
    id: String,
    body: Vec<u8>,
    reply: oneshot::Sender<()>,
}

impl PlainRecords {
    pub(crate) fn open(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "synchronous", "FULL").unwrap();
        connection.pragma_update(None, "secure_delete", "ON").unwrap();
        connection
            .pragma_update(None, "wal_autocheckpoint", 4096)
            .unwrap();
        connection.pragma_update(None, "cache_size", -8192).unwrap();
        connection.pragma_update(None, "mmap_size", 8 << 20).unwrap();
        connection.pragma_update(None, "temp_store", "MEMORY").unwrap();
        connection
            .execute_batch(
                "CREATE TABLE record (
                   seq INTEGER PRIMARY KEY, account BLOB NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
                   created INTEGER NOT NULL, expires INTEGER, revision INTEGER NOT NULL, parts INTEGER NOT NULL,
                   body BLOB NOT NULL
                 ) STRICT;
                 CREATE UNIQUE INDEX record_by_id ON record (account, kind, id);
                 CREATE INDEX record_by_kind ON record (account, kind);
                 CREATE INDEX record_by_expiry ON record (expires) WHERE expires IS NOT NULL;",
            )
            .unwrap();
        let (queue, writes) = sync_channel(2048);
        thread::spawn(move || write(&connection, &writes));
        Self { queue }
    }

    pub(crate) async fn put(&self, id: String, body: Vec<u8>) {
        let (reply, done) = oneshot::channel();
        self.queue.send(Write { id, body, reply }).unwrap();
        done.await.unwrap();
    }
}

fn write(connection: &Connection, writes: &Receiver<Write>) {
    while let Ok(first) = writes.recv() {
        let mut group = vec![first];
        while let Some(next) = (group.len() < GROUP).then(|| writes.try_recv().ok()).flatten() {
            group.push(next);
        }
        let run = |sql| {
            connection
                .prepare_cached(sql)
                .unwrap()
                .execute([])
                .map(drop)
                .unwrap();
        };
        run("BEGIN IMMEDIATE");
        for Write { id, body, .. } in &group {
            connection
                .prepare_cached(
                    "INSERT INTO record (account, kind, id, created, expires, revision, parts, body)
                     VALUES (?1, 'bench', ?2, 1, NULL, 1, 0, ?3)",
                )
                .unwrap()
                .execute(([7u8; 16], id, body))
                .unwrap();
        }
        run("COMMIT");
        for Write { reply, .. } in group {
            let _ = reply.send(());
        }
    }
}
