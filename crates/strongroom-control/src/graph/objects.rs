//! Users, groups, service principals and applications: found, listed, and as Graph shows them.

use std::collections::HashSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::query::{page, select};
use super::request::{Answer, Ask};
use super::{bad, missing, text};
use crate::actor::Actor;
use crate::arm::fault::Outcome;
use crate::control::Control;
use crate::directory::{Principal, PrincipalDetail, PrincipalKind, PrincipalType};
use crate::limits::DIRECTORY_IDS;
use crate::state::State;

/// The kinds of objects that Graph has a collection of. An application and its service principal are one principal here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Users,
    Groups,
    ServicePrincipals,
    Applications,
    /// Everything that can have roles.
    DirectoryObjects,
}

const KINDS: [(Kind, &str, &str); 5] = [
    (Kind::Users, "users", "user"),
    (Kind::Groups, "groups", "group"),
    (Kind::ServicePrincipals, "servicePrincipals", "servicePrincipal"),
    (Kind::Applications, "applications", "application"),
    (Kind::DirectoryObjects, "directoryObjects", "directoryObject"),
];

/// Properties that filters may name. Not every object has each.
const PROPERTIES: [&str; 18] = [
    "id",
    "displayName",
    "createdDateTime",
    "accountEnabled",
    "alternativeNames",
    "appDisplayName",
    "appId",
    "appOwnerOrganizationId",
    "groupTypes",
    "identifierUris",
    "mail",
    "mailEnabled",
    "mailNickname",
    "securityEnabled",
    "servicePrincipalNames",
    "servicePrincipalType",
    "tags",
    "userPrincipalName",
];

impl Kind {
    pub(super) fn of(segment: &str) -> Option<Self> {
        let mut kinds = KINDS.iter();
        let found = kinds.find(|(_, name, _)| name.eq_ignore_ascii_case(segment));
        found.map(|(kind, ..)| *kind)
    }

    fn named(self) -> (&'static str, &'static str) {
        let found = KINDS.iter().find(|(kind, ..)| *kind == self);
        found.map_or(("", ""), |(_, collection, one)| (*collection, *one))
    }

    /// What its collection is called.
    fn collection(self) -> &'static str {
        self.named().0
    }

    pub(super) fn type_name(self) -> String {
        format!("microsoft.graph.{}", self.named().1)
    }

    /// Whether filters may name this property.
    pub(super) fn has(self, property: &str) -> bool {
        PROPERTIES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(property))
    }

    fn holds(self, known: &Principal) -> bool {
        match self {
            Self::Users => known.principal_type() == PrincipalType::User,
            Self::Groups => known.principal_type() == PrincipalType::Group,
            Self::ServicePrincipals => known.principal_type() == PrincipalType::ServicePrincipal,
            Self::Applications => known.kind() == PrincipalKind::Application && known.home().is_none(),
            Self::DirectoryObjects => true,
        }
    }

    /// The id of an object of this kind: an application's is not its service principal's.
    fn id(self, known: &Principal) -> Uuid {
        match (self, known.client_id()) {
            (Self::Applications, Some(client)) => application_id(client),
            _ => known.object_id,
        }
    }
}

/// The id of an application object. Nothing is kept under it, so it is made of the application's client id.
fn application_id(client: Uuid) -> Uuid {
    let hash = digest(&SHA256, &[b"application".as_slice(), client.as_bytes()].concat());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// Everything that is known, if the caller may look around.
fn look(actor: &Actor) -> Outcome<Arc<State>> {
    let state = actor.control.state();
    actor.authorize_directory_read(&state)?;
    Ok(state)
}

/// The object that goes by this key: an id, `appId='...'`, a person's name to sign in with.
pub(super) fn find(actor: &Actor, kind: Kind, key: &str) -> Outcome<Arc<Principal>> {
    let state = look(actor)?;
    let directory = &state.directory;
    let by_application = key
        .split_once('=')
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("appId"));
    let found = if let Some((_, client)) = by_application {
        let client = client.trim().trim_matches('\'').parse().ok();
        client.and_then(|client| directory.by_client(client))
    } else if let Ok(id) = key.parse::<Uuid>() {
        match kind {
            Kind::Applications => {
                let mut all = directory.all().filter(|known| kind.holds(known));
                all.find(|known| kind.id(known) == id)
            }
            _ => directory.get(id),
        }
    } else {
        let mut all = directory.all();
        all.find(|known| {
            known
                .user_principal_name()
                .is_some_and(|name| name.eq_ignore_ascii_case(key))
        })
    };
    let found = found.filter(|known| kind.holds(known)).cloned();
    found.ok_or_else(|| missing(key))
}

