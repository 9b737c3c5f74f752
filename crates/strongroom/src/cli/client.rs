//! A command's connection to the running instance: the administrator's token, the vault's own protocol for
//! keys, and the administrator's routes for the rest.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio_util::io::ReaderStream;
use zeroize::Zeroizing;

use super::{CliError, Failure};
use crate::env::{Environment, EnvironmentError};
use crate::folder::{DataFolder, FolderError};
use crate::{limits, local};

const VAULT_AUDIENCE: &str = "https://vault.azure.net";
const ADMIN_AUDIENCE: &str = "https://management.core.windows.net/";
const SERVICE_AUDIENCE: &str = "https://cognitiveservices.azure.com";
const VAULT_API_VERSION: &str = "2025-07-01";
const MANAGEMENT_API_VERSION: &str = "2026-02-01";

/// The instance on one data folder.
pub(super) struct Instance {
    folder: DataFolder,
    environment: Environment,
    client: reqwest::Client,
    https_port: u16,
    runtime: Runtime,
}

impl Instance {
    /// Finds the instance; it may turn out at the first request that it does not run.
    pub(super) fn find(folder: DataFolder) -> Result<Self, CliError> {
        let environment = match Environment::load(&folder) {
            Err(EnvironmentError::Missing { folder }) => return Err(CliError::NotRunning(folder)),
            other => other.map_err(Failure::from)?,
        };
        let certificate = folder.authority_certificate();
        let authority = std::fs::read_to_string(&certificate)
            .map_err(|cause| Failure::from(FolderError::at(&certificate, cause)))?;
        let https_port = environment
            .get("AZURE_AUTHORITY_HOST")
            .and_then(|url| url::Url::parse(url).ok())
            .and_then(|url| url.port_or_known_default())
            .ok_or(Failure::Protocol(
                "AZURE_AUTHORITY_HOST in the env file is no URL",
            ))?;
        let client = local::client_builder(&authority, https_port)
            .and_then(|builder| builder.timeout(limits::COMMAND_ANSWER).build())
            .map_err(|error| Failure::Connection(root_cause(&error)))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(CliError::io("a runtime for the connection"))?;
        Ok(Self {
            folder,
            environment,
            client,
            https_port,
            runtime,
        })
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// A request to the vault about the customer key; `rest` follows the key's name.
    pub(super) fn key(&self, method: Method, rest: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let vault = self.variable("STRONGROOM_VAULT_URL")?.trim_end_matches('/');
        let key = self.variable("STRONGROOM_KEY")?;
        self.vault(method, &format!("{vault}/keys/{key}{rest}"), body)
    }

    /// A request to a vault at a URL without its query.
    pub(super) fn vault(&self, method: Method, url: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let url = format!("{url}?api-version={VAULT_API_VERSION}");
        self.runtime.block_on(async {
            let token = self.token(VAULT_AUDIENCE).await?;
            read_json(self.bearing(method, &url, body, &token).await?).await
        })
    }

    /// A request to the administrator's routes, answered with JSON.
    pub(super) fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        self.runtime
            .block_on(async { read_json(self.admin_response(method, path, body).await?).await })
    }

