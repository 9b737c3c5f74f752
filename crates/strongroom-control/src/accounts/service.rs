//! What the control plane needs of the AI service, which it does not know: the composition brings the two together.

use strongroom_seal::{AccountId, BoxFuture};

/// The AI service, as far as the control plane asks it for something.
pub trait AiService: Send + Sync + 'static {
    /// The models that deployments may name now.
    fn models(&self) -> Vec<ServedModel>;

    /// An account's fine-tuned models. To know them takes its key.
    fn tuned_models(&self, account: AccountId) -> BoxFuture<'_, Result<Vec<ServedModel>, LoadFault>>;

    /// Opens a deployment's fine-tuned model, as the account's record has it, and waits until it can answer.
    fn load<'a>(&'a self, account: AccountId, deployment: &'a str) -> BoxFuture<'a, Result<(), LoadFault>>;

    /// Wraps everything of an account under the key that its record names first (see [`Account::keys`](super::Account::keys)), after that
    /// key has proved itself. `Ok` says that nothing needs another key. If it fails, each seed is under one of the two.
    fn settle(&self, account: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>>;

    /// Destroys everything that is kept of an account.
    fn forget(&self, account: AccountId) -> BoxFuture<'_, Result<(), ServiceFault>>;
}

/// A model that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedModel {
    /// Its name.
    pub name: String,
    /// Who made it.
    pub publisher: String,
}

/// Why a fine-tuned model cannot be deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadFault {
    /// The account's key does not allow it now.
    #[error("{message}")]
    Key {
        /// What the data plane calls it, too.
        code: &'static str,
        /// In words.
        message: String,
        /// Whether it is worth trying again without the customer's doing something.
        passes: bool,
    },
    /// There is no such model any more.
    #[error("the model does not exist")]
    Gone,
    /// The model was opened, but nothing can be made of it.
    #[error("{0}")]
    Unusable(String),
    /// The program is stopping.
    #[error("the service is closed")]
    Closed,
    /// Something here failed; later it may not.
    #[error("{0}")]
    Failed(String),
}

/// Why the service did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceFault {
    /// A vault says no to a key that is needed for it: the customer can change that.
    #[error("the key vault refuses the key: {0}")]
    Refused(String),
    /// A vault does not answer; later it may.
    #[error("the key vault cannot be reached: {0}")]
    Unreachable(String),
    /// The program is stopping.
    #[error("the service is closed")]
    Closed,
    /// Something here failed; later it may not.
    #[error("{0}")]
    Failed(String),
}
