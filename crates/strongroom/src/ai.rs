//! What the control plane asks of the AI service, done by the store and the engines.

use std::sync::Arc;

use strongroom_control::{AiService, Control, LoadFault, ServedModel, ServiceFault};
use strongroom_seal::{AccountId, BoxFuture};
use strongroom_service::{Deployments, KeyProblem};
use strongroom_store::{Action, Binding, KeyDenied, PermitAuthority, Store, StoreError};
use tokio::sync::watch;

use crate::compose::{self, Engines};
use crate::limits;

/// Under which name the service's own doings go on record.
const CALLER: &str = "control plane";

/// The service as the control plane drives it.
pub(crate) struct Service {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) permits: PermitAuthority,
    pub(crate) bindings: watch::Receiver<Vec<Binding>>,
    pub(crate) deployments: watch::Receiver<Arc<Deployments>>,
    pub(crate) engines: watch::Receiver<Arc<Engines>>,
}

impl AiService for Service {
    fn models(&self) -> Vec<ServedModel> {
        let engines = Arc::clone(&self.engines.borrow());
        let mut models: Vec<_> = engines
            .iter()
            .map(|(name, engine)| {
                let card = engine.models().into_iter().find(|card| card.id == *name);
                ServedModel {
                    name: name.clone(),
                    publisher: card.map(|card| card.owned_by).unwrap_or_default(),
                }
            })
            .collect();
        models.sort_by(|one, other| one.name.cmp(&other.name));
        models
    }

    fn tuned_models(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<ServedModel>, LoadFault>> {
        Box::pin(async move {
            let models = strongroom_service::tuned_models(&self.store, &self.permits, account).await;
            let models = models.map_err(|error| load_fault(&error))?.into_iter();
            Ok(models
                .map(|(name, publisher)| ServedModel { name, publisher })
                .collect())
        })
    }

    fn load<'a>(&'a self, account: AccountId, deployment: &'a str) -> BoxFuture<'a, Result<(), LoadFault>> {
        Box::pin(self.load_now(account, deployment))
    }

    fn settle(&self, account: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        Box::pin(self.settle_now(account))
    }

    fn forget(&self, account: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>> {
        Box::pin(async move {
            let permit = self.permits.permit(account, Action::Delete, CALLER);
            self.store.forget(&permit).await.map(drop).map_err(fault)
        })
    }
}

impl Service {
    async fn load_now(&self, account: AccountId, name: &str) -> Result<(), LoadFault> {
        let record = self.control.account_by_id(account);
        let model = record.and_then(|record| Some(record.deployments.get(name)?.model.clone()));
        let model = model.ok_or(LoadFault::Gone)?;
        let mut deployments = self.deployments.clone();
        let heard = deployments.wait_for(|all| {
            let served = all.get(account, name);
            served.is_some_and(|deployment| deployment.model == model && deployment.tuned.is_some())
        });
        let tuned = match tokio::time::timeout(limits::BINDING_HEARD, heard).await {
            Ok(Ok(all)) => all
                .get(account, name)
                .and_then(|deployment| deployment.tuned.clone()),
            Ok(Err(_)) => return Err(LoadFault::Closed),
            Err(_) => None,
        };
        let Some(tuned) = tuned else {
            let reason = "the model that it was made from is not at hand".to_owned();
            return Err(LoadFault::Unusable(reason));
        };
        tuned.load().await.map_err(|error| match &error.withheld {
            None => LoadFault::Unusable(error.reason),
            Some(withheld) => withheld
                .reason()
                .map_or_else(|| LoadFault::Failed(error.reason.clone()), load_fault),
        })
    }

    async fn settle_now(&self, account: AccountId) -> Result<(), ServiceFault> {
        let goes_back = self.follow(account).await?;
        let permit = self.permits.permit(account, Action::Administer, CALLER);
        if goes_back {
            // What never moved needs no vault to stay where it is.
            if self.store.is_settled(&permit).await.map_err(fault)? {
                return Ok(());
            }
        } else {
            self.store.prove_key(&permit).await.map_err(fault)?;
        }
        self.store.rewrap(&permit).await.map_err(fault)?;
        if self.store.is_settled(&permit).await.map_err(fault)? {
            Ok(())
        } else {
            Err(ServiceFault::Refused(
                "the latest version of the key is not enabled".to_owned(),
            ))
        }
    }

    /// Waits until the store has heard what the account's record says now. Says whether the switch goes back.
    async fn follow(&self, account: AccountId) -> Result<bool, ServiceFault> {
        let record = self.control.account_by_id(account);
        let record = record.ok_or_else(|| ServiceFault::Failed("the account is gone".to_owned()))?;
        let wanted = compose::keys(&record)
            .ok_or_else(|| ServiceFault::Failed("the account's key has no usable name".to_owned()))?;
        let mut bindings = self.bindings.clone();
        let heard = bindings.wait_for(|all| {
            let bound = all.iter().find(|bound| bound.account == account);
            bound.is_some_and(|bound| wanted.is_bound(bound))
        });
        match tokio::time::timeout(limits::BINDING_HEARD, heard).await {
            Ok(Ok(_)) => Ok(record.switch.as_ref().is_some_and(|switch| switch.is_back())),
            Ok(Err(_)) => Err(ServiceFault::Closed),
            Err(_) => Err(ServiceFault::Unreachable(
                "the service did not hear of the change".to_owned(),
            )),
        }
    }
}

fn load_fault(error: &StoreError) -> LoadFault {
    match error {
        StoreError::Key(KeyDenied::Closed) | StoreError::Closed => LoadFault::Closed,
        StoreError::Key(denied) => {
            let KeyProblem {
                code,
                message,
                passes,
            } = (*denied).into();
            LoadFault::Key {
                code,
                message,
                passes,
            }
        }
        StoreError::NotFound => LoadFault::Gone,
        other => LoadFault::Failed(other.to_string()),
    }
}

fn fault(error: StoreError) -> ServiceFault {
    let told = error.to_string();
    match error {
        StoreError::Key(KeyDenied::Refused | KeyDenied::Gone | KeyDenied::Mismatch) => {
            ServiceFault::Refused(told)
        }
        StoreError::Key(KeyDenied::Unreachable { .. } | KeyDenied::Throttled { .. }) | StoreError::Busy => {
            ServiceFault::Unreachable(told)
        }
        StoreError::Key(KeyDenied::Closed) | StoreError::Closed => ServiceFault::Closed,
        _ => ServiceFault::Failed(told),
    }
}
