//! Who asks: credentials by the official client, chosen by what the environment offers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use strongroom_seal::Clock;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::Cloud;
use super::assertion::{Certificate, CertificateError};
use super::connect::Connections;
use super::login::Login;
use crate::limits;

/// The variables of an environment that say who asks, and what of it they hold. Values may be secrets: no `Debug`.
#[derive(Clone, Default)]
pub struct Variables {
    known: BTreeMap<String, Zeroizing<String>>,
}

impl Variables {
    /// The variables that are looked at.
    pub const NAMES: [&'static str; 8] = [
        "AZURE_TENANT_ID",
        "AZURE_CLIENT_ID",
        "AZURE_CLIENT_SECRET",
        "AZURE_CLIENT_CERTIFICATE_PATH",
        "AZURE_FEDERATED_TOKEN_FILE",
        "IDENTITY_ENDPOINT",
        "AZURE_SUBSCRIPTION_ID",
        "ARM_ENDPOINT",
    ];

    /// Of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(Self::NAMES.iter().filter_map(|name| {
            let value = std::env::var(name).ok()?;
            Some((*name, value))
        }))
    }

    /// These; empty values count for nothing.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(name, value)| (name.into(), Zeroizing::new(value.into())));
        Self {
            known: pairs.filter(|(_, value)| !value.is_empty()).collect(),
        }
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(|value| value.as_str())
    }

    fn must(&self, kind: CredentialKind, name: &'static str) -> Result<&str, CredentialError> {
        self.get(name).ok_or(CredentialError::Missing { kind, name })
    }
}

/// The ways to prove who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// An application's secret: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`.
    ClientSecret,
    /// An application's certificate: a PEM file with an RSA key, in `AZURE_CLIENT_CERTIFICATE_PATH`.
    ClientCertificate,
    /// Workload identity federation: `AZURE_FEDERATED_TOKEN_FILE`.
    WorkloadIdentity,
    /// The managed identity of the machine or service that this runs on.
    ManagedIdentity,
    /// Whoever is logged in with `az`.
    AzCli,
}

impl CredentialKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecret => "client-secret",
            Self::ClientCertificate => "client-certificate",
            Self::WorkloadIdentity => "workload-identity",
            Self::ManagedIdentity => "managed-identity",
            Self::AzCli => "az",
        }
    }

    /// What the environment offers, the most explicit first; at last, `az`.
    #[must_use]
    pub fn offered_by(variables: &Variables) -> Self {
        [
            ("AZURE_CLIENT_SECRET", Self::ClientSecret),
            ("AZURE_CLIENT_CERTIFICATE_PATH", Self::ClientCertificate),
            ("AZURE_FEDERATED_TOKEN_FILE", Self::WorkloadIdentity),
            ("IDENTITY_ENDPOINT", Self::ManagedIdentity),
        ]
        .into_iter()
        .find(|(name, _)| variables.get(name).is_some())
        .map_or(Self::AzCli, |(_, kind)| kind)
    }
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A variable that this kind needs is not set.
    #[error("{name} is not set, which a credential of the kind {kind} needs")]
    Missing {
        /// The kind.
        kind: CredentialKind,
        /// The variable.
        name: &'static str,
    },
    /// The certificate's file cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The trusted certificates are not PEM, or the TLS library did not start.
    #[error("connections cannot be made: {0}")]
    Connections(String),
    /// Nobody gave a token.
    #[error("no token for Resource Manager: {0}")]
    NoToken(String),
    /// The official client does not take the values.
    #[error("the credential's values cannot be used: {0}")]
    Refused(String),
}

/// Who asks. Keeps its tokens, by audience.
pub struct Credential {
    kind: CredentialKind,
    source: Arc<dyn TokenCredential>,
    clock: Arc<dyn Clock>,
    /// Held while a token is asked for, so that many callers make one request.
    tokens: Mutex<HashMap<String, AccessToken>>,
}

