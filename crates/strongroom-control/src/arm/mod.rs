//! Resource Manager: the frame that every provider stands on, and the providers that are its own.
//!
//! - `route`: the table; `frame`: what every request passes, in one order; `call`: what handlers see and answer.
//! - `inventory`: what there is, one row each; providers that keep their things elsewhere put a row here for each.
//! - `activity`: who did what, in a journal; `audit`: what was done to vaults, in theirs; `operations`: what goes on after its answer.
//! - `groups`, `subscriptions`, `locks`, `authorization`, `identities`, `tags`, `listing`, `providers`, `insights`,
//!   `diagnostics`, `graph`: the providers of the frame; `cognitive`, `key_vault`, `private_links`: what has a meaning of its own;
//!   `state`: every type that nobody provides, as plain state.
//!
//! A provider is one file with a function that gives its routes; it is added in [`Arm::open`].

mod activity;
mod audit;
mod authorization;
pub(crate) mod call;
mod cognitive;
mod diagnostics;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod filter;
pub(crate) mod frame;
mod graph;
mod groups;
mod identities;
mod insights;
mod inventory;
mod key_vault;
mod listing;
mod locks;
mod operations;
mod place;
mod private_links;
mod providers;
mod route;
mod state;
mod subscriptions;
pub mod syntax;
mod tags;
pub(crate) mod time;
mod visible;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, json};
use strongroom_azure::ResourceId;
use strongroom_azure::token::Verifier;
use strongroom_journal::{Journal, JournalError};
use strongroom_seal::Clock;
use strongroom_vault::AuditSink;
use tokio::sync::{Notify, Semaphore};

use self::activity::Activity;
use self::cognitive::{mirror, switching};
use self::diagnostics::Deliveries;
pub use self::diagnostics::{LogSink, LogSinks, NoLogSink};
use self::fault::Fault;
use self::inventory::{GROUP, Inventory, SUBSCRIPTION};
use self::route::Route;
use crate::accounts::AiService;
use crate::control::Control;
use crate::error::ControlError;
use crate::limits::ARM_AT_ONCE;
use crate::names;

/// What Resource Manager is made of.
pub struct ArmParts {
    /// Where its databases lie.
    pub folder: PathBuf,
    /// Who may do what.
    pub control: Control,
    /// What tokens verify with.
    pub verifier: Verifier,
    /// Where tokens come from: `https://host[:port]`.
    pub login: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the activity log is kept in. Nobody else writes to it.
    pub journal: Journal,
    /// Where what is done to vaults is recorded, beside what is done with their keys.
    pub audit: Arc<dyn AuditSink>,
    /// The AI service, which the accounts are of.
    pub service: Arc<dyn AiService>,
}

/// Resource Manager. Clones share it.
#[derive(Clone)]
pub struct Arm {
    shared: Arc<Shared>,
}

/// What requests share.
pub(crate) struct Shared {
    pub(crate) control: Control,
    pub(crate) verifier: Verifier,
    pub(crate) login: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) inventory: Inventory,
    pub(crate) activity: Activity,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) deliveries: Deliveries,
    pub(crate) service: Arc<dyn AiService>,
    /// Something may be due sooner than was thought.
    pub(crate) stirred: Arc<Notify>,
    pub(crate) at_once: Semaphore,
    pub(crate) routes: Vec<Route>,
}

/// Why Resource Manager cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ArmError {
    /// A database.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The activity log.
    #[error("the activity log: {0}")]
    Journal(#[from] JournalError),
    /// The database is missing although there were resources: put it back, with what lies beside it.
    #[error("{} is missing, but the activity log tells of resources; put it back from a copy", path.display())]
    Lost {
        /// The database.
        path: PathBuf,
    },
}

