//! What a test does with a running instance, in whatever process: clients, the administrator, the API.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use strongroom::{DataFolder, Environment};

use crate::error::TestkitError;

const VAULT_API: &str = "api-version=2025-07-01";

/// A client's view of a running instance: its environment and its certificate.
pub struct Instance {
    folder: DataFolder,
    environment: Environment,
    client: Client,
}

impl Instance {
    /// The instance that wrote `DIR/env`.
    pub fn at(folder: &DataFolder) -> Result<Self, TestkitError> {
        let environment =
            Environment::load(folder).map_err(|error| TestkitError::Environment(error.to_string()))?;
        let client = client(folder, &environment)?.build()?;
        Ok(Self {
            folder: folder.clone(),
            environment,
            client,
        })
    }

    /// The data folder.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// A variable of `DIR/env`; empty when it is not there.
    pub fn variable(&self, name: &str) -> &str {
        self.environment.get(name).unwrap_or_default()
    }

    /// A client that trusts the local authority, knows every `localhost` name and keeps connections.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client builder with the same trust, for time-outs, HTTP versions and pools of a test's own.
    pub fn client_builder(&self) -> Result<reqwest::ClientBuilder, TestkitError> {
        client(&self.folder, &self.environment)
    }

    /// The plain door's port.
    pub fn http_port(&self) -> u16 {
        port(self.variable("OPENAI_BASE_URL"))
    }

    /// The TLS door's port.
    pub fn https_port(&self) -> u16 {
        port(self.variable("AZURE_AUTHORITY_HOST"))
    }

    /// Base of the OpenAI routes on plain HTTP.
    pub fn base_url(&self) -> String {
        self.variable("OPENAI_BASE_URL").trim_end_matches('/').to_owned()
    }

    /// Base of the OpenAI routes over TLS.
    pub fn tls_base_url(&self) -> String {
        let account = self.variable("STRONGROOM_ACCOUNT");
        format!(
            "https://localhost:{}/openai-accounts/{account}/openai/v1",
            self.https_port()
        )
    }

    /// A request to the OpenAI routes on plain HTTP, with the account's key; `path` is like `/files`.
    pub fn api(&self, method: Method, path: &str) -> RequestBuilder {
        let key = self.variable("OPENAI_API_KEY");
        self.client
            .request(method, format!("{}{path}", self.base_url()))
            .bearer_auth(key)
    }

    /// As [`Instance::api`], over TLS.
    pub fn api_tls(&self, method: Method, path: &str) -> RequestBuilder {
        let key = self.variable("OPENAI_API_KEY");
        self.client
            .request(method, format!("{}{path}", self.tls_base_url()))
            .bearer_auth(key)
    }

    /// Uploads one file and answers with its object's id.
    pub async fn upload(&self, name: &str, content: Vec<u8>) -> Result<String, TestkitError> {
        let answer = self
            .upload_request(name, content)
            .send()
            .await?
            .error_for_status()?;
        let file: Value = answer.json().await?;
        text(&file, "id")
    }

    /// The request of [`Instance::upload`].
    pub fn upload_request(&self, name: &str, content: Vec<u8>) -> RequestBuilder {
        let (kind, body) = form(name, &content);
        self.api(Method::POST, "/files")
            .header("Content-Type", kind)
            .body(body)
    }

    /// Uploads one file in these parts, all of them at once and the last first, and answers with its object's id.
    pub async fn upload_in_parts(&self, name: &str, parts: Vec<Vec<u8>>) -> Result<String, TestkitError> {
        let upload = self
            .begin_upload(name, parts.iter().map(Vec::len).sum())
            .send()
            .await?;
        let upload = text(&upload.error_for_status()?.json().await?, "id")?;
        let added = parts.into_iter().rev().map(|part| async {
            let answer = self
                .part_request(&upload, part)
                .send()
                .await?
                .error_for_status()?;
            text(&answer.json().await?, "id")
        });
        let mut ids = futures::future::try_join_all(added).await?;
        ids.reverse();
        let done = self
            .complete_upload(&upload, &ids)
            .send()
            .await?
            .error_for_status()?;
        let done: Value = done.json().await?;
        text(done.get("file").unwrap_or(&Value::Null), "id")
    }

