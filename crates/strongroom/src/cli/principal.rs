//! `strongroom principal` and `strongroom group`: who there is, and who is in which group.

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Instance;
use super::credential;
use super::table::{self, Table, items, text};
use super::{CliError, Failure, InstanceArgs, Output};

#[derive(Args, Debug)]
pub(super) struct PrincipalArgs {
    #[command(subcommand)]
    action: PrincipalAction,
}

#[derive(Debug, Subcommand)]
enum PrincipalAction {
    /// Principals, by name.
    List(ListArgs),
    /// Make one.
    Create(CreateArgs),
    /// Remove one, from its groups too. Its role assignments stay visible and grant nothing.
    Delete(NamedArgs),
    /// How principals prove who they are.
    #[command(flatten)]
    Proof(credential::ProofAction),
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Those of one kind.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Those of this name.
    #[arg(long)]
    name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    App,
    User,
    Group,
    Identity,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::User => "user",
            Self::Group => "group",
            Self::Identity => "identity",
        }
    }
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(subcommand)]
    kind: CreateKind,
}

#[derive(Debug, Subcommand)]
enum CreateKind {
    /// An application with its service principal.
    App(AppArgs),
    /// A user, for role assignments and groups.
    User(UserArgs),
    /// A group.
    Group(DisplayArgs),
    /// A user-assigned identity: a resource of its own.
    Identity(IdentityArgs),
}

#[derive(Args, Debug)]
struct DisplayArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The name, for people.
    #[arg(long)]
    display_name: String,
}

#[derive(Args, Debug)]
struct AppArgs {
    #[command(flatten)]
    display: DisplayArgs,
    /// Make a secret too and show it, this once.
    #[arg(long)]
    with_secret: bool,
}

#[derive(Args, Debug)]
struct UserArgs {
    #[command(flatten)]
    display: DisplayArgs,
    /// The name to sign in with, such as ada@contoso.example.
    #[arg(long)]
    user_principal_name: String,
}

#[derive(Args, Debug)]
struct IdentityArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The name.
    #[arg(long)]
    name: String,
    /// The resource group; the instance's own, if left out.
    #[arg(long)]
    resource_group: Option<String>,
    /// The region.
    #[arg(long, default_value = "local")]
    location: String,
}

#[derive(Args, Debug)]
struct NamedArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Object id, client id, name to sign in with or display name.
    #[arg(long)]
    id: String,
}

#[derive(Args, Debug)]
pub(super) struct GroupArgs {
    #[command(subcommand)]
    action: GroupAction,
}

#[derive(Debug, Subcommand)]
enum GroupAction {
    /// Who is in the group itself; groups may be.
    Member(MemberArgs),
}

#[derive(Args, Debug)]
struct MemberArgs {
    #[command(subcommand)]
    action: MemberAction,
}

#[derive(Debug, Subcommand)]
enum MemberAction {
    /// Put somebody in.
    Add(MembershipArgs),
    /// Take somebody out: what came with the group goes.
    Remove(MembershipArgs),
    /// Who is in it.
    List(InGroupArgs),
}

#[derive(Args, Debug)]
struct InGroupArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The group: object id or display name.
    #[arg(long)]
    group: String,
}

#[derive(Args, Debug)]
struct MembershipArgs {
    #[command(flatten)]
    group: InGroupArgs,
    /// The member: object id, client id, name to sign in with or display name.
    #[arg(long)]
    member: String,
}

pub(super) fn run(args: &PrincipalArgs) -> Result<(), CliError> {
    match &args.action {
        PrincipalAction::List(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let kind = args.kind.map(|kind| ("kind", kind.name()));
            let name = args.name.as_deref().map(|name| ("name", name));
            let query: Vec<_> = kind.into_iter().chain(name).collect();
            let listed = instance.ask(Method::GET, "principals", &query, None)?;
            print(items(&listed)?, args.instance.output)
        }
        PrincipalAction::Create(args) => create(&args.kind),
        PrincipalAction::Delete(args) => {
            let instance = Instance::find(args.instance.folder.folder()?)?;
            let id = object_id(&instance, &args.id)?;
            let gone = instance.admin(Method::DELETE, &format!("principals/{id}"), None)?;
            print(&[gone], args.instance.output)
        }
        PrincipalAction::Proof(action) => credential::run(action),
    }
}

