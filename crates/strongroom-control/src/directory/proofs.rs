//! Proofs that hold no secret of ours: certificates, and external issuers that vouch for a client.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_azure::token::{Certificate, FetchKeys, Jwk, Jwks};
use uuid::Uuid;

use super::changes::{invalid, room};
use super::{Credentials, Principal, PrincipalDetail, PrincipalKind};
use crate::actor::Actor;
use crate::control::Control;
use crate::error::ControlError;
use crate::limits::{CERTIFICATES, DISPLAY_NAME, FEDERATED_TEXT, FEDERATIONS};

/// The audience of assertions that Azure's clients exchange for tokens.
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// A certificate as it is kept: its public half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCertificate {
    /// Its own id.
    pub id: Uuid,
    /// For people.
    pub display_name: Option<String>,
    /// When it was registered, in seconds since the Unix epoch.
    pub created: u64,
    /// From when on it counts.
    pub not_before: u64,
    /// From when on it no longer counts.
    pub not_after: u64,
    /// SHA-1 of the certificate in base64url: clients find it by that, and nothing rests on it.
    pub sha1: String,
    /// SHA-256 of the certificate in base64url.
    pub sha256: String,
    pub(crate) key: Jwk,
}

/// An external issuer that vouches for a client: whom it must name, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Federation {
    /// Its own id.
    pub id: Uuid,
    /// For people.
    pub display_name: Option<String>,
    /// When it was registered, in seconds since the Unix epoch.
    pub created: u64,
    /// The issuer, to the letter.
    pub issuer: String,
    /// The subject, to the letter.
    pub subject: String,
    /// The audience, to the letter.
    pub audience: String,
    /// The issuer's keys.
    pub keys: ExternalKeys,
}

/// Where an external issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExternalKeys {
    /// Here, for good.
    Fixed(Jwks),
    /// Where the issuer publishes them.
    Published(String),
}

/// What is asked for when a certificate is registered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewCertificate {
    /// For people.
    pub display_name: Option<String>,
    /// The certificate, in PEM.
    pub pem: String,
}

/// What is asked for when an external issuer is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFederation {
    /// For people.
    pub display_name: Option<String>,
    /// The issuer.
    pub issuer: String,
    /// The subject.
    pub subject: String,
    /// The audience; `api://AzureADTokenExchange` if there is none.
    pub audience: Option<String>,
    /// The issuer's keys.
    pub keys: ExternalKeys,
}

impl Credentials {
    /// Forgets the credential of this id, of whatever kind. Whether it was there.
    pub(crate) fn remove(&mut self, id: Uuid) -> bool {
        let count = |all: &Self| all.secrets.len() + all.certificates.len() + all.federations.len();
        let before = count(self);
        self.secrets.retain(|known| known.id != id);
        self.certificates.retain(|known| known.id != id);
        self.federations.retain(|known| known.id != id);
        count(self) < before
    }
}

impl Credentials {
    /// Whether nobody can sign in by any of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.certificates.is_empty() && self.federations.is_empty()
    }

    /// Keeps an issuer, in place of the one of the same id if there is one.
    pub(super) fn put_federation(&mut self, federation: Federation) -> Result<(), ControlError> {
        let others = || self.federations.iter().filter(|known| known.id != federation.id);
        if others().any(|known| known.issuer == federation.issuer && known.subject == federation.subject) {
            return Err(ControlError::AlreadyExists {
                what: "federated credential",
                name: federation.subject,
            });
        }
        if others().count() >= FEDERATIONS {
            return Err(ControlError::TooMany {
                what: "federated credentials",
            });
        }
        match self
            .federations
            .iter_mut()
            .find(|known| known.id == federation.id)
        {
            Some(known) => *known = federation,
            None => self.federations.push(federation),
        }
        Ok(())
    }
}

/// What is asked for, as it is kept.
pub(super) fn federation(new: NewFederation, now: u64) -> Result<Federation, ControlError> {
    named(new.display_name.as_deref())?;
    let audience = new.audience.unwrap_or_else(|| EXCHANGE.to_owned());
    for (what, text) in [
        ("issuer", &new.issuer),
        ("subject", &new.subject),
        ("audience", &audience),
    ] {
        if !FEDERATED_TEXT.contains(&text.len()) || text.trim() != text || text.chars().any(char::is_control)
        {
            return invalid(format!(
                "the {what} must be 1 to 600 bytes without blanks at its ends"
            ));
        }
    }
    if matches!(&new.keys, ExternalKeys::Fixed(keys) if keys.keys.is_empty()) {
        return invalid("the set of keys is empty".to_owned());
    }
    Ok(Federation {
        id: Uuid::new_v4(),
        display_name: new.display_name,
        created: now,
        issuer: new.issuer,
        subject: new.subject,
        audience,
        keys: new.keys,
    })
}

