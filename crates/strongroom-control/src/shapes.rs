//! What things look like from outside: in Resource Manager's shapes, and principals in Graph's.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::control::Control;
use crate::directory::{Principal, PrincipalDetail};
use crate::roles::{Assignment, RoleDefinition};

impl Control {
    /// A role assignment as Resource Manager shows it.
    pub fn assignment_shape(&self, assignment: &Assignment) -> Value {
        let Assignment { id, scope, .. } = assignment;
        let (updated, updated_by) = match assignment.changed {
            Some((at, by)) => (at, Some(by)),
            None => (assignment.created, assignment.created_by),
        };
        let prefix = if scope == "/" { "" } else { scope };
        json!({
            "id": format!("{prefix}/providers/Microsoft.Authorization/roleAssignments/{id}"),
            "name": id,
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": {
                "scope": scope,
                "roleDefinitionId": self.role_definition_id(assignment.role),
                "principalId": assignment.principal,
                "principalType": assignment.principal_type,
                "description": assignment.description,
                "condition": null,
                "conditionVersion": null,
                "createdOn": time(assignment.created),
                "updatedOn": time(updated),
                "createdBy": assignment.created_by,
                "updatedBy": updated_by,
                "delegatedManagedIdentityResourceId": null,
            },
        })
    }

    /// A role definition as Resource Manager shows it.
    pub fn role_shape(&self, role: &RoleDefinition) -> Value {
        let permission = role.permission.text();
        json!({
            "id": self.role_definition_id(role.id),
            "name": role.id,
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": role.name,
                "type": if role.is_built_in() { "BuiltInRole" } else { "CustomRole" },
                "description": role.description,
                "assignableScopes": role.assignable_scopes,
                "permissions": [{
                    "actions": permission.actions,
                    "notActions": permission.not_actions,
                    "dataActions": permission.data_actions,
                    "notDataActions": permission.not_data_actions,
                    "condition": role.assigns_only.map(condition),
                    "conditionVersion": role.assigns_only.map(|_| "2.0"),
                }],
                "createdOn": time(role.created),
                "updatedOn": time(role.updated),
                "createdBy": null,
                "updatedBy": null,
            },
        })
    }

    /// A role definition's id, always spelled alike: clients compare it letter by letter.
    pub fn role_definition_id(&self, role: Uuid) -> String {
        let subscription = self.state().tenant.subscription;
        format!("/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}")
    }

    /// A principal as Graph shows it.
    pub fn principal_shape(&self, principal: &Principal) -> Value {
        let Principal {
            object_id,
            display_name,
            created,
            detail,
        } = principal;
        let mut shape = json!({
            "id": object_id,
            "displayName": display_name,
            "createdDateTime": time(*created),
        });
        let more = match detail {
            PrincipalDetail::User { user_principal_name } => json!({
                "@odata.type": "#microsoft.graph.user",
                "userPrincipalName": user_principal_name,
            }),
            PrincipalDetail::Group { .. } => json!({"@odata.type": "#microsoft.graph.group"}),
            PrincipalDetail::Application {
                client_id,
                credentials,
                home,
            } => json!({
                "@odata.type": "#microsoft.graph.servicePrincipal",
                "appId": client_id,
                "appOwnerOrganizationId": home.unwrap_or(self.state().tenant.id),
                "servicePrincipalNames": principal.service_principal_names(),
                "servicePrincipalType": "Application",
                "passwordCredentials": credentials.secrets.iter().map(|secret| json!({
                    "keyId": secret.id,
                    "displayName": secret.display_name,
                    "hint": secret.hint,
                    "startDateTime": time(secret.created),
                    "endDateTime": secret.expires.map(time),
                })).collect::<Vec<_>>(),
                "keyCredentials": credentials.certificates.iter().map(|certificate| json!({
                    "keyId": certificate.id,
                    "displayName": certificate.display_name,
                    "type": "AsymmetricX509Cert",
                    "usage": "Verify",
                    "customKeyIdentifier": certificate.sha256,
                    "startDateTime": time(certificate.not_before),
                    "endDateTime": time(certificate.not_after),
                })).collect::<Vec<_>>(),
            }),
            PrincipalDetail::SystemAssigned { client_id, resource }
            | PrincipalDetail::UserAssigned {
                client_id, resource, ..
            } => {
                let explicit = matches!(detail, PrincipalDetail::UserAssigned { .. });
                json!({
                    "@odata.type": "#microsoft.graph.servicePrincipal",
                    "appId": client_id,
                    "servicePrincipalNames": principal.service_principal_names(),
                    "servicePrincipalType": "ManagedIdentity",
                    "alternativeNames": [format!("isExplicit={}", if explicit { "True" } else { "False" }), resource],
                })
            }
        };
        if let (Some(shape), Value::Object(more)) = (shape.as_object_mut(), more) {
            shape.extend(more);
        }
        shape
    }

    /// A user-assigned identity as Resource Manager shows it; none for any other principal.
    pub fn identity_shape(&self, principal: &Principal) -> Option<Value> {
        let PrincipalDetail::UserAssigned {
            client_id,
            resource,
            location,
            ..
        } = &principal.detail
        else {
            return None;
        };
        Some(json!({
            "id": resource,
            "name": principal.display_name,
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "location": location,
            "tags": {},
            "properties": {
                "tenantId": self.state().tenant.id,
                "principalId": principal.object_id,
                "clientId": client_id,
            },
        }))
    }
}

/// Azure's own wording of the condition that limits which roles may be assigned.
fn condition(only: &[Uuid]) -> String {
    let roles: Vec<String> = only.iter().map(Uuid::to_string).collect();
    let clause = |action: &str, of: &str| {
        format!(
            "((!(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}})) OR \
             (@{of}[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals{{{}}}))",
            roles.join(", ")
        )
    };
    format!(
        "{} AND {}",
        clause("write", "Request"),
        clause("delete", "Resource")
    )
}

/// RFC 3339; none for a time that was not kept.
pub(crate) fn time(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}
