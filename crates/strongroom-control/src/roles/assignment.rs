//! "This principal has this role here."

use serde::{Deserialize, Serialize};
use strongroom_azure::ResourceId;
use uuid::Uuid;

use crate::directory::PrincipalType;

/// A role assignment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The assignment's own GUID.
    pub id: Uuid,
    /// The principal's object id.
    pub principal: Uuid,
    /// What the principal is. It stays, although the principal may be deleted.
    #[serde(default = "service_principal")]
    pub principal_type: PrincipalType,
    /// The role definition's GUID.
    pub role: Uuid,
    /// Where it counts, and below.
    pub scope: String,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// When it was made, in seconds since the Unix epoch.
    #[serde(default)]
    pub created: u64,
    /// Who made it; none for what the first start granted.
    #[serde(default)]
    pub created_by: Option<Uuid>,
    /// When its description was changed and by whom, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<(u64, Uuid)>,
}

impl Assignment {
    /// Whether it counts at `scope`. One whose scope cannot be read counts nowhere.
    pub fn covers(&self, scope: &ResourceId) -> bool {
        self.at().is_some_and(|at| at.contains(scope))
    }

    /// Whether it is at `scope` or below.
    pub fn is_below(&self, scope: &ResourceId) -> bool {
        self.at().is_some_and(|at| scope.contains(&at))
    }

    pub(crate) fn at(&self) -> Option<ResourceId> {
        self.scope.parse().ok()
    }
}

/// Assignments that were made before this was kept name applications and managed identities only.
fn service_principal() -> PrincipalType {
    PrincipalType::ServicePrincipal
}
