//! How the client proves who it is.

use std::collections::HashMap;
use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{
    ClientOptions, HttpClient, Method, RawResponse, Request, RetryOptions, Transport, Url,
};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    ClientSecretCredential, ClientSecretCredentialOptions, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions,
};
use serde::Deserialize;
use strongroom_seal::Clock;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::client::KeyVaultClientError;
use crate::client::transport::Pinned;
use crate::limits::TOKEN_MARGIN;

/// Resources for which tokens are kept; one more drops them all.
const KEPT_TOKENS: usize = 16;
const API_VERSION: &str = "2019-08-01";

/// Who the client is, and where its tokens come from.
#[derive(Clone)]
pub enum VaultCredential {
    /// A managed identity as App Service offers it: an endpoint and the secret that goes into its header.
    AppService {
        /// The token endpoint (`IDENTITY_ENDPOINT`).
        endpoint: String,
        /// The header's secret (`IDENTITY_HEADER`).
        header: Zeroizing<String>,
        /// The client id of a user-assigned identity; without, the system-assigned one.
        client_id: Option<String>,
    },
    /// The managed identity of the machine or service this runs on, as Azure's own client finds it.
    OfThisHost,
    /// An application with a secret.
    ClientSecret {
        /// The login authority, such as `https://login.microsoftonline.com`.
        authority: String,
        /// The tenant.
        tenant: String,
        /// The application id.
        client_id: String,
        /// The secret. Azure's client keeps a copy of its own, which it does not wipe.
        secret: Zeroizing<String>,
    },
}

impl VaultCredential {
    /// A credential with no token yet.
    pub(crate) fn fresh(
        &self,
        client: &reqwest::Client,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn TokenCredential>, KeyVaultClientError> {
        match self {
            Self::AppService {
                endpoint,
                header,
                client_id,
            } => {
                let endpoint = Url::parse(endpoint).map_err(|_| KeyVaultClientError::IdentityEndpoint)?;
                Ok(Arc::new(AppServiceIdentity {
                    transport: Pinned::to_identity(client.clone(), &endpoint),
                    endpoint,
                    header: header.clone(),
                    client_id: client_id.clone(),
                    clock: Arc::clone(clock),
                    tokens: Mutex::new(HashMap::new()),
                }))
            }
            Self::OfThisHost => {
                let client_options = ClientOptions {
                    transport: Some(Transport::new(Arc::new(client.clone()))),
                    retry: RetryOptions::none(),
                    ..ClientOptions::default()
                };
                let options = ManagedIdentityCredentialOptions {
                    client_options,
                    ..ManagedIdentityCredentialOptions::default()
                };
                let credential = ManagedIdentityCredential::new(Some(options))
                    .map_err(|_| KeyVaultClientError::IdentityEndpoint)?;
                Ok(credential)
            }
            Self::ClientSecret {
                authority,
                tenant,
                client_id,
                secret,
            } => {
                let host = Url::parse(authority).map_err(|_| KeyVaultClientError::IdentityEndpoint)?;
                let mut cloud = CustomConfiguration::default();
                cloud.authority_host.clone_from(authority);
                let mut client_options = Pinned::to_identity(client.clone(), &host).options();
                client_options.cloud = Some(Arc::new(CloudConfiguration::from(cloud)));
                let secret = Secret::new(secret.as_str().to_owned());
                let options = ClientSecretCredentialOptions { client_options };
                let credential =
                    ClientSecretCredential::new(tenant, client_id.clone(), secret, Some(options))
                        .map_err(|_| KeyVaultClientError::IdentityEndpoint)?;
                Ok(credential)
            }
        }
    }
}

/// The App Service protocol for managed identities. Azure's own client speaks it too, but takes endpoint and secret from
/// the process' environment alone, and to change that would race with every other thread.
struct AppServiceIdentity {
    transport: Arc<Pinned>,
    endpoint: Url,
    header: Zeroizing<String>,
    client_id: Option<String>,
    clock: Arc<dyn Clock>,
    /// By resource. The lock is held while asking, so that many callers make one request.
    tokens: Mutex<HashMap<String, AccessToken>>,
}

impl std::fmt::Debug for AppServiceIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppServiceIdentity")
            .field("endpoint", &self.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    /// Unix seconds, as a string.
    expires_on: String,
}

#[async_trait::async_trait]
impl TokenCredential for AppServiceIdentity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let [scope] = scopes else {
            return Err(Error::with_message(
                ErrorKind::Credential,
                "a managed identity's token has one scope",
            ));
        };
        let resource = scope.strip_suffix("/.default").unwrap_or(scope);
        let mut tokens = self.tokens.lock().await;
        let renew_at = self.clock.now().wall + TOKEN_MARGIN;
        if let Some(token) = tokens.get(resource)
            && u64::try_from(token.expires_on.unix_timestamp())
                .is_ok_and(|expires| expires > renew_at.as_secs())
        {
            return Ok(token.clone());
        }
        let token = self.ask(resource).await.map_err(|error| {
            Error::with_error(
                ErrorKind::Credential,
                error,
                "the managed identity's endpoint gave no token",
            )
        })?;
        if tokens.len() >= KEPT_TOKENS {
            tokens.clear();
        }
        tokens.insert(resource.to_owned(), token.clone());
        Ok(token)
    }
}

impl AppServiceIdentity {
    async fn ask(&self, resource: &str) -> azure_core::Result<AccessToken> {
        let mut url = self.endpoint.clone();
        url.query_pairs_mut()
            .append_pair("api-version", API_VERSION)
            .append_pair("resource", resource);
        if let Some(client_id) = &self.client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        let mut request = Request::new(url, Method::Get);
        request.insert_header("x-identity-header", self.header.as_str().to_owned());
        request.insert_header("metadata", "true");
        let response = self
            .transport
            .execute_request(&request)
            .await?
            .try_into_raw_response()
            .await?;
        if !response.status().is_success() {
            return Err(refusal(response));
        }
        let answer: TokenAnswer = serde_json::from_slice(response.body()).map_err(|error| {
            Error::with_error(
                ErrorKind::DataConversion,
                error,
                "the token's answer is malformed",
            )
        })?;
        let expires_on = answer
            .expires_on
            .parse()
            .ok()
            .and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let expires_on = expires_on
            .ok_or_else(|| Error::with_message(ErrorKind::DataConversion, "the token's end is malformed"))?;
        Ok(AccessToken::new(answer.access_token, expires_on))
    }
}

fn refusal(response: RawResponse) -> Error {
    let status = response.status();
    let kind = ErrorKind::HttpResponse {
        status,
        error_code: None,
        raw_response: Some(Box::new(response)),
    };
    Error::with_message(kind, format!("the identity endpoint answered {status}"))
}
