//! An AI account, as Resource Manager or Resource Graph shows it.

use serde_json::Value;

use super::json::{at, field, list, number, text, texts, truth};
use super::lookup::FactRef;
use super::names::{ArmId, KeyName, guid, location};

/// An AI account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its id, as compared.
    pub id: ArmId,
    /// Its name, as spelled.
    pub name: String,
    /// `OpenAI`, `AIServices` and others.
    pub kind: String,
    /// The region, in one spelling.
    pub location: Option<String>,
    /// The GUID that stored objects carry.
    pub internal_id: Option<String>,
    /// Whom it acts as; none where the answer did not say.
    pub identity: Option<Identity>,
    /// Whose key it uses.
    pub encryption: Encryption,
    /// Whether account keys are turned off.
    pub local_auth_disabled: Option<bool>,
    /// Who reaches it.
    pub network: Network,
    /// What it can do, such as `CustomerManagedKey`; none where the answer did not say.
    pub capabilities: Option<Vec<String>>,
    /// Whether it may call only named hosts.
    pub outbound_restricted: Option<bool>,
    /// Storage that the customer brings.
    pub own_storage: Vec<String>,
    /// The tags.
    pub tags: Tags,
    /// Where that was read.
    pub fact: FactRef,
    pub(super) rank: Rank,
}

/// Which of several answers about one resource counts: the one that shows more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A row of Resource Graph, which may be minutes old.
    Graph,
    /// An element of a list.
    Listed,
    /// The resource itself.
    Got,
}

/// Whom a resource acts as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// The principal of the system-assigned identity.
    pub system: Option<String>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// The user-assigned identities.
    pub user: Vec<UserIdentity>,
}

/// A user-assigned identity, as its user shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIdentity {
    /// Its id, as compared.
    pub id: Option<ArmId>,
    /// By which the key's settings name it.
    pub client: Option<String>,
    /// To which roles are assigned.
    pub principal: Option<String>,
}

/// Whose key an account uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// The service's own: said so, or never chosen.
    Service,
    /// A customer's.
    Customer(CustomerKey),
    /// Something that is not known here.
    Unknown(String),
}

/// The customer's key, as the account names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerKey {
    /// The key; none where the reference does not name one.
    pub name: Option<KeyName>,
    /// The reference as it stands, for people.
    pub shown: String,
    /// The user-assigned identity that asks for it, by its client id.
    pub client: Option<String>,
}

/// Who reaches a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// `publicNetworkAccess`; none where the answer did not say.
    pub public: Option<bool>,
    /// Whether everybody is let in whom no rule names.
    pub open_by_default: bool,
    /// Whether trusted services pass the firewall.
    pub trusted_bypass: bool,
    /// How many addresses are let in.
    pub addresses: usize,
    /// How many networks are.
    pub networks: usize,
    /// How many private endpoints are approved.
    pub approved_links: usize,
    /// How many wait, or were turned down.
    pub other_links: usize,
}

/// The tags of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// How many there are.
    pub count: usize,
    /// What a tag says of the owner.
    pub owner: Option<String>,
}

impl Account {
    pub(super) fn read(body: &Value, rank: Rank, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let properties = field(body, "properties").filter(|value| value.is_object())?;
        Some(Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            kind: text(body, "kind").unwrap_or_default().to_owned(),
            location: text(body, "location").and_then(location),
            internal_id: text(properties, "internalId")
                .and_then(guid)
                .map(|id| id.replace('-', "")),
            identity: Identity::read(body, rank),
            encryption: Encryption::read(properties),
            local_auth_disabled: truth(properties, "disableLocalAuth"),
            network: Network::read(properties),
            capabilities: field(properties, "capabilities").map(|_| {
                let named = |entry: &Value| text(entry, "name").map(str::to_owned);
                list(properties, "capabilities")
                    .iter()
                    .filter_map(named)
                    .collect()
            }),
            outbound_restricted: truth(properties, "restrictOutboundNetworkAccess"),
            own_storage: {
                let named = |entry: &Value| text(entry, "resourceId").map(str::to_owned);
                list(properties, "userOwnedStorage")
                    .iter()
                    .filter_map(named)
                    .collect()
            },
            tags: Tags::read(body),
            id,
            fact,
            rank,
        })
    }

    /// The principal that asks for the key, or why there is none.
    pub fn key_principal(&self) -> KeyPrincipal<'_> {
        let Encryption::Customer(key) = &self.encryption else {
            return KeyPrincipal::NotNeeded;
        };
        let Some(identity) = &self.identity else {
            return KeyPrincipal::NotShown;
        };
        match &key.client {
            Some(client) => {
                let named = |user: &&UserIdentity| user.client.as_deref() == Some(client);
                match identity.user.iter().find(named) {
                    Some(user) => user
                        .principal
                        .as_deref()
                        .map_or(KeyPrincipal::NotShown, KeyPrincipal::Is),
                    // An identity that does not say its client id may be the one.
                    None if identity.user.iter().any(|user| user.client.is_none()) => KeyPrincipal::NotShown,
                    None => KeyPrincipal::Missing(format!(
                        "the key's settings name the identity with client id {client}, which the account does not have"
                    )),
                }
            }
            None => identity.system.as_deref().map_or_else(
                || {
                    KeyPrincipal::Missing(
                        "the account has no system-assigned identity, and the key's settings name no other"
                            .to_owned(),
                    )
                },
                KeyPrincipal::Is,
            ),
        }
    }
}

