use std::io;
use std::path::PathBuf;

use strongroom_azure::{ErrorStatus, Problem};
use strongroom_vault::VaultFault;
use uuid::Uuid;

use crate::directory::PrincipalType;
use crate::vaults;

/// What accounts can have too many of; whatever else there are too many of is the directory's.
const OF_ACCOUNTS: [&str; 5] = [
    "accounts",
    "deployments",
    "generations of this key",
    "identities",
    "properties",
];

/// Why the control plane did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such account, principal, vault or deployment.
    #[error("there is no {what} called {name}")]
    NotFound {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name is taken by something else.
    #[error("the {what} {name} exists already, with other properties")]
    AlreadyExists {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The name has a character that it may not have, or is too long.
    #[error("{name} is no name for a {what}")]
    BadName {
        /// Its kind.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The customer key is not named as a vault could name it.
    #[error("the customer key: {0}")]
    KeyName(#[source] strongroom_seal::KeyIdError),
    /// The caller's roles do not hold the action here; somebody who may assign roles can help.
    #[error(
        "The client '{client}' with object id '{caller}' does not have authorization to perform action '{action}' over \
         scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )]
    NotAuthorized {
        /// How the caller is called.
        client: String,
        /// The caller's object id.
        caller: Uuid,
        /// What was to be done.
        action: String,
        /// Where.
        scope: String,
    },
    /// The caller may not do this in the directory; the administrator may.
    #[error("Insufficient privileges to complete the operation.")]
    DirectoryDenied,
    /// The same role is assigned to the same principal at the same scope already.
    #[error(
        "The role assignment already exists. The ID of the existing role assignment is {}.",
        existing.simple()
    )]
    AssignmentExists {
        /// That assignment.
        existing: Uuid,
    },
    /// An assignment cannot become another one; delete it and make a new one.
    #[error("Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")]
    AssignmentFixed,
    /// There are as many role assignments as there may be.
    #[error("No more role assignments can be created.")]
    TooManyAssignments,
    /// There are as many custom roles as there may be.
    #[error("Role definition limit exceeded. No more role definitions can be created.")]
    TooManyRoles,
    /// There are as many of them as there may be; remove some.
    #[error("there are too many {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
    },
    /// Nobody in the directory has this object id.
    #[error("Principal {} does not exist in the directory {tenant}.", id.simple())]
    NoPrincipal {
        /// The object id.
        id: Uuid,
        /// The tenant.
        tenant: Uuid,
    },
    /// The principal is not what the caller says it is.
    #[error(
        "The PrincipalId '{id}' has type '{found}', which is different from the specified PrincipalType '{said}'."
    )]
    PrincipalTypeDiffers {
        /// The object id.
        id: Uuid,
        /// What it is.
        found: PrincipalType,
        /// What the caller said.
        said: PrincipalType,
    },
    /// There is no such role.
    #[error("The specified role definition with ID '{}' does not exist.", id.simple())]
    NoRole {
        /// The role's GUID.
        id: Uuid,
    },
    /// The role's assignable scopes do not cover the scope.
    #[error(
        "The role definition '{role}' is not assignable at the scope '{scope}': see its assignableScopes."
    )]
    NotAssignable {
        /// The role's name.
        role: String,
        /// Where it was to be assigned.
        scope: String,
    },
    /// A role of this name is there already.
    #[error("A custom role with the same name already exists in this directory. Use a different name.")]
    RoleNameTaken,
    /// The role is still assigned; remove the assignments first.
    #[error("There are existing role assignments referencing role '{role}': {count} of them.")]
    RoleAssigned {
        /// The role's name.
        role: String,
        /// How many assignments stand in the way.
        count: usize,
    },
    /// Built-in roles stay as they are.
    #[error("'{0}' is a built-in role: it cannot be changed or deleted.")]
    RoleBuiltIn(String),
    /// What was asked for makes no role.
    #[error("The role definition is not valid: {reason}.")]
    InvalidRole {
        /// What is wrong with it.
        reason: String,
    },
    /// The scope names no subscription of ours, or nothing that roles can be assigned on.
    #[error("'{scope}' is not a scope that roles can be assigned at: {reason}.")]
    InvalidScope {
        /// The scope.
        scope: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What was asked for cannot be done with this principal.
    #[error("{reason}")]
    InvalidPrincipal {
        /// What is wrong.
        reason: String,
    },
    /// What was asked for is not understood or not supported.
    #[error("{reason}")]
    InvalidRequest {
        /// What is wrong.
        reason: String,
    },
    /// More than one goes by this name; use an id.
    #[error("{count} principals are called '{name}': use an object id")]
    Ambiguous {
        /// The name.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// The vault cannot be what was asked for.
    #[error("{reason}")]
    InvalidVault {
        /// What is wrong.
        reason: String,
    },
    /// The vaults' engine did not do it.
    #[error("{}", vaults::message(.0))]
    Vault(#[from] VaultFault),
    /// Account keys are turned off.
    #[error("Failed to list key. disableLocalAuth is set to be true")]
    LocalAuthDisabled,
    /// The account's keys are being switched; try again when that is over.
    #[error(
        "Call to Microsoft.CognitiveServices/accounts failed. Error message: Account {id} in state Accepted"
    )]
    AccountBusy {
        /// The account.
        id: String,
    },
    /// The account is deleted and can be recovered: recover or purge it.
    #[error(
        "An existing resource with ID '{id}' has been soft-deleted. To restore the resource, you must specify 'restore' to be \
         'true' in the property. If you don't want to restore existing resource, please purge it first."
    )]
    AccountDeleted {
        /// The account.
        id: String,
    },
    /// The name or subdomain belongs to another account, maybe to a deleted one.
    #[error(
        "Please pick a different name. The subdomain name '{label}' is not available as it's already used by a resource. If the \
         resource using the name was deleted in the last 48 hours, you may need to purge the deleted resource."
    )]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// A subdomain stays as it is.
    #[error("The custom subdomain name of an account cannot be changed once it is set.")]
    SubdomainFixed,
    /// An account stays in its region.
    #[error(
        "The resource '{name}' already exists in location '{known}' in resource group '{group}'. A resource with the same name \
         cannot be created in location '{wanted}'. Please select a new resource name."
    )]
    LocationFixed {
        /// The account's name.
        name: String,
        /// Its resource group.
        group: String,
        /// Where it is.
        known: String,
        /// Where it was to be.
        wanted: String,
    },
    /// A new resource needs a region.
    #[error("The location property is required for this definition.")]
    LocationRequired,
    /// Accounts of this kind are not served.
    #[error("The account type '{kind}' is either invalid or unavailable in given region.")]
    WrongKind {
        /// The kind.
        kind: String,
    },
    /// There is no such price tier.
    #[error("The SKU '{sku}' is either invalid or unavailable for this account type.")]
    WrongSku {
        /// The tier.
        sku: String,
    },
    /// The database could not be read or written.
    #[error("control.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// A document in the database does not have the form that it must have.
    #[error("control.db holds a malformed document: {0}")]
    Document(#[from] serde_json::Error),
    /// The database was written by a later version of the program.
    #[error("control.db has format version {found}, this program knows {known}")]
    FutureFormat {
        /// The version found.
        found: i64,
        /// The version known.
        known: i64,
    },
    /// A key or secret of the control plane could not be made or read.
    #[error("{}: missing, not readable by its owner alone, or not a key of the control plane", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no randomness.
    #[error("the system's randomness is not available")]
    NoRandomness,
    /// The work broke off; try again.
    #[error("the work was interrupted")]
    Interrupted,
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an anchor was not moved.
#[derive(Debug, thiserror::Error)]
pub enum AnchorFault {
    /// It is not where the caller thought.
    #[error("the anchor is not where it was expected")]
    Moved,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// It could not be kept.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl ControlError {
    /// The same refusal, told of another scope.
    pub(crate) fn over(self, elsewhere: String) -> Self {
        match self {
            Self::NotAuthorized {
                client,
                caller,
                action,
                ..
            } => Self::NotAuthorized {
                client,
                caller,
                action,
                scope: elsewhere,
            },
            other => other,
        }
    }

    /// The error as Azure words it; what is inside stays in the log.
    pub fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        if status == ErrorStatus::INTERNAL {
            return Problem::new(status, code, "The control plane failed; see the logs.");
        }
        Problem::new(status, code, self.to_string())
    }

    fn status_and_code(&self) -> (ErrorStatus, &'static str) {
        const BAD: ErrorStatus = ErrorStatus::BAD_REQUEST;
        match self {
            Self::NotAuthorized { .. } => (ErrorStatus::FORBIDDEN, "AuthorizationFailed"),
            Self::DirectoryDenied => (ErrorStatus::FORBIDDEN, "Authorization_RequestDenied"),
            Self::AssignmentExists { .. } => (ErrorStatus::CONFLICT, "RoleAssignmentExists"),
            Self::AssignmentFixed => (BAD, "RoleAssignmentUpdateNotPermitted"),
            Self::TooManyAssignments => (BAD, "RoleAssignmentLimitExceeded"),
            Self::TooManyRoles => (BAD, "RoleDefinitionLimitExceeded"),
            Self::TooMany { what } if OF_ACCOUNTS.contains(what) => (BAD, "QuotaExceeded"),
            Self::TooMany { .. } => (BAD, "Directory_QuotaExceeded"),
            Self::NoPrincipal { .. } => (BAD, "PrincipalNotFound"),
            Self::PrincipalTypeDiffers { .. } => (BAD, "UnmatchedPrincipalType"),
            Self::NoRole { .. } => (ErrorStatus::NOT_FOUND, "RoleDefinitionDoesNotExist"),
            Self::NotAssignable { .. } => (BAD, "RoleAssignmentScopeNotAssignableToRoleDefinition"),
            Self::RoleNameTaken => (ErrorStatus::CONFLICT, "RoleDefinitionWithSameNameExists"),
            Self::RoleAssigned { .. } => (BAD, "RoleDefinitionHasAssignments"),
            Self::RoleBuiltIn(_) | Self::InvalidRole { .. } => (BAD, "InvalidRoleDefinition"),
            Self::InvalidScope { .. } => (BAD, "InvalidScope"),
            Self::InvalidPrincipal { .. } | Self::Ambiguous { .. } => (BAD, "Request_BadRequest"),
            Self::InvalidRequest { .. } => (BAD, "InvalidRequestContent"),
            Self::LocalAuthDisabled | Self::KeyName(_) | Self::InvalidVault { .. } => (BAD, "BadRequest"),
            Self::Vault(fault) => vaults::status_and_code(fault),
            Self::BadName { .. } => (BAD, "InvalidResourceName"),
            Self::NotFound { what, .. } => (
                ErrorStatus::NOT_FOUND,
                match *what {
                    "role assignment" => "RoleAssignmentNotFound",
                    "resource group" => "ResourceGroupNotFound",
                    _ => "ResourceNotFound",
                },
            ),
            Self::AlreadyExists { .. } => (ErrorStatus::CONFLICT, "Conflict"),
            Self::AccountBusy { .. } => (ErrorStatus::CONFLICT, "AccountProvisioningStateInvalid"),
            Self::AccountDeleted { .. } => (ErrorStatus::CONFLICT, "FlagMustBeSetForRestore"),
            Self::LabelTaken { .. } => (ErrorStatus::CONFLICT, "CustomDomainInUse"),
            Self::SubdomainFixed => (BAD, "CannotChangeCustomDomain"),
            Self::LocationFixed { .. } => (ErrorStatus::CONFLICT, "InvalidResourceLocation"),
            Self::LocationRequired => (BAD, "LocationRequired"),
            Self::WrongKind { .. } => (BAD, "InvalidApiSetId"),
            Self::WrongSku { .. } => (BAD, "InvalidSkuId"),
            Self::Database(_)
            | Self::Document(_)
            | Self::FutureFormat { .. }
            | Self::Key { .. }
            | Self::NoRandomness
            | Self::Interrupted
            | Self::Io { .. } => (ErrorStatus::INTERNAL, "InternalServerError"),
        }
    }
}
