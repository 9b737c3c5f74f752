//! The Key Vault protocol over the engine. One road for every request: token, firewall, permission, limits, body, operation,
//! record, answer.

mod body;
mod bundle;
mod gate;
mod import;
mod page;
mod path;
mod perform;
mod problem;
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod reading;
mod respond;
#[cfg(test)]
pub(crate) mod tests;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;
use strongroom_azure::token::Verifier;
use strongroom_azure::{ApiVersion, Problem};
use strongroom_seal::{Age, Clock, Moment};
use uuid::Uuid;

use crate::access::{Access, Caller};
use crate::audit::{AuditClaims, AuditEvent, AuditIdentity, AuditProperties, AuditSink};
use crate::engine::VaultEngine;
use crate::engine::settings::VaultSettings;
use crate::limits::{BODY_WAIT, MAX_AUDIT_TEXT, OLDEST_API, REFUSAL_RECORD_WAIT};
use crate::routes::page::Query;
use crate::routes::path::{PathFault, Target};
use crate::routes::respond::Answer;
use crate::throttle::Throttle;

/// Which vault a request is for and how the client addressed it. The listener puts it into the request's extensions once
/// it has checked the Host header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHost {
    /// The vault's name.
    pub vault: String,
    /// Host and port as addressed; key ids and the challenge are built from it.
    pub authority: String,
}

/// Where a request came from, if the listener knows; an extension as well. It is the peer of the TCP connection: firewalls
/// decide by it, so nothing that a client can write may become it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What the routes are made of.
#[derive(Clone)]
pub struct VaultRoutes {
    /// The keys.
    pub engine: VaultEngine,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// Knows the roles.
    pub access: Arc<dyn Access>,
    /// Keeps the records.
    pub audit: Arc<dyn AuditSink>,
    /// Counts operations.
    pub throttle: Throttle,
    /// The token authority that the challenge names, such as `https://localhost:8443`.
    pub login: String,
    /// Measures and dates operations.
    pub clock: Arc<dyn Clock>,
}

/// The vault's data plane. Paths have meaning that a router would lose (empty and doubled segments), so one handler serves
/// them all and reads them itself.
pub fn routes(parts: VaultRoutes) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(parts))
}

/// What is known of a request before its body is read.
struct Asked {
    host: VaultHost,
    target: Result<Target, PathFault>,
    query: Query,
    raw_query: Option<String>,
    uri: String,
    headers: HeaderMap,
    address: Option<IpAddr>,
    request_id: String,
    began: Moment,
}

/// What the audit record needs to know of how far a request came.
#[derive(Default)]
struct Trail {
    vault: Option<Arc<VaultSettings>>,
    caller: Option<Caller>,
    /// The key version that was used.
    kid: Option<String>,
}

async fn serve(State(parts): State<Arc<VaultRoutes>>, request: Request) -> Response {
    let (asked, body) = Asked::read(request, parts.clock.now());
    let mut trail = Trail::default();
    let outcome = parts.answer(&asked, body, &mut trail).await;
    let event = parts.event(&asked, &trail, &outcome);
    let outcome = parts.recorded(event, outcome).await;
    let challenge = || parts.challenge(&asked.host, trail.vault.as_deref());
    respond::respond(outcome, &asked.request_id, &asked.headers, challenge)
}

impl VaultRoutes {
    async fn answer(&self, asked: &Asked, body: Body, trail: &mut Trail) -> Result<Answer, Problem> {
        let vault = self.engine.vault(&asked.host.vault).map_err(problem::fault)?;
        let vault = &*trail.vault.insert(vault);
        let caller = &*trail
            .caller
            .insert(self.identify(&asked.headers, &asked.host, vault).await?);
        self.pass_firewall(asked.address, caller, vault)?;
        let version = ApiVersion::in_query(asked.raw_query.as_deref()).map_err(problem::api_version)?;
        if version.major().is_some_and(|major| major < OLDEST_API) {
            return Err(problem::old_api_version(version.as_str()));
        }
        let target = asked.target.as_ref().map_err(|fault| problem::path(*fault))?;
        self.permit(caller, vault, target)?;
        self.count(vault, target).await?;
        let body = match target.operation.longest_body() {
            Some(longest) => read_body(body, longest).await?,
            None => bytes::Bytes::new(),
        };
        let (answer, kid) = self
            .perform(asked, vault, target, &body)
            .await
            .map_err(problem::fault)?;
        wipe(body);
        trail.kid = kid;
        Ok(answer)
    }

