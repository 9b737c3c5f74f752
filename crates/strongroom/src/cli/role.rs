//! `strongroom role`: who may do what.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::client::Instance;
use super::principal::object_id;
use super::table::{self, Table, items, text};
use super::{CliError, Failure, InstanceArgs, Output};

#[derive(Args, Debug)]
pub(super) struct RoleArgs {
    #[command(subcommand)]
    action: RoleAction,
}

#[derive(Debug, Subcommand)]
enum RoleAction {
    /// Who has which role where.
    Assignment(AssignmentArgs),
    /// What the roles let their holders do.
    Definition(DefinitionArgs),
}

#[derive(Args, Debug)]
struct AssignmentArgs {
    #[command(subcommand)]
    action: AssignmentAction,
}

#[derive(Debug, Subcommand)]
enum AssignmentAction {
    /// Assignments at a scope, above and below it.
    List(ListArgs),
    /// Assign a role.
    Create(CreateArgs),
    /// Take a role away.
    Delete(DeleteArgs),
}

#[derive(Args, Debug)]
struct ScopeArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// A subscription, resource group, resource or key of a vault; the instance's resource group, if left out.
    #[arg(long)]
    scope: Option<String>,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    at: ScopeArgs,
    /// Those of one principal: object id, client id or name.
    #[arg(long)]
    assignee: Option<String>,
    /// Those of the assignee's groups too.
    #[arg(long, requires = "assignee")]
    include_groups: bool,
    /// Leave out what is below the scope.
    #[arg(long)]
    at_scope: bool,
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    at: ScopeArgs,
    #[command(flatten)]
    assignee: AssigneeArgs,
    /// The role: a name or an id.
    #[arg(long)]
    role: String,
    /// User, Group or ServicePrincipal; refused if the assignee is something else.
    #[arg(long)]
    assignee_principal_type: Option<String>,
    /// The assignment's own GUID; a new one, if left out.
    #[arg(long)]
    name: Option<Uuid>,
    /// For people.
    #[arg(long)]
    description: Option<String>,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct AssigneeArgs {
    /// Who gets the role: object id, client id or name.
    #[arg(long)]
    assignee: Option<String>,
    /// Who gets the role, by object id alone: nobody is looked up.
    #[arg(long)]
    assignee_object_id: Option<Uuid>,
}

#[derive(Args, Debug)]
struct DeleteArgs {
    #[command(flatten)]
    at: ScopeArgs,
    /// The assignment's GUID.
    #[arg(long, conflicts_with_all = ["assignee", "role"], required_unless_present = "assignee")]
    name: Option<Uuid>,
    /// All assignments of this principal at the very scope.
    #[arg(long)]
    assignee: Option<String>,
    /// Of those, the ones of this role.
    #[arg(long, requires = "assignee")]
    role: Option<String>,
}

#[derive(Args, Debug)]
struct DefinitionArgs {
    #[command(subcommand)]
    action: DefinitionAction,
}

#[derive(Debug, Subcommand)]
enum DefinitionAction {
    /// Roles that may be assigned at a scope or below.
    List(RolesArgs),
    /// Make a custom role.
    Create(NewRoleArgs),
    /// Change a custom role: what is given replaces what was there.
    Update(UpdateRoleArgs),
    /// Delete a custom role that nobody has.
    Delete(NamedRoleArgs),
}

#[derive(Args, Debug)]
struct RolesArgs {
    #[command(flatten)]
    at: ScopeArgs,
    /// The one of this name.
    #[arg(long)]
    name: Option<String>,
    /// Custom roles only.
    #[arg(long)]
    custom_role_only: bool,
}

