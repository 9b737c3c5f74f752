//! `strongroom vault`: vaults, their access policies and firewalls, through Resource Manager as any other client of it.

use clap::{ArgAction, Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::Instance;
use super::principal::object_id;
use super::table::{self, Table, items, text};
use super::{CliError, Failure, InstanceArgs, Output};

const VAULTS: &str = "/providers/Microsoft.KeyVault/vaults";
const DELETED: &str = "/providers/Microsoft.KeyVault/deletedVaults";

#[derive(Args, Debug)]
pub(super) struct VaultArgs {
    #[command(subcommand)]
    action: VaultAction,
}

#[derive(Debug, Subcommand)]
enum VaultAction {
    /// Make a vault.
    Create(CreateArgs),
    /// Vaults, by name.
    List(ListArgs),
    /// One vault.
    Show(NamedArgs),
    /// Change a vault: what is given changes, the rest stays.
    Update(UpdateArgs),
    /// Delete a vault, with the roles assigned on it. It can be recovered for its retention days; the roles cannot.
    Delete(NamedArgs),
    /// Deleted vaults that can be recovered.
    ListDeleted(InstanceArgs),
    /// Bring a deleted vault back with its keys.
    Recover(NamedArgs),
    /// Destroy a deleted vault and its keys for good.
    Purge(NamedArgs),
    /// Access policies: they count where roles do not decide.
    Policy(PolicyArgs),
    /// From where the vault may be asked.
    Network(NetworkArgs),
}

#[derive(Args, Debug)]
struct NamedArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The vault.
    #[arg(long)]
    name: String,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Those of one resource group.
    #[arg(long)]
    resource_group: Option<String>,
}

#[derive(Args, Debug)]
struct CreateArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The resource group; the instance's own, if left out.
    #[arg(long)]
    resource_group: Option<String>,
    /// The region.
    #[arg(long, default_value = "local")]
    location: String,
    /// `standard`; there is no HSM for `premium`.
    #[arg(long, default_value = "standard")]
    sku: String,
    /// For how many days what is deleted can be recovered: 7 to 90. Fixed from now on.
    #[arg(long, default_value_t = 90)]
    retention_days: u32,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Args, Debug)]
struct UpdateArgs {
    #[command(flatten)]
    named: NamedArgs,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Args, Debug)]
