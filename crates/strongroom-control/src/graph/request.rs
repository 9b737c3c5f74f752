//! What every request of Graph passes, and what every answer carries.

use axum::body::Body;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use strongroom_azure::token::{Claims, TokenError, bearer};
use strongroom_azure::{ErrorStatus, Problem};
use strongroom_vault::ClientAddress;
use uuid::Uuid;

use super::bad;
use crate::arm::call::set;
use crate::arm::event::{Event, cut};
use crate::arm::fault::{Fault, Outcome};
use crate::arm::frame;
use crate::limits::{DIRECTORY_BODY, DIRECTORY_PATH, REQUEST_ID};

/// Actions that change nothing.
const LOOKS: [&str; 5] = [
    "getByIds",
    "getMemberGroups",
    "getMemberObjects",
    "checkMemberGroups",
    "checkMemberObjects",
];

/// A request, after everything that every request must pass.
pub(super) struct Ask {
    pub(super) method: Method,
    /// `https://<authority as the client addressed it>/<version>`.
    pub(super) base: String,
    /// The decoded segments after the version.
    pub(super) path: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    /// `Null` where there was none.
    pub(super) body: Value,
}

/// What is answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Option<Value>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        let body = Some(body);
        Self { status, body }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, body: None }
    }
}

/// A segment: `users`, `users('a@b')` or `servicePrincipals(appId='...')`.
pub(super) struct Step<'a> {
    pub(super) name: &'a str,
    /// What stands in the parentheses; without its quotes, if it is one text.
    pub(super) key: Option<&'a str>,
}

impl<'a> Step<'a> {
    pub(super) fn of(segment: &'a str) -> Self {
        let parts = segment.strip_suffix(')').and_then(|open| open.split_once('('));
        let Some((name, key)) = parts else {
            return Self {
                name: segment,
                key: None,
            };
        };
        let text = key.strip_prefix('\'').and_then(|key| key.strip_suffix('\''));
        Self {
            name,
            key: Some(text.unwrap_or(key)),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.key.is_none() && self.name.eq_ignore_ascii_case(name)
    }
}

impl Ask {
    pub(super) async fn read(parts: &Parts, body: Body) -> Outcome<Self> {
        let path = parts.uri.path();
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let decoded = segments.map(|segment| {
            let text = percent_decode_str(segment).decode_utf8();
            let text = text.map_err(|_| bad("The path is not UTF-8."))?;
            Ok(text.into_owned())
        });
        let mut path = decoded
            .take(DIRECTORY_PATH + 1)
            .collect::<Outcome<Vec<String>>>()?;
        if path.is_empty() || path.len() > DIRECTORY_PATH {
            return Err(bad("The path has too many segments."));
        }
        let version = path.remove(0);
        let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let body = match parts.method {
            Method::POST | Method::PATCH | Method::PUT => {
                frame::read_body(parts, body, DIRECTORY_BODY).await?
            }
            _ => Value::Null,
        };
        Ok(Self {
            method: parts.method.clone(),
            base: format!("{}/{}", frame::base(parts), version.to_ascii_lowercase()),
            path,
            query: query.into_owned().collect(),
            body,
        })
    }

    /// What the activity log says of a request that changes something; `None` for one that looks. Rows of the directory are in the
    /// journal, and in nobody's list: no role is held over the directory.
    pub(super) fn event(
        &self,
        parts: &Parts,
        claims: Claims,
        subscription: String,
        began_ms: i64,
    ) -> Option<Event> {
        let below = self.path.get(2).map(String::as_str);
        let looks = |action: &str| LOOKS.iter().any(|known| known.eq_ignore_ascii_case(action));
        let verb = match (&self.method, below) {
            (&Method::DELETE, _) => "delete",
            (&Method::POST, Some(action)) if looks(action) => return None,
            (&Method::POST, None) if self.path.get(1).is_some_and(|action| looks(action)) => return None,
            (&Method::POST, Some("members") | None) => "write",
            (&Method::POST, Some(_)) => "action",
            (&Method::PATCH | &Method::PUT, _) => "write",
            _ => return None,
        };
        let collection = self.path.first().map_or("", String::as_str);
        let of = below.map_or(String::new(), |below| format!("/{below}"));
        let given = |name: &str| parts.headers.get(name)?.to_str().ok();
        let address = parts.extensions.get::<ClientAddress>();
        Some(Event {
            action: cut(&format!("microsoft.directory/{collection}{of}/{verb}")),
            target: cut(&format!("/providers/microsoft.directory/{}", self.path.join("/"))),
            claims,
            correlation: Uuid::new_v4().to_string(),
            operation: Uuid::new_v4().to_string(),
            request: cut(given("x-ms-client-request-id").unwrap_or_default()),
            method: self.method.to_string(),
            uri: cut(&format!("{}/{}", self.base, self.path.join("/"))),
            client_address: address.map(|address| address.0.to_string()),
            subscription,
            began_ms,
            asked: None,
            answered: None,
        })
    }