impl Control {
    /// What fetches the keys published at a URL, if they may be fetched from there.
    pub(crate) fn published_at(&self, url: &str) -> Result<impl FetchKeys + use<>, ControlError> {
        let Some(hosts) = self.key_hosts() else {
            return invalid("keys of external issuers are fetched from no host: see --key-host".to_owned());
        };
        hosts.at(url).or_else(|error| invalid(error.to_string()))
    }
}

impl Actor {
    /// Registers a certificate for an application: whoever holds its private key can ask for the application's tokens.
    pub fn add_certificate(
        &self,
        object_id: Uuid,
        new: &NewCertificate,
    ) -> Result<ClientCertificate, ControlError> {
        self.update(object_id, |principal, now| put_certificate(principal, new, now))
    }

    /// Lets an external issuer vouch for an application or a user-assigned identity.
    pub fn add_federation(&self, object_id: Uuid, new: NewFederation) -> Result<Federation, ControlError> {
        let federation = federation(new, self.control.now())?;
        if let ExternalKeys::Published(url) = &federation.keys {
            drop(self.control.published_at(url)?);
        }
        self.update(object_id, |principal, _| {
            let Some(credentials) = principal.credentials_mut() else {
                return invalid(format!(
                    "{object_id} is neither an application of this tenant nor a user-assigned identity"
                ));
            };
            credentials.put_federation(federation.clone())?;
            Ok(federation)
        })
    }

    /// Takes a credential away, of whatever kind; it no longer counts when this returns. Tokens that it brought live to their end.
    /// Whether it was there.
    pub fn remove_credential(&self, object_id: Uuid, credential: Uuid) -> Result<bool, ControlError> {
        self.update(object_id, |principal, _| {
            let credentials = principal.credentials_mut();
            Ok(credentials.is_some_and(|credentials| credentials.remove(credential)))
        })
    }

    /// Makes an application of another tenant known, under the object id that it has there: roles can be assigned to it then, and
    /// it proves itself there alone.
    pub fn create_guest(
        &self,
        display_name: &str,
        home: Uuid,
        object_id: Uuid,
        client_id: Uuid,
    ) -> Result<Arc<Principal>, ControlError> {
        named(Some(display_name))?;
        let mut change = self.control.change();
        self.authorize_directory(change.state())?;
        let directory = &change.state().directory;
        if home == change.state().tenant.id || home.is_nil() {
            return invalid("a guest belongs to another tenant".to_owned());
        }
        if directory.get(object_id).is_some() || directory.by_client(client_id).is_some() {
            return Err(ControlError::AlreadyExists {
                what: "principal",
                name: object_id.to_string(),
            });
        }
        room(change.state())?;
        let detail = PrincipalDetail::Application {
            client_id,
            credentials: Credentials::default(),
            home: Some(home),
        };
        let mut guest = Principal::new(display_name, self.control.now(), detail);
        guest.object_id = object_id;
        let guest = change.put_principal(guest)?;
        change.commit()?;
        Ok(guest)
    }
}

/// Registers a certificate for an application; one that it has already stays as it is.
pub(super) fn put_certificate(
    principal: &mut Principal,
    new: &NewCertificate,
    now: u64,
) -> Result<ClientCertificate, ControlError> {
    named(new.display_name.as_deref())?;
    let read =
        Certificate::from_pem(&new.pem).or_else(|error| invalid(format!("the certificate: {error}")))?;
    let (object_id, kind) = (principal.object_id, principal.kind());
    let application = kind == PrincipalKind::Application;
    let Some(credentials) = principal.credentials_mut().filter(|_| application) else {
        return invalid(format!(
            "{object_id} is no application of this tenant: it has no certificates"
        ));
    };
    if now >= read.not_after {
        return invalid("the certificate's time is over".to_owned());
    }
    let mut all = credentials.certificates.iter();
    if let Some(known) = all.find(|known| known.sha256 == read.sha256) {
        return Ok(known.clone());
    }
    if credentials.certificates.len() >= CERTIFICATES {
        return Err(ControlError::TooMany { what: "certificates" });
    }
    let certificate = ClientCertificate {
        id: Uuid::new_v4(),
        display_name: new.display_name.clone(),
        created: now,
        not_before: read.not_before,
        not_after: read.not_after,
        sha1: read.sha1,
        sha256: read.sha256,
        key: read.key,
    };
    credentials.certificates.push(certificate.clone());
    Ok(certificate)
}

fn named(display_name: Option<&str>) -> Result<(), ControlError> {
    let fits =
        |name: &str| DISPLAY_NAME.contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if display_name.is_none_or(fits) {
        return Ok(());
    }
    invalid("a name is one line of 1 to 256 characters".to_owned())
}
