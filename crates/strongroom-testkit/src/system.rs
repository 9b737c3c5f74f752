//! The whole system in the test's own process: the real listeners, vault, control plane and service, on free
//! ports, over a temporary folder.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom::{DataFolder, EntraTenant, KeyFetching, Model, Outside, Running, Settings};
use strongroom_seal::{Clock, KeyWrap};
use tempfile::TempDir;

use crate::child::strongroom_program;
use crate::error::TestkitError;
use crate::instance::Instance;
use crate::vault::FailingVault;

/// How to start a system.
pub struct SystemOptions {
    settings: Settings,
    outside: Outside,
    place: Option<TempDir>,
}

impl SystemOptions {
    /// Over a new temporary folder, which goes with the system.
    pub fn new() -> Result<Self, TestkitError> {
        let place = tempfile::tempdir()?;
        let mut options = Self::over(&place.path().join("data"))?;
        options.place = Some(place);
        Ok(options)
    }

    /// Over a folder that stays.
    pub fn over(folder: &Path) -> Result<Self, TestkitError> {
        let folder = DataFolder::at(folder).map_err(|error| TestkitError::Environment(error.to_string()))?;
        // Without the program only the built-in model is missing.
        let program = strongroom_program().unwrap_or_default();
        Ok(Self {
            settings: Settings::new(folder, program),
            outside: Outside::default(),
            place: None,
        })
    }

    /// The bound of a revocation.
    #[must_use]
    pub fn revocation_bound(mut self, bound: Duration) -> Self {
        self.settings.revocation_bound = bound;
        self
    }

    /// The grace for a silent vault.
    #[must_use]
    pub fn outage_grace(mut self, grace: Duration) -> Self {
        self.settings.outage_grace = grace;
        self
    }

    /// How soon deleted content is erased.
    #[must_use]
    pub fn erase_within(mut self, limit: Duration) -> Self {
        self.settings.erase_within = limit;
        self
    }

    /// An upstream model server, such as [`crate::InstantUpstream`], by its URL.
    #[must_use]
    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        self.settings.model = Model::Upstream {
            url: url.into(),
            key_file: None,
        };
        self
    }

    /// Another tenant whose tokens count, and how published keys are fetched.
    #[must_use]
    pub fn trust(mut self, entra: Option<EntraTenant>, keys: KeyFetching) -> Self {
        self.settings.entra = entra;
        self.settings.keys = keys;
        self
    }

    /// Another clock for leases and the store.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.outside.clock = clock;
        self
    }

    /// Something that stands before the real client of the vault.
    #[must_use]
    pub fn before_vault(
        mut self,
        decorate: impl FnOnce(Arc<dyn KeyWrap>) -> Arc<dyn KeyWrap> + Send + 'static,
    ) -> Self {
        self.outside.before_vault = Box::new(decorate);
        self
    }

    /// A [`FailingVault`] before the real client; it comes with the system.
    pub async fn start_with_failing_vault(self) -> Result<(System, FailingVault), TestkitError> {
        let (hand, taken) = std::sync::mpsc::channel();
        let options = self.before_vault(move |inner| {
            let vault = FailingVault::around(inner);
            // The receiver waits below.
            let _ = hand.send(vault.clone());
            Arc::new(vault)
        });
        let system = options.start().await?;
        let vault = taken
            .try_recv()
            .map_err(|_| TestkitError::NotReady("no vault was made".to_owned()))?;
        Ok((system, vault))
    }

    /// Starts it.
    pub async fn start(self) -> Result<System, TestkitError> {
        let folder = self.settings.folder.clone();
        let running = Running::start(self.settings, self.outside).await?;
        let instance = Instance::at(&folder)?;
        Ok(System {
            running,
            instance,
            place: self.place,
        })
    }
}

/// A running system.
pub struct System {
    running: Running,
    instance: Instance,
    place: Option<TempDir>,
}

impl System {
    /// Starts one with the defaults, over a temporary folder.
    pub async fn start() -> Result<Self, TestkitError> {
        SystemOptions::new()?.start().await
    }

    /// What runs: the store, and the permits to use it, are there.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Drains and ends. The folder stays for as long as the answer is kept, if it was temporary.
    pub async fn stop(self) -> Option<TempDir> {
        self.running.stop().await;
        self.place
    }
}

impl Deref for System {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}
