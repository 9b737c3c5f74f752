//! Revocation reaches the models: the process that holds one is ended when the customer key of a deployment whose
//! policy is shutdown is turned off, so that weights and prompts leave the memory too. What other accounts have under way in the same
//! process is not theirs to lose: then it ends as soon as that is done, and takes nothing new.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::{self, BoxFuture, FutureExt as _};
use futures::stream::{FuturesUnordered, StreamExt as _};
use strongroom_models::Engine;
use strongroom_seal::{AccountId, Clock};
use strongroom_service::{Deployments, RevocationPolicy};
use strongroom_store::{Binding, KeyState, KeyStatus, Store};
use tokio::sync::watch;

/// Watches the keys of all accounts that are bound, one watch per account, and ends engines when one is lost.
pub(crate) async fn watch_keys(
    mut bindings: watch::Receiver<Vec<Binding>>,
    store: Store,
    deployments: watch::Receiver<Arc<Deployments>>,
    clock: Arc<dyn Clock>,
) {
    let mut watched = HashSet::new();
    let mut watches: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    loop {
        let accounts: Vec<_> = bindings
            .borrow_and_update()
            .iter()
            .map(|bound| bound.account)
            .collect();
        for account in accounts {
            if watched.insert(account) {
                let watch = watch_key(
                    account,
                    store.key_state(account),
                    deployments.clone(),
                    Arc::clone(&clock),
                );
                watches.push(watch.boxed());
            }
        }
        tokio::select! {
            changed = bindings.changed() => if changed.is_err() { return },
            Some(()) = watches.next() => {}
        }
    }
}

async fn watch_key(
    account: AccountId,
    mut state: watch::Receiver<KeyStatus>,
    deployments: watch::Receiver<Arc<Deployments>>,
    clock: Arc<dyn Clock>,
) {
    let mut before = state.borrow_and_update().clone();
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        if is_lost(&before, &now, clock.as_ref()) {
            let (own, shared) = to_end(&deployments.borrow(), account);
            shared.iter().for_each(|engine| engine.retire());
            future::join_all(own.iter().map(|engine| engine.stop())).await;
        }
        before = now;
    }
}

/// Whether the key was lost. That nobody needed it for a while is no loss: its lease was young to the end.
fn is_lost(before: &KeyStatus, now: &KeyStatus, clock: &dyn Clock) -> bool {
    match now.state {
        KeyState::Held => false,
        KeyState::Denied(_) => !matches!(before.state, KeyState::Denied(_)),
        KeyState::Idle => {
            before.state == KeyState::Held
                && before
                    .lease_age(clock.now())
                    .is_none_or(|age| age >= before.revocation_bound)
        }
    }
}

type Ended = Vec<Arc<dyn Engine>>;

/// The engines to end: those of deployments that shut down, except where the account wants a deployment on the same engine to go
/// on. Apart from those that other accounts use too: their work goes on, so the process ends after it.
fn to_end(deployments: &Deployments, account: AccountId) -> (Ended, Ended) {
    let (end, keep): (Vec<_>, Vec<_>) = deployments
        .of(account)
        .map(|(_, deployment)| deployment)
        .partition(|deployment| deployment.policy == RevocationPolicy::Shutdown);
    let mut engines = Ended::new();
    for deployment in end {
        let is_kept = keep
            .iter()
            .any(|kept| Arc::ptr_eq(&kept.engine, &deployment.engine));
        let is_known = engines
            .iter()
            .any(|engine| Arc::ptr_eq(engine, &deployment.engine));
        if !is_kept && !is_known {
            engines.push(Arc::clone(&deployment.engine));
        }
    }
    engines
        .into_iter()
        .partition(|engine| !deployments.is_shared(account, engine))
}
