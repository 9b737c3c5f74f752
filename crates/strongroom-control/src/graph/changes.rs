//! What makes applications, people and groups, and their credentials. The actor decides who may.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};
use strongroom_azure::{ErrorStatus, Problem};
use uuid::Uuid;

use super::objects::{Kind, made, referred};
use super::request::{Answer, Ask};
use super::{bad, missing, text};
use crate::actor::Actor;
use crate::arm::fault::Outcome;
use crate::directory::{NewCertificate, NewSecret, Principal, PrincipalChange};

pub(super) fn create(actor: &Actor, ask: &Ask, kind: Kind) -> Outcome<Answer> {
    let known = match kind {
        Kind::Applications => return application(actor, ask),
        Kind::ServicePrincipals => return service_principal(actor, ask),
        Kind::Users => {
            actor.create_user(required(ask, "displayName")?, required(ask, "userPrincipalName")?)?
        }
        Kind::Groups => actor.create_group(required(ask, "displayName")?)?,
        Kind::DirectoryObjects => return Err(ask.not_allowed()),
    };
    Ok(made(actor, ask, kind, &known))
}

fn required<'a>(ask: &'a Ask, name: &str) -> Outcome<&'a str> {
    let message = || format!("A value is required for property '{name}' of resource.");
    text(&ask.body, name).ok_or_else(|| bad(message()))
}

fn application(actor: &Actor, ask: &Ask) -> Outcome<Answer> {
    let certificates = ask.body.get("keyCredentials").and_then(Value::as_array);
    let certificates = certificates.into_iter().flatten().map(certificate);
    let certificates = certificates.collect::<Outcome<Vec<_>>>()?;
    let known = actor.create_application_with(required(ask, "displayName")?, &certificates)?;
    Ok(made(actor, ask, Kind::Applications, &known))
}

/// A certificate as clients send it: its DER, or PEM, in base64.
fn certificate(key: &Value) -> Outcome<NewCertificate> {
    // `az` sends what stands between the lines of a PEM file, line breaks included.
    let given = text(key, "key").map(|key| key.split_whitespace().collect::<String>());
    let bytes = given.and_then(|key| STANDARD.decode(key).ok());
    let bytes = bytes.ok_or_else(|| bad("Key value is not a base64 certificate."))?;
    let pem = match String::from_utf8(bytes) {
        Ok(pem) if pem.contains("-----BEGIN") => pem,
        Ok(der) => as_pem(der.as_bytes()),
        Err(der) => as_pem(der.as_bytes()),
    };
    Ok(NewCertificate {
        display_name: text(key, "displayName").map(str::to_owned),
        pem,
    })
}

fn as_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for (at, letter) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % LINE == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

/// An application has its service principal from the beginning, so there is nothing to make but only to find.
fn service_principal(actor: &Actor, ask: &Ask) -> Outcome<Answer> {
    let client = required(ask, "appId")?;
    actor.authorize_directory(&actor.control.state())?;
    let known = client.parse().ok();
    let known = known.and_then(|client| actor.control.principal_by_client(client));
    let known = known.ok_or_else(|| {
        let message = format!(
            "The appId '{client}' of the service principal does not reference a valid application object."
        );
        Problem::new(ErrorStatus::BAD_REQUEST, "Request_BadRequest", message)
    })?;
    Ok(made(actor, ask, Kind::ServicePrincipals, &known))
}

