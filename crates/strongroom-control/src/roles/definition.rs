//! What a role lets its holder do.

use serde::{Deserialize, Serialize};
use strongroom_azure::ResourceId;
use uuid::Uuid;

use super::built_in::BuiltInRole;
use super::pattern::Pattern;
use crate::error::ControlError;
use crate::limits::{ASSIGNABLE_SCOPES, DESCRIPTION, ROLE_ACTIONS, ROLE_NAME};

/// Grants a role.
pub const ASSIGN: &str = "Microsoft.Authorization/roleAssignments/write";
/// Takes a role away.
pub const UNASSIGN: &str = "Microsoft.Authorization/roleAssignments/delete";

/// On which of the two planes an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Resource Manager.
    Control,
    /// Keys, files, inference.
    Data,
}

/// A role, built in or made by a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleDefinition {
    /// The GUID.
    pub id: Uuid,
    /// The name: unique, whatever its letters' case.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it grants and takes away.
    pub permission: Permission,
    /// Where it may be assigned, and below.
    pub assignable_scopes: Vec<String>,
    /// The roles that its holder may assign, where it is limited to some. Built-in roles alone can have this.
    #[serde(skip)]
    pub assigns_only: Option<&'static [Uuid]>,
    /// When it was made and changed, in seconds since the Unix epoch; 0 for a built-in one.
    #[serde(default)]
    pub created: u64,
    /// See [`Self::created`].
    #[serde(default)]
    pub updated: u64,
}

/// Which actions a role holds: those that one pattern grants and none takes away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permission {
    actions: Vec<Pattern>,
    not_actions: Vec<Pattern>,
    data_actions: Vec<Pattern>,
    not_data_actions: Vec<Pattern>,
}

/// A permission as text, in the order `actions`, `notActions`, `dataActions`, `notDataActions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PermissionText {
    /// What Resource Manager lets the holder do.
    #[serde(default)]
    pub actions: Vec<String>,
    /// What is taken from `actions`.
    #[serde(default)]
    pub not_actions: Vec<String>,
    /// What the resources themselves let the holder do.
    #[serde(default)]
    pub data_actions: Vec<String>,
    /// What is taken from `data_actions`.
    #[serde(default)]
    pub not_data_actions: Vec<String>,
}

/// What is asked for when a role is made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRole {
    /// The name.
    pub name: String,
    /// For people.
    pub description: String,
    /// What it grants and takes away.
    pub permission: PermissionText,
    /// Where it may be assigned, and below.
    pub assignable_scopes: Vec<String>,
}

impl Permission {
    /// Whether it holds the action, which is in lower case.
    pub(crate) fn holds(&self, kind: ActionKind, action: &str) -> bool {
        let (granted, taken) = match kind {
            ActionKind::Control => (&self.actions, &self.not_actions),
            ActionKind::Data => (&self.data_actions, &self.not_data_actions),
        };
        granted.iter().any(|pattern| pattern.names(action))
            && !taken.iter().any(|pattern| pattern.names(action))
    }

    /// As it was spelled.
    pub fn text(&self) -> PermissionText {
        let text = |patterns: &[Pattern]| patterns.iter().map(|p| p.as_str().to_owned()).collect();
        PermissionText {
            actions: text(&self.actions),
            not_actions: text(&self.not_actions),
            data_actions: text(&self.data_actions),
            not_data_actions: text(&self.not_data_actions),
        }
    }

    fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        let data = self.data_actions.iter().chain(&self.not_data_actions);
        self.actions.iter().chain(&self.not_actions).chain(data)
    }

    fn check(&self) -> Result<(), ControlError> {
        let invalid = |reason: String| Err(ControlError::InvalidRole { reason });
        if self.patterns().count() > ROLE_ACTIONS {
            return invalid(format!("a role names at most {ROLE_ACTIONS} actions"));
        }
        if self.actions.is_empty() && self.data_actions.is_empty() {
            return invalid("a role needs at least one action or data action".to_owned());
        }
        if let Some(bad) = self.patterns().find(|pattern| !pattern.is_well_formed()) {
            return invalid(format!(
                "'{}' is not an action such as Microsoft.KeyVault/vaults/read, or one with * in it",
                bad.as_str()
            ));
        }
        // As on Azure: a star for everything is not for data.
        match self.data_actions.iter().find(|pattern| pattern.as_str() == "*") {
            Some(_) => invalid("'*' alone is not a data action: name the provider".to_owned()),
            None => Ok(()),
        }
    }
}

