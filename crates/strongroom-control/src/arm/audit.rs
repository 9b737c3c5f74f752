//! What vaults are managed by, in the vaults' own log beside what is done with their keys.

use http::StatusCode;
use http::header::USER_AGENT;
use http::request::Parts;
use serde_json::Value;
use strongroom_vault::{
    AuditClaims, AuditEvent, AuditIdentity, AuditProperties, Caller, ClientAddress, DeletedVault,
};

use super::call::{Answer, Call};
use super::event::cut;
use super::fault::{Fault, Outcome};
use super::{Shared, time};

/// A record in the making.
pub(crate) struct Record {
    event: AuditEvent,
    began_ms: i64,
}

impl Record {
    /// What is known before the request is admitted. `operation` is Key Vault's name for what the route does.
    pub(crate) fn begin(operation: &'static str, call: &Call, parts: &Parts, correlation: &str) -> Self {
        let address = parts.extensions.get::<ClientAddress>();
        let caller = call.claims.clone().map(Caller::from);
        let version = call.query.iter().find(|(name, _)| name == "api-version");
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let event = AuditEvent {
            time: String::new(),
            resource_id: vault_id(call).to_uppercase(),
            operation_name: operation,
            operation_version: cut(version.map_or("", |(_, version)| version.as_str())),
            category: "AuditEvent",
            result_type: "",
            result_signature: String::new(),
            result_description: None,
            duration_ms: String::new(),
            caller_ip_address: address.map(|address| address.0),
            correlation_id: call
                .header("x-ms-client-request-id")
                .map_or_else(|| correlation.to_owned(), cut),
            identity: AuditIdentity {
                claim: caller.as_ref().map(AuditClaims::from),
            },
            properties: AuditProperties {
                client_info: cut(call.header(USER_AGENT.as_str()).unwrap_or_default()),
                request_uri: cut(&format!("{}{path}", call.base)),
                id: cut(&object(call)),
                http_status_code: 0,
            },
        };
        Self {
            event,
            began_ms: call.now_ms,
        }
    }

    /// Takes in what was asked for: a vault that is recovered is PUT like one that is made.
    pub(crate) fn asking(&mut self, body: &Value) {
        let mode = body.pointer("/properties/createMode").and_then(Value::as_str);
        if self.event.operation_name == PUT && mode.is_some_and(|mode| mode.eq_ignore_ascii_case("recover")) {
            self.event.operation_name = "VaultRecover";
        }
    }

    /// Keeps it. What was done or shown is not told without a record; a refusal is, as what it is.
    pub(crate) async fn end(mut self, arm: &Shared, done: Outcome<Answer>) -> Outcome<Answer> {
        let now_ms = time::now_ms(&*arm.clock);
        self.event.time = time::text(now_ms);
        self.event.duration_ms = now_ms.saturating_sub(self.began_ms).max(0).to_string();
        match done {
            Ok(answer) => {
                self.ended("Success", "OK".to_owned(), answer.status);
                arm.audit.record(self.event).await?;
                Ok(answer)
            }
            Err(fault) => {
                let problem = fault.into_problem();
                let error = &problem.body().error;
                self.event.result_description = Some(cut(&error.message));
                self.ended("Failed", error.code.clone(), problem.status().code());
                if let Err(error) = arm.audit.record(self.event).await {
                    tracing::error!(%error, "a refusal could not be recorded in the vaults' log");
                }
                Err(Fault::from(problem))
            }
        }
    }

    fn ended(&mut self, result: &'static str, signature: String, status: StatusCode) {
        self.event.result_type = result;
        self.event.result_signature = signature;
        self.event.properties.http_status_code = status.as_u16();
    }
}

/// What a vault that is made, changed or recovered is asked for by.
pub(crate) const PUT: &str = "VaultPut";

/// The vault that a request is about; for a list, where it looks.
fn vault_id(call: &Call) -> String {
    let (group, vault) = (call.name("group"), call.name("vault"));
    if vault.is_empty() {
        return call.path.to_string();
    }
    if group.is_empty() {
        let deleted = call.arm.control.vaults().deleted_vault(vault);
        return match deleted {
            Ok(DeletedVault { vault, .. }) => vault.resource_id.clone(),
            Err(_) => call.path.to_string(),
        };
    }
    let subscription = call.arm.subscription();
    format!("{subscription}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults/{vault}")
}

/// The vault or key, as its own protocol names it.
fn object(call: &Call) -> String {
    match (call.name("vault"), call.name("key")) {
        ("", _) => String::new(),
        (vault, "") => call.arm.vault_uri(vault),
        (vault, key) => format!("{}keys/{key}", call.arm.vault_uri(vault)),
    }
}
