//! The control plane: who is who, who may do what, which account uses which key, which deployment serves which model.
//!
//! It knows no records and no plaintext. What it decides reaches the keyring and the service as watched values; it answers the
//! vault's question "may this caller do that" through the vault's own [`Access`](strongroom_vault::Access).

mod account_keys;
mod accounts;
mod arm;
mod control;
mod directory;
mod documents;
mod error;
mod files;
mod issuer;
mod limits;
mod names;
mod roles;

// The public interface is:
pub use accounts::{Account, Anchor, Deployment, Encryption, NewAccount, RevocationPolicy};
pub use arm::{Arm, ArmError, ArmParts};
pub use control::{Control, OpenAiRights};
pub use directory::{Principal, PrincipalKind};
pub use error::{AnchorFault, ControlError};
pub use issuer::TokenIssuer;
pub use roles::{ActionKind, Assignment, BuiltInRole};
