//! Logs: what a vault says of the use of its keys, and what Resource Manager says was done.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::json::{at, field, list, moment, text};
use super::lookup::FactRef;
use super::names::{ArmId, KeyName, guid};

/// What a vault's audit log says of the use of its keys: not the records, but the last of each kind.
#[derive(Debug, Clone, Default)]
pub struct KeyUse {
    /// By version and who asked.
    pub uses: BTreeMap<(KeyName, String), Used>,
    /// The newest.
    pub newest: Option<Timestamp>,
    /// The last fact that told.
    pub fact: Option<FactRef>,
}

/// How a version was used by one principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Used {
    /// The last unwrap that was done: what reads need.
    pub unwrapped: Option<(Timestamp, FactRef)>,
    /// The last unwrap or wrap that was refused.
    pub refused: Option<(Timestamp, FactRef)>,
}

/// One record, however it is kept.
struct Record {
    vault: Option<ArmId>,
    time: Timestamp,
    operation: String,
    done: bool,
    principal: Option<String>,
    key: Option<KeyName>,
}

/// Everything that was read of vaults' audit logs, by the vault's id.
#[derive(Debug, Clone, Default)]
pub(super) struct AuditLogs(pub(super) BTreeMap<ArmId, KeyUse>);

impl AuditLogs {
    /// Takes in an answer: a table of Log Analytics, or records as diagnostic settings write them. False if it is neither.
    pub(super) fn read(&mut self, body: &[u8], about: Option<&ArmId>, fact: FactRef) -> bool {
        if let Some(about) = about.filter(|about| {
            about
                .kind()
                .is_some_and(|kind| kind.starts_with("microsoft.keyvault/"))
        }) {
            // A log without a record has been read, too.
            self.0.entry(about.clone()).or_default().fact = Some(fact);
        }
        let Ok(text) = std::str::from_utf8(body) else {
            return false;
        };
        match serde_json::from_str::<Value>(text) {
            Ok(body) if field(&body, "tables").is_some() => {
                let rows = list(&body, "tables").iter().flat_map(table_rows);
                rows.for_each(|row| self.take(from_table(&row), about, fact));
                // With a part of the rows comes an error; what is missing may be what matters.
                field(&body, "error").is_none()
            }
            Ok(body) => {
                let records = if field(&body, "records").is_some() {
                    list(&body, "records")
                } else {
                    list_of(&body)
                };
                records
                    .iter()
                    .for_each(|record| self.take(from_record(record), about, fact));
                true
            }
            Err(_) => self.read_lines(text, about, fact),
        }
    }

    fn read_lines(&mut self, text: &str, about: Option<&ArmId>, fact: FactRef) -> bool {
        let (mut any, mut whole) = (false, true);
        let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
        if lines.peek().is_none() {
            return true;
        }
        while let Some(line) = lines.next() {
            let Ok(record) = serde_json::from_str::<Value>(line) else {
                // The last line of a file that is being written may be cut off.
                whole &= lines.peek().is_none();
                continue;
            };
            any = true;
            self.take(from_record(&record), about, fact);
        }
        any && whole
    }

    fn take(&mut self, record: Option<Record>, about: Option<&ArmId>, fact: FactRef) {
        let Some(record) = record else { return };
        let Some(vault) = record.vault.as_ref().or(about) else {
            return;
        };
        let log = self.0.entry(vault.clone()).or_default();
        log.fact = Some(fact);
        log.newest = log.newest.max(Some(record.time));
        let Some(key) = record.key.filter(|key| key.version.is_some()) else {
            return;
        };
        // A use counts whoever it was: an old version is not free because its user's id stands elsewhere.
        let principal = record.principal.unwrap_or_else(|| UNKNOWN.to_owned());
        let unwraps = match record.operation.as_str() {
            "keyunwrap" | "keydecrypt" => true,
            "keywrap" | "keyencrypt" => false,
            _ => return,
        };
        let used = log.uses.entry((key, principal)).or_default();
        let slot = match (record.done, unwraps) {
            (true, true) => &mut used.unwrapped,
            // A wrap that was done proves nothing: it takes only the public half.
            (true, false) => return,
            (false, _) => &mut used.refused,
        };
        if slot.is_none_or(|(time, _)| time <= record.time) {
            *slot = Some((record.time, fact));
        }
    }
}

/// Stands for a caller whose object id a record does not give.
const UNKNOWN: &str = "somebody whose id the log does not give";

fn list_of(body: &Value) -> &[Value] {
    body.as_array()
        .map_or_else(|| std::slice::from_ref(body), Vec::as_slice)
}

/// The rows of a table as objects, by the columns' names.
fn table_rows(table: &Value) -> Vec<Map<String, Value>> {
    let columns: Vec<&str> = list(table, "columns")
        .iter()
        .map(|column| text(column, "name").unwrap_or_default())
        .collect();
    let rows = list(table, "rows").iter().filter_map(Value::as_array);
    let named = |row: &Vec<Value>| {
        columns
            .iter()
            .zip(row)
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    };
    rows.map(named).collect()
}

