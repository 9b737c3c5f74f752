//! Rows of the activity log, shaped as Azure shapes them.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_azure::token::Claims;
use strongroom_azure::{Problem, ResourceId};
use uuid::Uuid;

use super::fault::sub_status;
use super::place::Place;
use super::time;

/// Longest text of a request that is taken into a row, in bytes.
const TEXT: usize = 2048;

/// What all rows of one request share. Kept with long-running operations, which end after the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) claims: Claims,
    pub(crate) correlation: String,
    pub(crate) operation: String,
    pub(crate) request: String,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) client_address: Option<String>,
    pub(crate) subscription: String,
    pub(crate) began_ms: i64,
    /// What was asked for, where the row shows it.
    #[serde(default)]
    pub(crate) asked: Option<String>,
    /// What was answered, where the row shows it.
    #[serde(default)]
    pub(crate) answered: Option<String>,
}

/// The actions whose rows show what was asked for and answered, as on Azure: clients tell from it who was granted what.
/// Nothing in them is secret.
const SHOWN: [&str; 2] = [crate::roles::ASSIGN, crate::roles::UNASSIGN];

/// How far the request came.
#[derive(Debug, Clone)]
pub(crate) enum Progress {
    /// It is allowed and begins now.
    Started,
    /// It goes on after its answer.
    Accepted,
    /// It is done.
    Succeeded(StatusCode),
    /// It was refused, or went wrong.
    Failed(Box<Problem>),
}

impl Event {
    /// Takes in what was asked for, if rows of this action show it.
    pub(crate) fn asking(&mut self, body: &Value) {
        self.asked = Some(body)
            .filter(|body| !body.is_null())
            .and_then(|body| self.shown(body));
    }

    /// The same event with what is answered, if rows of this action show it.
    pub(crate) fn answering(&self, body: Option<&Value>) -> Self {
        Self {
            answered: body.and_then(|body| self.shown(body)),
            ..self.clone()
        }
    }

    /// Whole or not at all: clients parse it.
    fn shown(&self, body: &Value) -> Option<String> {
        let shown = SHOWN.contains(&self.action.as_str());
        shown.then(|| body.to_string()).filter(|text| text.len() <= TEXT)
    }

    /// The row.
    pub(crate) fn row(&self, progress: &Progress, now_ms: i64) -> Value {
        let (status, sub, name, level) = match progress {
            Progress::Started => ("Started", String::new(), "BeginRequest", "Informational"),
            Progress::Accepted => (
                "Accepted",
                sub_status(StatusCode::ACCEPTED),
                "EndRequest",
                "Informational",
            ),
            Progress::Succeeded(code) => ("Succeeded", sub_status(*code), "EndRequest", "Informational"),
            Progress::Failed(problem) => (
                "Failed",
                sub_status(problem.status().code()),
                "EndRequest",
                "Error",
            ),
        };
        let id = self.target.parse::<ResourceId>().ok();
        let place = id.as_ref().and_then(Place::of);
        let group = place
            .as_ref()
            .and_then(|place| place.group.clone())
            .unwrap_or_default();
        let provider = self.action.split('/').next().unwrap_or_default();
        let at = time::text(now_ms);
        let event = Uuid::new_v4().to_string();
        let ticks = now_ms;
        let named = |value: &str| json!({ "value": value, "localizedValue": value });
        json!({
            "authorization": { "action": self.action, "scope": self.target },
            "caller": self.claims.oid,
            "channels": "Operation",
            "claims": claims(&self.claims),
            "correlationId": self.correlation,
            "description": "",
            "eventDataId": event,
            "eventName": named(name),
            "category": named("Administrative"),
            "httpRequest": {
                "clientRequestId": self.request,
                "clientIpAddress": self.client_address,
                "method": self.method,
                "uri": self.uri,
            },
            "id": format!("{}/events/{event}/ticks/{ticks}", self.target),
            "level": level,
            "resourceGroupName": group,
            "resourceProviderName": named(provider),
            "resourceId": self.target,
            "resourceType": named(type_of(&self.action)),
            "operationId": self.operation,
            "operationName": named(&self.action),
            "properties": self.properties(progress),
            "status": named(status),
            "subStatus": named(&sub),
            "eventTimestamp": at,
            "submissionTimestamp": at,
            "subscriptionId": self.subscription,
            "tenantId": self.claims.tid,
        })
    }

    fn properties(&self, progress: &Progress) -> Value {
        let mut properties = json!({
            "eventCategory": "Administrative",
            "entity": self.target,
            "message": self.action,
            "hierarchy": self.subscription,
        });
        let code = match progress {
            Progress::Started => None,
            Progress::Accepted => Some(StatusCode::ACCEPTED),
            Progress::Succeeded(code) => Some(*code),
            Progress::Failed(problem) => Some(problem.status().code()),
        };
        if let Some(properties) = properties.as_object_mut() {
            // Azure's own spelling of the first, which clients rely on.
            for (name, text) in [("requestbody", &self.asked), ("responseBody", &self.answered)] {
                if let Some(text) = text {
                    properties.insert(name.to_owned(), text.clone().into());
                }
            }
            if let Some(code) = code {
                let reason: String = code.canonical_reason().unwrap_or_default().split(' ').collect();
                properties.insert("statusCode".to_owned(), reason.into());
                properties.insert("serviceRequestId".to_owned(), self.operation.clone().into());
            }
            if let Progress::Failed(problem) = progress {
                let told = serde_json::to_string(problem.body()).unwrap_or_default();
                properties.insert("statusMessage".to_owned(), cut(&told).into());
            }
        }
        properties
    }
}

/// At most as much of a text as goes into a row.
pub(crate) fn cut(text: &str) -> String {
    text.char_indices()
        .take_while(|(at, _)| *at < TEXT)
        .map(|(_, c)| c)
        .collect()
}

/// `A.B/c/write` is about `A.B/c`, and `A.B/c/listKeys/action` too.
fn type_of(action: &str) -> &str {
    let of = action.strip_suffix("/action").unwrap_or(action);
    of.rsplit_once('/').map_or(action, |(kind, _)| kind)
}

/// Claims under the names that Azure gives them there.
fn claims(claims: &Claims) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            shown.insert(name.to_owned(), cut(&value).into());
        }
    };
    add("aud", Some(claims.aud.clone()));
    add("iss", Some(claims.iss.clone()));
    add("iat", Some(claims.iat.to_string()));
    add("nbf", Some(claims.nbf.to_string()));
    add("exp", Some(claims.exp.to_string()));
    add("appid", claims.appid.clone());
    add("idtyp", claims.idtyp.clone());
    add("uti", claims.uti.clone());
    add("xms_mirid", claims.resource.clone());
    add(
        "http://schemas.microsoft.com/identity/claims/objectidentifier",
        Some(claims.oid.clone()),
    );
    add(
        "http://schemas.microsoft.com/identity/claims/tenantid",
        Some(claims.tid.clone()),
    );
    add(
        "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier",
        Some(claims.sub.clone()),
    );
    shown
}
