//! What happens to roles and assignments, and who may let it happen.

use std::sync::Arc;

use strongroom_azure::ResourceId;
use uuid::Uuid;

use super::definition::{ASSIGN, NewRole, PermissionText, RoleDefinition, UNASSIGN};
use super::{Assignment, BuiltInRole};
use crate::actor::Actor;
use crate::control::Control;
use crate::directory::PrincipalType;
use crate::error::ControlError;
use crate::limits::{ASSIGNMENTS, CUSTOM_ROLES, DESCRIPTION};
use crate::scopes;
use crate::state::{Change, State};

const READ_ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments/read";
const READ_ROLES: &str = "Microsoft.Authorization/roleDefinitions/read";
const WRITE_ROLE: &str = "Microsoft.Authorization/roleDefinitions/write";
const DELETE_ROLE: &str = "Microsoft.Authorization/roleDefinitions/delete";

/// What is asked for when a role is assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAssignment {
    /// The assignment's own GUID.
    pub id: Uuid,
    /// Who gets the role.
    pub principal: Uuid,
    /// What the caller takes the principal for; what it is, if left out.
    pub principal_type: Option<PrincipalType>,
    /// The role definition's GUID.
    pub role: Uuid,
    /// Where it counts, and below.
    pub scope: ResourceId,
    /// For people.
    pub description: Option<String>,
}

/// Which assignments a list shows. By default all that count at the scope, above or below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AssignmentFilter {
    /// Leave out what is below the scope.
    pub at_scope: bool,
    /// Those that name this principal.
    pub principal: Option<Uuid>,
    /// Those that count for this principal: its own and its groups'.
    pub assigned_to: Option<Uuid>,
}

/// Which role definitions a list shows. By default all that may be assigned at the scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleFilter {
    /// The one of this name.
    pub name: Option<String>,
    /// Built-in roles or custom ones only.
    pub built_in: Option<bool>,
    /// Those that may be assigned below the scope too.
    pub and_below: bool,
}

impl Control {
    /// Assigns a role at a scope, unless it is assigned there already.
    pub fn ensure_assignment(
        &self,
        principal: Uuid,
        role: &BuiltInRole,
        scope: &ResourceId,
    ) -> Result<Arc<Assignment>, ControlError> {
        let new = NewAssignment {
            id: Uuid::new_v4(),
            principal,
            principal_type: None,
            role: role.id,
            scope: scope.clone(),
            description: None,
        };
        let mut change = self.change();
        if let Some(known) = change.state().roles.same(principal, role.id, scope) {
            return Ok(Arc::clone(known));
        }
        let made = assign(&mut change, new, None, self.now())?;
        change.commit()?;
        Ok(made)
    }

    /// The roles that every directory has, by name.
    pub(crate) fn built_in_roles(&self, filter: &RoleFilter) -> Vec<Arc<RoleDefinition>> {
        let state = self.state();
        let all = state.roles.definitions();
        let shown = all
            .filter(|role| role.is_built_in() && filter.shows(role))
            .cloned();
        by_name(shown.collect())
    }

    /// Removes every assignment at `scope` and below, and tells how many they were: for a resource that is gone.
    pub fn remove_assignments_below(&self, scope: &ResourceId) -> Result<usize, ControlError> {
        let mut change = self.change();
        let removed = change.remove_assignments_below(scope);
        change.commit()?;
        Ok(removed)
    }
}

