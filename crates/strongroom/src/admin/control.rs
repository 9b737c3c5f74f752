//! The administrator's routes to roles, principals and accounts. Thin: what may be done and what it does is the control
//! plane's; here is only which route means what.

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, patch, post, put};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;
use strongroom_control::{
    AssignmentBody, AssignmentFilter, Control, ControlError, KeySlot, NewIdentity, PrincipalFilter,
    PrincipalKind, RetentionChange, RoleBody, RoleFilter,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Admin;
use super::plane::{Answer, Asker, Refused, blocking, guard, list, shown_once};
use crate::listen::refusal;

pub(super) fn router(admin: &Admin) -> Router {
    let routes = Router::new()
        .route("/strongroom/role-assignments", get(assignments))
        .route("/strongroom/role-assignments/{id}", put(assign).delete(unassign))
        .route("/strongroom/role-definitions", get(roles))
        .route(
            "/strongroom/role-definitions/{id}",
            get(role).put(put_role).delete(delete_role),
        )
        .route("/strongroom/principals", get(principals).post(create_principal))
        .route(
            "/strongroom/principals/{id}",
            get(principal).delete(delete_principal),
        )
        .route("/strongroom/groups/{group}/members", get(members))
        .route(
            "/strongroom/groups/{group}/members/{member}",
            put(add_member).delete(remove_member),
        )
        .route("/strongroom/accounts/{account}", patch(update_account))
        .route("/strongroom/accounts/{account}/list-keys", post(list_keys))
        .route(
            "/strongroom/accounts/{account}/regenerate-key",
            post(regenerate_key),
        )
        .route(
            "/strongroom/accounts/{account}/identities",
            put(add_identity).delete(remove_identity),
        )
        .with_state(admin.control.clone());
    guard(admin, routes)
}

type Plane = State<Control>;

fn scope(text: &str) -> Result<ResourceId, ControlError> {
    text.parse().map_err(|_| ControlError::InvalidScope {
        scope: text.to_owned(),
        reason: "it is no resource id",
    })
}

#[derive(Deserialize)]
struct Scoped {
    scope: String,
}

#[derive(Deserialize)]
struct AssignmentsAsked {
    scope: String,
    #[serde(default)]
    at_scope: bool,
    principal: Option<Uuid>,
    assigned_to: Option<Uuid>,
}

async fn assignments(
    State(control): Plane,
    Extension(actor): Asker,
    Query(asked): Query<AssignmentsAsked>,
) -> Answer {
    let filter = AssignmentFilter {
        at_scope: asked.at_scope,
        principal: asked.principal,
        assigned_to: asked.assigned_to,
    };
    let found = actor.assignments(&scope(&asked.scope)?, filter)?;
    Ok(list(found.iter().map(|known| control.assignment_shape(known))))
}

async fn assign(
    State(control): Plane,
    Extension(actor): Asker,
    Path(id): Path<Uuid>,
    Query(asked): Query<Scoped>,
    Json(body): Json<AssignmentBody>,
) -> Answer {
    let new = body.read(id, scope(&asked.scope)?)?;
    let made = blocking(move || actor.assign(new)).await?;
    Ok(Json(control.assignment_shape(&made)))
}

async fn unassign(
    State(control): Plane,
    Extension(actor): Asker,
    Path(id): Path<Uuid>,
    Query(asked): Query<Scoped>,
) -> Answer {
    let at = scope(&asked.scope)?;
    let gone = blocking(move || actor.unassign(&at, id)).await?;
    Ok(Json(
        gone.map_or(Value::Null, |gone| control.assignment_shape(&gone)),
    ))
}

#[derive(Deserialize)]
struct RolesAsked {
    scope: String,
    name: Option<String>,
    built_in: Option<bool>,
}

async fn roles(State(control): Plane, Extension(actor): Asker, Query(asked): Query<RolesAsked>) -> Answer {
    let filter = RoleFilter {
        name: asked.name,
        built_in: asked.built_in,
        and_below: true,
    };
    let found = actor.roles(&scope(&asked.scope)?, &filter)?;
    Ok(list(found.iter().map(|role| control.role_shape(role))))
}

async fn role(
    State(control): Plane,
    Extension(actor): Asker,
    Path(text): Path<String>,
    Query(asked): Query<Scoped>,
) -> Answer {
    let role = actor.find_role(&scope(&asked.scope)?, &text)?;
    Ok(Json(control.role_shape(&role)))
}

async fn put_role(
    State(control): Plane,
    Extension(actor): Asker,
    Path(id): Path<Uuid>,
    Json(body): Json<RoleBody>,
) -> Answer {
    let new = body.read()?;
    let role = blocking(move || actor.put_role(id, new)).await?;
    Ok(Json(control.role_shape(&role)))
}

async fn delete_role(
    State(control): Plane,
    Extension(actor): Asker,
    Path(id): Path<Uuid>,
    Query(asked): Query<Scoped>,
) -> Answer {
    let at = scope(&asked.scope)?;
    let gone = blocking(move || actor.delete_role(&at, id)).await?;
    Ok(Json(gone.map_or(Value::Null, |gone| control.role_shape(&gone))))
}

/// The kinds of principals, as commands call them.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    App,
    User,
    Group,
    Identity,
}

impl From<Kind> for PrincipalKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::Application,
            Kind::User => Self::User,
            Kind::Group => Self::Group,
            Kind::Identity => Self::ManagedIdentity,
        }
    }
}

