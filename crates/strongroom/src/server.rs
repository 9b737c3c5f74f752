//! The local server without its content: data folder, authority, both doors. Routes come in second, because
//! what they say depends on the ports.

use std::path::Path;
use std::sync::Arc;

use strongroom_seal::Clock;
use tokio::task::JoinHandle;

use crate::clock::SystemClock;
use crate::folder::{DataFolder, FolderError, FolderLock};
use crate::limits;
use crate::listen::{Dispatch, DoorError, Doors, Ports, Routes, Serving};
use crate::tls::{self, Authority, Leaf, TlsError};

/// Folder taken, ports bound, certificates ready; nothing is served yet.
pub(crate) struct OpenServer {
    folder_lock: FolderLock,
    authority: Arc<Authority>,
    leaf: Arc<Leaf>,
    doors: Doors,
    clock: Arc<dyn Clock>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A port.
    #[error(transparent)]
    Door(#[from] DoorError),
}

impl OpenServer {
    pub(crate) async fn open(
        folder: &DataFolder,
        https_port: u16,
        http_port: u16,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ServerError> {
        let folder_lock = folder.occupy()?;
        let doors = Doors::open(https_port, http_port).await?;
        let now = clock.now().wall;
        let authority = Authority::load_or_make(&folder.tls(), now)?;
        let leaf = Leaf::issue(&authority, now)?;
        Ok(Self {
            folder_lock,
            authority: Arc::new(authority),
            leaf: Arc::new(leaf),
            doors,
            clock,
        })
    }

    pub(crate) fn ports(&self) -> Ports {
        self.doors.ports()
    }

    pub(crate) fn authority_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Starts to serve.
    pub(crate) fn serve(self, default_account: &str, routes: Routes) -> Result<LocalServer, ServerError> {
        let ports = self.doors.ports();
        let config = tls::server_config(Arc::clone(&self.leaf))?;
        let serving = self
            .doors
            .serve(config, Dispatch::new(ports, default_account, routes));
        let renewal = tokio::spawn(renew(Arc::clone(&self.authority), self.leaf, self.clock));
        Ok(LocalServer {
            serving,
            ports,
            authority: self.authority,
            renewal,
            _folder_lock: self.folder_lock,
        })
    }
}

/// A server on this machine, serving whatever routes it was given.
pub struct LocalServer {
    serving: Serving,
    ports: Ports,
    authority: Arc<Authority>,
    renewal: JoinHandle<()>,
    _folder_lock: FolderLock,
}

impl LocalServer {
    /// Serves `routes` on free ports, from a data folder of its own; for comparisons with other routes
    /// behind the same doors.
    pub async fn start(folder: &Path, routes: Routes) -> Result<Self, ServerError> {
        let folder = DataFolder::at(folder)?;
        OpenServer::open(&folder, 0, 0, Arc::new(SystemClock))
            .await?
            .serve("main", routes)
    }

    /// The port of the TLS door.
    pub fn https_port(&self) -> u16 {
        self.ports.https
    }

    /// The port of the plain door.
    pub fn http_port(&self) -> u16 {
        self.ports.http
    }

    /// The certificate that clients must trust.
    pub fn authority_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Drains and ends. Says whether every request in flight finished.
    pub async fn stop(self) -> bool {
        self.renewal.abort();
        self.serving.drain().await
    }
}

async fn renew(authority: Arc<Authority>, leaf: Arc<Leaf>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(limits::LEAF_CHECK).await;
        match leaf.renew_if_due(&authority, clock.now().wall) {
            Ok(true) => tracing::info!("the listener's certificate was renewed"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the listener's certificate was not renewed"),
        }
    }
}