#[derive(Args, Debug)]
struct NamedRoleArgs {
    #[command(flatten)]
    at: ScopeArgs,
    /// The role: a name or an id.
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct NewRoleArgs {
    #[command(flatten)]
    at: ScopeArgs,
    /// The name: no other role has it.
    #[arg(long)]
    name: String,
    #[command(flatten)]
    content: ContentArgs,
}

#[derive(Args, Debug)]
struct UpdateRoleArgs {
    #[command(flatten)]
    named: NamedRoleArgs,
    /// A new name.
    #[arg(long)]
    new_name: Option<String>,
    #[command(flatten)]
    content: ContentArgs,
}

/// What a role is made of. Options that take a list are repeated.
#[derive(Args, Debug)]
struct ContentArgs {
    /// For people.
    #[arg(long)]
    description: Option<String>,
    /// What Resource Manager lets the holder do, such as Microsoft.KeyVault/vaults/read.
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,
    /// What is taken from the actions.
    #[arg(long = "not-action", value_name = "ACTION")]
    not_actions: Vec<String>,
    /// What vaults and accounts themselves let the holder do.
    #[arg(long = "data-action", value_name = "ACTION")]
    data_actions: Vec<String>,
    /// What is taken from the data actions.
    #[arg(long = "not-data-action", value_name = "ACTION")]
    not_data_actions: Vec<String>,
    /// Where it may be assigned, and below; the instance's resource group, if left out.
    #[arg(long = "assignable-scope", value_name = "SCOPE")]
    assignable_scopes: Vec<String>,
}

/// A command's instance, and the scope that it is about.
struct Place {
    instance: Instance,
    scope: String,
    output: Output,
}

impl ScopeArgs {
    fn place(&self) -> Result<Place, CliError> {
        let instance = Instance::find(self.instance.folder.folder()?)?;
        let scope = match &self.scope {
            Some(scope) => scope.clone(),
            None => instance.group_scope()?,
        };
        Ok(Place {
            instance,
            scope,
            output: self.instance.output,
        })
    }
}

impl Place {
    fn ask(
        &self,
        method: Method,
        path: &str,
        more: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let scope = [("scope", self.scope.as_str())];
        self.instance.ask(method, path, &[&scope, more].concat(), body)
    }