    /// The request that begins an upload in parts.
    pub fn begin_upload(&self, name: &str, bytes: usize) -> RequestBuilder {
        let wish = json!({
            "filename": name, "bytes": bytes, "purpose": "assistants", "mime_type": "application/octet-stream",
        });
        self.api(Method::POST, "/uploads").json(&wish)
    }

    /// The request that adds a part.
    pub fn part_request(&self, upload: &str, part: Vec<u8>) -> RequestBuilder {
        let (kind, body) = part_form(&part);
        self.api(Method::POST, &format!("/uploads/{upload}/parts"))
            .header("Content-Type", kind)
            .body(body)
    }

    /// The request that makes a file of parts in this order.
    pub fn complete_upload(&self, upload: &str, parts: &[String]) -> RequestBuilder {
        let wish = json!({ "part_ids": parts });
        self.api(Method::POST, &format!("/uploads/{upload}/complete"))
            .json(&wish)
    }

    /// The request of a chat completion that is kept.
    pub fn kept_chat(&self, prompt: &str) -> RequestBuilder {
        let body = json!({
            "model": self.variable("STRONGROOM_DEPLOYMENT"), "store": true, "max_tokens": 64,
            "messages": [{"role": "user", "content": prompt}],
        });
        self.api(Method::POST, "/chat/completions").json(&body)
    }

    /// Downloads one file.
    pub async fn download(&self, id: &str) -> Result<Vec<u8>, TestkitError> {
        let path = format!("/files/{id}/content");
        let answer = self.api(Method::GET, &path).send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }

    /// One chat completion's whole answer.
    pub async fn chat(&self, prompt: &str) -> Result<Value, TestkitError> {
        let answer = self
            .chat_request(prompt, false)
            .send()
            .await?
            .error_for_status()?;
        Ok(answer.json().await?)
    }

    /// The request of [`Instance::chat`], streamed or not.
    pub fn chat_request(&self, prompt: &str, stream: bool) -> RequestBuilder {
        let model = self.variable("STRONGROOM_DEPLOYMENT");
        let body = json!({
            "model": model, "stream": stream, "max_tokens": 64,
            "messages": [{"role": "user", "content": prompt}],
        });
        self.api(Method::POST, "/chat/completions").json(&body)
    }

    /// A token of the administrator.
    pub async fn token(&self, audience: &str) -> Result<String, TestkitError> {
        let client = self.variable("AZURE_CLIENT_ID");
        self.token_of(client, self.variable("AZURE_CLIENT_SECRET"), audience)
            .await
    }