impl Credential {
    /// A credential of this kind, with what the environment says; nothing is sent yet.
    pub fn new(
        kind: CredentialKind,
        variables: &Variables,
        cloud: &Cloud,
        connections: &Connections,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CredentialError> {
        let client = connections
            .client()
            .map_err(|error| CredentialError::Connections(error.to_string()))?;
        Ok(Self {
            kind,
            source: source(kind, variables, cloud, client, &clock)?,
            clock,
            tokens: Mutex::new(HashMap::new()),
        })
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> CredentialKind {
        self.kind
    }

    /// A token for an audience. The error is for people and holds no secret.
    pub(crate) async fn token(&self, audience: &str) -> Result<Secret, String> {
        let mut tokens = self.tokens.lock().await;
        let renew_at = (self.clock.now().wall + limits::TOKEN_MARGIN).as_secs();
        if let Some(known) = tokens.get(audience)
            && u64::try_from(known.expires_on.unix_timestamp()).is_ok_and(|ends| ends > renew_at)
        {
            return Ok(known.token.clone());
        }
        let scope = format!("{audience}/.default");
        let scopes = [scope.as_str()];
        let asked = tokio::time::timeout(limits::TOKEN_WAIT, self.source.get_token(&scopes, None)).await;
        let token = asked
            .map_err(|_| "no token came in time".to_owned())?
            .map_err(|error| brief(&error))?;
        tokens.insert(audience.to_owned(), token.clone());
        Ok(token.token)
    }

    /// What a token says of its owner. It is not checked: whoever made it will.
    pub(crate) async fn claims(&self, audience: &str) -> Result<Claims, String> {
        let token = self.token(audience).await?;
        Ok(Claims::of(token.secret()))
    }
}

/// What a token says of its owner, for people.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Claims {
    /// The principal's object id.
    #[serde(rename = "oid")]
    pub object_id: Option<String>,
    /// The application's id.
    #[serde(rename = "appid", alias = "azp")]
    pub application_id: Option<String>,
    /// The tenant.
    #[serde(rename = "tid")]
    pub tenant: Option<String>,
}

impl Claims {
    fn of(token: &str) -> Self {
        let body = token.split('.').nth(1).unwrap_or_default();
        let body = URL_SAFE_NO_PAD.decode(body).unwrap_or_default();
        // Tokens are opaque by their protocol: one that says nothing is as good.
        serde_json::from_slice(&body).unwrap_or_default()
    }
}

fn source(
    kind: CredentialKind,
    variables: &Variables,
    cloud: &Cloud,
    client: reqwest::Client,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn TokenCredential>, CredentialError> {
    let refused = |error: azure_core::Error| CredentialError::Refused(brief(&error));
    let must = |name| variables.must(kind, name);
    let options = || login_options(cloud, client.clone());
    Ok(match kind {
        CredentialKind::ClientSecret => {
            let secret = Secret::new(must("AZURE_CLIENT_SECRET")?.to_owned());
            let (tenant, id) = (must("AZURE_TENANT_ID")?, must("AZURE_CLIENT_ID")?);
            let options = ClientSecretCredentialOptions {
                client_options: options(),
            };
            ClientSecretCredential::new(tenant, id.to_owned(), secret, Some(options)).map_err(refused)?
        }
        CredentialKind::ClientCertificate => {
            let (tenant, id) = (must("AZURE_TENANT_ID")?, must("AZURE_CLIENT_ID")?);
            let endpoint = format!("{}{tenant}/oauth2/v2.0/token", cloud.login());
            let file = must("AZURE_CLIENT_CERTIFICATE_PATH")?;
            let certificate = Certificate::read(file.as_ref(), id, endpoint, Arc::clone(clock))?;
            let options = ClientAssertionCredentialOptions {
                client_options: options(),
            };
            ClientAssertionCredential::new(tenant.to_owned(), id.to_owned(), certificate, Some(options))
                .map_err(refused)?
        }
        CredentialKind::WorkloadIdentity => {
            let mut workload = WorkloadIdentityCredentialOptions::default();
            workload.credential_options.client_options = options();
            workload.tenant_id = Some(must("AZURE_TENANT_ID")?.to_owned());
            workload.client_id = Some(must("AZURE_CLIENT_ID")?.to_owned());
            workload.token_file_path = Some(must("AZURE_FEDERATED_TOKEN_FILE")?.into());
            WorkloadIdentityCredential::new(Some(workload)).map_err(refused)?
        }
        CredentialKind::ManagedIdentity => {
            let id = variables.get("AZURE_CLIENT_ID");
            let options = ManagedIdentityCredentialOptions {
                user_assigned_id: id.map(|id| UserAssignedId::ClientId(id.to_owned())),
                client_options: ClientOptions {
                    transport: Some(Transport::new(Arc::new(client))),
                    retry: RetryOptions::none(),
                    ..ClientOptions::default()
                },
            };
            ManagedIdentityCredential::new(Some(options)).map_err(refused)?
        }
        CredentialKind::AzCli => {
            let options = AzureCliCredentialOptions {
                tenant_id: variables.get("AZURE_TENANT_ID").map(str::to_owned),
                ..AzureCliCredentialOptions::default()
            };
            AzureCliCredential::new(Some(options)).map_err(refused)?
        }
    })
}

/// Options of a client that sends to the cloud's login and to nobody else.
fn login_options(cloud: &Cloud, client: reqwest::Client) -> ClientOptions {
    let mut custom = CustomConfiguration::default();
    cloud.login().as_str().clone_into(&mut custom.authority_host);
    ClientOptions {
        transport: Some(Transport::new(Arc::new(Login::new(client, cloud.login())))),
        retry: RetryOptions::none(),
        cloud: Some(Arc::new(CloudConfiguration::from(custom))),
        ..ClientOptions::default()
    }
}

/// An error's sentence, cut where it gets long.
fn brief(error: &azure_core::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text.chars().take(limits::MESSAGE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_explicit_offer_of_an_environment_is_taken() {
        let kind = |pairs: &[(&str, &str)]| {
            CredentialKind::offered_by(&Variables::from_pairs(pairs.iter().copied()))
        };
        assert_eq!(kind(&[]), CredentialKind::AzCli);
        assert_eq!(kind(&[("AZURE_CLIENT_SECRET", "")]), CredentialKind::AzCli);
        let managed = ("IDENTITY_ENDPOINT", "http://127.0.0.1/msi");
        assert_eq!(kind(&[managed]), CredentialKind::ManagedIdentity);
        assert_eq!(
            kind(&[managed, ("AZURE_FEDERATED_TOKEN_FILE", "/token")]),
            CredentialKind::WorkloadIdentity
        );
        assert_eq!(
            kind(&[managed, ("AZURE_CLIENT_SECRET", "s")]),
            CredentialKind::ClientSecret
        );
    }

    #[test]
    fn a_token_that_says_nothing_is_as_good() {
        let body = URL_SAFE_NO_PAD.encode(r#"{"oid":"me","azp":"app","tid":"t","more":1}"#);
        let claims = Claims::of(&format!("x.{body}.y"));
        assert_eq!(claims.object_id.as_deref(), Some("me"));
        assert_eq!(claims.application_id.as_deref(), Some("app"));
        assert_eq!(Claims::of("opaque").object_id, None);
    }
}
