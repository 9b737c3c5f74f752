//! One request as a handler gets it, and one answer as a handler gives it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use strongroom_store::{AccountId, Lease};

use crate::arriving::Arriving;
use crate::auth::{Caller, Permits};
use crate::flow::Pieces;
use crate::limits;
use crate::problem::{Form, Problem};
use crate::service::{Service, Slot};

/// A request that passed the edge: its caller is known and permitted.
pub(crate) struct Call {
    pub(crate) service: Arc<Service>,
    pub(crate) caller: Caller,
    pub(crate) permits: Permits,
    pub(crate) form: Form,
    pub(crate) path: Vec<(String, String)>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Arriving,
}

impl Call {
    pub(crate) fn account(&self) -> AccountId {
        self.caller.account
    }

    /// The id in the path. What cannot be an id is an object that does not exist.
    pub(crate) fn id(&self, what: &'static str) -> Result<&str, Problem> {
        let id = self.path_value("id").unwrap_or_default();
        if is_id(id) {
            Ok(id)
        } else {
            Err(Problem::NotFound {
                what,
                id: crate::service::shown(id),
                param: None,
            })
        }
    }

    /// A value from the path, percent-decoded.
    pub(crate) fn path_value(&self, name: &str) -> Option<&str> {
        self.path
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The boundary of the form that the body is.
    pub(crate) fn boundary(&self) -> Result<String, Problem> {
        let content_type = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let boundary = content_type.and_then(crate::multipart::boundary);
        Ok(boundary.ok_or(Problem::ContentType("multipart/form-data"))??)
    }

    /// The body as a JSON object, and everything else.
    pub(crate) async fn with_json(self) -> Result<(CallHead, Map<String, Value>), Problem> {
        check_content_type(&self.headers, "application/json", |kind| {
            kind.eq_ignore_ascii_case("application/json") || kind.to_ascii_lowercase().ends_with("+json")
        })?;
        let Self {
            service,
            caller,
            permits,
            form,
            path,
            body,
            ..
        } = self;
        let request = body.json().await?;
        Ok((
            CallHead {
                service,
                caller,
                permits,
                form,
                path,
            },
            request,
        ))
    }
}

/// A request whose body was read.
pub(crate) struct CallHead {
    pub(crate) service: Arc<Service>,
    pub(crate) caller: Caller,
    pub(crate) permits: Permits,
    pub(crate) form: Form,
    path: Vec<(String, String)>,
}

impl CallHead {
    /// Of a request that came on no connection.
    pub(crate) fn inside(service: Arc<Service>, caller: Caller, permits: Permits) -> Self {
        Self {
            service,
            caller,
            permits,
            form: Form::V1,
            path: Vec::new(),
        }
    }

    pub(crate) fn account(&self) -> AccountId {
        self.caller.account
    }

    /// The deployment in the path, if the path has one.
    pub(crate) fn deployment(&self) -> Option<&str> {
        self.path
            .iter()
            .find(|(key, _)| key == "deployment")
            .map(|(_, value)| value.as_str())
    }
}

/// Whether a text can be an object's id.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::NAME_BYTES
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A missing content type is let pass: some clients of DELETE-like calls and scripts leave it out.
pub(crate) fn check_content_type(
    headers: &HeaderMap,
    wanted: &'static str,
    fits: impl FnOnce(&str) -> bool,
) -> Result<(), Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let kind = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if fits(kind) {
        Ok(())
    } else {
        Err(Problem::ContentType(wanted))
    }
}

/// The query of a request; the last of several equal names counts.
#[derive(Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(uri: &http::Uri) -> Result<Self, Problem> {
        let Some(query) = uri.query().filter(|query| !query.is_empty()) else {
            return Ok(Self::default());
        };
        if query.len() > limits::QUERY_BYTES {
            let limit = u64::try_from(limits::QUERY_BYTES).unwrap_or(u64::MAX);
            return Err(Problem::TooLarge {
                what: "The query string",
                limit,
            });
        }
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::malformed("invalid_query", "The query string cannot be read."))?;
        Ok(Self(pairs.0))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next_back()
    }

    /// Every name with its value.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Every value of this name.
    pub(crate) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        let named = self.0.iter().filter(move |(key, _)| key == name);
        named.map(|(_, value)| value.as_str())
    }
}

/// What a handler answers; the edge makes the response of it.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
    /// The lease whose end cuts the answer. Set by the edge for routes that always need the key.
    pub(crate) guard: Option<Lease>,
}

/// The body of an answer.
pub(crate) enum AnswerBody {
    /// All of it.
    Whole(Bytes),
    /// Piece by piece; the length where it is known; a place among the token streams where it is one.
    Pieces {
        pieces: Pieces,
        length: Option<u64>,
        slot: Option<Slot>,
    },
}

impl Answer {
    /// A JSON body.
    pub(crate) fn json(value: &impl Serialize) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(value).map_err(|error| Problem::Internal(error.to_string()))?;
        Ok(Self::whole("application/json", bytes.into()))
    }

    pub(crate) fn whole(content_type: &'static str, bytes: Bytes) -> Self {
        Self::new(content_type, AnswerBody::Whole(bytes))
    }

    pub(crate) fn new(content_type: &'static str, body: AnswerBody) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self {
            status: StatusCode::OK,
            headers,
            body,
            guard: None,
        }
    }

    pub(crate) fn guarded(mut self, guard: Option<Lease>) -> Self {
        self.guard = guard;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        if let Ok(value) = HeaderValue::try_from(value.into().as_ref()) {
            self.headers.insert(name, value);
        }
        self
    }
}