impl Arm {
    /// Opens what an earlier start left, or begins anew.
    pub fn open(parts: ArmParts) -> Result<Self, ArmError> {
        let path = parts.folder.join("resources.db");
        if parts.journal.size() > 0 && !path.exists() {
            return Err(ArmError::Lost { path });
        }
        let now_ms = time::now_ms(&*parts.clock);
        let inventory = Inventory::open(&path)?;
        inventory.write(Deliveries::prepare).map_err(into_error)?;
        let activity = Activity::open(&parts.folder.join("activity.db"), parts.journal, now_ms)?;
        // The first that fits answers: what is special stands before what is general.
        let routes = [
            subscriptions::routes(),
            groups::routes(),
            tags::routes(),
            locks::routes(),
            authorization::routes(),
            listing::routes(),
            providers::routes(),
            operations::routes(),
            identities::routes(),
            insights::routes(),
            diagnostics::routes(),
            graph::routes(),
            key_vault::routes(),
            private_links::routes(),
            cognitive::routes(),
            state::routes(),
        ];
        let arm = Self {
            shared: Arc::new(Shared {
                control: parts.control,
                verifier: parts.verifier,
                login: parts.login,
                clock: parts.clock,
                inventory,
                activity,
                audit: parts.audit,
                deliveries: Deliveries::default(),
                service: parts.service,
                stirred: Arc::default(),
                at_once: Semaphore::new(ARM_AT_ONCE),
                routes: routes.into_iter().flatten().collect(),
            }),
        };
        identities::mirror(&arm.shared).map_err(into_error)?;
        arm.ensure(&arm.shared.subscription(), SUBSCRIPTION, Map::new())?;
        key_vault::reconcile(&arm.shared).map_err(into_error)?;
        let accounts = arm.shared.control.accounts();
        let accounts = Arc::clone(&accounts.borrow());
        mirror::all(&arm.shared, &accounts, &[]).map_err(into_error)?;
        mirror::sweep(&arm.shared, &accounts).map_err(into_error)?;
        Ok(arm)
    }

    /// Keeps accounts: rows follow what other doors change, deleted ones are destroyed when their time is over. Ends when nobody else
    /// holds this any more.
    pub fn keep(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let (follows, keeps) = (Arc::downgrade(&self.shared), Arc::downgrade(&self.shared));
        async move {
            tokio::join!(switching::follow(follows), switching::keep(keeps));
        }
    }

    /// The resource group of this name, made if there is none.
    pub fn ensure_group(&self, name: &str, location: &str) -> Result<(), ControlError> {
        names::label("resource group", name)?;
        let id = groups::id(&self.shared.subscription(), name).map_err(|_| ControlError::BadName {
            what: "resource group",
            name: name.to_owned(),
        })?;
        let body = groups::body(&id, name, location, Map::new());
        self.ensure(&id, GROUP, body)
    }

    /// Takes up the operations that a stop of the program cut off. From within the runtime.
    pub fn resume(&self) -> Result<(), ControlError> {
        operations::resume(&self.shared).map_err(into_error)
    }

    /// What Microsoft Graph stands on, too.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Whether a path is one of Resource Manager's.
    pub fn serves(path: &str) -> bool {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let roots = ["subscriptions", "providers", "tenants", "metadata"];
        roots.iter().any(|root| first.eq_ignore_ascii_case(root))
    }

    fn ensure(
        &self,
        id: &ResourceId,
        kind: &str,
        body: Map<String, serde_json::Value>,
    ) -> Result<(), ControlError> {
        let now_ms = time::now_ms(&*self.shared.clock);
        let ensured = self.shared.inventory.write(|rows| {
            if rows.has(id)? {
                return Ok(());
            }
            let mut body = body;
            if body.is_empty() {
                let name = id.as_str().rsplit('/').next().unwrap_or_default();
                body = serde_json::from_value(json!({ "id": id.as_str(), "name": name, "type": kind }))?;
            }
            rows.put(id, kind, body, now_ms).map(drop)
        });
        ensured.map_err(into_error)
    }
}

fn into_error(fault: Fault) -> ControlError {
    match fault {
        Fault::Database(error) => ControlError::Database(error),
        Fault::Row(error) => ControlError::Document(error),
        _ => ControlError::Interrupted,
    }
}

impl Shared {
    /// The one subscription.
    pub(crate) fn subscription(&self) -> ResourceId {
        let id = format!("/subscriptions/{}", self.control.subscription());
        id.parse().unwrap_or_else(|_| ResourceId::root())
    }
}