struct SettingsArgs {
    /// Whether roles decide who may use keys (a new vault's default), or the vault's access policies.
    #[arg(long, action = ArgAction::Set)]
    enable_rbac_authorization: Option<bool>,
    /// Nothing deleted can be purged before its time. This cannot be taken back.
    #[arg(long)]
    enable_purge_protection: bool,
    /// Whether the vault may be asked over the network at all.
    #[arg(long, value_enum)]
    public_network_access: Option<Access>,
    /// What happens to addresses that no rule names.
    #[arg(long, value_enum)]
    default_action: Option<DefaultAction>,
    /// Whether the identities of AI accounts get through the firewall.
    #[arg(long, value_enum)]
    bypass: Option<Bypass>,
    /// A tag, `NAME=VALUE`; may be given again. Replaces the tags that there are.
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Access {
    Enabled,
    Disabled,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DefaultAction {
    Allow,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bypass {
    #[value(name = "AzureServices", alias = "azureservices")]
    AzureServices,
    #[value(name = "None", alias = "none")]
    Nobody,
}

#[derive(Args, Debug)]
struct PolicyArgs {
    #[command(subcommand)]
    action: PolicyAction,
}

#[derive(Debug, Subcommand)]
enum PolicyAction {
    /// What a principal may do with keys, in place of what it could before.
    Set(SetPolicyArgs),
    /// Take a principal's policy away.
    Remove(OfPrincipalArgs),
}

#[derive(Args, Debug)]
struct OfPrincipalArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// The principal: object id, client id or name.
    #[arg(long)]
    assignee: String,
}

#[derive(Args, Debug)]
struct SetPolicyArgs {
    #[command(flatten)]
    of: OfPrincipalArgs,
    /// Permissions such as `get`, `wrapKey`, `unwrapKey` or `all`.
    #[arg(long, value_name = "PERMISSION", num_args = 0.., required = true)]
    key_permissions: Vec<String>,
}

#[derive(Args, Debug)]
struct NetworkArgs {
    #[command(subcommand)]
    action: NetworkAction,
}

#[derive(Debug, Subcommand)]
enum NetworkAction {
    /// The rules.
    List(NamedArgs),
    /// Let addresses through.
    Add(AddressArgs),
    /// No longer let them through.
    Remove(AddressArgs),
}

#[derive(Args, Debug)]
struct AddressArgs {
    #[command(flatten)]
    named: NamedArgs,
    /// An address, or a range such as 10.0.0.0/24; may be given again.
    #[arg(long, required = true)]
    ip_address: Vec<String>,
}

pub(super) fn run(args: &VaultArgs) -> Result<(), CliError> {
    match &args.action {
        VaultAction::Create(args) => create(args),
        VaultAction::List(args) => list(args),
        VaultAction::Show(args) => print(&[Vault::find(args)?.shown], args.instance.output),
        VaultAction::Update(args) => {
            let vault = Vault::find(&args.named)?;
            let changed = vault.patch(&args.settings.body()?)?;
            print(&[changed], args.named.instance.output)
        }
        VaultAction::Delete(args) => {
            let vault = Vault::find(args)?;
            vault.ask(Method::DELETE, "", None)?;
            print(&[vault.shown], args.instance.output)
        }
        VaultAction::ListDeleted(args) => {
            let instance = Instance::find(args.folder.folder()?)?;
            print_deleted(items(&instance.manage(Method::GET, DELETED, None)?)?, args.output)
        }
        VaultAction::Recover(args) => recover(args),
        VaultAction::Purge(args) => {
            let (instance, deleted) = find_deleted(args)?;
            let id = below_subscription(&deleted)?;
            instance.manage(Method::POST, &format!("{id}/purge"), None)?;
            print_deleted(&[deleted], args.instance.output)
        }
        VaultAction::Policy(args) => match &args.action {
            PolicyAction::Set(args) => set_policy(args),
            PolicyAction::Remove(args) => remove_policy(args),
        },
        VaultAction::Network(args) => match &args.action {
            NetworkAction::List(args) => print_rules(&Vault::find(args)?.shown, args.instance.output),
            NetworkAction::Add(args) => change_rules(args, true),
            NetworkAction::Remove(args) => change_rules(args, false),
        },
    }
}

/// A vault, as Resource Manager shows it.
struct Vault {
    instance: Instance,
    shown: Value,
}

impl Vault {
    fn find(args: &NamedArgs) -> Result<Self, CliError> {
        let instance = Instance::find(args.instance.folder.folder()?)?;
        let listed = instance.manage(Method::GET, VAULTS, None)?;
        let shown = named(items(&listed)?, &args.name, "vault")?;
        Ok(Self { instance, shown })
    }

    fn ask(&self, method: Method, rest: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let path = format!("{}{rest}", below_subscription(&self.shown)?);
        self.instance.manage(method, &path, body)
    }

    fn patch(&self, body: &Value) -> Result<Value, CliError> {
        self.ask(Method::PATCH, "", Some(body))
    }
}

/// The one of this name, whatever the case of its letters.
fn named(all: &[Value], name: &str, what: &str) -> Result<Value, CliError> {
    let found = all
        .iter()
        .find(|known| text(known, "name").eq_ignore_ascii_case(name));
    found.cloned().ok_or_else(|| CliError::Answered {
        code: "ResourceNotFound".to_owned(),
        message: format!("there is no {what} called {name}"),
    })
}

fn find_deleted(args: &NamedArgs) -> Result<(Instance, Value), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let listed = instance.manage(Method::GET, DELETED, None)?;
    let deleted = named(items(&listed)?, &args.name, "deleted vault")?;
    Ok((instance, deleted))
}

/// A resource's id without the subscription in front.
fn below_subscription(resource: &Value) -> Result<String, CliError> {
    let id = text(resource, "id");
    let rest = id
        .strip_prefix("/subscriptions/")
        .and_then(|id| id.split_once('/'));
    let (_, rest) = rest.ok_or(Failure::Protocol("a resource without an id"))?;
    Ok(format!("/{rest}"))
}

pub(super) fn property<'a>(resource: &'a Value, name: &str) -> &'a Value {
    let properties = resource.get("properties");
    properties
        .and_then(|properties| properties.get(name))
        .unwrap_or(&Value::Null)
}