#[derive(Deserialize)]
struct PrincipalsAsked {
    kind: Option<Kind>,
    name: Option<String>,
}

async fn principals(
    State(control): Plane,
    Extension(actor): Asker,
    Query(asked): Query<PrincipalsAsked>,
) -> Answer {
    let filter = PrincipalFilter {
        kind: asked.kind.map(PrincipalKind::from),
        name: asked.name,
        service_principal_name: None,
    };
    let found = actor.principals(&filter)?;
    Ok(list(found.iter().map(|known| control.principal_shape(known))))
}

async fn principal(State(control): Plane, Extension(actor): Asker, Path(text): Path<String>) -> Answer {
    Ok(Json(control.principal_shape(&*actor.find_principal(&text)?)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum PrincipalBody {
    #[serde(rename_all = "camelCase")]
    App { display_name: String },
    #[serde(rename_all = "camelCase")]
    User {
        display_name: String,
        user_principal_name: String,
    },
    #[serde(rename_all = "camelCase")]
    Group { display_name: String },
    #[serde(rename_all = "camelCase")]
    Identity {
        name: String,
        resource_group: String,
        location: String,
    },
}

async fn create_principal(
    State(control): Plane,
    Extension(actor): Asker,
    Json(body): Json<PrincipalBody>,
) -> Answer {
    let made = blocking(move || match body {
        PrincipalBody::App { display_name } => actor.create_application(&display_name),
        PrincipalBody::User {
            display_name,
            user_principal_name,
        } => actor.create_user(&display_name, &user_principal_name),
        PrincipalBody::Group { display_name } => actor.create_group(&display_name),
        PrincipalBody::Identity {
            name,
            resource_group,
            location,
        } => actor.create_identity(&NewIdentity {
            name,
            resource_group,
            location,
        }),
    });
    Ok(Json(control.principal_shape(&*made.await?)))
}

async fn delete_principal(State(control): Plane, Extension(actor): Asker, Path(id): Path<Uuid>) -> Answer {
    let gone = blocking(move || actor.delete_principal(id)).await?;
    Ok(Json(control.principal_shape(&gone)))
}

async fn members(State(control): Plane, Extension(actor): Asker, Path(group): Path<Uuid>) -> Answer {
    let members = actor.members(group)?;
    Ok(list(members.iter().map(|member| control.principal_shape(member))))
}

async fn add_member(Extension(actor): Asker, Path((group, member)): Path<(Uuid, Uuid)>) -> Answer {
    blocking(move || actor.add_member(group, member)).await?;
    Ok(Json(json!({"added": true})))
}

async fn remove_member(Extension(actor): Asker, Path((group, member)): Path<(Uuid, Uuid)>) -> Answer {
    let removed = blocking(move || actor.remove_member(group, member)).await?;
    Ok(Json(json!({"removed": removed})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountBody {
    properties: AccountProperties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountProperties {
    disable_local_auth: Option<bool>,
    retention_days: Option<Map<String, Value>>,
}

async fn update_account(
    State(control): Plane,
    Extension(actor): Asker,
    Path(account): Path<String>,
    Json(body): Json<AccountBody>,
) -> Result<Response, Refused> {
    let AccountProperties {
        disable_local_auth,
        retention_days,
    } = body.properties;
    let retention = match RetentionChange::read(&retention_days.unwrap_or_default()) {
        Ok(retention) => retention,
        Err(why) => return Ok(refusal(StatusCode::BAD_REQUEST, "invalid_request", &why)),
    };
    let account = blocking(move || {
        if let Some(disable) = disable_local_auth {
            actor.set_local_auth(&account, disable)?;
        }
        actor.set_retention(&account, &retention)
    });
    let account = account.await?;
    Ok(Json(control.account_shape(&account)).into_response())
}

async fn list_keys(Extension(actor): Asker, Path(account): Path<String>) -> Result<Response, Refused> {
    keys(&actor.list_account_keys(&account)?)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegenerateBody {
    key_name: KeyName,
}

#[derive(Clone, Copy, Deserialize)]
enum KeyName {
    #[serde(rename = "Key1", alias = "key1")]
    One,
    #[serde(rename = "Key2", alias = "key2")]
    Two,
}

async fn regenerate_key(
    Extension(actor): Asker,
    Path(account): Path<String>,
    Json(body): Json<RegenerateBody>,
) -> Result<Response, Refused> {
    let slot = match body.key_name {
        KeyName::One => KeySlot::One,
        KeyName::Two => KeySlot::Two,
    };
    let made = blocking(move || actor.regenerate_account_key(&account, slot)).await?;
    keys(&made)
}

fn keys([one, two]: &[Zeroizing<String>; 2]) -> Result<Response, Refused> {
    shown_once(&[("key1", one), ("key2", two)])
}

#[derive(Deserialize)]
struct IdentityAsked {
    identity: String,
}

async fn add_identity(
    State(control): Plane,
    Extension(actor): Asker,
    Path(account): Path<String>,
    Query(asked): Query<IdentityAsked>,
) -> Answer {
    let account = blocking(move || actor.add_account_identity(&account, &asked.identity)).await?;
    Ok(Json(control.account_shape(&account)))
}

async fn remove_identity(
    State(control): Plane,
    Extension(actor): Asker,
    Path(account): Path<String>,
    Query(asked): Query<IdentityAsked>,
) -> Answer {
    let account = blocking(move || actor.remove_account_identity(&account, &asked.identity)).await?;
    Ok(Json(control.account_shape(&account)))
}