/// Names and certificates can be changed; whatever else a client wants to change is refused, not passed over.
pub(super) fn update(actor: &Actor, ask: &Ask, kind: Kind, known: &Principal) -> Outcome<Answer> {
    let changes = ask
        .body
        .as_object()
        .ok_or_else(|| bad("A JSON object is expected."))?;
    let has_keys = matches!(kind, Kind::Applications | Kind::ServicePrincipals);
    let fits = |name: &str| name == "displayName" || (has_keys && name == "keyCredentials");
    if let Some(other) = changes.keys().find(|name| !fits(name) && !name.starts_with('@')) {
        return Err(bad(format!("The property '{other}' cannot be changed here.")));
    }
    let wrong = |name: &str| {
        bad(format!(
            "Invalid value specified for property '{name}' of resource."
        ))
    };
    let display_name = changes.get("displayName").map(|name| {
        let name = name.as_str().ok_or_else(|| wrong("displayName"))?;
        Outcome::Ok(name.to_owned())
    });
    let keys = changes.get("keyCredentials").map(|keys| {
        let keys = keys.as_array().ok_or_else(|| wrong("keyCredentials"));
        keys.map(Vec::as_slice)
    });
    let keys = keys.transpose()?;
    let is_new = |key: &&Value| key.get("key").is_some_and(|key| !key.is_null());
    let new = keys.unwrap_or_default().iter().filter(is_new).map(certificate);
    let id = |key: &Value| text(key, "keyId").and_then(|id| id.parse::<Uuid>().ok());
    let wanted = PrincipalChange {
        display_name: display_name.transpose()?,
        kept: keys.map(|keys| keys.iter().filter_map(id).collect()),
        certificates: new.collect::<Outcome<Vec<_>>>()?,
    };
    actor.change_principal(known.object_id, &wanted)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The actions on one object.
pub(super) fn act(actor: &Actor, ask: &Ask, kind: Kind, known: &Principal, action: &str) -> Outcome<Answer> {
    if !matches!(kind, Kind::Applications | Kind::ServicePrincipals) {
        return Err(ask.unknown(action));
    }
    match action.to_ascii_lowercase().as_str() {
        "addpassword" => add_password(actor, ask, known),
        "removepassword" => {
            let id = text(&ask.body, "keyId").and_then(|id| id.parse::<Uuid>().ok());
            let id = id.ok_or_else(|| bad("A value is required for property 'keyId' of resource."))?;
            if !actor.remove_secret(known.object_id, id)? {
                return Err(bad(format!("No password credential found with keyId '{id}'.")));
            }
            Ok(Answer::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(ask.unknown(action)),
    }
}

/// The one answer that shows a secret.
fn add_password(actor: &Actor, ask: &Ask, known: &Principal) -> Outcome<Answer> {
    let asked = ask.body.get("passwordCredential").unwrap_or(&Value::Null);
    let expires = text(asked, "endDateTime").map(|time| {
        let time = crate::arm::time::normal(time).and_then(|time| crate::arm::time::milliseconds(&time));
        let seconds = time.and_then(|ms| u64::try_from(ms / 1000).ok());
        seconds.ok_or_else(|| bad("Invalid value specified for property 'endDateTime' of resource."))
    });
    let new = NewSecret {
        display_name: text(asked, "displayName").map(str::to_owned),
        expires: expires.transpose()?,
    };
    let (id, secret) = actor.add_secret(known.object_id, new.clone())?;
    let hint: String = secret.chars().take(crate::limits::HINT).collect();
    Ok(Answer::ok(json!({
        "@odata.context": ask.context("microsoft.graph.passwordCredential"),
        "keyId": id,
        "displayName": new.display_name,
        "hint": hint,
        "secretText": secret.as_str(),
        "startDateTime": crate::shapes::time(actor.control.now()),
        "endDateTime": new.expires.and_then(crate::shapes::time),
        "customKeyIdentifier": null,
    })))
}

pub(super) fn add_member(actor: &Actor, ask: &Ask, group: &Principal) -> Outcome<Answer> {
    let member = referred(&ask.body)?;
    if group.members().any(|known| known == member) {
        return Err(bad(
            "One or more added object references already exist for the following modified properties: 'members'.",
        ));
    }
    if actor.control.principal(member).is_none() {
        return Err(missing(&member.to_string()));
    }
    actor.add_member(group.object_id, member)?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn remove_member(actor: &Actor, group: &Principal, member: &str) -> Outcome<Answer> {
    let id = member
        .parse()
        .map_err(|_| bad(format!("Invalid object identifier '{member}'.")))?;
    if !actor.remove_member(group.object_id, id)? {
        return Err(missing(member));
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}