impl Actor {
    /// Assigns a role. Asking again for the same under the same GUID gives what is there, with another description if one is
    /// given: nothing else of an assignment can change.
    pub fn assign(&self, new: NewAssignment) -> Result<Arc<Assignment>, ControlError> {
        let there = self.is_there(&new.scope);
        let mut change = self.control.change();
        let state = change.state();
        scopes::check(state, &new.scope, there)?;
        self.authorize_role(state, ASSIGN, &new.scope, new.role)?;
        if let Some(known) = state.roles.assignment(new.id) {
            check_same(known, &new)?;
            if known.description == new.description {
                return Ok(Arc::clone(known));
            }
            check_description(new.description.as_deref())?;
            let changed = Assignment {
                description: new.description,
                changed: Some((self.control.now(), self.caller)),
                ..Assignment::clone(known)
            };
            let changed = change.put_assignment(changed)?;
            change.commit()?;
            return Ok(changed);
        }
        let scope = new.scope.clone();
        let made = assign(&mut change, new, Some(self.caller), self.control.now())?;
        change.commit()?;
        // Whoever deletes a resource takes its row away first and its assignments then: one of the two sees the other.
        if there == Some(true) && self.is_there(&scope) == Some(false) {
            let mut change = self.control.change();
            change.remove_assignment(made.id);
            change.commit()?;
            return Err(ControlError::NotFound {
                what: "resource",
                name: scope.to_string(),
            });
        }
        Ok(made)
    }

    /// Takes a role away: the assignment as it was, or none if there was none at this scope.
    pub fn unassign(&self, scope: &ResourceId, id: Uuid) -> Result<Option<Arc<Assignment>>, ControlError> {
        let mut change = self.control.change();
        let state = change.state();
        let Some(known) = at(state, scope, id) else {
            self.authorize_in(state, UNASSIGN, scope)?;
            return Ok(None);
        };
        self.authorize_role(state, UNASSIGN, scope, known.role)?;
        change.remove_assignment(id);
        change.commit()?;
        Ok(Some(known))
    }

    /// One assignment at this scope.
    pub fn assignment(&self, scope: &ResourceId, id: Uuid) -> Result<Arc<Assignment>, ControlError> {
        let state = self.control.state();
        self.authorize_in(&state, READ_ASSIGNMENTS, scope)?;
        at(&state, scope, id).ok_or_else(|| ControlError::NotFound {
            what: "role assignment",
            name: id.to_string(),
        })
    }

    /// The assignments that count at a scope, above or below it, by scope and then age.
    pub fn assignments(
        &self,
        scope: &ResourceId,
        filter: AssignmentFilter,
    ) -> Result<Vec<Arc<Assignment>>, ControlError> {
        let state = self.control.state();
        self.authorize_in(&state, READ_ASSIGNMENTS, scope)?;
        let holders = filter.assigned_to.map(|to| state.directory.memberships(to));
        let shown = |known: &Assignment| {
            let here = known.covers(scope) || (!filter.at_scope && known.is_below(scope));
            let who = filter
                .principal
                .is_none_or(|principal| principal == known.principal);
            let to = holders
                .as_ref()
                .is_none_or(|holders| holders.contains(&known.principal));
            here && who && to
        };
        let mut all: Vec<_> = state
            .roles
            .assignments()
            .filter(|known| shown(known))
            .cloned()
            .collect();
        all.sort_by(|one, other| {
            (&one.scope, one.created, one.id).cmp(&(&other.scope, other.created, other.id))
        });
        Ok(all)
    }

    /// Makes a custom role or changes it.
    pub fn put_role(&self, id: Uuid, new: NewRole) -> Result<Arc<RoleDefinition>, ControlError> {
        let mut role = RoleDefinition::custom(id, new, self.control.now())?;
        if role.is_built_in() {
            return Err(ControlError::RoleBuiltIn(role.name));
        }
        let scopes = role.assignable_scopes.iter().map(|scope| {
            let scope = scopes::parse(scope)?;
            Ok((self.is_there(&scope), scope))
        });
        let scopes = scopes.collect::<Result<Vec<_>, ControlError>>()?;
        let mut change = self.control.change();
        let state = change.state();
        for (there, scope) in &scopes {
            scopes::check(state, scope, *there)?;
            self.authorize_in(state, WRITE_ROLE, scope)?;
        }
        match state.roles.definition(id) {
            Some(old) => {
                role.created = old.created;
                self.check_change(state, old, &role)?;
            }
            None => {
                let custom = state.roles.definitions().filter(|role| !role.is_built_in());
                if custom.count() >= CUSTOM_ROLES {
                    return Err(ControlError::TooManyRoles);
                }
            }
        }
        let taken = |known: &&Arc<RoleDefinition>| known.id != id && same_name(&known.name, &role.name);
        if state.roles.definitions().any(|known| taken(&known)) {
            return Err(ControlError::RoleNameTaken);
        }
        let role = change.put_role(role)?;
        change.commit()?;
        Ok(role)
    }

