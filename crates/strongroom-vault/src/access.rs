//! Who may do what: asked by the vault, answered by whoever keeps the roles.

/// A caller whose token has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The principal's object id: what role assignments name.
    pub object_id: String,
    /// The application the token was issued to, where there is one.
    pub app_id: Option<String>,
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
}

impl KeyAction {
    /// Every action, for tables and tests.
    pub const ALL: [Self; 18] = [
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
        }
    }
}

/// What the roles say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The caller may.
    Allowed,
    /// No role assignment grants the action on this key.
    DeniedByRbac,
}

/// Answers whether a caller holds the permission for an operation. Asked on every request, so that a removed role counts
/// at once; it must not block.
pub trait Access: Send + Sync + 'static {
    /// May `caller` do `action` in `vault`, on `key` where one key is meant (`None`: on all, as listing does)?
    fn may(&self, caller: &Caller, vault: &str, key: Option<&str>, action: KeyAction) -> Decision;
}
