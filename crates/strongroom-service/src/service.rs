//! The service as its handlers hold it.

use std::sync::Arc;
use std::time::Duration;

use strongroom_models::Trainer;
use strongroom_store::{AccountId, Lease, PermitAuthority, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::auth::Authenticate;
use crate::fine_tuned::Bases;
use crate::fine_tuning::{self, FineTuner};
use crate::journal::ServiceJournal;
use crate::limits::{self, Limits};
use crate::metrics::Metrics;
use crate::parts::{Deployment, Deployments, Retention, RevocationPolicy, ServiceParts};
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
    pub(crate) bases: Bases,
    pub(crate) trainers: Vec<Arc<dyn Trainer>>,
    deployments: watch::Receiver<Arc<Deployments>>,
    streams: Arc<Semaphore>,
    transfers: Arc<Semaphore>,
    /// In KiB, see [`Limits::transfers_held`].
    segments: Arc<Semaphore>,
    /// In KiB, see [`Limits::json_held`].
    bodies: Arc<Semaphore>,
}

/// A place among those that are served at once, and the room that it takes in memory. Dropping it gives both back.
pub(crate) struct Slot {
    _place: OwnedSemaphorePermit,
    _room: Option<OwnedSemaphorePermit>,
}

impl Service {
    pub(crate) fn new(parts: ServiceParts) -> Self {
        let tuner = Arc::new(FineTuner {
            trainers: parts.trainers.clone(),
            deployments: parts.deployments.clone(),
        });
        parts.store.register(
            &parts.permits,
            fine_tuning::KIND,
            limits::TRAININGS_AT_ONCE,
            tuner,
        );
        Self {
            store: parts.store,
            permits: parts.permits,
            authenticate: parts.authenticate,
            journal: parts.journal,
            now: parts.now,
            limits: parts.limits,
            metrics: parts.metrics,
            bases: parts.bases,
            trainers: parts.trainers,
            deployments: parts.deployments,
            streams: Arc::new(Semaphore::new(parts.limits.streams)),
            transfers: Arc::new(Semaphore::new(parts.limits.transfers)),
            segments: Arc::new(Semaphore::new(parts.limits.transfers_held / KIB)),
            bodies: Arc::new(Semaphore::new(parts.limits.json_held / KIB)),
        }
    }

    /// The deployments as they are now.
    pub(crate) fn deployments(&self) -> Arc<Deployments> {
        Arc::clone(&self.deployments.borrow())
    }

    /// For how long an account keeps what is made in it.
    pub(crate) fn retention(&self, account: AccountId) -> Retention {
        self.deployments.borrow().retention(account)
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
    pub(crate) fn stream_slot(&self) -> Result<Slot, Problem> {
        Ok(Slot {
            _place: place(&self.streams)?,
            _room: None,
        })
    }

    /// A place among the uploads and downloads, with room in memory for a transfer of so many bytes, if that is known. Waits for
    /// the room in turn, but not for long.
    pub(crate) async fn transfer_slot(&self, bytes: Option<u64>) -> Result<Slot, Problem> {
        let place = place(&self.transfers)?;
        let (least, most) = (*limits::TRANSFER_HOLDS.start(), *limits::TRANSFER_HOLDS.end());
        let bytes = bytes.unwrap_or(most).clamp(least, most);
        let room = Arc::clone(&self.segments).acquire_many_owned(kib(bytes, self.limits.transfers_held));
        match tokio::time::timeout(self.limits.transfer_wait, room).await {
            Ok(Ok(room)) => Ok(Slot {
                _place: place,
                _room: Some(room),
            }),
            // Nobody closes it.
            Ok(Err(_)) | Err(_) => Err(Problem::Crowded),
        }
    }

    /// Room in memory for a JSON body of `bytes`. None is needed for a short one.
    pub(crate) fn body_room(&self, bytes: u64) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if bytes <= limits::SHORT_BODY {
            return Ok(None);
        }
        Arc::clone(&self.bodies)
            .try_acquire_many_owned(kib(bytes, self.limits.json_held))
            .map(Some)
            .map_err(|_| Problem::Crowded)
    }

    /// Seconds since the Unix epoch.
    pub(crate) fn seconds(&self) -> u64 {
        (self.now)().as_secs()
    }
}

fn place(places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    Arc::clone(places)
        .try_acquire_owned()
        .map_err(|_| Problem::Crowded)
}

/// So many bytes in KiB, as permits of a semaphore that stands for `all` of them.
fn kib(bytes: u64, all: usize) -> u32 {
    let all = all / KIB;
    let wanted = usize::try_from(bytes).map_or(all, |bytes| bytes.div_ceil(KIB).min(all));
    u32::try_from(wanted).unwrap_or(u32::MAX)
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