pub(super) fn list(actor: &Actor, ask: &Ask, kind: Kind) -> Outcome<Answer> {
    let state = look(actor)?;
    if kind == Kind::DirectoryObjects {
        return Err(bad(
            "A list of all directory objects is not served: list users, groups or servicePrincipals.",
        ));
    }
    let all = state.directory.all().filter(|known| kind.holds(known)).cloned();
    let shown = |known: &Principal| shape(&actor.control, kind, known);
    page(ask, kind, kind.collection(), all.collect(), shown)
}

pub(super) fn one(actor: &Actor, ask: &Ask, kind: Kind, known: &Principal) -> Answer {
    let object = select(ask, shape(&actor.control, kind, known));
    let context = format!("{}/$entity", kind.collection());
    Answer::ok(in_context(ask, &context, object))
}

fn in_context(ask: &Ask, context: &str, object: Value) -> Value {
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), ask.context(context).into());
    if let Value::Object(object) = object {
        body.extend(object);
    }
    Value::Object(body)
}

/// What has just been made.
pub(super) fn made(actor: &Actor, ask: &Ask, kind: Kind, known: &Principal) -> Answer {
    Answer {
        status: StatusCode::CREATED,
        ..one(actor, ask, kind, known)
    }
}

/// `POST directoryObjects/getByIds`: those of the ids that there are, in the order asked for.
pub(super) fn by_ids(actor: &Actor, ask: &Ask) -> Outcome<Answer> {
    let state = look(actor)?;
    let ids = strings(&ask.body, "ids")
        .ok_or_else(|| bad("Invalid value specified for property 'ids' of resource."))?;
    if ids.len() > DIRECTORY_IDS {
        return Err(bad(format!(
            "Too many ids: at most {DIRECTORY_IDS} can be asked for."
        )));
    }
    let types = strings(&ask.body, "types").unwrap_or_default();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for id in ids {
        let id: Uuid = id
            .parse()
            .map_err(|_| bad(format!("Invalid object identifier '{id}'.")))?;
        let known = state.directory.get(id).filter(|known| is_of(known, &types));
        if let Some(known) = known
            && seen.insert(id)
        {
            found.push(select(ask, typed(&actor.control, known)));
        }
    }
    let body = json!({ "@odata.context": ask.context("directoryObjects"), "value": found });
    Ok(Answer::ok(body))
}

fn is_of(known: &Principal, types: &[&str]) -> bool {
    let kind = match known.principal_type() {
        PrincipalType::User => "user",
        PrincipalType::Group => "group",
        PrincipalType::ServicePrincipal => "servicePrincipal",
    };
    let is =
        |wanted: &&str| wanted.eq_ignore_ascii_case(kind) || wanted.eq_ignore_ascii_case("directoryObject");
    types.is_empty() || types.iter().any(is)
}