    /// Puts the outcome on record. What was done or shown does not leave without one; a refusal always leaves as what it is,
    /// for clients take a 503 for silence and go on with what they hold.
    async fn recorded(&self, event: AuditEvent, outcome: Result<Answer, Problem>) -> Result<Answer, Problem> {
        let record = self.audit.record(event);
        match outcome {
            Ok(answer) => match record.await {
                Ok(()) => Ok(answer),
                Err(error) => Err(problem::not_recorded(&error)),
            },
            Err(refusal) => {
                match tokio::time::timeout(REFUSAL_RECORD_WAIT, record).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::error!(%error, "a refusal could not be recorded"),
                    Err(_) => tracing::error!("a refusal is not yet on record; it is answered all the same"),
                }
                Err(refusal)
            }
        }
    }

    fn event(&self, asked: &Asked, trail: &Trail, outcome: &Result<Answer, Problem>) -> AuditEvent {
        let now = self.clock.now();
        let duration = match now.age_since(asked.began) {
            Age::Elapsed(duration) => duration.as_millis(),
            Age::WallClockWentBack => 0,
        };
        let named = |target: &Target| format!("https://{}/keys/{}", asked.host.authority, target.name);
        let target = asked.target.as_ref().ok();
        let id = trail
            .kid
            .clone()
            .or_else(|| target.map(named))
            .unwrap_or_default();
        AuditEvent {
            time: wall_time(now),
            resource_id: trail
                .vault
                .as_ref()
                .map(|vault| vault.resource_id.to_uppercase())
                .unwrap_or_default(),
            operation_name: target.map_or("Unknown", |target| target.operation.audit_name()),
            operation_version: bounded(asked.query.api_version.as_deref().unwrap_or_default()),
            category: "AuditEvent",
            result_type: if outcome.is_ok() { "Success" } else { "Failed" },
            result_signature: outcome
                .as_ref()
                .map_or_else(respond::signature, |_| "OK".to_owned()),
            result_description: outcome
                .as_ref()
                .err()
                .map(|problem| bounded(&problem.body().error.message)),
            duration_ms: duration.to_string(),
            caller_ip_address: asked.address,
            correlation_id: asked.correlation_id(),
            identity: AuditIdentity {
                claim: trail.caller.as_ref().map(AuditClaims::from),
            },
            properties: AuditProperties {
                client_info: asked.header(&header::USER_AGENT),
                request_uri: bounded(&asked.uri),
                id: bounded(&id),
                http_status_code: outcome
                    .as_ref()
                    .map_or_else(|problem| problem.status().code().as_u16(), Answer::status),
            },
        }
    }
}

impl Asked {
    fn read(request: Request, began: Moment) -> (Self, Body) {
        let (parts, body) = request.into_parts();
        let unknown = || VaultHost {
            vault: String::new(),
            authority: String::new(),
        };
        let host = parts
            .extensions
            .get::<VaultHost>()
            .cloned()
            .unwrap_or_else(unknown);
        let asked = Self {
            target: Target::parse(&parts.method, parts.uri.path()),
            query: Query::parse(parts.uri.query()),
            raw_query: parts.uri.query().map(ToOwned::to_owned),
            uri: format!("https://{}{}", host.authority, parts.uri),
            host,
            address: parts.extensions.get::<ClientAddress>().map(|address| address.0),
            headers: parts.headers,
            request_id: Uuid::new_v4().to_string(),
            began,
        };
        (asked, body)
    }

    fn header(&self, name: &HeaderName) -> String {
        bounded(
            self.headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default(),
        )
    }

    /// The client's request id where it sent one, else ours.
    fn correlation_id(&self) -> String {
        let sent = self.header(&respond::CLIENT_REQUEST_ID);
        if sent.is_empty() {
            self.request_id.clone()
        } else {
            sent
        }
    }
}

async fn read_body(body: Body, longest: usize) -> Result<bytes::Bytes, Problem> {
    match tokio::time::timeout(BODY_WAIT, axum::body::to_bytes(body, longest)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(_)) => Err(problem::bad_request(
            "The request's body is too large, or did not arrive whole.",
        )),
        Err(_) => Err(problem::body_too_slow()),
    }
}

/// A body may hold a value to wrap, or a private key; it is wiped where nobody else holds it. What the HTTP and TLS layers buffered is theirs.
fn wipe(body: bytes::Bytes) {
    if let Ok(mut body) = body.try_into_mut() {
        zeroize::Zeroize::zeroize(body.as_mut());
    }
}

pub(crate) fn wall_time(moment: Moment) -> String {
    let seconds = i64::try_from(moment.wall.as_secs()).unwrap_or(i64::MAX);
    let nanoseconds = i32::try_from(moment.wall.subsec_nanos()).unwrap_or(0);
    Timestamp::new(seconds, nanoseconds)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

/// Foreign text in a record is bounded, so that a record always fits into a journal's entry.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_AUDIT_TEXT).collect()
}
