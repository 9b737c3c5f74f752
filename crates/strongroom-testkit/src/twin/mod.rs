//! The unsealed twin: the same uploads, downloads and records over HTTP, the same SQLite with group commit,
//! the same inline limit and folder of files, the same durability, and nothing sealed. It shows that a
//! search finds what is not sealed, and what sealing costs. It is no part of the product.

mod routes;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom::{LocalServer, Routes};

use crate::error::TestkitError;

pub use store::{PlainBlob, PlainRecord, PlainStore};

/// A running twin behind the same listeners as the real thing.
pub struct PlainTwin {
    server: LocalServer,
    store: Arc<PlainStore>,
    folder: PathBuf,
}

impl PlainTwin {
    /// Starts one on free ports, over `folder`.
    pub async fn start(folder: &Path) -> Result<Self, TestkitError> {
        let store = Arc::new(PlainStore::open(&folder.join("service"))?);
        let routes = Routes {
            service: routes::router(Arc::clone(&store)),
            ..Routes::default()
        };
        let server = LocalServer::start(folder, routes).await?;
        Ok(Self {
            server,
            store,
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
            "https://localhost:{}/openai-accounts/twin/openai/v1",
            self.server.https_port()
        )
    }

    /// The certificate to trust for [`PlainTwin::tls_base_url`].
    pub fn authority_pem(&self) -> &str {
        self.server.authority_pem()
    }

    /// The store, for measurements below HTTP.
    pub fn store(&self) -> &Arc<PlainStore> {
        &self.store
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