/// The principal that asks a vault on behalf of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPrincipal<'a> {
    /// Its object id.
    Is(&'a str),
    /// There is none, because of this.
    Missing(String),
    /// The answer does not show it.
    NotShown,
    /// No customer's key is used.
    NotNeeded,
}

impl Identity {
    /// What a body shows. A row of Resource Graph that has no such column says nothing; a resource without the member has none.
    pub(super) fn read(body: &Value, rank: Rank) -> Option<Self> {
        let Some(identity) = field(body, "identity") else {
            let column = body
                .as_object()
                .is_some_and(|members| members.contains_key("identity"));
            return (rank > Rank::Graph || column).then(Self::default);
        };
        let kind = text(identity, "type").unwrap_or_default().to_ascii_lowercase();
        let system = kind.is_empty() || kind.contains("systemassigned");
        let users = field(identity, "userAssignedIdentities").and_then(Value::as_object);
        let user = users.into_iter().flatten().map(|(id, value)| UserIdentity {
            id: ArmId::read(id),
            client: text(value, "clientId").and_then(guid),
            principal: text(value, "principalId").and_then(guid),
        });
        Some(Self {
            system: text(identity, "principalId").filter(|_| system).and_then(guid),
            tenant: text(identity, "tenantId").and_then(guid),
            user: user.collect(),
        })
    }

    /// Whether there is one.
    pub fn is_any(&self) -> bool {
        self.system.is_some() || !self.user.is_empty()
    }
}

impl Encryption {
    fn read(properties: &Value) -> Self {
        let Some(encryption) = field(properties, "encryption") else {
            return Self::Service;
        };
        let source = text(encryption, "keySource").unwrap_or_default();
        match source.to_ascii_lowercase().as_str() {
            "microsoft.keyvault" => Self::Customer(CustomerKey::read(encryption)),
            "" | "microsoft.cognitiveservices" => Self::Service,
            _ => Self::Unknown(source.to_owned()),
        }
    }
}

impl CustomerKey {
    fn read(encryption: &Value) -> Self {
        let of = |name: &str| text(encryption, &format!("keyVaultProperties.{name}"));
        let (vault, key, version) = (of("keyVaultUri"), of("keyName"), of("keyVersion"));
        let shown = [vault, key, version].map(|part| part.unwrap_or("-").to_owned());
        Self {
            name: KeyName::new(vault.unwrap_or_default(), key.unwrap_or_default(), version),
            shown: shown.join(" "),
            client: of("identityClientId").and_then(guid),
        }
    }
}

impl Network {
    pub(super) fn read(properties: &Value) -> Self {
        let acls = field(properties, "networkAcls");
        let is = |name: &str, value: &str| {
            let text = acls.and_then(|acls| text(acls, name));
            text.map(|text| {
                text.split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(value))
            })
        };
        let links = list(properties, "privateEndpointConnections");
        let approved = |link: &&Value| {
            let status = text(link, "properties.privateLinkServiceConnectionState.status");
            status.is_some_and(|status| status.eq_ignore_ascii_case("approved"))
        };
        let approved_links = links.iter().filter(approved).count();
        let count = |name: &str| acls.map_or(0, |acls| list(acls, name).len());
        Self {
            public: text(properties, "publicNetworkAccess").map(|text| text.eq_ignore_ascii_case("enabled")),
            // Without rules everybody is let in; rules without a default action deny.
            open_by_default: is("defaultAction", "allow").unwrap_or(acls.is_none()),
            // Absent, a vault's rules let trusted services pass; an account's have no such default, which nobody asks about.
            trusted_bypass: is("bypass", "azureservices").unwrap_or(true),
            addresses: count("ipRules"),
            networks: count("virtualNetworkRules"),
            approved_links,
            other_links: links.len() - approved_links,
        }
    }

    /// Whether nobody is let in by default.
    pub fn is_closed(&self) -> bool {
        self.public == Some(false) || !self.open_by_default
    }
}

