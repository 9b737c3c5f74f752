//! Who asks: bearer tokens, the challenge that asks for one, and which audiences count.

use http::{HeaderMap, header};
use strongroom_azure::token::{self, Claims};
use strongroom_azure::{Challenge, Problem};

use crate::access::Caller;
use crate::engine::settings::VaultSettings;
use crate::routes::{VaultHost, VaultRoutes, problem};

/// The audience of Azure's own vaults, which clients may ask for whatever the challenge says.
const AZURE_AUDIENCE: &str = "https://vault.azure.net";

impl VaultRoutes {
    /// Who asks, if the token was issued by a known issuer, for vaults, in the vault's tenant or one whose
    /// principals are guests, and is in its time.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        host: &VaultHost,
        vault: &VaultSettings,
    ) -> Result<Caller, Problem> {
        let header = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let bearer = header.and_then(token::bearer);
        let bearer = bearer.ok_or_else(|| problem::unauthorized("The request has no bearer token."))?;
        let with_port = domain(&host.authority);
        let without_port = format!("https://{}", host_name(&with_port));
        let audiences = [AZURE_AUDIENCE, &with_port, &without_port];
        let claims = self
            .verifier
            .verify(bearer, &audiences, self.clock.now().wall.as_secs())
            .await
            .map_err(|error| {
                tracing::info!(%error, vault = vault.name, "a token was not accepted");
                problem::unauthorized("The bearer token is not acceptable.")
            })?;
        let at_home = claims.tid.eq_ignore_ascii_case(&vault.tenant);
        if at_home || self.verifier.is_guest(&claims.tid) {
            Ok(Caller::from(claims))
        } else {
            Err(problem::unauthorized(
                "The token was issued in another tenant than the vault's.",
            ))
        }
    }

    /// What a client needs to get a token: where, and for what. The domain above the vaults is named with the port that
    /// the client used, because some clients compare it with the port and some without.
    pub(super) fn challenge(&self, host: &VaultHost, vault: Option<&VaultSettings>) -> Challenge {
        let tenant = vault.map(|vault| vault.tenant.as_str()).unwrap_or_default();
        Challenge {
            authorization: format!("{}/{tenant}", self.login.trim_end_matches('/')),
            resource: domain(&host.authority),
        }
    }
}

impl From<Claims> for Caller {
    fn from(claims: Claims) -> Self {
        Self {
            object_id: claims.oid,
            app_id: claims.appid,
            upn: claims.upn,
            tenant: claims.tid,
            issuer: claims.iss,
        }
    }
}

/// The domain above a vault, with the port if the client gave one.
fn domain(authority: &str) -> String {
    let domain = authority.split_once('.').map_or(authority, |(_, domain)| domain);
    format!("https://{}", domain.to_ascii_lowercase())
}

/// The host in `https://host[:port]`.
fn host_name(origin: &str) -> &str {
    let authority = origin.strip_prefix("https://").unwrap_or(origin);
    authority.split_once(':').map_or(authority, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_above_a_vault_keeps_the_port_that_was_used() {
        assert_eq!(domain("kv1.vault.localhost:8443"), "https://vault.localhost:8443");
        assert_eq!(domain("KV1.Vault.localhost"), "https://vault.localhost");
        assert_eq!(host_name("https://vault.localhost:8443"), "vault.localhost");
        assert_eq!(host_name("https://vault.localhost"), "vault.localhost");
    }
}