impl SettingsArgs {
    /// What changes, as Resource Manager takes it.
    fn body(&self) -> Result<Value, CliError> {
        let mut properties = Map::new();
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                properties.insert(name.to_owned(), value);
            }
        };
        set(
            "enableRbacAuthorization",
            self.enable_rbac_authorization.map(Value::from),
        );
        set(
            "enablePurgeProtection",
            self.enable_purge_protection.then_some(json!(true)),
        );
        set(
            "publicNetworkAccess",
            self.public_network_access
                .map(|access| json!(format!("{access:?}"))),
        );
        let mut acls = Map::new();
        if let Some(action) = self.default_action {
            acls.insert("defaultAction".to_owned(), json!(format!("{action:?}")));
        }
        if let Some(bypass) = self.bypass {
            let bypass = match bypass {
                Bypass::AzureServices => "AzureServices",
                Bypass::Nobody => "None",
            };
            acls.insert("bypass".to_owned(), json!(bypass));
        }
        set("networkAcls", (!acls.is_empty()).then_some(Value::Object(acls)));
        let mut body = json!({"properties": properties});
        if let (false, Some(body)) = (self.tags.is_empty(), body.as_object_mut()) {
            body.insert("tags".to_owned(), self.read_tags()?);
        }
        Ok(body)
    }

    fn read_tags(&self) -> Result<Value, CliError> {
        let mut tags = Map::new();
        for tag in &self.tags {
            let (name, value) = tag
                .split_once('=')
                .ok_or_else(|| CliError::Configuration(vec![format!("`{tag}` is no tag: NAME=VALUE is")]))?;
            tags.insert(name.to_owned(), json!(value));
        }
        Ok(Value::Object(tags))
    }
}

fn create(args: &CreateArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.named.instance.folder.folder()?)?;
    let group = match &args.resource_group {
        Some(group) => group,
        None => instance.variable("STRONGROOM_RESOURCE_GROUP")?,
    };
    let path = format!(
        "/resourceGroups/{}{VAULTS}/{}",
        segment(group)?,
        segment(&args.named.name)?
    );
    let listed = instance.manage(Method::GET, VAULTS, None)?;
    if let Ok(known) = named(items(&listed)?, &args.named.name, "vault") {
        return Err(CliError::Answered {
            code: "VaultAlreadyExists".to_owned(),
            message: format!("there is a vault {} already", text(&known, "name")),
        });
    }
    let mut body = args.settings.body()?;
    if let Some(body) = body.as_object_mut() {
        body.insert("location".to_owned(), json!(args.location));
    }
    if let Some(properties) = body.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "tenantId".to_owned(),
            json!(instance.variable("AZURE_TENANT_ID")?),
        );
        properties.insert("sku".to_owned(), json!({"family": "A", "name": args.sku}));
        properties.insert("softDeleteRetentionInDays".to_owned(), json!(args.retention_days));
        properties.insert("accessPolicies".to_owned(), json!([]));
    }
    let made = instance.manage(Method::PUT, &path, Some(&body))?;
    print(&[made], args.named.instance.output)
}

/// A name that is a segment of a path.
pub(super) fn segment(name: &str) -> Result<&str, CliError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(fits) {
        return Err(CliError::Configuration(vec![format!("`{name}` is not a name")]));
    }
    Ok(name)
}

fn list(args: &ListArgs) -> Result<(), CliError> {
    let instance = Instance::find(args.instance.folder.folder()?)?;
    let path = match &args.resource_group {
        Some(group) => format!("/resourceGroups/{}{VAULTS}", segment(group)?),
        None => VAULTS.to_owned(),
    };
    print(
        items(&instance.manage(Method::GET, &path, None)?)?,
        args.instance.output,
    )
}

fn recover(args: &NamedArgs) -> Result<(), CliError> {
    let (instance, deleted) = find_deleted(args)?;
    let vault = json!({"id": property(&deleted, "vaultId")});
    let body = json!({
        "location": property(&deleted, "location"),
        "properties": {
            "tenantId": instance.variable("AZURE_TENANT_ID")?,
            "sku": {"family": "A", "name": "standard"},
            "createMode": "recover",
        },
    });
    let recovered = instance.manage(Method::PUT, &below_subscription(&vault)?, Some(&body))?;
    print(&[recovered], args.instance.output)
}

fn set_policy(args: &SetPolicyArgs) -> Result<(), CliError> {
    let vault = Vault::find(&args.of.named)?;
    let policy = json!({
        "tenantId": property(&vault.shown, "tenantId"),
        "objectId": object_id(&vault.instance, &args.of.assignee)?,
        "permissions": {"keys": args.key_permissions, "secrets": [], "certificates": [], "storage": []},
    });
    change_policy(&vault, "replace", policy, args.of.named.instance.output)
}

/// Everything that the policy grants is taken away, and with it the policy.
fn remove_policy(args: &OfPrincipalArgs) -> Result<(), CliError> {
    let vault = Vault::find(&args.named)?;
    // A principal that was deleted is nobody any more, and still has its policy.
    let id = args.assignee.parse::<uuid::Uuid>().map(|id| id.to_string());
    let id = id.or_else(|_| object_id(&vault.instance, &args.assignee))?;
    let policies = property(&vault.shown, "accessPolicies").as_array();
    let known = policies
        .into_iter()
        .flatten()
        .find(|policy| text(policy, "objectId") == id);
    let known = known.cloned().ok_or_else(|| CliError::Answered {
        code: "ResourceNotFound".to_owned(),
        message: format!("the vault has no access policy of {}", args.assignee),
    })?;
    change_policy(&vault, "remove", known, args.named.instance.output)
}

