//! Access policies: a vault's own list of who may do what with its keys.

use serde::{Deserialize, Serialize};

use crate::access::{Access, Caller, KeyAction};

/// What one principal may do in a vault whose access policies decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessPolicy {
    /// The principal's tenant.
    pub tenant: String,
    /// The object id of a user, an application or a group.
    pub object_id: String,
    /// The application through which alone the principal may act, where one is named.
    pub application_id: Option<String>,
    /// What may be done with keys.
    pub keys: Vec<KeyPermission>,
    /// What could be done with secrets, if this vault had any: kept as given.
    pub secrets: Vec<String>,
    /// What could be done with certificates: kept as given.
    pub certificates: Vec<String>,
    /// What could be done with storage accounts: kept as given.
    pub storage: Vec<String>,
}

impl AccessPolicy {
    /// Whether the policy is this caller's, by itself or by a group.
    fn names(&self, caller: &Caller, access: &dyn Access) -> bool {
        let through = self.application_id.as_deref().is_none_or(|id| {
            caller
                .app_id
                .as_deref()
                .is_some_and(|app| app.eq_ignore_ascii_case(id))
        });
        through
            && self.tenant.eq_ignore_ascii_case(&caller.tenant)
            && (self.object_id.eq_ignore_ascii_case(&caller.object_id)
                || access.is_member(caller, &self.object_id))
    }

    fn grants(&self, permission: KeyPermission) -> bool {
        self.keys
            .iter()
            .any(|granted| *granted == permission || *granted == KeyPermission::All)
    }
}

/// Whether any of the policies allows it.
pub(crate) fn allow(
    policies: &[AccessPolicy],
    caller: &Caller,
    permission: KeyPermission,
    access: &dyn Access,
) -> bool {
    policies
        .iter()
        .any(|policy| policy.grants(permission) && policy.names(caller, access))
}

/// A permission on keys, as access policies know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is what its name on the wire says")]
pub enum KeyPermission {
    Get,
    List,
    Update,
    Create,
    Import,
    Delete,
    Backup,
    Restore,
    Recover,
    Purge,
    Encrypt,
    Decrypt,
    UnwrapKey,
    WrapKey,
    Verify,
    Sign,
    Release,
    Rotate,
    GetRotationPolicy,
    SetRotationPolicy,
    All,
}

