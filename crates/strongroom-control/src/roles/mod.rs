//! Role definitions and assignments, and what they grant. Nothing here waits for a disk.

mod assignment;
mod built_in;
mod changes;
mod definition;
mod pattern;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use strongroom_azure::ResourceId;
use uuid::Uuid;

pub use assignment::Assignment;
pub use built_in::BuiltInRole;
pub use changes::{AssignmentFilter, NewAssignment, RoleFilter};
pub use definition::{ASSIGN, ActionKind, NewRole, Permission, PermissionText, RoleDefinition, UNASSIGN};

use crate::directory::Directory;

static BUILT_IN: LazyLock<Vec<Arc<RoleDefinition>>> = LazyLock::new(|| {
    let definitions = BuiltInRole::all().iter().map(RoleDefinition::built_in);
    definitions.map(Arc::new).collect()
});

/// All definitions and assignments, found by what a decision knows: the principal and the scope.
#[derive(Clone)]
pub(crate) struct Roles {
    definitions: HashMap<Uuid, Arc<RoleDefinition>>,
    assignments: HashMap<Uuid, Arc<Assignment>>,
    /// Principal, then scope in lower case.
    granted: HashMap<Uuid, HashMap<Box<str>, Vec<Grant>>>,
}

#[derive(Clone, Copy)]
struct Grant {
    role: Uuid,
    assignment: Uuid,
}

impl Roles {
    pub(crate) fn new(
        custom: impl IntoIterator<Item = RoleDefinition>,
        assignments: impl IntoIterator<Item = Assignment>,
    ) -> Self {
        let custom = custom.into_iter().map(Arc::new);
        let definitions = custom.chain(BUILT_IN.iter().cloned());
        let mut roles = Self {
            definitions: definitions.map(|role| (role.id, role)).collect(),
            assignments: HashMap::new(),
            granted: HashMap::new(),
        };
        for assignment in assignments {
            roles.put_assignment(Arc::new(assignment));
        }
        roles
    }

    pub(crate) fn definition(&self, id: Uuid) -> Option<&Arc<RoleDefinition>> {
        self.definitions.get(&id)
    }

    pub(crate) fn definitions(&self) -> impl Iterator<Item = &Arc<RoleDefinition>> {
        self.definitions.values()
    }

    pub(crate) fn put_definition(&mut self, role: Arc<RoleDefinition>) {
        self.definitions.insert(role.id, role);
    }

    pub(crate) fn remove_definition(&mut self, id: Uuid) {
        self.definitions.remove(&id);
    }

    pub(crate) fn assignment(&self, id: Uuid) -> Option<&Arc<Assignment>> {
        self.assignments.get(&id)
    }

    pub(crate) fn assignments(&self) -> impl Iterator<Item = &Arc<Assignment>> {
        self.assignments.values()
    }

    pub(crate) fn assignment_count(&self) -> usize {
        self.assignments.len()
    }

    pub(crate) fn put_assignment(&mut self, assignment: Arc<Assignment>) {
        self.remove_assignment(assignment.id);
        let grant = Grant {
            role: assignment.role,
            assignment: assignment.id,
        };
        if let Some(scope) = folded(&assignment) {
            let here = self.granted.entry(assignment.principal).or_default();
            here.entry(scope).or_default().push(grant);
        }
        self.assignments.insert(assignment.id, assignment);
    }

    pub(crate) fn remove_assignment(&mut self, id: Uuid) {
        let Some(old) = self.assignments.remove(&id) else {
            return;
        };
        let (Some(scope), Some(scopes)) = (folded(&old), self.granted.get_mut(&old.principal)) else {
            return;
        };
        if let Some(grants) = scopes.get_mut(&scope) {
            grants.retain(|grant| grant.assignment != id);
            if grants.is_empty() {
                scopes.remove(&scope);
            }
        }
        if scopes.is_empty() {
            self.granted.remove(&old.principal);
        }
    }

    /// The assignment of this role to this principal at this very scope.
    pub(crate) fn same(&self, principal: Uuid, role: Uuid, scope: &ResourceId) -> Option<&Arc<Assignment>> {
        let scope = scope.as_str().to_ascii_lowercase();
        let grants = self.granted.get(&principal)?.get(scope.as_str())?;
        let same = grants.iter().find(|grant| grant.role == role)?;
        self.assignment(same.assignment)
    }

    /// The roles that a principal has at a scope: its own and its groups', assigned there or above. One that is not in the
    /// directory has none.
    pub(crate) fn effective(
        &self,
        directory: &Directory,
        principal: Uuid,
        scope: &ResourceId,
    ) -> Effective<'_> {
        let scope = scope.as_str().to_ascii_lowercase();
        let mut roles: Vec<&RoleDefinition> = Vec::new();
        for holder in directory.memberships(principal) {
            let Some(granted) = self.granted.get(&holder) else {
                continue;
            };
            let here = upwards(&scope).filter_map(|scope| granted.get(scope)).flatten();
            roles.extend(here.filter_map(|grant| self.definition(grant.role).map(Arc::as_ref)));
        }
        Effective { roles }
    }
}

/// What somebody may do somewhere.
pub(crate) struct Effective<'a> {
    roles: Vec<&'a RoleDefinition>,
}

impl Effective<'_> {
    /// Whether one of the roles holds the action, without a condition.
    pub(crate) fn allows(&self, kind: ActionKind, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.roles.iter().any(|role| role.holds(kind, &action))
    }

    /// Whether one of the roles holds the action, be it under a condition.
    pub(crate) fn allows_in_part(&self, action: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let mut held = self.roles.iter().map(|role| &role.permission);
        held.any(|held| held.holds(ActionKind::Control, &action))
    }

    /// What each of the roles holds.
    pub(crate) fn permissions(&self) -> impl Iterator<Item = PermissionText> {
        self.roles.iter().map(|role| role.permission.text())
    }

    /// Whether one of the roles holds `action` ([`ASSIGN`] or [`UNASSIGN`]) for assignments of `role`.
    pub(crate) fn allows_for(&self, action: &str, role: Uuid) -> bool {
        let action = action.to_ascii_lowercase();
        self.roles.iter().any(|held| held.holds_for(&action, role))
    }
}

/// A scope, then what lies above it, up to `/`.
fn upwards(scope: &str) -> impl Iterator<Item = &str> {
    let parents = scope.match_indices('/').rev().map(move |(at, _)| match at {
        0 => "/",
        at => scope.get(..at).unwrap_or("/"),
    });
    let itself = (scope != "/").then_some(scope);
    itself.into_iter().chain(parents)
}

/// The assignment's scope in lower case; none for one that cannot be read, which grants nothing.
fn folded(assignment: &Assignment) -> Option<Box<str>> {
    let scope = assignment.at()?;
    Some(scope.as_str().to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests;
