//! Who may do what: asked by the vault, answered by whoever keeps the roles, or by the vault's own access policies.

use crate::engine::settings::{PermissionModel, VaultSettings};
use crate::policy::{self, KeyPermission};

/// A caller whose token has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The principal's object id: what role assignments name.
    pub object_id: String,
    /// The application the token was issued to, where there is one.
    pub app_id: Option<String>,
    /// The name that a user signs in with.
    pub upn: Option<String>,
    /// The tenant the token was issued in.
    pub tenant: String,
    /// The issuer that signed the token.
    pub issuer: String,
}

/// An operation on keys, as permissions know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyAction {
    /// See a key's public half and attributes, one or all of them.
    Read,
    /// Make a key, or a new version of it.
    Create,
    /// Change attributes: enabled, times, permitted operations, tags.
    Update,
    /// Make a new version as the last one was made.
    Rotate,
    /// Wrap with a key.
    Wrap,
    /// Unwrap with a key.
    Unwrap,
    /// Encrypt with a key.
    Encrypt,
    /// Decrypt with a key.
    Decrypt,
    /// Sign with a key.
    Sign,
    /// Verify a signature with a key.
    Verify,
    /// Bring in a key that was made elsewhere.
    Import,
    /// Take a key out, readable for this vault's kind alone.
    Backup,
    /// Bring a backup back.
    Restore,
    /// See a key's rotation policy.
    ReadRotationPolicy,
    /// Change a key's rotation policy.
    WriteRotationPolicy,
    /// Delete a key (it stays recoverable).
    Delete,
    /// Bring a deleted key back.
    Recover,
    /// Destroy a deleted key for good.
    Purge,
    /// Hand a key out to an attested machine.
    Release,
}

impl KeyAction {
    /// Every action, for tables and tests.
    pub const ALL: [Self; 19] = [
        Self::Read,
        Self::Create,
        Self::Update,
        Self::Rotate,
        Self::Wrap,
        Self::Unwrap,
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Verify,
        Self::Import,
        Self::Backup,
        Self::Restore,
        Self::ReadRotationPolicy,
        Self::WriteRotationPolicy,
        Self::Delete,
        Self::Recover,
        Self::Purge,
        Self::Release,
    ];

    /// The data action that a role definition must hold.
    pub const fn data_action(self) -> &'static str {
        match self {
            Self::Read => "Microsoft.KeyVault/vaults/keys/read",
            Self::Create => "Microsoft.KeyVault/vaults/keys/create/action",
            Self::Update => "Microsoft.KeyVault/vaults/keys/update/action",
            Self::Rotate => "Microsoft.KeyVault/vaults/keys/rotate/action",
            Self::Wrap => "Microsoft.KeyVault/vaults/keys/wrap/action",
            Self::Unwrap => "Microsoft.KeyVault/vaults/keys/unwrap/action",
            Self::Encrypt => "Microsoft.KeyVault/vaults/keys/encrypt/action",
            Self::Decrypt => "Microsoft.KeyVault/vaults/keys/decrypt/action",
            Self::Sign => "Microsoft.KeyVault/vaults/keys/sign/action",
            Self::Verify => "Microsoft.KeyVault/vaults/keys/verify/action",
            Self::Import => "Microsoft.KeyVault/vaults/keys/import/action",
            Self::Backup => "Microsoft.KeyVault/vaults/keys/backup/action",
            Self::Restore => "Microsoft.KeyVault/vaults/keys/restore/action",
            Self::ReadRotationPolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/read",
            Self::WriteRotationPolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/write",
            Self::Delete => "Microsoft.KeyVault/vaults/keys/delete",
            Self::Recover => "Microsoft.KeyVault/vaults/keys/recover/action",
            Self::Purge => "Microsoft.KeyVault/vaults/keys/purge/action",
            Self::Release => "Microsoft.KeyVault/vaults/keys/release/action",
        }
    }
}

/// What a vault's permission model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The caller may.
    Allowed,
    /// Roles decide, and no assignment grants the action on this key.
    DeniedByRbac,
    /// Access policies decide, and none grants the caller the permission.
    DeniedByPolicy,
}

/// What the vault must know of callers and does not keep itself. Asked on every request, so that what was taken away counts
/// at once; it must not block.
pub trait Access: Send + Sync + 'static {
    /// Do roles allow `caller` the `action` in the vault with the resource id `vault`, on `key` where one key is meant (`None`:
    /// on all, as listing does)? Asked only where roles decide.
    fn may(&self, caller: &Caller, vault: &str, key: Option<&str>, action: KeyAction) -> Decision;

    /// Is `caller` a member of the group with this object id? Asked where access policies decide.
    fn is_member(&self, caller: &Caller, group: &str) -> bool;

    /// Is `caller` a service that a vault's firewall lets through wherever it is: the identity of an AI account of the control
    /// plane that this vault belongs to?
    fn is_trusted_service(&self, caller: &Caller) -> bool;
}

impl VaultSettings {
    /// Whether the vault's permission model lets a caller do this with a key of its, by what holds now.
    pub fn allows(&self, access: &dyn Access, caller: &Caller, key: &str, action: KeyAction) -> bool {
        let needed = Needed {
            key: Some(key),
            action,
            permission: KeyPermission::of(action),
        };
        decide(access, caller, self, needed) == Decision::Allowed
    }
}

/// What an operation needs, in the words of both permission models.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needed<'a> {
    pub(crate) key: Option<&'a str>,
    pub(crate) action: KeyAction,
    pub(crate) permission: KeyPermission,
}

/// The vault's permission model decides; what the other one grants means nothing.
pub(crate) fn decide(
    access: &dyn Access,
    caller: &Caller,
    vault: &VaultSettings,
    needed: Needed<'_>,
) -> Decision {
    match vault.permissions {
        PermissionModel::Rbac => access.may(caller, &vault.resource_id, needed.key, needed.action),
        PermissionModel::AccessPolicies => {
            if policy::allow(&vault.policies, caller, needed.permission, access) {
                Decision::Allowed
            } else {
                Decision::DeniedByPolicy
            }
        }
    }
}
