//! One request as handlers see it, and what they answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use strongroom_azure::token::Claims;
use strongroom_azure::{ApiVersion, ResourceId};
use zeroize::Zeroizing;

use super::Shared;
use super::event::Event;
use super::fault::{Outcome, bad, precondition};
use super::inventory::Resource;
use super::place::Place;
use super::route::Names;
use crate::actor::Actor;
use crate::roles::ActionKind;

/// A request, after everything that every request must pass.
pub(crate) struct Call {
    pub(crate) arm: Arc<Shared>,
    pub(crate) method: Method,
    pub(crate) path: ResourceId,
    /// What the pattern's names stand for.
    pub(crate) names: Names,
    pub(crate) query: Vec<(String, String)>,
    /// `None` only where none is needed.
    pub(crate) api_version: Option<ApiVersion>,
    /// `https://<authority as the client addressed it>`.
    pub(crate) base: String,
    pub(crate) headers: HeaderMap,
    /// `None` only on routes that are open.
    pub(crate) claims: Option<Claims>,
    /// `Null` where there was none.
    pub(crate) body: Value,
    pub(crate) now_ms: i64,
    /// What the rows of the activity log say of it; `None` for reads.
    pub(crate) event: Option<Arc<Event>>,
}

/// What a handler answers with.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Option<Value>,
    /// A body that is wiped once it is sent.
    pub(crate) secret: Option<Zeroizing<String>>,
    pub(crate) headers: Vec<(HeaderName, String)>,
}

impl Call {
    /// A parameter of the query, whatever the case of its name.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .query
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// What a name of the pattern stands for.
    pub(crate) fn name(&self, name: &str) -> &str {
        self.names.get(name).map_or("", String::as_str)
    }

    /// The scope in front of the pattern.
    pub(crate) fn scope(&self) -> Outcome<ResourceId> {
        self.name("scope")
            .parse()
            .map_err(|_| bad("InvalidResourceId", "The scope is no resource id."))
    }

    /// The caller's object id; empty on open routes.
    pub(crate) fn caller(&self) -> &str {
        self.claims.as_ref().map_or("", |claims| claims.oid.as_str())
    }

    /// The control plane on behalf of the caller; of nobody, where the token names nobody here.
    pub(crate) fn actor(&self) -> Actor {
        let caller = self
            .claims
            .as_ref()
            .and_then(|claims| self.arm.control.caller(claims));
        self.arm.control.actor(caller.unwrap_or_default())
    }

    /// Whether the caller may do this there.
    pub(crate) fn may(&self, scope: &ResourceId, action: &str) -> bool {
        self.arm
            .control
            .may(self.caller(), scope, ActionKind::Control, action)
    }

    /// The path taken apart.
    pub(crate) fn place(&self) -> Outcome<Place> {
        Place::of(&self.path).ok_or_else(|| bad("InvalidRequestUri", "No resource can have this path."))
    }

    /// The body, which must be an object.
    pub(crate) fn object(&self) -> Outcome<Map<String, Value>> {
        self.body.as_object().cloned().ok_or_else(|| {
            bad(
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: a JSON object is expected.",
            )
        })
    }

    /// The body, in the form that this kind of request has.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Outcome<T> {
        T::deserialize(&self.body).map_err(|error| {
            let why = "The request content was invalid and could not be deserialized";
            bad("InvalidRequestContent", format!("{why}: '{error}'."))
        })
    }

    /// Holds the request's conditions against what there is now.
    pub(crate) fn check_conditions(&self, found: Option<&Resource>) -> Outcome<()> {
        let tag = found.map(|found| etag(found.etag));
        if let Some(wanted) = self.header("if-match")
            && !matches_tag(wanted, tag.as_deref())
        {
            return Err(precondition("The resource is not what the If-Match header says."));
        }
        if let Some(unwanted) = self.header("if-none-match")
            && self.method != Method::GET
            && matches_tag(unwanted, tag.as_deref())
        {
            return Err(precondition(
                "The resource exists, against the If-None-Match header.",
            ));
        }
        Ok(())
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Answers with a resource: with 304 if the client has it.
    pub(crate) fn show(&self, status: StatusCode, resource: Resource) -> Answer {
        let tag = etag(resource.etag);
        let known = self.method == Method::GET
            && self
                .header("if-none-match")
                .is_some_and(|known| matches_tag(known, Some(&tag)));
        let answer = if known {
            Answer::empty(StatusCode::NOT_MODIFIED)
        } else {
            Answer::new(status, Value::Object(resource.body))
        };
        answer.with(http::header::ETAG, tag)
    }

    /// An absolute link to a path of ours.
    pub(crate) fn link(&self, path: &str, query: &[(&str, &str)]) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in query {
            pairs.append_pair(name, value);
        }
        // What clients read as a path must have no spaces.
        let path = path.replace(' ', "%20");
        format!("{}{path}?{}", self.base, pairs.finish())
    }

    /// The link to the next page of this very list.
    pub(crate) fn next_link(&self, token: &str) -> String {
        let own = ["$skiptoken", "$skipToken"];
        let kept = self
            .query
            .iter()
            .filter(|(name, _)| !own.contains(&name.as_str()));
        let mut query: Vec<_> = kept
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        query.push(("$skiptoken", token));
        self.link(self.path.as_str(), &query)
    }
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
            secret: None,
            headers: Vec::new(),
        }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            body: None,
            secret: None,
            headers: Vec::new(),
        }
    }

    /// JSON that no memory of ours is to keep.
    pub(crate) fn secret(json: Zeroizing<String>) -> Self {
        let mut answer = Self::empty(StatusCode::OK);
        answer.secret = Some(json);
        answer
    }

    /// A list of which this is a page.
    pub(crate) fn page(value: Vec<Value>, next: Option<String>) -> Self {
        let mut body = json!({ "value": value });
        if let (Some(next), Some(body)) = (next, body.as_object_mut()) {
            body.insert("nextLink".to_owned(), next.into());
        }
        Self::ok(body)
    }

    /// Whether the work was only begun: its end is on record later.
    pub(crate) fn goes_on(&self) -> bool {
        self.status == StatusCode::ACCEPTED || self.headers.iter().any(|(name, _)| *name == ASYNC_OPERATION)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Names the operation that goes on.
pub(crate) const ASYNC_OPERATION: HeaderName = HeaderName::from_static("azure-asyncoperation");

/// The entity tag as the header carries it.
pub(crate) fn etag(etag: i64) -> String {
    format!("\"{etag:x}\"")
}

fn matches_tag(condition: &str, tag: Option<&str>) -> bool {
    let strong = |one: &str| one.trim().trim_start_matches("W/").to_owned();
    tag.is_some_and(|tag| condition.trim() == "*" || condition.split(',').any(|one| strong(one) == tag))
}

/// Puts the value in, if it can be in a header.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