fn create(kind: &CreateKind) -> Result<(), CliError> {
    let (args, body) = match kind {
        CreateKind::App(args) => {
            let display = &args.display;
            (
                &display.instance,
                json!({"kind": "app", "displayName": display.display_name}),
            )
        }
        CreateKind::User(args) => {
            let display = &args.display;
            let body = json!({
                "kind": "user",
                "displayName": display.display_name,
                "userPrincipalName": args.user_principal_name,
            });
            (&display.instance, body)
        }
        CreateKind::Group(args) => (
            &args.instance,
            json!({"kind": "group", "displayName": args.display_name}),
        ),
        CreateKind::Identity(args) => (&args.instance, json!({"kind": "identity", "name": args.name})),
    };
    let instance = Instance::find(args.folder.folder()?)?;
    let mut body = body;
    if let (CreateKind::Identity(args), Some(body)) = (kind, body.as_object_mut()) {
        let group = match &args.resource_group {
            Some(group) => group,
            None => instance.variable("STRONGROOM_RESOURCE_GROUP")?,
        };
        body.insert("resourceGroup".to_owned(), json!(group));
        body.insert("location".to_owned(), json!(args.location));
    }
    let made = instance.admin(Method::POST, "principals", Some(&body))?;
    match kind {
        CreateKind::App(app) if app.with_secret => {
            let secret = credential::add(&instance, &text(&made, "id"), &json!({"kind": "secret"}))?;
            show_secret(&made, &secret, args.output)
        }
        _ => print(&[made], args.output),
    }
}

pub(super) fn run_group(args: &GroupArgs) -> Result<(), CliError> {
    let GroupAction::Member(args) = &args.action;
    let (group, member, method) = match &args.action {
        MemberAction::List(args) => (args, None, Method::GET),
        MemberAction::Add(args) => (&args.group, Some(&args.member), Method::PUT),
        MemberAction::Remove(args) => (&args.group, Some(&args.member), Method::DELETE),
    };
    let (output, added) = (group.instance.output, method == Method::PUT);
    let instance = Instance::find(group.instance.folder.folder()?)?;
    let path = format!("groups/{}/members", object_id(&instance, &group.group)?);
    let Some(member) = member else {
        return print(items(&instance.admin(method, &path, None)?)?, output);
    };
    let member = object_id(&instance, member)?;
    let done = instance.admin(method, &format!("{path}/{member}"), None)?;
    let word = if added { "added" } else { "removed" };
    outcome(&done, output, word, "it was not in the group")
}

/// The object id of whoever goes by this text.
pub(super) fn object_id(instance: &Instance, who: &str) -> Result<String, CliError> {
    Ok(text(&find(instance, who)?, "id"))
}

fn find(instance: &Instance, who: &str) -> Result<Value, CliError> {
    let encoded: String = url::form_urlencoded::byte_serialize(who.as_bytes()).collect();
    // In a path a space is no plus sign.
    instance.admin(
        Method::GET,
        &format!("principals/{}", encoded.replace('+', "%20")),
        None,
    )
}

fn show_secret(of: &Value, secret: &Value, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&json!({
            "id": of.get("id"),
            "appId": of.get("appId"),
            "displayName": of.get("displayName"),
            "keyId": secret.get("id"),
            "password": secret.get("secret"),
        }));
    }
    let mut table = Table::new(&["Application", "Client id", "Object id", "Key id", "Secret"]);
    let of = ["displayName", "appId", "id"].map(|name| text(of, name));
    table.row(
        of.into_iter()
            .chain(["id", "secret"].map(|name| text(secret, name))),
    );
    table.print()
}

fn print(principals: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&principals);
    }
    let mut table = Table::new(&["Name", "Kind", "Object id", "Client id or sign-in name"]);
    for known in principals {
        let kind = match text(known, "@odata.type").as_str() {
            "#microsoft.graph.user" => "user",
            "#microsoft.graph.group" => "group",
            _ if text(known, "servicePrincipalType") == "Application" => "app",
            _ => "identity",
        };
        let other = match kind {
            "user" => "userPrincipalName",
            _ => "appId",
        };
        table.row([
            text(known, "displayName"),
            kind.to_owned(),
            text(known, "id"),
            text(known, other),
        ]);
    }
    table.print()
}

/// What a change that may have found nothing to do says.
fn outcome(answer: &Value, output: Output, word: &str, nothing: &str) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(answer);
    }
    let done = answer.get(word).and_then(Value::as_bool);
    let done = done.ok_or(Failure::Protocol("an answer that does not say what was done"))?;
    table::line(if done { word } else { nothing })
}
