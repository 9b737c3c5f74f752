//! What clients send to Resource Manager about roles.

use serde::Deserialize;
use strongroom_azure::ResourceId;
use uuid::Uuid;

use crate::error::ControlError;
use crate::roles::{NewAssignment, NewRole, PermissionText};

/// The body of a request that assigns a role.
#[derive(Debug, Clone, Deserialize)]
pub struct AssignmentBody {
    properties: AssignmentProperties,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentProperties {
    role_definition_id: String,
    principal_id: Uuid,
    principal_type: Option<String>,
    description: Option<String>,
    condition: Option<String>,
    delegated_managed_identity_resource_id: Option<String>,
}

/// The body of a request that makes a custom role or changes it.
#[derive(Debug, Clone, Deserialize)]
pub struct RoleBody {
    properties: RoleProperties,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleProperties {
    role_name: String,
    #[serde(default)]
    description: Option<String>,
    permissions: Vec<PermissionBody>,
    assignable_scopes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PermissionBody {
    #[serde(flatten)]
    text: PermissionText,
    condition: Option<String>,
}

impl AssignmentBody {
    /// What it asks for, under this GUID and at this scope.
    pub fn read(self, id: Uuid, scope: ResourceId) -> Result<NewAssignment, ControlError> {
        let asked = self.properties;
        let unsupported = asked.condition.or(asked.delegated_managed_identity_resource_id);
        if unsupported.is_some_and(|text| !text.is_empty()) {
            return invalid(
                "conditions and delegated identities on role assignments are not supported".to_owned(),
            );
        }
        let last = asked.role_definition_id.rsplit('/').next().unwrap_or_default();
        let Ok(role) = last.parse() else {
            return invalid(format!(
                "'{}' is no id of a role definition",
                asked.role_definition_id
            ));
        };
        let principal_type = asked.principal_type.map(|text| text.parse()).transpose();
        let Ok(principal_type) = principal_type else {
            return invalid("principalType is User, Group or ServicePrincipal".to_owned());
        };
        Ok(NewAssignment {
            id,
            principal: asked.principal_id,
            principal_type,
            role,
            scope,
            description: asked.description,
        })
    }
}

impl RoleBody {
    /// What it asks for.
    pub fn read(self) -> Result<NewRole, ControlError> {
        let asked = self.properties;
        let Ok([permission]) = <[PermissionBody; 1]>::try_from(asked.permissions) else {
            return invalid("a custom role has exactly one entry in permissions".to_owned());
        };
        if permission.condition.is_some() {
            return invalid("conditions are for built-in roles alone".to_owned());
        }
        Ok(NewRole {
            name: asked.role_name,
            description: asked.description.unwrap_or_default(),
            permission: permission.text,
            assignable_scopes: asked.assignable_scopes,
        })
    }
}

fn invalid<T>(reason: String) -> Result<T, ControlError> {
    Err(ControlError::InvalidRequest { reason })
}