    /// Deletes a custom role that nobody has: the role as it was, or none if there was none.
    pub fn delete_role(
        &self,
        scope: &ResourceId,
        id: Uuid,
    ) -> Result<Option<Arc<RoleDefinition>>, ControlError> {
        let mut change = self.control.change();
        let state = change.state();
        let Some(role) = state.roles.definition(id).cloned() else {
            self.authorize_in(state, DELETE_ROLE, scope)?;
            return Ok(None);
        };
        if role.is_built_in() {
            return Err(ControlError::RoleBuiltIn(role.name.clone()));
        }
        for scope in role.scopes() {
            self.authorize_in(state, DELETE_ROLE, &scope)?;
        }
        unused(state, &role, |_| true)?;
        change.remove_role(id);
        change.commit()?;
        Ok(Some(role))
    }

    /// The roles that may be assigned at a scope, by name.
    pub fn roles(
        &self,
        scope: &ResourceId,
        filter: &RoleFilter,
    ) -> Result<Vec<Arc<RoleDefinition>>, ControlError> {
        let state = self.control.state();
        self.authorize_in(&state, READ_ROLES, scope)?;
        let shown = |role: &RoleDefinition| {
            let below = || role.scopes().any(|assignable| scope.contains(&assignable));
            let here = role.is_assignable_at(scope) || (filter.and_below && below());
            here && filter.shows(role)
        };
        let all = state.roles.definitions().filter(|role| shown(role));
        Ok(by_name(all.cloned().collect()))
    }

    /// The role that goes by this: a GUID, an id in Resource Manager, or a name.
    pub fn find_role(&self, scope: &ResourceId, text: &str) -> Result<Arc<RoleDefinition>, ControlError> {
        let last = text.rsplit('/').next().unwrap_or(text);
        if let Ok(id) = last.parse() {
            return self.role(scope, id);
        }
        let state = self.control.state();
        self.authorize_in(&state, READ_ROLES, scope)?;
        let mut all = state.roles.definitions();
        let named = all.find(|role| same_name(&role.name, text)).cloned();
        named.ok_or_else(|| ControlError::NotFound {
            what: "role",
            name: text.to_owned(),
        })
    }

    /// What the caller's roles hold at a scope, each as it is.
    pub(crate) fn permissions(&self, scope: &ResourceId) -> Vec<PermissionText> {
        let state = self.control.state();
        let held = state.roles.effective(&state.directory, self.caller, scope);
        held.permissions().collect()
    }

    /// One role, by its GUID.
    pub fn role(&self, scope: &ResourceId, id: Uuid) -> Result<Arc<RoleDefinition>, ControlError> {
        let state = self.control.state();
        self.authorize_in(&state, READ_ROLES, scope)?;
        state
            .roles
            .definition(id)
            .cloned()
            .ok_or(ControlError::NoRole { id })
    }

    /// What Resource Manager says of a scope. Asked before a change has its turn: it waits for another database.
    fn is_there(&self, scope: &ResourceId) -> Option<bool> {
        Some(self.control.index()?.has(scope))
    }

    /// Fails unless the caller may make `new` of `old`, and nothing that is assigned is in the way.
    fn check_change(
        &self,
        state: &State,
        old: &RoleDefinition,
        new: &RoleDefinition,
    ) -> Result<(), ControlError> {
        for scope in old.scopes() {
            self.authorize_in(state, WRITE_ROLE, &scope)?;
        }
        unused(state, old, |scope| !new.is_assignable_at(scope))
    }
}