    /// A token of an application.
    pub async fn token_of(&self, client: &str, secret: &str, audience: &str) -> Result<String, TestkitError> {
        let tenant = self.variable("AZURE_TENANT_ID");
        let authority = self.variable("AZURE_AUTHORITY_HOST").trim_end_matches('/');
        let scope = format!("{audience}/.default");
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            encoded(client),
            encoded(secret),
            encoded(&scope)
        );
        let request = self
            .client
            .post(format!("{authority}/{tenant}/oauth2/v2.0/token"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        text(&answer, "access_token")
    }

    /// The administrator at the vault; `rest` follows the key's name, as in `/versions`.
    pub async fn key(
        &self,
        method: Method,
        rest: &str,
        body: Option<Value>,
    ) -> Result<Response, TestkitError> {
        let key = self.variable("STRONGROOM_KEY");
        self.vault(method, &format!("keys/{key}{rest}"), body).await
    }

    /// The administrator at the vault; `path` is like `keys/NAME`.
    pub async fn vault(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, TestkitError> {
        self.vault_of(self.variable("STRONGROOM_VAULT"), method, path, body)
            .await
    }

    /// The same of another vault, by its name.
    pub async fn vault_of(
        &self,
        vault: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, TestkitError> {
        let token = self.token("https://vault.azure.net").await?;
        let own = self.variable("STRONGROOM_VAULT_URL").trim_end_matches('/');
        let vault = own.replace(self.variable("STRONGROOM_VAULT"), vault);
        let request = self.client.request(method, format!("{vault}/{path}?{VAULT_API}"));
        let request = request.bearer_auth(token);
        send(request, body).await
    }

    /// Turns every version of the customer key off.
    pub async fn disable_key(&self) -> Result<(), TestkitError> {
        self.set_key(false).await
    }

    /// Turns every version of the customer key on.
    pub async fn enable_key(&self) -> Result<(), TestkitError> {
        self.set_key(true).await
    }

    /// Makes a new version of the customer key.
    pub async fn rotate_key(&self) -> Result<(), TestkitError> {
        self.key(Method::POST, "/rotate", None)
            .await?
            .error_for_status()?;
        Ok(())
    }

    /// Deletes the customer key; the vault keeps it recoverable.
    pub async fn delete_key(&self) -> Result<(), TestkitError> {
        self.key(Method::DELETE, "", None).await?.error_for_status()?;
        Ok(())
    }

    /// Takes the deletion of the customer key back.
    pub async fn recover_key(&self) -> Result<(), TestkitError> {
        let path = format!("deletedkeys/{}/recover", self.variable("STRONGROOM_KEY"));
        self.vault(Method::POST, &path, None).await?.error_for_status()?;
        Ok(())
    }

    async fn set_key(&self, enabled: bool) -> Result<(), TestkitError> {
        let listed: Value = self
            .key(Method::GET, "/versions", None)
            .await?
            .error_for_status()?
            .json()
            .await?;
        let versions = listed
            .get("value")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for version in versions {
            let id = text(&version, "kid")?;
            let version = id.rsplit('/').next().unwrap_or_default();
            let change = json!({"attributes": {"enabled": enabled}});
            self.key(Method::PATCH, &format!("/{version}"), Some(change))
                .await?
                .error_for_status()?;
        }
        Ok(())
    }

    /// A request to the administrator's routes; `path` is like `status`.
    pub async fn admin(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, TestkitError> {
        let token = self.token("https://management.core.windows.net/").await?;
        let url = format!("https://localhost:{}/strongroom/{path}", self.https_port());
        let request = self.client.request(method, url).bearer_auth(token);
        send(request, body).await
    }

    /// A request of the administrator to Resource Manager; `path` is below the subscription, as in `/resourceGroups`, and may
    /// have a query.
    pub async fn manage(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Response, TestkitError> {
        let token = self.token("https://management.core.windows.net/").await?;
        let subscription = self.variable("AZURE_SUBSCRIPTION_ID");
        let joint = if path.contains('?') { '&' } else { '?' };
        let url = format!(
            "https://localhost:{}/subscriptions/{subscription}{path}{joint}api-version=2026-02-01",
            self.https_port()
        );
        let request = self.client.request(method, url).bearer_auth(token);
        send(request, body).await
    }

    /// What `strongroom status --output json` shows.
    pub async fn status(&self) -> Result<Value, TestkitError> {
        Ok(self
            .admin(Method::GET, "status", None)
            .await?
            .error_for_status()?
            .json()
            .await?)
    }
}

/// A multipart upload as the SDKs send it: its content type and its body.
pub fn form(name: &str, content: &[u8]) -> (String, Vec<u8>) {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A form with one part of an upload: its content type and its bytes.
pub fn part_form(content: &[u8]) -> (String, Vec<u8>) {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut body =
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"data\"; filename=\"part\"\r\n\r\n")
            .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn client(folder: &DataFolder, environment: &Environment) -> Result<reqwest::ClientBuilder, TestkitError> {
    let authority = std::fs::read(folder.authority_certificate())?;
    let port = port(environment.get("AZURE_AUTHORITY_HOST").unwrap_or_default());
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Arc::new(Here(loopback))))
}

/// Resolves `localhost` and every name under it, and no other.
struct Here(SocketAddr);

impl Resolve for Here {
    fn resolve(&self, name: Name) -> Resolving {
        let own = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
        Box::pin(std::future::ready(if own {
            Ok(Box::new(std::iter::once(self.0)) as Addrs)
        } else {
            Err("only names under localhost are reached from here".into())
        }))
    }
}

async fn send(request: RequestBuilder, body: Option<Value>) -> Result<Response, TestkitError> {
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    Ok(request.send().await?)
}

fn port(url: &str) -> u16 {
    let authority = url
        .split("//")
        .nth(1)
        .unwrap_or_default()
        .split('/')
        .next()
        .unwrap_or_default();
    authority
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .unwrap_or_default()
}

fn text(value: &Value, name: &'static str) -> Result<String, TestkitError> {
    let found = value.get(name).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| TestkitError::Environment(format!("an answer without `{name}`")))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
