//! How a store is set up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{event::Witness, keyring::AnchorKeeper};

/// Where a store lives and how long erasing may take.
#[derive(Clone)]
pub struct StoreConfig {
    /// Its folder, made if missing: `records.db`, `blobs/`, `lock`.
    pub folder: PathBuf,
    /// A deleted object is erased from database and log within this time.
    pub erase_within: Duration,
    /// Pins the check value of each account's branch key outside of the store.
    pub anchors: Option<Arc<dyn AnchorKeeper>>,
    /// Is told of each shredding before the store forgets it.
    pub witness: Option<Arc<dyn Witness>>,
}

impl StoreConfig {
    /// The defaults, in this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            erase_within: Duration::from_secs(60),
            anchors: None,
            witness: None,
        }
    }
}