impl RoleFilter {
    fn shows(&self, role: &RoleDefinition) -> bool {
        let name = self.name.as_ref();
        name.is_none_or(|name| same_name(name, &role.name))
            && self.built_in.is_none_or(|wanted| wanted == role.is_built_in())
    }
}

fn by_name(mut roles: Vec<Arc<RoleDefinition>>) -> Vec<Arc<RoleDefinition>> {
    roles.sort_by(|one, other| one.name.cmp(&other.name));
    roles
}

/// Assigns a role that is not assigned there yet; whoever calls has checked that it may.
fn assign(
    change: &mut Change<'_>,
    new: NewAssignment,
    created_by: Option<Uuid>,
    now: u64,
) -> Result<Arc<Assignment>, ControlError> {
    let state = change.state();
    let role = state
        .roles
        .definition(new.role)
        .ok_or(ControlError::NoRole { id: new.role })?;
    if !role.is_assignable_at(&new.scope) {
        return Err(ControlError::NotAssignable {
            role: role.name.clone(),
            scope: new.scope.to_string(),
        });
    }
    let principal = state
        .directory
        .get(new.principal)
        .ok_or(ControlError::NoPrincipal {
            id: new.principal,
            tenant: state.tenant.id,
        })?;
    let principal_type = principal.principal_type();
    check_type(&new, principal_type)?;
    if let Some(known) = state.roles.same(new.principal, new.role, &new.scope) {
        return Err(ControlError::AssignmentExists { existing: known.id });
    }
    check_description(new.description.as_deref())?;
    if state.roles.assignment_count() >= ASSIGNMENTS {
        return Err(ControlError::TooManyAssignments);
    }
    change.put_assignment(Assignment {
        id: new.id,
        principal: new.principal,
        principal_type,
        role: new.role,
        scope: new.scope.as_str().to_owned(),
        description: new.description,
        created: now,
        created_by,
        changed: None,
    })
}

/// Fails unless a GUID that is taken is that of what is asked for.
fn check_same(known: &Assignment, new: &NewAssignment) -> Result<(), ControlError> {
    let same = known.principal == new.principal
        && known.role == new.role
        && known.at().is_some_and(|scope| scope == new.scope);
    if !same {
        return Err(ControlError::AssignmentFixed);
    }
    check_type(new, known.principal_type)
}

fn check_description(description: Option<&str>) -> Result<(), ControlError> {
    if description.is_none_or(|text| text.chars().count() <= DESCRIPTION) {
        return Ok(());
    }
    Err(ControlError::InvalidRequest {
        reason: format!("a description has at most {DESCRIPTION} characters"),
    })
}

/// Fails if the caller takes the principal for something else than it is.
fn check_type(new: &NewAssignment, found: PrincipalType) -> Result<(), ControlError> {
    match new.principal_type {
        Some(said) if said != found => Err(ControlError::PrincipalTypeDiffers {
            id: new.principal,
            found,
            said,
        }),
        _ => Ok(()),
    }
}

fn at(state: &State, scope: &ResourceId, id: Uuid) -> Option<Arc<Assignment>> {
    let known = state.roles.assignment(id)?;
    known
        .at()
        .is_some_and(|at| at == *scope)
        .then(|| Arc::clone(known))
}

/// Fails if the role is assigned at a scope that counts.
fn unused(
    state: &State,
    role: &RoleDefinition,
    counts: impl Fn(&ResourceId) -> bool,
) -> Result<(), ControlError> {
    let in_the_way =
        |known: &&Arc<Assignment>| known.role == role.id && known.at().is_some_and(|at| counts(&at));
    match state.roles.assignments().filter(in_the_way).count() {
        0 => Ok(()),
        count => Err(ControlError::RoleAssigned {
            role: role.name.clone(),
            count,
        }),
    }
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