    /// As [`Self::admin`], with a query.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, CliError> {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(query)
            .finish();
        self.admin(method, &format!("{path}?{query}"), body)
    }

    /// A request to Resource Manager; `path` is below the subscription. What goes on after its answer is waited for. Null, where
    /// there is nothing to say.
    pub(super) fn manage(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, CliError> {
        let subscription = self.variable("AZURE_SUBSCRIPTION_ID")?;
        let url = format!(
            "https://localhost:{}/subscriptions/{subscription}{path}?api-version={MANAGEMENT_API_VERSION}",
            self.https_port
        );
        let work = async {
            let token = self.token(ADMIN_AUDIENCE).await?;
            let mut response = self.bearing(method, &url, body, &token).await?;
            while response.status() == StatusCode::ACCEPTED {
                let next = response
                    .headers()
                    .get(LOCATION)
                    .and_then(|next| next.to_str().ok());
                let next = next.ok_or(Failure::Protocol("it goes on nowhere"))?.to_owned();
                tokio::time::sleep(limits::COMMAND_POLL).await;
                response = self.bearing(Method::GET, &next, None, &token).await?;
            }
            match read(response).await?.as_slice() {
                [] => Ok(Value::Null),
                text => as_json(text),
            }
        };
        let outcome = self
            .runtime
            .block_on(async { tokio::time::timeout(limits::COMMAND_ANSWER, work).await });
        outcome.unwrap_or(Err(Failure::Protocol("the operation has not ended yet").into()))
    }

    /// A request to the data plane of the instance's account, as the administrator; with a form, if one is given.
    pub(super) fn data(&self, method: Method, path: &str, form: Option<Form<'_>>) -> Result<Value, CliError> {
        let account = self.variable("STRONGROOM_ACCOUNT")?;
        let url = format!(
            "https://localhost:{}/openai-accounts/{account}/openai/v1/{path}",
            self.https_port
        );
        self.runtime.block_on(async {
            let token = self.token(SERVICE_AUDIENCE).await?;
            let mut request = self.client.request(method, &url).bearer_auth(token.as_str());
            if let Some(form) = form {
                request = form.send(request);
            }
            read_json(self.send(request).await?).await
        })
    }

    /// The resource group of this instance: where roles are looked at and assigned unless something else is named.
    pub(super) fn group_scope(&self) -> Result<String, CliError> {
        let subscription = self.variable("AZURE_SUBSCRIPTION_ID")?;
        let group = self.variable("STRONGROOM_RESOURCE_GROUP")?;
        Ok(format!("/subscriptions/{subscription}/resourceGroups/{group}"))
    }

    /// A request to the administrator's routes whose answer is handed over piece by piece.
    pub(super) fn admin_stream(
        &self,
        path: &str,
        body: &Value,
        mut piece: impl FnMut(&[u8]) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.runtime.block_on(async {
            let mut response = self.admin_response(Method::POST, path, Some(body)).await?;
            loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => piece(&bytes)?,
                    Ok(None) => return Ok(()),
                    Err(error) => return Err(Failure::Connection(root_cause(&error)).into()),
                }
            }
        })
    }

    async fn admin_response(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, CliError> {
        let token = self.token(ADMIN_AUDIENCE).await?;
        let url = format!("https://localhost:{}/strongroom/{path}", self.https_port);
        self.bearing(method, &url, body, &token).await
    }

    async fn bearing(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
        token: &str,
    ) -> Result<Response, CliError> {
        let mut request = self.client.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    async fn token(&self, audience: &str) -> Result<Zeroizing<String>, CliError> {
        let authority = self.variable("AZURE_AUTHORITY_HOST")?.trim_end_matches('/');
        let tenant = self.variable("AZURE_TENANT_ID")?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.variable("AZURE_CLIENT_ID")?),
            ("client_secret", self.variable("AZURE_CLIENT_SECRET")?),
            ("scope", &format!("{audience}/.default")),
        ];
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .client
            .post(format!("{authority}/{tenant}/oauth2/v2.0/token"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let answer = read_json(self.send(request).await?).await?;
        let token = answer.get("access_token").and_then(Value::as_str);
        let token = token.ok_or(Failure::Protocol("a token answer without a token"))?;
        Ok(Zeroizing::new(token.to_owned()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = match request.send().await {
            Err(error) if error.is_connect() => {
                return Err(CliError::NotRunning(self.folder.root().to_owned()));
            }
            other => other.map_err(|error| Failure::Connection(root_cause(&error)))?,
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(denied(status, &read_json(response).await.unwrap_or_default()))
    }

    pub(super) fn variable(&self, name: &'static str) -> Result<&str, CliError> {
        let value = self.environment.get(name);
        value.ok_or(Failure::Protocol("the env file lacks a variable; start the instance again").into())
    }
}

/// A form with a file at its end, which is sent as it is read.
pub(super) struct Form<'a> {
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) file: std::fs::File,
    /// How long the file is.
    pub(super) length: u64,
}

impl Form<'_> {
    fn send(self, request: RequestBuilder) -> RequestBuilder {
        let boundary = uuid::Uuid::new_v4().simple().to_string();
        let mut head = String::new();
        for (name, value) in self.fields {
            head += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"file\"\r\n\r\n"
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let framing = u64::try_from(head.len() + tail.len()).unwrap_or(u64::MAX);
        let length = self.length.saturating_add(framing);
        let (head, tail) = (std::io::Cursor::new(head), std::io::Cursor::new(tail));
        // A file that grows meanwhile is sent as long as was said.
        let file = tokio::fs::File::from_std(self.file).take(self.length);
        let body = ReaderStream::with_capacity(head.chain(file).chain(tail), limits::COMMAND_PIECE);
        request
            .timeout(limits::COMMAND_TRANSFER)
            .header(CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"))
            .header(CONTENT_LENGTH, length)
            .body(reqwest::Body::wrap_stream(body))
    }
}

/// Reads an answer of bounded length as JSON.
async fn read_json(response: Response) -> Result<Value, CliError> {
    as_json(&read(response).await?)
}

fn as_json(text: &[u8]) -> Result<Value, CliError> {
    serde_json::from_slice(text).map_err(|_| Failure::Protocol("it is not JSON").into())
}

async fn read(mut response: Response) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut text = Zeroizing::new(Vec::new());
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if text.len() + bytes.len() <= limits::COMMAND_ANSWER_BYTES => {
                text.extend_from_slice(&bytes);
            }
            Ok(Some(_)) => return Err(Failure::Protocol("it is too long").into()),
            Ok(None) => return Ok(text),
            Err(error) => return Err(Failure::Connection(root_cause(&error)).into()),
        }
    }
}

/// Azure's, OpenAI's and the token issuer's error bodies, all to one error.
fn denied(status: StatusCode, body: &Value) -> CliError {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let error = body.get("error");
    let (code, message) = match error {
        Some(Value::String(code)) => (Some(code.clone()), text(body.get("error_description"))),
        _ => (
            text(error.and_then(|error| error.get("code"))),
            text(error.and_then(|error| error.get("message"))),
        ),
    };
    let code = code.unwrap_or_else(|| status.as_str().to_owned());
    let message = message.unwrap_or_else(|| "the answer gives no reason".to_owned());
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        CliError::Refused { code, message }
    } else {
        CliError::Answered { code, message }
    }
}

/// The innermost reason: what reqwest puts around it only names the URL.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
