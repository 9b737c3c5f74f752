//! A deployment of a fine-tuned model. Its weights are opened into a worker process, which lives only for as long as the deployment's
//! revocation policy lets it.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::{StreamExt, stream};
use strongroom_models::{
    BoxFuture, BuiltIn, BuiltInConfig, ChunkStream, Engine, EngineError, LoadError, ModelCard, Object,
    OpenWeights, Tuned, WeightSource, Withheld,
};
use strongroom_store::{AccountId, Action, BlobReader, KeyDenied, KeyState, Lease, PermitAuthority, Store};
use tokio::sync::watch;

use super::{KIND, TunedName, WEIGHTS};
use crate::journal::{ServiceEvent, ServiceJournal, WeightsEvent};
use crate::parts::RevocationPolicy;

/// In whose name weights are read.
const CALLER: &str = "deployment";

/// What a deployment of a fine-tuned model works with.
#[derive(Clone)]
pub struct TunedParts {
    /// Where the weights are kept.
    pub store: Store,
    /// Makes the permit to read them.
    pub permits: PermitAuthority,
    /// Where it goes on record that weights were opened, and that they are gone.
    pub journal: Arc<dyn ServiceJournal>,
    /// The time since the Unix epoch.
    pub now: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// A fine-tuned model that answers for one deployment.
///
/// While its weights are in memory it holds a lease on the customer key, except under the policy `PreventNew`. When the lease ends, the
/// worker process that has them is ended: at once, or under `Drain` when the last request in flight is answered.
#[derive(Clone)]
pub struct TunedDeployment(Arc<Inner>);

struct Inner {
    engine: BuiltIn,
    place: Arc<Place>,
}

/// Where the weights come from and what becomes of them; what engine and keeper share.
struct Place {
    parts: TunedParts,
    account: AccountId,
    /// The deployment's name.
    name: String,
    /// What the store knows the model by.
    id: String,
    policy: watch::Sender<RevocationPolicy>,
    in_flight: watch::Sender<usize>,
    /// Whether the deployment is gone for good. Requests that found it before may still hold it, and must not open the weights again.
    is_closed: watch::Sender<bool>,
    /// Whether somebody sees to it that the weights go when they must.
    is_kept: Mutex<bool>,
    served: Mutex<Weak<Inner>>,
}

impl TunedDeployment {
    /// Makes a deployment of this model; its weights are opened with the first request, or with [`Self::load`]. `base` is the model that it
    /// was made from. `None`, if the name is no fine-tuned model's.
    #[must_use]
    pub fn new(
        parts: TunedParts,
        base: BuiltInConfig,
        account: AccountId,
        name: &str,
        model: &str,
        (created, policy): (u64, RevocationPolicy),
    ) -> Option<Self> {
        let place = Arc::new(Place {
            parts,
            account,
            name: name.to_owned(),
            id: TunedName::parse(model)?.id.to_owned(),
            policy: watch::Sender::new(policy),
            in_flight: watch::Sender::new(0),
            is_closed: watch::Sender::new(false),
            is_kept: Mutex::new(false),
            served: Mutex::default(),
        });
        let tuned = Tuned {
            name: model.to_owned(),
            created: i64::try_from(created).unwrap_or(i64::MAX),
            owned_by: "strongroom".to_owned(),
            weights: Arc::new(Sealed(Arc::clone(&place))),
        };
        let inner = Arc::new(Inner {
            engine: BuiltIn::tuned(base, tuned),
            place,
        });
        *inner.place.served.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&inner);
        Some(Self(inner))
    }

    /// Opens the weights into a worker, unless one has them, and waits until it can answer.
    pub async fn load(&self) -> Result<(), LoadError> {
        self.0.engine.load().await
    }

    /// Whether a worker process has the weights, or is being given them.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        self.0.engine.is_resident()
    }

    /// Says that it is gone for good: from now on nobody opens its weights, whoever still holds it. The worker that has them ends with
    /// [`Engine::stop`], which is to follow.
    pub fn close(&self) {
        self.0.place.is_closed.send_replace(true);
    }

    /// Changes what a revoked key means for it, from now on and for the weights that are in memory.
    pub fn follow(&self, policy: RevocationPolicy) {
        self.0.place.policy.send_if_modified(|known| {
            let changes = *known != policy;
            *known = policy;
            changes
        });
    }
}

impl Engine for TunedDeployment {
    fn models(&self) -> Vec<ModelCard> {
        self.0.engine.models()
    }

    fn chat<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        let flight = self.0.place.take_off();
        Box::pin(async move {
            let answer = self.0.engine.chat(request).await;
            drop(flight);
            answer
        })
    }

    fn chat_stream<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<ChunkStream, EngineError>> {
        let flight = self.0.place.take_off();
        Box::pin(async move {
            let chunks = self.0.engine.chat_stream(request).await?;
            // In flight until its last chunk is taken, or nobody wants more.
            let in_flight = stream::unfold((chunks, flight), |(mut chunks, flight)| async {
                Some((chunks.next().await?, (chunks, flight)))
            });
            Ok(Box::pin(in_flight) as ChunkStream)
        })
    }

    fn embed<'a>(&'a self, request: Object) -> BoxFuture<'a, Result<Object, EngineError>> {
        let flight = self.0.place.take_off();
        Box::pin(async move {
            let vectors = self.0.engine.embed(request).await;
            drop(flight);
            vectors
        })
    }

    fn stop<'a>(&'a self) -> BoxFuture<'a, ()> {
        self.0.engine.stop()
    }
}

