//! Who has which role where, what roles hold, what the caller may do. A door to the control plane's [`Actor`], which decides.
//!
//! [`Actor`]: crate::actor::Actor

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;
use strongroom_azure::ResourceId;
use uuid::Uuid;

use super::call::{Answer, Call};
use super::fault::{Fault, Outcome, bad, missing};
use super::filter::{Comparison, Filter};
use super::listing;
use super::route::{Permission, Route, blocking};
use crate::bodies::{AssignmentBody, RoleBody};
use crate::error::ControlError;
use crate::limits::ARM_BODY;
use crate::roles::{ASSIGN, Assignment, AssignmentFilter, RoleDefinition, RoleFilter, UNASSIGN};

const ASSIGNMENTS: &str = "{scope}/providers/Microsoft.Authorization/roleAssignments";
const ASSIGNMENT: &str = "{scope}/providers/Microsoft.Authorization/roleAssignments/{name}";
const ROLES: &str = "{scope}/providers/Microsoft.Authorization/roleDefinitions";
const ROLE: &str = "{scope}/providers/Microsoft.Authorization/roleDefinitions/{name}";
const PERMISSIONS: &str = "{scope}/providers/Microsoft.Authorization/permissions";
const DENIALS: &str = "{scope}/providers/Microsoft.Authorization/denyAssignments";
const DENIAL: &str = "{scope}/providers/Microsoft.Authorization/denyAssignments/{name}";
const CLASSIC: &str = "/subscriptions/{subscription}/providers/Microsoft.Authorization/classicAdministrators";

pub(crate) fn routes() -> Vec<Route> {
    let read = |pattern, permission, work: fn(&Arc<Call>) -> Outcome<Answer>| {
        Route::new(Method::GET, pattern, permission, 0, blocking(work))
    };
    let put = |pattern, permission, work: fn(&Arc<Call>) -> Outcome<Answer>| {
        Route::new(Method::PUT, pattern, permission, ARM_BODY, blocking(work))
    };
    let delete = |pattern, permission, work: fn(&Arc<Call>) -> Outcome<Answer>| {
        Route::new(Method::DELETE, pattern, permission, 0, blocking(work))
    };
    let assignments = Permission::Action("Microsoft.Authorization/roleAssignments/read");
    let denials = Permission::Action("Microsoft.Authorization/denyAssignments/read");
    let classic = Permission::Action("Microsoft.Authorization/classicAdministrators/read");
    let write_role = Permission::Action("Microsoft.Authorization/roleDefinitions/write");
    let delete_role = Permission::Action("Microsoft.Authorization/roleDefinitions/delete");
    vec![
        read(ASSIGNMENTS, assignments, list_assignments),
        read(ASSIGNMENT, assignments, get_assignment),
        put(ASSIGNMENT, Permission::InPart(ASSIGN), assign),
        delete(ASSIGNMENT, Permission::InPart(UNASSIGN), unassign),
        // At the root everybody sees the roles that every directory has; elsewhere the actor asks for the right to read.
        read(ROLES, Permission::Signed, list_roles),
        read(ROLE, Permission::Signed, get_role),
        put(ROLE, write_role, put_role),
        delete(ROLE, delete_role, remove_role),
        read(PERMISSIONS, Permission::Signed, permissions),
        read(DENIALS, denials, nothing),
        read(DENIAL, denials, no_denial),
        read(CLASSIC, classic, nothing),
    ]
}

fn list_assignments(call: &Arc<Call>) -> Outcome<Answer> {
    let mut filter = AssignmentFilter::default();
    for condition in conditions(call)?.iter().flat_map(Filter::conditions) {
        match condition {
            Filter::AtScope => filter.at_scope = true,
            Filter::AssignedTo(to) => filter.assigned_to = Some(principal(to)?),
            Filter::Compare(name, Comparison::Eq, id) if name.eq_ignore_ascii_case("principalId") => {
                filter.principal = Some(principal(id)?);
            }
            _ => {
                return Err(unsupported(
                    call,
                    "'atScope()', 'principalId eq '{value}'' or 'assignedTo('{value}')'",
                ));
            }
        }
    }
    let found = call.actor().assignments(&call.scope()?, filter)?;
    let key = |known: &Arc<Assignment>| {
        let Assignment {
            scope, created, id, ..
        } = known.as_ref();
        format!("{scope}\n{created:020}\n{id}")
    };
    let control = &call.arm.control;
    listing::slice(call, found, key, |known| control.assignment_shape(known))
}

fn get_assignment(call: &Arc<Call>) -> Outcome<Answer> {
    let found = call.actor().assignment(&call.scope()?, assignment_id(call)?)?;
    Ok(Answer::ok(call.arm.control.assignment_shape(&found)))
}

