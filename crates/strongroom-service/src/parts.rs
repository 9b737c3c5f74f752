//! What the service is made of: everything that the program hands in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use strongroom_models::{Engine, Trainer};
use strongroom_store::{AccountId, PermitAuthority, Store};
use tokio::sync::watch;

use crate::auth::Authenticate;
use crate::fine_tuned::{Bases, TunedDeployment};
use crate::journal::ServiceJournal;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Everything that the routes need.
pub struct ServiceParts {
    /// Where everything is kept.
    pub store: Store,
    /// Makes the permits that the store demands.
    pub permits: PermitAuthority,
    /// Turns credentials into callers.
    pub authenticate: Arc<dyn Authenticate>,
    /// Which deployment of which account serves which model, watched.
    pub deployments: watch::Receiver<Arc<Deployments>>,
    /// The models that may be fine-tuned: those whose files are at hand.
    pub bases: Bases,
    /// What trains models; the first that knows a base model trains it.
    pub trainers: Vec<Arc<dyn Trainer>>,
    /// Where the service's own events go.
    pub journal: Arc<dyn ServiceJournal>,
    /// The time since the Unix epoch.
    pub now: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// What may be as large and as slow as it may be.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
}

/// Which account a request is for, by name. The listener takes it from host or path and sets it as a request extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName(pub String);

/// Which deployments there are.
#[derive(Clone, Default)]
pub struct Deployments {
    accounts: HashMap<AccountId, BTreeMap<String, Deployment>>,
    retention: HashMap<AccountId, Retention>,
}

/// For how long an account keeps what is made in it, where it says so itself. What a caller asks for can only be shorter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Files, however they came.
    pub files: Option<Duration>,
    /// Stored responses.
    pub responses: Option<Duration>,
    /// Stored chat completions.
    pub completions: Option<Duration>,
    /// Batches, and the files with their results.
    pub batches: Option<Duration>,
}

/// The shorter of two lives, of which one or both may be without an end.
pub(crate) fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl Deployments {
    /// Adds a deployment, or replaces the one of that name.
    pub fn insert(&mut self, account: AccountId, name: impl Into<String>, deployment: Deployment) {
        self.accounts
            .entry(account)
            .or_default()
            .insert(name.into(), deployment);
    }

    /// Says for how long an account keeps what is made in it from now on.
    pub fn retain(&mut self, account: AccountId, retention: Retention) {
        self.retention.insert(account, retention);
    }

    /// For how long an account keeps what is made in it.
    #[must_use]
    pub fn retention(&self, account: AccountId) -> Retention {
        self.retention.get(&account).copied().unwrap_or_default()
    }

    /// The deployment of this name.
    #[must_use]
    pub fn get(&self, account: AccountId, name: &str) -> Option<&Deployment> {
        self.accounts.get(&account)?.get(name)
    }

    /// The deployments of fine-tuned models, of all accounts.
    pub fn tuned(&self) -> impl Iterator<Item = (AccountId, &str, &Deployment)> {
        self.accounts
            .iter()
            .flat_map(|(account, all)| all.iter().map(|(name, one)| (*account, name.as_str(), one)))
            .filter(|(_, _, deployment)| deployment.tuned.is_some())
    }

    /// Whether another account has a deployment on this engine.
    #[must_use]
    pub fn is_shared(&self, account: AccountId, engine: &Arc<dyn Engine>) -> bool {
        let others = self.accounts.iter().filter(|(other, _)| **other != account);
        let mut theirs = others.flat_map(|(_, deployments)| deployments.values());
        theirs.any(|deployment| Arc::ptr_eq(&deployment.engine, engine))
    }

    /// The names of an account's deployments of this model.
    pub(crate) fn that_use<'a>(
        &'a self,
        account: AccountId,
        model: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        self.of(account)
            .filter(move |(_, deployment)| deployment.model == model)
            .map(|(name, _)| name)
    }

    /// An account's deployments by name.
    pub fn of(&self, account: AccountId) -> impl Iterator<Item = (&str, &Deployment)> {
        self.accounts
            .get(&account)
            .into_iter()
            .flatten()
            .map(|(name, deployment)| (name.as_str(), deployment))
    }
}

/// A model made available under a name.
#[derive(Clone)]
pub struct Deployment {
    /// What answers.
    pub engine: Arc<dyn Engine>,
    /// The model's name as the engine knows it.
    pub model: String,
    /// When the deployment was made, in seconds since the Unix epoch.
    pub created: u64,
    /// What becomes of it when the customer key is turned off.
    pub policy: RevocationPolicy,
    /// Set if the model is a fine-tuned one: the engine once more, with what only such a one has.
    pub tuned: Option<TunedDeployment>,
}

/// What a deployment does when the customer key is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RevocationPolicy {
    /// Nothing is served any more within the bound; streams in flight are cut.
    #[default]
    Shutdown,
    /// Nothing new is served; requests in flight finish.
    Drain,
    /// A running deployment goes on.
    PreventNew,
}