impl KeyPermission {
    /// Every permission, `all` included.
    pub const EACH: [Self; 21] = [
        Self::Get,
        Self::List,
        Self::Update,
        Self::Create,
        Self::Import,
        Self::Delete,
        Self::Backup,
        Self::Restore,
        Self::Recover,
        Self::Purge,
        Self::Encrypt,
        Self::Decrypt,
        Self::UnwrapKey,
        Self::WrapKey,
        Self::Verify,
        Self::Sign,
        Self::Release,
        Self::Rotate,
        Self::GetRotationPolicy,
        Self::SetRotationPolicy,
        Self::All,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Update => "update",
            Self::Create => "create",
            Self::Import => "import",
            Self::Delete => "delete",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Recover => "recover",
            Self::Purge => "purge",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::UnwrapKey => "unwrapKey",
            Self::WrapKey => "wrapKey",
            Self::Verify => "verify",
            Self::Sign => "sign",
            Self::Release => "release",
            Self::Rotate => "rotate",
            Self::GetRotationPolicy => "getrotationpolicy",
            Self::SetRotationPolicy => "setrotationpolicy",
            Self::All => "all",
        }
    }

    /// The permission of this name, whatever the case of its letters.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::EACH
            .into_iter()
            .find(|permission| permission.name().eq_ignore_ascii_case(name))
    }

    /// What an action on one key needs. A list needs [`Self::List`] where roles know reading alone.
    pub(crate) const fn of(action: KeyAction) -> Self {
        match action {
            KeyAction::Read => Self::Get,
            KeyAction::Create => Self::Create,
            KeyAction::Update => Self::Update,
            KeyAction::Rotate => Self::Rotate,
            KeyAction::Wrap => Self::WrapKey,
            KeyAction::Unwrap => Self::UnwrapKey,
            KeyAction::Encrypt => Self::Encrypt,
            KeyAction::Decrypt => Self::Decrypt,
            KeyAction::Sign => Self::Sign,
            KeyAction::Verify => Self::Verify,
            KeyAction::Import => Self::Import,
            KeyAction::Backup => Self::Backup,
            KeyAction::Restore => Self::Restore,
            KeyAction::ReadRotationPolicy => Self::GetRotationPolicy,
            KeyAction::WriteRotationPolicy => Self::SetRotationPolicy,
            KeyAction::Delete => Self::Delete,
            KeyAction::Recover => Self::Recover,
            KeyAction::Purge => Self::Purge,
            KeyAction::Release => Self::Release,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Decision;

    const TENANT: &str = "6f1b6b0e-7a55-4a5e-9d0f-2f5f3a9f1c11";

    /// Knows one group and its one member.
    struct Groups;

    impl Access for Groups {
        fn may(&self, _: &Caller, _: &str, _: Option<&str>, _: KeyAction) -> Decision {
            Decision::DeniedByRbac
        }

        fn is_member(&self, caller: &Caller, group: &str) -> bool {
            caller.object_id == "member" && group == "group"
        }

        fn is_trusted_service(&self, _: &Caller) -> bool {
            false
        }
    }

    fn caller(object_id: &str, app_id: Option<&str>, tenant: &str) -> Caller {
        Caller {
            object_id: object_id.to_owned(),
            app_id: app_id.map(ToOwned::to_owned),
            upn: None,
            tenant: tenant.to_owned(),
            issuer: "issuer".to_owned(),
        }
    }

    fn policy(object_id: &str, application_id: Option<&str>, keys: &[KeyPermission]) -> AccessPolicy {
        AccessPolicy {
            tenant: TENANT.to_owned(),
            object_id: object_id.to_owned(),
            application_id: application_id.map(ToOwned::to_owned),
            keys: keys.to_vec(),
            secrets: Vec::new(),
            certificates: Vec::new(),
            storage: Vec::new(),
        }
    }

    #[test]
    fn a_permission_grants_itself_alone_and_all_grants_each() {
        let caller = caller("me", None, TENANT);
        for granted in KeyPermission::EACH {
            let policies = [policy("me", None, &[granted])];
            for wanted in KeyPermission::EACH
                .into_iter()
                .filter(|wanted| *wanted != KeyPermission::All)
            {
                let expected = granted == wanted || granted == KeyPermission::All;
                assert_eq!(
                    allow(&policies, &caller, wanted, &Groups),
                    expected,
                    "{granted:?} {wanted:?}"
                );
            }
        }
    }

    #[test]
    fn a_policy_counts_for_its_principal_its_group_and_its_application_only() {
        let get = [KeyPermission::Get];
        let stranger = "00000000-0000-0000-0000-000000000000";
        for (of, who, expected) in [
            (policy("me", None, &get), caller("ME", Some("app"), TENANT), true),
            (policy("me", None, &get), caller("other", None, TENANT), false),
            (policy("me", None, &get), caller("me", None, stranger), false),
            (policy("group", None, &get), caller("member", None, TENANT), true),
            (policy("group", None, &get), caller("me", None, TENANT), false),
            (
                policy("me", Some("app"), &get),
                caller("me", Some("APP"), TENANT),
                true,
            ),
            (
                policy("me", Some("app"), &get),
                caller("me", Some("other"), TENANT),
                false,
            ),
            (policy("me", Some("app"), &get), caller("me", None, TENANT), false),
            (policy("me", None, &[]), caller("me", None, TENANT), false),
        ] {
            assert_eq!(
                allow(std::slice::from_ref(&of), &who, KeyPermission::Get, &Groups),
                expected,
                "{of:?} {who:?}"
            );
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_kept_as_they_are_written() {
        for permission in KeyPermission::EACH {
            assert_eq!(
                KeyPermission::from_name(&permission.name().to_ascii_uppercase()),
                Some(permission)
            );
            let kept = serde_json::to_string(&permission).unwrap();
            assert_eq!(serde_json::from_str::<KeyPermission>(&kept).unwrap(), permission);
        }
        assert_eq!(KeyPermission::from_name("everything"), None);
    }
}