fn assign(call: &Arc<Call>) -> Outcome<Answer> {
    let id = assignment_id(call)?;
    let asked: AssignmentBody = call.read()?;
    let new = asked.read(id, spelled(call, call.scope()?)?)?;
    let known = call.arm.control.state().roles.assignment(id).is_some();
    let made = call.actor().assign(new)?;
    let status = if known {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(Answer::new(status, call.arm.control.assignment_shape(&made)))
}

fn unassign(call: &Arc<Call>) -> Outcome<Answer> {
    let gone = call.actor().unassign(&call.scope()?, assignment_id(call)?)?;
    Ok(gone.map_or(Answer::empty(StatusCode::NO_CONTENT), |gone| {
        Answer::ok(call.arm.control.assignment_shape(&gone))
    }))
}

fn list_roles(call: &Arc<Call>) -> Outcome<Answer> {
    let mut filter = RoleFilter::default();
    for condition in conditions(call)?.iter().flat_map(Filter::conditions) {
        match condition {
            Filter::AtScopeAndBelow => filter.and_below = true,
            Filter::Compare(name, Comparison::Eq, value) if name.eq_ignore_ascii_case("roleName") => {
                filter.name = Some(value.clone());
            }
            Filter::Compare(name, Comparison::Eq, value) if name.eq_ignore_ascii_case("type") => {
                filter.built_in = Some(value.eq_ignore_ascii_case("BuiltInRole"));
            }
            _ => {
                return Err(unsupported(
                    call,
                    "'atScopeAndBelow()', 'roleName eq '{value}'' or 'type eq '{value}''",
                ));
            }
        }
    }
    let scope = call.scope()?;
    let found = if scope == ResourceId::root() {
        // Nobody holds anything at the root, so only what everybody has is assignable there.
        call.arm.control.built_in_roles(&filter)
    } else {
        call.actor().roles(&scope, &filter)?
    };
    let key = |role: &Arc<RoleDefinition>| format!("{}\n{}", role.name, role.id);
    let control = &call.arm.control;
    listing::slice(call, found, key, |role| control.role_shape(role))
}

fn get_role(call: &Arc<Call>) -> Outcome<Answer> {
    let (scope, id) = (call.scope()?, role_id(call)?);
    let found = if scope == ResourceId::root() {
        let all = call.arm.control.built_in_roles(&RoleFilter::default());
        let mut all = all.into_iter();
        all.find(|role| role.id == id)
            .ok_or(ControlError::NoRole { id })?
    } else {
        call.actor().role(&scope, id)?
    };
    Ok(Answer::ok(call.arm.control.role_shape(&found)))
}

fn put_role(call: &Arc<Call>) -> Outcome<Answer> {
    let asked: RoleBody = call.read()?;
    let made = call.actor().put_role(role_id(call)?, asked.read()?)?;
    // Azure answers so to a change, too.
    Ok(Answer::new(
        StatusCode::CREATED,
        call.arm.control.role_shape(&made),
    ))
}

fn remove_role(call: &Arc<Call>) -> Outcome<Answer> {
    let gone = call.actor().delete_role(&call.scope()?, role_id(call)?)?;
    Ok(gone.map_or(Answer::empty(StatusCode::NO_CONTENT), |gone| {
        Answer::ok(call.arm.control.role_shape(&gone))
    }))
}

/// What the caller's own roles hold here.
fn permissions(call: &Arc<Call>) -> Outcome<Answer> {
    let held = call.actor().permissions(&call.scope()?);
    let rows = held.into_iter().map(|held| json!(held)).collect();
    Ok(Answer::page(rows, None))
}

/// Nothing here makes any.
fn nothing(_: &Arc<Call>) -> Outcome<Answer> {
    Ok(Answer::page(Vec::new(), None))
}

fn no_denial(call: &Arc<Call>) -> Outcome<Answer> {
    let name = call.name("name");
    Err(missing(
        "DenyAssignmentNotFound",
        format!("The deny assignment '{name}' is not found."),
    ))
}

fn conditions(call: &Call) -> Outcome<Option<Filter>> {
    let filter = call.parameter("$filter").map(Filter::parse).transpose();
    filter.map_err(|error| bad("InvalidFilterInQueryString", error.to_string()))
}

fn unsupported(call: &Call, supported: &str) -> Fault {
    let filter = call.parameter("$filter").unwrap_or_default();
    let message = format!("The filter '{filter}' is not supported. Supported filters are {supported}.");
    bad("UnsupportedQuery", message)
}

fn principal(text: &str) -> Outcome<Uuid> {
    let invalid = || format!("'{text}' is no principal ID. The principal ID must be a GUID.");
    text.parse().map_err(|_| bad("InvalidPrincipalId", invalid()))
}

fn assignment_id(call: &Call) -> Outcome<Uuid> {
    guid(call, "InvalidRoleAssignmentId", "role assignment")
}

fn role_id(call: &Call) -> Outcome<Uuid> {
    guid(call, "InvalidRoleDefinitionId", "role definition")
}

fn guid(call: &Call, code: &str, what: &str) -> Outcome<Uuid> {
    let name = call.name("name");
    let invalid = || format!("The {what} ID '{name}' is not valid. The {what} ID must be a GUID.");
    name.parse().map_err(|_| bad(code, invalid()))
}

/// The scope as it was spelled when it was made.
fn spelled(call: &Call, scope: ResourceId) -> Outcome<ResourceId> {
    let known = call.arm.inventory.read(|rows| rows.get(&scope))?;
    Ok(known.map_or(scope, |known| known.id))
}