/// Why weights stay sealed though the key is there.
#[derive(Debug, thiserror::Error)]
#[error("the deployment is gone")]
struct Gone;

/// The sealed weights. Each opening begins a keeping.
struct Sealed(Arc<Place>);

impl WeightSource for Sealed {
    fn open(&self) -> BoxFuture<'_, Result<OpenWeights, Withheld>> {
        Box::pin(async move {
            let place = &self.0;
            place.check_open()?;
            let permit = place.parts.permits.permit(place.account, Action::Read, CALLER);
            let opened = place
                .parts
                .store
                .open_blob(&permit, KIND, &place.id, WEIGHTS, None)
                .await;
            let reader = opened.map_err(Withheld::new)?;
            // Opening takes its time. Whoever closes it from here on finds a worker to stop, and a keeper that hears of it.
            place.check_open()?;
            place.keep();
            Ok(OpenWeights {
                length: reader.len(),
                pieces: Box::pin(stream::unfold(Some(reader), |reader| async {
                    let mut reader: BlobReader = reader?;
                    match reader.next_chunk().await? {
                        Ok(piece) => Some((Ok(piece), Some(reader))),
                        Err(error) => Some((Err(Withheld::new(error)), None)),
                    }
                })),
            })
        })
    }
}

/// A request on its way through the engine.
struct Flight(Arc<Place>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0
            .in_flight
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Place {
    fn take_off(self: &Arc<Self>) -> Flight {
        self.in_flight.send_modify(|count| *count += 1);
        Flight(Arc::clone(self))
    }

    fn check_open(&self) -> Result<(), Withheld> {
        if *self.is_closed.borrow() {
            return Err(Withheld::new(Gone));
        }
        Ok(())
    }

    /// Sees to it that the weights which are being opened go when they must.
    fn keep(&self) {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(served) = served.upgrade() else {
            return;
        };
        let mut is_kept = self.is_kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_kept, true) {
            tokio::spawn(keep(served));
        }
    }

    fn is_done(&self, engine: &BuiltIn) -> bool {
        let mut is_kept = self.is_kept.lock().unwrap_or_else(PoisonError::into_inner);
        *is_kept = engine.is_resident();
        !*is_kept
    }

    fn note(&self, what: WeightsEvent) {
        self.parts.journal.record(ServiceEvent::Weights {
            account: self.account,
            deployment: self.name.clone(),
            model: self.id.clone(),
            what,
            at_ms: u64::try_from((self.parts.now)().as_millis()).unwrap_or(u64::MAX),
        });
    }

    /// Holds a lease until it ends; under `PreventNew` holds none, and looks on. Resolves to why the key was lost.
    async fn lost(&self, policy: RevocationPolicy) -> KeyDenied {
        if policy == RevocationPolicy::PreventNew {
            let mut state = self.parts.store.key_state(self.account);
            loop {
                if let KeyState::Denied(denied) = state.borrow_and_update().state {
                    return denied;
                }
                if state.changed().await.is_err() {
                    return KeyDenied::Closed;
                }
            }
        }
        match self.parts.store.lease(self.account).await {
            Ok(lease) => held(lease).await,
            Err(denied) => denied,
        }
    }

    /// Resolves once the key is back.
    async fn is_back(&self) {
        let mut state = self.parts.store.key_state(self.account);
        if state.wait_for(|key| key.state == KeyState::Held).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves once no request is in flight.
    async fn is_idle(&self) {
        // The sender lives as long as `self`.
        let _ = self.in_flight.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Resolves once the deployment is gone.
    async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.is_closed.subscribe().wait_for(|closed| *closed).await;
    }
}

async fn held(lease: Lease) -> KeyDenied {
    let denied = lease.ended().await;
    drop(lease);
    denied
}

/// Stands beside weights in memory until they are gone.
async fn keep(served: Arc<Inner>) {
    let Inner { engine, place } = &*served;
    loop {
        place.note(WeightsEvent::Opened);
        let denied = until_gone(engine, place).await;
        engine.stop().await;
        place.note(WeightsEvent::Gone { denied });
        if place.is_done(engine) {
            return;
        }
    }
}

/// Until the worker is gone by itself, or must go, for this reason.
async fn until_gone(engine: &BuiltIn, place: &Place) -> Option<KeyDenied> {
    let mut policies = place.policy.subscribe();
    let mut gone = std::pin::pin!(engine.gone());
    loop {
        let policy = *policies.borrow_and_update();
        let denied = tokio::select! {
            biased;
            () = &mut gone => return None,
            // No policy keeps weights for a deployment that is gone.
            () = place.closed() => return None,
            // The sender lives as long as `place`.
            _ = policies.changed() => continue,
            denied = place.lost(policy) => denied,
        };
        let finished = async {
            match policy {
                RevocationPolicy::Shutdown => {}
                RevocationPolicy::Drain => place.is_idle().await,
                RevocationPolicy::PreventNew => {
                    place.note(WeightsEvent::Residual { denied });
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            biased;
            () = &mut gone => return None,
            () = place.closed() => return None,
            () = finished => return Some(denied),
            _ = policies.changed() => {}
            () = place.is_back() => {}
        }
    }
}