    /// The role that goes by this text.
    fn role(&self, text: &str) -> Result<Value, CliError> {
        // Of an id in Resource Manager, the GUID at its end.
        let last = text.rsplit('/').next().unwrap_or(text);
        let encoded: String = url::form_urlencoded::byte_serialize(last.as_bytes()).collect();
        let path = format!("role-definitions/{}", encoded.replace('+', "%20"));
        self.ask(Method::GET, &path, &[], None)
    }
}

pub(super) fn run(args: &RoleArgs) -> Result<(), CliError> {
    match &args.action {
        RoleAction::Assignment(args) => match &args.action {
            AssignmentAction::List(args) => list(args),
            AssignmentAction::Create(args) => create(args),
            AssignmentAction::Delete(args) => delete(args),
        },
        RoleAction::Definition(args) => match &args.action {
            DefinitionAction::List(args) => roles(args),
            DefinitionAction::Create(args) => {
                let place = args.at.place()?;
                put_role(
                    &place,
                    &Uuid::new_v4().to_string(),
                    &args.name,
                    &json!({}),
                    &args.content,
                )
            }
            DefinitionAction::Update(args) => {
                let place = args.named.at.place()?;
                let old = place.role(&args.named.name)?;
                let properties = old.get("properties").unwrap_or(&Value::Null);
                let name = args
                    .new_name
                    .clone()
                    .unwrap_or_else(|| text(properties, "roleName"));
                put_role(&place, &text(&old, "name"), &name, properties, &args.content)
            }
            DefinitionAction::Delete(args) => {
                let place = args.at.place()?;
                let id = text(&place.role(&args.name)?, "name");
                let gone = place.ask(Method::DELETE, &format!("role-definitions/{id}"), &[], None)?;
                print_roles(&[gone], place.output)
            }
        },
    }
}

fn list(args: &ListArgs) -> Result<(), CliError> {
    let place = args.at.place()?;
    let found = assignments(
        &place,
        args.assignee.as_deref(),
        args.include_groups,
        args.at_scope,
    )?;
    print(&place, &found)
}

fn assignments(
    place: &Place,
    assignee: Option<&str>,
    include_groups: bool,
    at_scope: bool,
) -> Result<Vec<Value>, CliError> {
    let id = assignee.map(|who| object_id(&place.instance, who)).transpose()?;
    let mut query = vec![("at_scope", if at_scope { "true" } else { "false" })];
    if let Some(id) = &id {
        let filter = if include_groups {
            "assigned_to"
        } else {
            "principal"
        };
        query.push((filter, id));
    }
    let listed = place.ask(Method::GET, "role-assignments", &query, None)?;
    Ok(items(&listed)?.to_vec())
}

fn create(args: &CreateArgs) -> Result<(), CliError> {
    let place = args.at.place()?;
    let principal = match (&args.assignee.assignee, args.assignee.assignee_object_id) {
        (Some(who), _) => object_id(&place.instance, who)?,
        (None, id) => id.unwrap_or_default().to_string(),
    };
    let body = json!({"properties": {
        "roleDefinitionId": text(&place.role(&args.role)?, "id"),
        "principalId": principal,
        "principalType": args.assignee_principal_type,
        "description": args.description,
    }});
    let id = args.name.unwrap_or_else(Uuid::new_v4);
    let made = place.ask(Method::PUT, &format!("role-assignments/{id}"), &[], Some(&body))?;
    print(&place, &[made])
}

fn delete(args: &DeleteArgs) -> Result<(), CliError> {
    let place = args.at.place()?;
    let ids = match args.name {
        Some(id) => vec![id.to_string()],
        None => chosen(&place, args)?,
    };
    let mut gone = Vec::new();
    for id in ids {
        let answer = place.ask(Method::DELETE, &format!("role-assignments/{id}"), &[], None)?;
        gone.extend((!answer.is_null()).then_some(answer));
    }
    print(&place, &gone)
}

/// The assignments at the very scope that a deletion means.
fn chosen(place: &Place, args: &DeleteArgs) -> Result<Vec<String>, CliError> {
    let role = args.role.as_ref().map(|role| place.role(role)).transpose()?;
    let role = role.map(|role| text(&role, "id"));
    let found = assignments(place, args.assignee.as_deref(), false, true)?;
    let meant = found.iter().filter(|known| {
        let properties = known.get("properties").unwrap_or(&Value::Null);
        let here = text(properties, "scope").eq_ignore_ascii_case(place.scope.trim_end_matches('/'));
        let same = role
            .as_ref()
            .is_none_or(|role| *role == text(properties, "roleDefinitionId"));
        here && same
    });
    Ok(meant.map(|known| text(known, "name")).collect())
}

fn print(place: &Place, assignments: &[Value]) -> Result<(), CliError> {
    if place.output == Output::Json {
        return table::json(&assignments);
    }
    // Names are for people: whoever may see assignments but not these sees ids.
    let roles = place
        .ask(Method::GET, "role-definitions", &[], None)
        .unwrap_or_default();
    let principals = place
        .instance
        .admin(Method::GET, "principals", None)
        .unwrap_or_default();
    let named = |list: &Value, id: &str, name: &dyn Fn(&Value) -> Option<String>| {
        let found = list.get("value").and_then(Value::as_array).into_iter().flatten();
        let mut found = found.filter(|known| text(known, "id") == id);
        found.next().and_then(name).unwrap_or_else(|| id.to_owned())
    };
    let mut table = Table::new(&["Principal", "Type", "Role", "Scope", "Name"]);
    for known in assignments {
        let properties = known
            .get("properties")
            .ok_or(Failure::Protocol("a role assignment"))?;
        let role = text(properties, "roleDefinitionId");
        table.row([
            named(&principals, &text(properties, "principalId"), &|known| {
                Some(text(known, "displayName"))
            }),
            text(properties, "principalType"),
            named(&roles, &role, &|role| {
                Some(text(role.get("properties")?, "roleName"))
            }),
            text(properties, "scope"),
            text(known, "name"),
        ]);
    }
    table.print()
}

fn roles(args: &RolesArgs) -> Result<(), CliError> {
    let place = args.at.place()?;
    let name = args.name.as_deref().map(|name| ("name", name));
    let custom = args.custom_role_only.then_some(("built_in", "false"));
    let query: Vec<_> = name.into_iter().chain(custom).collect();
    let listed = place.ask(Method::GET, "role-definitions", &query, None)?;
    print_roles(items(&listed)?, place.output)
}

/// Makes or changes a role: what is not given stays as it is in `old`.
fn put_role(place: &Place, id: &str, name: &str, old: &Value, content: &ContentArgs) -> Result<(), CliError> {
    let permission = old
        .get("permissions")
        .and_then(|all| all.get(0))
        .unwrap_or(&Value::Null);
    let list = |new: &[String], old: Option<&Value>| match (new, old) {
        ([], Some(old)) => old.clone(),
        (new, _) => json!(new),
    };
    let scopes = match (content.assignable_scopes.as_slice(), old.get("assignableScopes")) {
        ([], None) => json!([place.scope]),
        (new, old) => list(new, old),
    };
    let description = content.description.as_ref().map(|text| json!(text));
    let body = json!({"properties": {
        "roleName": name,
        "description": description.or_else(|| old.get("description").cloned()),
        "permissions": [{
            "actions": list(&content.actions, permission.get("actions")),
            "notActions": list(&content.not_actions, permission.get("notActions")),
            "dataActions": list(&content.data_actions, permission.get("dataActions")),
            "notDataActions": list(&content.not_data_actions, permission.get("notDataActions")),
        }],
        "assignableScopes": scopes,
    }});
    let made = place
        .instance
        .admin(Method::PUT, &format!("role-definitions/{id}"), Some(&body))?;
    print_roles(&[made], place.output)
}

fn print_roles(roles: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&roles);
    }
    let mut table = Table::new(&["Role", "Type", "Id", "Description"]);
    for role in roles {
        let properties = role
            .get("properties")
            .ok_or(Failure::Protocol("a role definition"))?;
        table.row([
            text(properties, "roleName"),
            text(properties, "type"),
            text(role, "name"),
            text(properties, "description"),
        ]);
    }
    table.print()
}