/// What an object has: members, groups, owners.
pub(super) fn related(
    actor: &Actor,
    ask: &Ask,
    kind: Kind,
    known: &Principal,
    what: &str,
) -> Outcome<Answer> {
    let state = look(actor)?;
    let ids: Vec<Uuid> = match what.to_ascii_lowercase().as_str() {
        "memberof" => state.directory.direct_groups(known.object_id).collect(),
        "transitivememberof" => groups_of(&state, known),
        "members" if kind == Kind::Groups => known.members().collect(),
        "transitivemembers" if kind == Kind::Groups => members_below(&state, known),
        // Nobody owns anything here: the administrator decides over all of it.
        "owners" | "ownedobjects" => Vec::new(),
        "federatedidentitycredentials" if kind == Kind::Applications => {
            return Ok(federations(ask, known));
        }
        _ => return Err(ask.unknown(what)),
    };
    let objects = ids.into_iter().filter_map(|id| state.directory.get(id).cloned());
    let shown = |known: &Principal| typed(&actor.control, known);
    page(
        ask,
        Kind::DirectoryObjects,
        "directoryObjects",
        objects.collect(),
        shown,
    )
}

/// All groups that it is in, through other groups too.
fn groups_of(state: &State, known: &Principal) -> Vec<Uuid> {
    let mut all = state.directory.memberships(known.object_id);
    all.retain(|id| *id != known.object_id);
    all
}

fn members_below(state: &State, group: &Principal) -> Vec<Uuid> {
    let mut all: Vec<Uuid> = group.members().collect();
    let mut seen: HashSet<Uuid> = all.iter().copied().collect();
    let mut next = 0;
    while let Some(member) = all.get(next).and_then(|id| state.directory.get(*id)).cloned() {
        next += 1;
        all.extend(member.members().filter(|id| seen.insert(*id)));
    }
    all
}

/// The actions that ask in which groups somebody is. `None` for any other.
pub(super) fn memberships(
    actor: &Actor,
    ask: &Ask,
    known: &Principal,
    action: &str,
) -> Outcome<Option<Answer>> {
    let state = look(actor)?;
    let mut groups = groups_of(&state, known);
    match action.to_ascii_lowercase().as_str() {
        "getmembergroups" | "getmemberobjects" => {}
        "checkmembergroups" | "checkmemberobjects" => {
            let asked = strings(&ask.body, "groupIds").or_else(|| strings(&ask.body, "ids"));
            let asked = asked.ok_or_else(|| bad("groupIds is required."))?;
            groups.retain(|group| asked.iter().any(|id| id.parse() == Ok(*group)));
        }
        _ => return Ok(None),
    }
    let context = ask.context("Collection(Edm.String)");
    Ok(Some(Answer::ok(
        json!({ "@odata.context": context, "value": groups }),
    )))
}

/// The one tenant.
pub(super) fn organization(actor: &Actor, ask: &Ask) -> Outcome<Answer> {
    let state = look(actor)?;
    let row = json!({ "id": state.tenant.id, "displayName": "Strongroom", "verifiedDomains": [] });
    let body = json!({ "@odata.context": ask.context("organization"), "value": [select(ask, row)] });
    Ok(Answer::ok(body))
}

fn federations(ask: &Ask, known: &Principal) -> Answer {
    let all = known.credentials().map(|credentials| &credentials.federations);
    let rows = all.into_iter().flatten().map(|known| {
        json!({
            "id": known.id,
            "name": known.display_name.clone().unwrap_or_else(|| known.id.to_string()),
            "issuer": known.issuer,
            "subject": known.subject,
            "audiences": [known.audience],
            "description": null,
        })
    });
    let rows: Vec<Value> = rows.collect();
    Answer::ok(json!({ "@odata.context": ask.context("federatedIdentityCredentials"), "value": rows }))
}

/// An object of a collection, whose type its collection tells.
fn shape(control: &Control, kind: Kind, known: &Principal) -> Value {
    let mut shape = typed(control, known);
    let Some(members) = shape.as_object_mut() else {
        return shape;
    };
    if kind != Kind::DirectoryObjects {
        members.shift_remove("@odata.type");
    }
    if kind == Kind::Applications {
        for name in [
            "servicePrincipalNames",
            "servicePrincipalType",
            "accountEnabled",
            "appDisplayName",
        ] {
            members.shift_remove(name);
        }
        members.insert("id".to_owned(), json!(kind.id(known)));
        members.insert("identifierUris".to_owned(), json!([]));
        members.insert("signInAudience".to_owned(), json!("AzureADMyOrg"));
    }
    shape
}