    /// A query option. Graph takes them with and without the dollar sign.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let named = |known: &str| known.trim_start_matches('$').eq_ignore_ascii_case(name);
        let found = self.query.iter().find(|(known, _)| named(known));
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The value of `@odata.context`.
    pub(super) fn context(&self, of: &str) -> String {
        format!("{}/$metadata#{of}", self.base)
    }

    pub(super) fn unknown(&self, segment: &str) -> Fault {
        let message = format!("Resource not found for the segment '{segment}'.");
        Problem::new(ErrorStatus::BAD_REQUEST, "BadRequest", message).into()
    }

    pub(super) fn not_allowed(&self) -> Fault {
        let message = format!("The method '{}' is not served here.", self.method);
        Problem::new(ErrorStatus::METHOD_NOT_ALLOWED, "Request_BadRequest", message).into()
    }
}

/// The token that a request carries.
pub(super) fn token(parts: &Parts) -> Outcome<&str> {
    let header = parts.headers.get(AUTHORIZATION);
    let header = header.ok_or_else(|| unauthorized("Access token is empty."))?;
    let token = header.to_str().ok().and_then(bearer);
    token.ok_or_else(|| unauthorized("CompactToken parsing failed."))
}

/// Why a token is of no use.
pub(super) fn not_accepted(error: TokenError) -> Fault {
    tracing::info!(%error, "a token was not accepted by Graph");
    match error {
        TokenError::Expired => unauthorized("Lifetime validation failed, the token is expired."),
        TokenError::Audience => unauthorized("Access token validation failure. Invalid audience."),
        _ => unauthorized("Access token validation failure."),
    }
}

fn unauthorized(message: &str) -> Fault {
    Problem::new(ErrorStatus::UNAUTHORIZED, "InvalidAuthenticationToken", message).into()
}

/// The ids of one request, and its time.
pub(super) struct Stamp {
    request: String,
    client: String,
    date: String,
}

impl Stamp {
    pub(super) fn of(parts: &Parts, now_ms: i64) -> Self {
        let request = Uuid::new_v4().to_string();
        let given = |name: &str| parts.headers.get(name)?.to_str().ok();
        let client = given("client-request-id").or_else(|| given("x-ms-client-request-id"));
        let fits = |id: &&str| {
            (1..=REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Self {
            client: client.filter(fits).unwrap_or(&request).to_owned(),
            date: crate::arm::time::text(now_ms),
            request,
        }
    }

    pub(super) fn respond(&self, answer: Answer) -> Response<Body> {
        let mut response = match answer.body {
            Some(body) => json_response(&body),
            None => Response::new(Body::empty()),
        };
        *response.status_mut() = answer.status;
        self.mark(response.headers_mut());
        response
    }

    pub(super) fn refuse(&self, problem: &Problem, login: &str) -> Response<Body> {
        let error = &problem.body().error;
        let mut response = json_response(&json!({
            "error": {
                "code": error.code,
                "message": error.message,
                "innerError": {
                    "date": self.date,
                    "request-id": self.request,
                    "client-request-id": self.client,
                },
            },
        }));
        *response.status_mut() = problem.status().code();
        if problem.status() == ErrorStatus::UNAUTHORIZED {
            let challenge =
                format!("Bearer realm=\"\", authorization_uri=\"{login}/common/oauth2/authorize\"");
            set(response.headers_mut(), WWW_AUTHENTICATE, &challenge);
        }
        self.mark(response.headers_mut());
        response
    }

    fn mark(&self, headers: &mut HeaderMap) {
        set(headers, HeaderName::from_static("request-id"), &self.request);
        set(
            headers,
            HeaderName::from_static("client-request-id"),
            &self.client,
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
}

fn json_response(body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    let kind = HeaderValue::from_static("application/json;odata.metadata=minimal;charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
