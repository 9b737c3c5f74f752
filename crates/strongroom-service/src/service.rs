//! The service as its handlers hold it.

use std::sync::Arc;
use std::time::Duration;

use strongroom_store::{AccountId, Lease, PermitAuthority, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::auth::Authenticate;
use crate::journal::ServiceJournal;
use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::parts::{Deployment, Deployments, RevocationPolicy, ServiceParts};
use crate::problem::Problem;

const KIB: usize = 1024;

/// What [`ServiceParts`] become once routes are built.
pub(crate) struct Service {
    pub(crate) store: Store,
    pub(crate) permits: PermitAuthority,
    pub(crate) authenticate: Arc<dyn Authenticate>,
    pub(crate) journal: Arc<dyn ServiceJournal>,
    pub(crate) now: Arc<dyn Fn() -> Duration + Send + Sync>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    deployments: watch::Receiver<Arc<Deployments>>,
    streams: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    /// In KiB, see [`Limits::json_held`].
    bodies: Arc<Semaphore>,
}

impl Service {
    pub(crate) fn new(parts: ServiceParts) -> Self {
        Self {
            store: parts.store,
            permits: parts.permits,
            authenticate: parts.authenticate,
            journal: parts.journal,
            now: parts.now,
            limits: parts.limits,
            metrics: parts.metrics,
            deployments: parts.deployments,
            streams: Arc::new(Semaphore::new(parts.limits.streams)),
            transfers: Arc::new(Semaphore::new(parts.limits.transfers)),
            bodies: Arc::new(Semaphore::new(parts.limits.json_held / KIB)),
        }
    }

    /// The deployments as they are now.
    pub(crate) fn deployments(&self) -> Arc<Deployments> {
        Arc::clone(&self.deployments.borrow())
    }

    pub(crate) fn deployment(&self, account: AccountId, name: &str) -> Result<Deployment, Problem> {
        let found = self.deployments.borrow().get(account, name).cloned();
        found.ok_or_else(|| Problem::UnknownModel { name: shown(name) })
    }

    /// What a deployment's policy demands before it may be asked.
    pub(crate) async fn gate(&self, account: AccountId, policy: RevocationPolicy) -> Result<Gate, Problem> {
        let lease = match policy {
            RevocationPolicy::PreventNew => None,
            RevocationPolicy::Shutdown | RevocationPolicy::Drain => Some(self.store.lease(account).await?),
        };
        Ok(Gate {
            lease: lease.filter(|_| policy == RevocationPolicy::Shutdown),
        })
    }

    /// A place among the token streams served at once.
    pub(crate) fn stream_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        slot(&self.streams)
    }

    /// A place among the uploads and downloads served at once.
    pub(crate) fn transfer_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        slot(&self.transfers)
    }

    /// Room in memory for a JSON body of `bytes`. None is needed for a short one.
    pub(crate) fn body_room(&self, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if bytes <= limits::SHORT_BODY {
            return Ok(None);
        }
        let all = self.limits.json_held / KIB;
        let wanted = usize::try_from(bytes).map_or(all, |bytes| bytes.div_ceil(KIB).min(all));
        Arc::clone(&self.bodies)
            .try_acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX))
            .map(Some)
            .map_err(|_| Problem::Crowded)
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn seconds(&self) -> u64 {
        (self.now)().as_secs()
    }
}

fn slot(slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(slots)
        .try_acquire_owned()
        .map_err(|_| Problem::Crowded)
}

/// The leave to ask a deployment.
pub(crate) struct Gate {
    /// Under the policy `shutdown`: the lease whose end ends the answer.
    pub(crate) lease: Option<Lease>,
}

impl Gate {
    /// Waits for an engine, but no longer than the lease lasts.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Problem> {
        let Some(lease) = &self.lease else {
            return Ok(work.await);
        };
        tokio::select! {
            biased;
            denied = lease.ended() => Err(denied.into()),
            done = work => {
                lease.check()?;
                Ok(done)
            }
        }
    }
}

/// What a caller sent as a name, short enough to be said back.
pub(crate) fn shown(name: &str) -> String {
    const SHOWN: usize = 64;
    name.chars()
        .take(SHOWN)
        .map(|character| if character.is_control() { '?' } else { character })
        .collect()
}