impl Tags {
    pub(super) fn read(body: &Value) -> Self {
        let tags = field(body, "tags");
        let owner = |name: &&str| tags.and_then(|tags| text(tags, name)).map(str::to_owned);
        Self {
            count: tags.and_then(Value::as_object).map_or(0, serde_json::Map::len),
            owner: OWNERS.iter().find_map(owner),
        }
    }
}

/// Tags that name an owner, in the order in which they count.
const OWNERS: [&str; 5] = ["owner", "ownerEmail", "owner-email", "serviceOwner", "team"];

/// A model that an account serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id, as compared.
    pub id: ArmId,
    /// Its name.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// Whether it is a model that was made from the customer's data.
    pub fine_tuned: bool,
    /// What a revocation does to it: Strongroom's own property.
    pub revocation: Option<String>,
    /// Where that was read.
    pub fact: FactRef,
}

impl Deployment {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let model = text(body, "properties.model.name").unwrap_or_default();
        let lower = model.to_ascii_lowercase();
        let source = text(body, "properties.model.source").map(str::to_ascii_lowercase);
        let by_name = lower.contains(".ft-") || lower.starts_with("ft:") || lower.starts_with("ft-");
        Some(Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            model: model.to_owned(),
            fine_tuned: by_name || source.is_some_and(|source| source.contains("/accounts/")),
            revocation: text(body, "properties.revocationPolicy").map(str::to_owned),
            id,
            fact,
        })
    }
}

/// A resource that an account or a project is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id, as compared.
    pub id: ArmId,
    /// Its name.
    pub name: String,
    /// Such as `AzureBlob`, `CognitiveSearch`, `CosmosDb`.
    pub category: String,
    /// Where it leads: a URL or an id.
    pub target: Option<String>,
    /// The resource, where it says so.
    pub resource: Option<ArmId>,
    /// Where that was read.
    pub fact: FactRef,
}

impl Connection {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let id = ArmId::read(text(body, "id")?)?;
        let properties = field(body, "properties")?;
        let target = text(properties, "target").map(str::to_owned);
        let resource = text(properties, "metadata.ResourceId")
            .or(target.as_deref())
            .and_then(ArmId::read);
        Some(Self {
            name: text(body, "name").unwrap_or_else(|| id.name()).to_owned(),
            category: text(properties, "category").unwrap_or_default().to_owned(),
            resource,
            target,
            id,
            fact,
        })
    }
}

/// Which connections serve an account's or a project's agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapabilityHost {
    /// Its id, as compared.
    pub id: ArmId,
    /// For files.
    pub storage: Vec<String>,
    /// For vector stores.
    pub vectors: Vec<String>,
    /// For threads.
    pub threads: Vec<String>,
    /// Where that was read.
    pub fact: FactRef,
}

impl CapabilityHost {
    pub(super) fn read(body: &Value, fact: FactRef) -> Option<Self> {
        let properties = at(body, "properties")?;
        Some(Self {
            id: ArmId::read(text(body, "id")?)?,
            storage: texts(properties, "storageConnections"),
            vectors: texts(properties, "vectorStoreConnections"),
            threads: texts(properties, "threadStorageConnections"),
            fact,
        })
    }

    /// Whether everything that agents keep goes to the customer's own stores.
    pub fn is_standard(&self) -> bool {
        !self.storage.is_empty() && !self.vectors.is_empty() && !self.threads.is_empty()
    }
}

/// A tier of Defender, by subscription and plan.
pub(super) fn pricing(body: &Value) -> Option<(ArmId, bool)> {
    let id = ArmId::read(text(body, "id")?)?;
    let tier = text(body, "properties.pricingTier")?;
    Some((id, tier.eq_ignore_ascii_case("standard")))
}

/// A count of days, where it is one.
pub(super) fn days(value: &Value, path: &str) -> Option<u32> {
    number(value, path).and_then(|days| u32::try_from(days).ok())
}