fn from_record(record: &Value) -> Option<Record> {
    let status = at(record, "properties.httpStatusCode").and_then(Value::as_u64);
    let done = match text(record, "resultType") {
        Some(result) => result.eq_ignore_ascii_case("success"),
        None => status.is_some_and(|status| (200..300).contains(&status)),
    };
    let key = text(record, "properties.id").and_then(KeyName::read);
    Some(Record {
        vault: text(record, "resourceId").and_then(ArmId::read),
        time: moment(record, "time")?,
        operation: text(record, "operationName")?.to_ascii_lowercase(),
        done,
        principal: field(record, "identity").and_then(object_id),
        key: key.or_else(|| text(record, "properties.requestUri").and_then(used_key)),
    })
}

/// A row of `AzureDiagnostics` or of `AZKVAuditLogs`, or of a query that names its columns alike.
fn from_table(row: &Map<String, Value>) -> Option<Record> {
    let column = |names: &[&str]| {
        let found = |name: &&str| {
            row.iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        };
        names.iter().find_map(found)
    };
    let text_of = |names: &[&str]| {
        column(names)
            .and_then(Value::as_str)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    };
    let status = column(&["httpStatusCode_d", "httpStatusCode"]).and_then(Value::as_f64);
    let done = match text_of(&["ResultType"]) {
        Some(result) => result.eq_ignore_ascii_case("success"),
        None => status.is_some_and(|status| (200.0..300.0).contains(&status)),
    };
    let claimed = row
        .iter()
        .find(|(name, _)| name.to_ascii_lowercase().contains("objectid"));
    let principal = claimed.and_then(|(_, value)| guid(value.as_str()?));
    Some(Record {
        vault: text_of(&["_ResourceId", "ResourceId"]).and_then(ArmId::read),
        time: text_of(&["TimeGenerated", "time"])?.parse().ok()?,
        operation: text_of(&["OperationName"])?.to_ascii_lowercase(),
        done,
        principal: principal.or_else(|| column(&["Identity", "identity_s"]).and_then(object_id)),
        key: text_of(&["id_s", "Id", "properties_id"])
            .and_then(KeyName::read)
            .or_else(|| text_of(&["requestUri_s", "RequestUri"]).and_then(used_key)),
    })
}

/// The principal in an identity, which may be an object or the text of one.
fn object_id(identity: &Value) -> Option<String> {
    if let Value::String(text) = identity {
        return object_id(&serde_json::from_str(text).ok().filter(Value::is_object)?);
    }
    let claims = field(identity, "claim")
        .or_else(|| field(identity, "claims"))
        .unwrap_or(identity);
    let names = [
        "http://schemas.microsoft.com/identity/claims/objectidentifier",
        "oid",
    ];
    names.iter().find_map(|name| guid(field(claims, name)?.as_str()?))
}

/// The key in the address of a request such as `/keys/K/V/unwrapkey`.
fn used_key(url: &str) -> Option<KeyName> {
    let bare = url.split('?').next()?;
    KeyName::read(bare).or_else(|| KeyName::read(bare.rsplit_once('/')?.0))
}

/// A write to an account that said whose key to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySourceChange {
    /// When it was asked for.
    pub time: Timestamp,
    /// Whether a customer's key was asked for.
    pub customer: bool,
    /// Who asked.
    pub caller: Option<String>,
    /// Where that was read.
    pub fact: FactRef,
}

/// What a row of the activity log says of writes to accounts.
pub(super) enum WriteRow {
    /// Such a write was asked for; it counts if it was done.
    Asked(ArmId, KeySourceChange, String),
    /// The write of that correlation was done, to this account.
    Done(ArmId, String),
    /// It is shown what the write of that correlation asked for.
    Shown(String),
}

/// Reads a row of the activity log, if it is of a write to an account.
pub(super) fn account_write(row: &Value, fact: FactRef) -> Vec<WriteRow> {
    let operation = text(row, "operationName.value").or_else(|| text(row, "operationName"));
    if !operation
        .is_some_and(|operation| operation.eq_ignore_ascii_case("Microsoft.CognitiveServices/accounts/write"))
    {
        return Vec::new();
    }
    let status = text(row, "status.value")
        .or_else(|| text(row, "status"))
        .unwrap_or_default();
    let done = ["succeeded", "accepted"]
        .iter()
        .any(|done| status.eq_ignore_ascii_case(done));
    let (Some(correlation), Some(account)) = (
        text(row, "correlationId"),
        text(row, "resourceId").and_then(ArmId::read),
    ) else {
        return Vec::new();
    };
    let correlation = correlation.to_owned();
    let shown = at(row, "properties.requestbody").map(|_| WriteRow::Shown(correlation.clone()));
    let asked = asked_source(row, fact)
        .map(|(account, change)| WriteRow::Asked(account, change, correlation.clone()));
    let done = done.then_some(WriteRow::Done(account, correlation));
    done.into_iter().chain(shown).chain(asked).collect()
}

fn asked_source(row: &Value, fact: FactRef) -> Option<(ArmId, KeySourceChange)> {
    let body = field(row, "properties").and_then(|properties| field(properties, "requestbody"))?;
    let parsed = body
        .as_str()
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    let source = text(parsed.as_ref().unwrap_or(body), "properties.encryption.keySource")?.to_owned();
    let change = KeySourceChange {
        time: moment(row, "eventTimestamp")?,
        customer: source.eq_ignore_ascii_case("Microsoft.KeyVault"),
        caller: text(row, "caller").map(str::to_owned),
        fact,
    };
    Some((ArmId::read(text(row, "resourceId")?)?, change))
}
