//! The control plane: who is who, who may do what, which account uses which key, which deployment serves which model.
//!
//! It knows no records and no plaintext. What it decides reaches the keyring and the service as watched values; it answers the
//! vault's question "may this caller do that" through the vault's own [`Access`](strongroom_vault::Access).
//!
//! [`Control`] is the system's own hand: it checks no permission. An [`Actor`] is the control plane on behalf of a caller, and
//! checks every one; commands, Resource Manager and Graph are doors to it.

mod accounts;
mod actor;
mod arm;
mod bodies;
mod control;
mod directory;
mod documents;
mod error;
mod files;
mod graph;
mod issuer;
mod limits;
mod names;
mod roles;
mod scopes;
mod shapes;
mod state;
mod vault_access;
mod vaults;

// The public interface is:
pub use accounts::{
    Account, AiService, Anchor, Crud, Deletion, Deployment, Direction, Encryption, KeySlot, KeySource,
    LoadFault, Mark, NewAccount, OpenAiRights, PROVIDER_VAULT, Provisioning, Retention, RetentionChange,
    RetentionClass, RevocationPolicy, ServedModel, ServiceFault, ServiceKeyError, Switch, Switched,
    ensure_service_key,
};
pub use actor::Actor;
pub use arm::{Arm, ArmError, ArmParts, LogSink, LogSinks, NoLogSink, syntax};
pub use bodies::{AssignmentBody, RoleBody};
pub use control::Control;
pub use directory::{
    ClientCertificate, ClientSecret, Credentials, ExternalKeys, Federation, NewCertificate, NewFederation,
    NewIdentity, NewSecret, NoPrincipalType, Principal, PrincipalDetail, PrincipalFilter, PrincipalKind,
    PrincipalType,
};
pub use error::{AnchorFault, ControlError};
pub use graph::Graph;
pub use issuer::{IdentityHost, TokenIssuer, TokenKey, TokenKeyState};
pub use roles::{
    ASSIGN, ActionKind, Assignment, AssignmentFilter, BuiltInRole, NewAssignment, NewRole, Permission,
    PermissionText, RoleDefinition, RoleFilter, UNASSIGN,
};
pub use vaults::{PolicyChange, VAULT_DOMAIN, VaultBody};