/// An object that tells its type itself, with the properties that clients look for.
fn typed(control: &Control, known: &Principal) -> Value {
    let mut shape = control.principal_shape(known);
    let more = match &known.detail {
        PrincipalDetail::User { user_principal_name } => json!({
            "accountEnabled": true,
            "businessPhones": [],
            "givenName": null,
            "jobTitle": null,
            "mail": null,
            "mailNickname": user_principal_name.split('@').next(),
            "mobilePhone": null,
            "officeLocation": null,
            "preferredLanguage": null,
            "surname": null,
        }),
        PrincipalDetail::Group { .. } => json!({
            "description": null,
            "groupTypes": [],
            "mail": null,
            "mailEnabled": false,
            "mailNickname": nickname(known),
            "securityEnabled": true,
        }),
        _ => json!({
            "accountEnabled": true,
            "appDisplayName": known.display_name,
            "tags": [],
        }),
    };
    if let (Some(shape), Value::Object(more)) = (shape.as_object_mut(), more) {
        shape.extend(more);
        for credentials in ["passwordCredentials", "keyCredentials"] {
            if known.client_id().is_some() {
                shape.entry(credentials).or_insert_with(|| json!([]));
            }
        }
    }
    shape
}

/// A group's name as a mail system could have it.
fn nickname(known: &Principal) -> String {
    known.display_name.split_whitespace().collect()
}

/// What a property in a filter stands for, if it is one value.
pub(super) fn value_of(kind: Kind, known: &Principal, property: &str) -> Option<String> {
    let client = || known.client_id().map(|id| id.to_string());
    let person = known.user_principal_name();
    Some(match property.to_ascii_lowercase().as_str() {
        "id" => kind.id(known).to_string(),
        "displayname" => known.display_name.clone(),
        "createddatetime" => crate::shapes::time(known.created)?,
        "accountenabled" if known.kind() != PrincipalKind::Group => "true".to_owned(),
        "appid" => client()?,
        "appdisplayname" => client().map(|_| known.display_name.clone())?,
        "appownerorganizationid" => known.home()?.to_string(),
        "mailenabled" if known.kind() == PrincipalKind::Group => "false".to_owned(),
        "securityenabled" if known.kind() == PrincipalKind::Group => "true".to_owned(),
        "mailnickname" if known.kind() == PrincipalKind::Group => nickname(known),
        "mailnickname" => person?.split('@').next()?.to_owned(),
        "serviceprincipaltype" => match known.kind() {
            PrincipalKind::Application => "Application".to_owned(),
            PrincipalKind::ManagedIdentity => "ManagedIdentity".to_owned(),
            PrincipalKind::User | PrincipalKind::Group => return None,
        },
        "userprincipalname" => person?.to_owned(),
        _ => return None,
    })
}

/// What is in the list that a property stands for.
pub(super) fn list_of(known: &Principal, property: &str) -> Vec<String> {
    match property.to_ascii_lowercase().as_str() {
        "serviceprincipalnames" => known.service_principal_names(),
        "alternativenames" => known.resource().map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A list of texts in a body.
fn strings<'a>(body: &'a Value, name: &str) -> Option<Vec<&'a str>> {
    body.get(name)?.as_array()?.iter().map(Value::as_str).collect()
}

/// The object that a reference such as `{"@odata.id": ".../directoryObjects/ID"}` names.
pub(super) fn referred(body: &Value) -> Outcome<Uuid> {
    let id = text(body, "@odata.id").and_then(|url| url.rsplit('/').next()?.parse().ok());
    id.ok_or_else(|| bad("Invalid URL format specified in @odata.id for a reference."))
}
