//! A few connections that read. A point read takes microseconds, less than a hop to another thread, so it runs
//! where it is asked for; what reads many rows runs where blocking is allowed.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::schema::{fault, open_reader};
use crate::{
    error::{OpenStoreError, StorageFault},
    limits,
};

#[derive(Clone)]
pub(super) struct Readers {
    shared: Arc<Shared>,
}

struct Shared {
    free: Arc<Semaphore>,
    connections: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, OpenStoreError> {
        let connections = (0..limits::READERS)
            .map(|_| open_reader(path))
            .collect::<Result<Vec<_>, _>>()?;
        let shared = Shared {
            free: Arc::new(Semaphore::new(connections.len())),
            connections: Mutex::new(connections),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Reads a row or two, here and now.
    pub(super) async fn glance<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StorageFault> {
        let _permit = self.shared.free.acquire().await.map_err(|_| closed())?;
        self.shared.with(read)
    }

    /// Reads many rows, on a thread that may block.
    pub(super) async fn study<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StorageFault> {
        // Waited for here: a thread that waits for a connection would be missed by those who write.
        let free = Arc::clone(&self.shared.free);
        let permit = free.acquire_owned().await.map_err(|_| closed())?;
        let readers = Arc::clone(&self.shared);
        spawn_blocking(move || {
            let _permit = permit;
            readers.with(read)
        })
        .await
        .map_err(|error| StorageFault::new(error.to_string()))?
    }

    /// Waits for readers at work and closes every connection.
    pub(super) async fn close(&self) {
        let all = u32::try_from(limits::READERS).unwrap_or(u32::MAX);
        if let Ok(_permits) = self.shared.free.acquire_many(all).await {
            self.shared.free.close();
            self.shared.lock().clear();
        }
    }
}

impl Shared {
    /// A permit is held, so a connection is there unless the pool is closed.
    fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StorageFault> {
        let connection = self.lock().pop().ok_or_else(closed)?;
        let answer = read(&connection);
        self.lock().push(connection);
        answer.map_err(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A panic while the list was held left it whole: it is only pushed to and popped from.
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> StorageFault {
    StorageFault::new("the record database is closed")
}
