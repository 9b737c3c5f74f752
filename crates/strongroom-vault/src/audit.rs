//! What the vault records of every operation, done or refused, in the shape of Azure's AuditEvent log.

use std::net::IpAddr;

use serde::Serialize;
use strongroom_journal::{Journal, JournalError};
use strongroom_seal::BoxFuture;

use crate::access::Caller;

/// One operation: who, what, on what, from where, and how it ended. Never content, never key material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// When the answer was ready, RFC 3339.
    pub time: String,
    /// The vault's ARM resource id, in capitals as Azure writes it.
    pub resource_id: String,
    /// Such as `KeyUnwrap`.
    pub operation_name: &'static str,
    /// The api-version of the request.
    pub operation_version: String,
    /// `AuditEvent`.
    pub category: &'static str,
    /// `Success` or `Failed`.
    pub result_type: &'static str,
    /// `OK`, or the error code.
    pub result_signature: String,
    /// The message of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_description: Option<String>,
    /// How long it took.
    pub duration_ms: String,
    /// The client's address.
    pub caller_ip_address: Option<IpAddr>,
    /// The client's request id.
    pub correlation_id: String,
    /// Who asked.
    pub identity: AuditIdentity,
    /// On what.
    pub properties: AuditProperties,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AuditIdentity {
    /// Claims of the verified token; none if there was no valid one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<AuditClaims>,
}

/// Claims of the caller's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditClaims {
    /// The principal.
    #[serde(rename = "http://schemas.microsoft.com/identity/claims/objectidentifier")]
    pub object_id: String,
    /// The name that a user signs in with.
    #[serde(
        rename = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn",
        skip_serializing_if = "Option::is_none"
    )]
    pub upn: Option<String>,
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
}

/// On what, and how it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditProperties {
    /// The client's program.
    pub client_info: String,
    /// The request's URL, as addressed.
    pub request_uri: String,
    /// The key (version) that was used, or else the key named in the path.
    pub id: String,
    /// The status of the answer.
    pub http_status_code: u16,
}

impl From<&Caller> for AuditClaims {
    fn from(caller: &Caller) -> Self {
        Self {
            object_id: caller.object_id.clone(),
            upn: caller.upn.clone(),
            appid: caller.app_id.clone(),
        }
    }
}

/// A record could not be kept. What the operation yielded must not leave the vault; that it was refused may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// More comes in than is kept. Ask the client to come back.
    #[error("the journal is busy")]
    Busy,
    /// The journal failed. The detail is for the log.
    #[error("the journal failed: {0}")]
    Failed(String),
}

/// Where records go.
pub trait AuditSink: Send + Sync + 'static {
    /// Resolves when the record is durable. A caller may stop waiting; the record is kept all the same if it can be.
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>>;
}

/// Keeps records as entries of a journal, one JSON object each.
pub struct JournalAudit(Journal);

impl JournalAudit {
    /// Records into `journal`.
    pub const fn new(journal: Journal) -> Self {
        Self(journal)
    }
}

impl AuditSink for JournalAudit {
    fn record(&self, event: AuditEvent) -> BoxFuture<'_, Result<(), AuditError>> {
        Box::pin(async move {
            let entry = serde_json::to_vec(&event).map_err(|error| AuditError::Failed(error.to_string()))?;
            self.0.append(entry)?.durable().await?;
            Ok(())
        })
    }
}

impl From<JournalError> for AuditError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Busy => Self::Busy,
            other => Self::Failed(other.to_string()),
        }
    }
}
