//! The unsealed twin: the same uploads, downloads and records over HTTP for callers with the same keys, the same tables
//! but for what sealing needs, the same group commit, the same inline limit and folder of files, the same durability, and nothing sealed. It shows that a
//! search finds what is not sealed, and what sealing costs. It is no part of the product.

mod door;
mod routes;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom::{LocalServer, Routes};

use self::door::Door;
use crate::error::TestkitError;

pub use store::{PlainBlob, PlainRecord, PlainStore};

/// A running twin behind the same listeners as the real thing.
pub struct PlainTwin {
    server: LocalServer,
    shared: Arc<routes::Shared>,
    folder: PathBuf,
}

impl PlainTwin {
    /// Starts one on free ports, over `folder`.
    pub async fn start(folder: &Path) -> Result<Self, TestkitError> {
        let shared = Arc::new(routes::Shared {
            store: PlainStore::open(&folder.join("service"))?,
            door: Door::open(&folder.join("twin-control"))?,
        });
        let routes = Routes {
            service: routes::router(Arc::clone(&shared)),
            ..Routes::default()
        };
        let server = LocalServer::start(folder, routes).await?;
        Ok(Self {
            server,
            shared,
            folder: folder.to_owned(),
        })
    }

    /// Base of the OpenAI routes on plain HTTP.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/openai/v1", self.server.http_port())
    }

    /// Base of the OpenAI routes over TLS.
    pub fn tls_base_url(&self) -> String {
        format!(
            "https://localhost:{}/openai-accounts/{}/openai/v1",
            self.server.https_port(),
            door::ACCOUNT
        )
    }

    /// The key that its callers show.
    pub fn key(&self) -> String {
        self.shared.door.key()
    }

    /// The certificate to trust for [`PlainTwin::tls_base_url`].
    pub fn authority_pem(&self) -> &str {
        self.server.authority_pem()
    }

    /// The store, for measurements below HTTP.
    pub fn store(&self) -> &PlainStore {
        &self.shared.store
    }

    /// Where everything lies, in the clear.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Drains and ends.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
