//! Entries of the journals as the records that Azure delivers. No entry holds a secret, so no record does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use strongroom_azure::ResourceId;

use crate::accounts::Account;
use crate::arm::time;
use crate::control::Control;

/// The category of an account's requests.
pub(super) const REQUESTS: &str = "RequestResponse";

/// Which journal the logs of a type are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The vault's: every operation.
    Vault,
    /// The service's: what became of keys, exports, shreddings, cut answers; and requests, where somebody wants to know of them.
    Service,
    /// The control plane's: every write.
    Control,
}

impl Source {
    /// Where the logs of a type are; the type is in small letters, and empty for subscriptions.
    pub(super) fn of(kind: &str) -> Option<Self> {
        match kind {
            "microsoft.keyvault/vaults" => Some(Self::Vault),
            "microsoft.cognitiveservices/accounts" => Some(Self::Service),
            "" => Some(Self::Control),
            _ => None,
        }
    }
}

/// One record, and when and what it is of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub(super) time: String,
    pub(super) category: String,
    pub(super) body: Value,
}

/// What is wanted: the records of one resource, in these categories.
pub(super) struct Wanted {
    pub(super) scope: ResourceId,
    pub(super) categories: BTreeSet<String>,
}

impl Wanted {
    /// The record that an entry is, if it is wanted. An entry that cannot be read is none.
    pub(super) fn record(&self, source: Source, entry: &[u8], control: &Control) -> Option<Record> {
        let entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
        let body = match source {
            Source::Vault => self.of_vault(entry)?,
            Source::Service => self.of_service(entry, control)?,
            Source::Control => self.of_control(&entry)?,
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let category = text("category")?;
        let wanted = self
            .categories
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&category));
        wanted.then_some(())?;
        Some(Record {
            time: text("time")?,
            category,
            body,
        })
    }

    /// It is in Azure's shape already.
    fn of_vault(&self, entry: Map<String, Value>) -> Option<Value> {
        let id = entry.get("resourceId")?.as_str()?;
        id.parse::<ResourceId>().ok().filter(|id| *id == self.scope)?;
        Some(Value::Object(entry))
    }

    fn of_service(&self, mut entry: Map<String, Value>, control: &Control) -> Option<Value> {
        let account = entry.get("account")?.as_str()?.parse().ok()?;
        let account = control.state().accounts.by_id(account).cloned()?;
        let id = account.resource_id();
        id.parse::<ResourceId>().ok().filter(|id| *id == self.scope)?;
        let operation = entry.shift_remove("event")?;
        entry.shift_remove("account");
        if operation == "request" {
            return request(&account, entry);
        }
        let at_ms = entry.shift_remove("at_ms")?.as_i64()?;
        let refused = entry
            .get("answer")
            .and_then(Value::as_str)
            .is_some_and(|answer| answer != "held");
        Some(json!({
            "time": time::text(at_ms),
            "resourceId": id.to_ascii_uppercase(),
            "operationName": operation,
            "category": "Audit",
            "resultType": if refused { "Failed" } else { "Success" },
            "location": account.location,
            "properties": entry,
        }))
    }

    /// A row of the activity log, as its export has it.
    fn of_control(&self, row: &Map<String, Value>) -> Option<Value> {
        let of = |name: &str| row.get(name).cloned().unwrap_or_default();
        let value = |name: &str| {
            row.get(name)
                .and_then(|known| known.get("value"))
                .cloned()
                .unwrap_or_default()
        };
        let result = match value("status").as_str() {
            Some("Started") => "Start",
            Some("Accepted") => "Accept",
            Some("Succeeded") => "Success",
            _ => "Failure",
        };
        let id = row.get("resourceId")?.as_str()?;
        let inside = id.parse::<ResourceId>().is_ok_and(|id| self.scope.contains(&id));
        inside.then_some(())?;
        Some(json!({
            "time": of("eventTimestamp"),
            "resourceId": id.to_ascii_uppercase(),
            "operationName": value("operationName"),
            "category": value("category"),
            "resultType": result,
            "resultSignature": value("subStatus"),
            "durationMs": "0",
            "callerIpAddress": row.get("httpRequest").and_then(|request| request.get("clientIpAddress")),
            "correlationId": of("correlationId"),
            "identity": { "authorization": of("authorization"), "claims": of("claims") },
            "level": of("level"),
            "properties": of("properties"),
        }))
    }
}

/// One request to an account, as Azure tells of it.
fn request(account: &Account, entry: Map<String, Value>) -> Option<Value> {
    let of = |name: &str| entry.get(name).cloned().unwrap_or_default();
    let status = entry.get("status")?.as_u64()?;
    let time = time::text(entry.get("at_ms")?.as_i64()?);
    Some(json!({
        "time": time,
        "resourceId": account.resource_id().to_ascii_uppercase(),
        "operationName": format!("{} {}", entry.get("method")?.as_str()?, entry.get("route")?.as_str()?),
        "category": REQUESTS,
        "resultType": if status < 400 { "Success" } else { "Failed" },
        "resultSignature": status.to_string(),
        "durationMs": of("ms"),
        "correlationId": of("request"),
        "location": account.location,
        "properties": { "objectId": of("caller") },
    }))
}
