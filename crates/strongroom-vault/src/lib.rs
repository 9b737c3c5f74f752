//! The embedded Key Vault, and the client for any Key Vault.

mod access;
mod audit;
mod client;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod engine;
mod limits;
mod maintenance;
mod network;
mod policy;
mod routes;
#[cfg(test)]
mod testing;
mod throttle;

// The public interface is:
pub use access::{Access, Caller, Decision, KeyAction};
pub use audit::{
    AuditClaims, AuditError, AuditEvent, AuditIdentity, AuditProperties, AuditSink, JournalAudit,
};
pub use client::{
    Connections, KeyVaultClient, KeyVaultClientConfig, KeyVaultClientError, VaultCredential, VaultHosts,
    VaultHostsError,
};
pub use engine::fault::VaultFault;
pub use engine::keys::{ForeignKey, ForeignRsa, KeyFault};
pub use engine::kinds::{EncryptionAlgorithm, KeySpec, PublicHalf, SignatureAlgorithm};
pub use engine::maintenance::{Maintained, Notice, NoticeKind};
pub use engine::period::Period;
pub use engine::policy::{RotationPolicy, Trigger};
pub use engine::root_key::{RootKey, RootKeyError};
pub use engine::settings::{
    DeletedKey, DeletedVault, KeyChange, KeyChanged, KeyOperation, KeyVersion, NewKey, Page, PageStart,
    PermissionModel, Tags, VaultSettings,
};
pub use engine::uses::{Used, Using};
pub use engine::{OpenVaultError, VaultEngine};
pub use maintenance::Maintenance;
pub use network::{Barrier, IpRange, NetworkRules, NoIpRange, VirtualNetwork};
pub use policy::{AccessPolicy, KeyPermission};
pub use routes::{ClientAddress, VaultHost, VaultRoutes, routes};
pub use throttle::{Throttle, Throttling};