fn change_policy(vault: &Vault, change: &str, policy: Value, output: Output) -> Result<(), CliError> {
    let body = json!({"properties": {"accessPolicies": [policy]}});
    let answer = vault.ask(Method::PUT, &format!("/accessPolicies/{change}"), Some(&body))?;
    let policies = property(&answer, "accessPolicies").as_array();
    let policies = policies.map(Vec::as_slice).unwrap_or_default();
    if output == Output::Json {
        return table::json(&policies);
    }
    let mut table = Table::new(&["Object id", "Key permissions"]);
    for policy in policies {
        let keys = policy
            .get("permissions")
            .and_then(|permissions| permissions.get("keys"));
        let keys = keys.and_then(Value::as_array).into_iter().flatten();
        let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
        table.row([text(policy, "objectId"), keys.join(" ")]);
    }
    table.print()
}

fn change_rules(args: &AddressArgs, add: bool) -> Result<(), CliError> {
    let vault = Vault::find(&args.named)?;
    let mut rules = addresses(&vault.shown);
    for address in &args.ip_address {
        // As the vault writes them.
        let written = match (address.contains('/'), address.contains(':')) {
            (true, _) => address.clone(),
            (false, true) => format!("{address}/128"),
            (false, false) => format!("{address}/32"),
        };
        if !add && !rules.contains(&written) {
            return Err(CliError::Answered {
                code: "ResourceNotFound".to_owned(),
                message: format!("the vault has no rule for {written}"),
            });
        }
        rules.retain(|rule| *rule != written);
        if add {
            rules.push(written);
        }
    }
    let rules: Vec<Value> = rules.iter().map(|rule| json!({"value": rule})).collect();
    let changed = vault.patch(&json!({"properties": {"networkAcls": {"ipRules": rules}}}))?;
    print_rules(&changed, args.named.instance.output)
}

fn addresses(vault: &Value) -> Vec<String> {
    let rules = property(vault, "networkAcls")
        .get("ipRules")
        .and_then(Value::as_array);
    rules
        .into_iter()
        .flatten()
        .map(|rule| text(rule, "value"))
        .collect()
}

fn print_rules(vault: &Value, output: Output) -> Result<(), CliError> {
    let acls = property(vault, "networkAcls");
    if output == Output::Json {
        return table::json(acls);
    }
    let mut table = Table::new(&["Public access", "Default", "Bypass", "Addresses"]);
    table.row([
        text(property_object(vault), "publicNetworkAccess"),
        text(acls, "defaultAction"),
        text(acls, "bypass"),
        match addresses(vault).join(" ") {
            none if none.is_empty() => "-".to_owned(),
            some => some,
        },
    ]);
    table.print()
}

fn property_object(resource: &Value) -> &Value {
    resource.get("properties").unwrap_or(&Value::Null)
}

fn print(vaults: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&vaults);
    }
    let mut table = Table::new(&[
        "Name",
        "Resource group",
        "Location",
        "Permissions",
        "Days",
        "Purge protection",
        "URL",
    ]);
    for vault in vaults {
        let properties = property_object(vault);
        let id = text(vault, "id");
        let group = id.split('/').nth(4).unwrap_or("-").to_owned();
        let by_roles = text(properties, "enableRbacAuthorization") == "true";
        let protected = text(properties, "enablePurgeProtection") == "true";
        table.row([
            text(vault, "name"),
            group,
            text(vault, "location"),
            if by_roles { "roles" } else { "access policies" }.to_owned(),
            text(properties, "softDeleteRetentionInDays"),
            if protected { "yes" } else { "no" }.to_owned(),
            text(properties, "vaultUri"),
        ]);
    }
    table.print()
}

fn print_deleted(vaults: &[Value], output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return table::json(&vaults);
    }
    let mut table = Table::new(&[
        "Name",
        "Location",
        "Deleted",
        "Destroyed by itself",
        "Purge protection",
    ]);
    for vault in vaults {
        let properties = property_object(vault);
        let protected = text(properties, "purgeProtectionEnabled") == "true";
        table.row([
            text(vault, "name"),
            text(properties, "location"),
            text(properties, "deletionDate"),
            text(properties, "scheduledPurgeDate"),
            if protected { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table.print()
}
