//! How a client proves who it is: by a secret, by a certificate's signature, or by an external issuer that vouches for it.

use std::sync::Arc;

use strongroom_azure::token::{Assertion, Jwk, KeySource};

use super::refusal::Refusal;
use super::replay::Use;
use super::{TokenIssuer, said};
use crate::directory::{Credentials, ExternalKeys, Federation, Principal, PrincipalKind, SecretMatch};
use crate::limits::{ASSERTION_LIFE, FEDERATED_LIFE};

/// What a client shows.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    /// A secret.
    Secret(&'a str),
    /// A signed assertion: its own, or an external issuer's.
    Assertion(&'a str),
}

impl TokenIssuer {
    /// Whether the proof is the principal's.
    pub(super) async fn prove(
        &self,
        principal: &Arc<Principal>,
        proof: Proof<'_>,
        audience: &str,
    ) -> Result<(), Refusal> {
        let app = || principal.client_id().unwrap_or_default().to_string();
        // Groups, people and the identities of resources prove nothing here.
        let credentials = principal
            .credentials()
            .ok_or_else(|| Refusal::UnknownApplication(app()))?;
        match proof {
            Proof::Secret(secret) if principal.kind() == PrincipalKind::Application => {
                match credentials.match_secret(secret, self.now()) {
                    SecretMatch::Valid => Ok(()),
                    SecretMatch::Expired => Err(Refusal::ExpiredSecret(app())),
                    SecretMatch::None => Err(Refusal::WrongSecret(app())),
                }
            }
            Proof::Secret(_) => Err(Refusal::WrongSecret(app())),
            Proof::Assertion(text) => {
                let assertion = Assertion::parse(text).map_err(|_| Refusal::AssertionForm)?;
                if assertion.issuer().eq_ignore_ascii_case(&app()) {
                    self.prove_by_certificate(principal, credentials, &assertion, audience)
                        .await
                } else {
                    self.prove_by_federation(credentials, &assertion).await
                }
            }
        }
    }

    /// The client signed the assertion itself, with the key of a certificate that is registered for it.
    async fn prove_by_certificate(
        &self,
        principal: &Principal,
        credentials: &Credentials,
        assertion: &Assertion<'_>,
        audience: &str,
    ) -> Result<(), Refusal> {
        let now = self.now();
        let mut named = credentials.certificates.iter();
        let certificate = named.find(|known| assertion.names_certificate(&known.sha1, &known.sha256));
        let certificate = certificate
            .filter(|known| (known.not_before..known.not_after).contains(&now))
            .filter(|known| assertion.is_signed_by(&known.key))
            .ok_or(Refusal::AssertionKey)?;
        tracing::debug!(certificate = %certificate.id, "an assertion was signed by a registered certificate");
        if !assertion.subject().eq_ignore_ascii_case(assertion.issuer()) {
            return Err(Refusal::AssertionSubject);
        }
        if !self
            .token_endpoints()
            .iter()
            .any(|endpoint| assertion.is_for(endpoint))
        {
            return Err(Refusal::AssertionAudience);
        }
        assertion
            .check_times(now, ASSERTION_LIFE.as_secs())
            .map_err(|_| Refusal::AssertionTime)?;
        let id = assertion.id().ok_or(Refusal::AssertionForm)?.to_owned();
        let client = principal.client_id().ok_or(Refusal::Failed)?;
        let (control, audience) = (self.inner.control.clone(), audience.to_owned());
        let until = assertion.must_be_remembered_until();
        let marked = tokio::task::spawn_blocking(move || {
            let used = Use {
                client,
                assertion: &id,
                audience: &audience,
                until,
            };
            control.mark_used(&used)
        });
        match marked.await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Refusal::AssertionUsed),
            Ok(Err(error)) => {
                tracing::error!(%error, "the use of an assertion could not be kept; it is refused");
                Err(Refusal::Failed)
            }
            Err(_) => Err(Refusal::Failed),
        }
    }

    /// Somebody else signed the assertion, whom a federated credential names together with subject and audience: all three to
    /// the letter.
    async fn prove_by_federation(
        &self,
        credentials: &Credentials,
        assertion: &Assertion<'_>,
    ) -> Result<(), Refusal> {
        let known = || {
            credentials
                .federations
                .iter()
                .filter(|known| known.issuer == assertion.issuer())
        };
        if known().next().is_none() {
            return Err(Refusal::NoFederation(said(assertion.issuer())));
        }
        let mut matching = known().filter(|known| known.subject == assertion.subject());
        let federation = matching
            .next()
            .ok_or_else(|| Refusal::NoFederatedSubject(said(assertion.subject())))?;
        if !assertion.is_for(&federation.audience) {
            return Err(Refusal::FederatedAudience(said(&federation.audience)));
        }
        let now = self.now();
        assertion
            .check_times(now, FEDERATED_LIFE.as_secs())
            .map_err(|_| Refusal::AssertionTime)?;
        let kid = assertion.key_id().ok_or(Refusal::FederatedSignature)?;
        let key = self.federated_key(federation, kid, now).await;
        let signed = key.is_some_and(|key| assertion.is_signed_by(&key));
        signed.then_some(()).ok_or(Refusal::FederatedSignature)
    }

    async fn federated_key(&self, federation: &Federation, kid: &str, now: u64) -> Option<Jwk> {
        match &federation.keys {
            ExternalKeys::Fixed(keys) => keys.key(kid).cloned(),
            ExternalKeys::Published(url) => {
                let keys = self.external_keys(url).inspect_err(
                    |error| tracing::warn!(%error, "the keys of a federated credential cannot be fetched"),
                );
                keys.ok()?.key(kid, now).await
            }
        }
    }

    /// The names under which clients know the token endpoint: the authority as it is, by its other name, and without the port,
    /// as through the proxy.
    fn token_endpoints(&self) -> Vec<String> {
        let tenant = self.inner.control.tenant();
        let authority = &self.inner.authority;
        let host = authority.strip_prefix("https://").unwrap_or(authority);
        let port = host
            .split_once(':')
            .map(|(_, port)| format!(":{port}"))
            .unwrap_or_default();
        let mut endpoints = Vec::new();
        for host in ["localhost", "login.localhost"] {
            for port in [port.as_str(), ""] {
                for path in ["oauth2/v2.0/token", "oauth2/token"] {
                    endpoints.push(format!("https://{host}{port}/{tenant}/{path}"));
                }
            }
        }
        endpoints
    }
}