impl From<PermissionText> for Permission {
    fn from(text: PermissionText) -> Self {
        let patterns = |text: Vec<String>| text.into_iter().map(Pattern::from).collect();
        Self {
            actions: patterns(text.actions),
            not_actions: patterns(text.not_actions),
            data_actions: patterns(text.data_actions),
            not_data_actions: patterns(text.not_data_actions),
        }
    }
}

impl RoleDefinition {
    pub(crate) fn built_in(role: &BuiltInRole) -> Self {
        let patterns = |actions: &[&str]| actions.iter().map(|action| Pattern::from(*action)).collect();
        Self {
            id: role.id,
            name: role.name.to_owned(),
            description: role.description.to_owned(),
            permission: Permission {
                actions: patterns(role.actions),
                not_actions: patterns(role.not_actions),
                data_actions: patterns(role.data_actions),
                not_data_actions: patterns(role.not_data_actions),
            },
            assignable_scopes: vec!["/".to_owned()],
            assigns_only: role.assigns_only,
            created: 0,
            updated: 0,
        }
    }

    /// A role of a customer's, if what is asked for makes one.
    pub(crate) fn custom(id: Uuid, new: NewRole, now: u64) -> Result<Self, ControlError> {
        let invalid = |reason: String| Err(ControlError::InvalidRole { reason });
        if !ROLE_NAME.contains(&new.name.chars().count()) || new.name.trim() != new.name {
            return invalid(format!(
                "a role's name has {} to {} characters and no space at either end",
                ROLE_NAME.start(),
                ROLE_NAME.end()
            ));
        }
        if new.name.chars().any(char::is_control) || new.description.chars().count() > DESCRIPTION {
            return invalid(format!(
                "a role's name is one line, its description at most {DESCRIPTION} characters"
            ));
        }
        let permission = Permission::from(new.permission);
        permission.check()?;
        if !ASSIGNABLE_SCOPES.contains(&new.assignable_scopes.len()) {
            return invalid(format!(
                "a role has {} to {} assignable scopes",
                ASSIGNABLE_SCOPES.start(),
                ASSIGNABLE_SCOPES.end()
            ));
        }
        Ok(Self {
            id,
            name: new.name,
            description: new.description,
            permission,
            assignable_scopes: new.assignable_scopes,
            assigns_only: None,
            created: now,
            updated: now,
        })
    }

    /// Whether every directory has it.
    pub fn is_built_in(&self) -> bool {
        BuiltInRole::by_id(self.id).is_some()
    }

    /// Whether it may be assigned at this scope.
    pub fn is_assignable_at(&self, scope: &ResourceId) -> bool {
        self.scopes().any(|assignable| assignable.contains(scope))
    }

    /// Its assignable scopes.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = ResourceId> {
        self.assignable_scopes
            .iter()
            .filter_map(|scope| scope.parse().ok())
    }

    /// Whether it holds the action without a condition. The action is in lower case.
    pub(crate) fn holds(&self, kind: ActionKind, action: &str) -> bool {
        let limited = self.assigns_only.is_some()
            && kind == ActionKind::Control
            && [ASSIGN, UNASSIGN]
                .iter()
                .any(|known| known.eq_ignore_ascii_case(action));
        !limited && self.permission.holds(kind, action)
    }

    /// Whether it holds the action, which grants a role or takes it away, for this role.
    pub(crate) fn holds_for(&self, action: &str, role: Uuid) -> bool {
        self.assigns_only.is_none_or(|only| only.contains(&role))
            && self.permission.holds(ActionKind::Control, action)
    }
}
