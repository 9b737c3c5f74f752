//! What went wrong, as a status and a body: the one place that maps errors to what a caller sees.
//!
//! Bodies satisfy OpenAI's error shape (`message`, `type`, `param`, `code`) and Azure's (`code`, `message`, `innererror`) at once. What
//! happened inside never leaves: it goes to the log, under the request id.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONNECTION, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use strongroom_azure::ApiVersionError;
use strongroom_models::EngineError;
use strongroom_store::{KeyDenied, StoreError};

use crate::auth::AuthDenied;
use crate::limits;

/// Everything that keeps a request from its answer.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No credential was shown.
    NoCredential,
    /// The credential was not accepted.
    Denied(AuthDenied),
    /// The caller may not do this.
    NoRight,
    /// Nothing is served at this path.
    UnknownRoute,
    /// The path exists, but not for this method.
    WrongMethod,
    /// The Azure form was used without an `api-version`, or with one that is none.
    ApiVersion(ApiVersionError),
    /// Something about the request is wrong; the caller must change it.
    Invalid(Invalid),
    /// The body is not of a type that this path takes.
    ContentType(&'static str),
    /// The body, the file or the head is larger than what is taken.
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it may be.
        limit: u64,
    },
    /// The body did not come in time.
    SlowBody,
    /// The body broke off. Nobody will read the answer.
    BrokenBody,
    /// There is no such object.
    NotFound {
        /// What it would be: "File object", "response".
        what: &'static str,
        /// The id, as the caller gave it.
        id: String,
        /// The parameter that named it, where it is not the path.
        param: Option<&'static str>,
    },
    /// There is no such deployment.
    UnknownModel {
        /// Its name, as the caller gave it.
        name: String,
    },
    /// The model cannot be deleted while deployments stand for it.
    ModelInUse {
        /// Their names.
        deployments: Vec<String>,
    },
    /// The range begins after the end, or is none.
    Range {
        /// The length of what a range was asked of.
        len: u64,
    },
    /// Too many streams or transfers are being served.
    Crowded,
    /// The answer took longer than it may.
    TimedOut,
    /// The customer key does not allow it.
    Key(KeyDenied),
    /// The engine gave no answer.
    Engine(EngineError),
    /// The store is busy or closing.
    Busy,
    /// The disk is full. Nothing was stored.
    Full,
    /// Something failed here; the detail is for the log.
    Internal(String),
}

/// A fault in the caller's request.
#[derive(Debug)]
pub(crate) struct Invalid {
    /// What to change, for a person.
    pub(crate) message: String,
    /// The parameter at fault.
    pub(crate) param: Option<Cow<'static, str>>,
    /// For a program.
    pub(crate) code: Option<Cow<'static, str>>,
}

/// In which of the two forms a path was written; some codes differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/openai/v1/...`
    V1,
    /// `/openai/...?api-version=...`
    Azure,
}

impl Problem {
    /// A value that is not what the parameter takes.
    pub(crate) fn invalid(param: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::coded("invalid_value", param, message)
    }

    /// The same with a code of its own.
    pub(crate) fn coded(
        code: &'static str,
        param: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::Invalid(Invalid {
            message: message.into(),
            param: Some(param.into()),
            code: Some(Cow::Borrowed(code)),
        })
    }

    /// A fault that no single parameter has.
    pub(crate) fn malformed(code: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid(Invalid {
            message: message.into(),
            param: None,
            code: Some(Cow::Borrowed(code)),
        })
    }

    /// A store error for an object that the caller named by `id`.
    pub(crate) fn store(error: StoreError, what: &'static str, id: &str) -> Self {
        match error {
            StoreError::NotFound | StoreError::BadName => Self::NotFound {
                what,
                id: id.to_owned(),
                param: None,
            },
            other => other.into(),
        }
    }
}

impl From<KeyDenied> for Problem {
    fn from(denied: KeyDenied) -> Self {
        Self::Key(denied)
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let EngineError::Withheld(withheld) = &error else {
            return Self::Engine(error);
        };
        match withheld.reason() {
            // The model was deleted under its deployment.
            Some(StoreError::NotFound) => Self::Engine(EngineError::UnknownModel),
            Some(reason) => reason.clone().into(),
            None => Self::Engine(EngineError::Unavailable),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Key(denied) => Self::Key(denied),
            StoreError::TooLarge { limit } => Self::TooLarge {
                what: "The object",
                limit,
            },
            StoreError::OutOfRange { len } => Self::Range { len },
            StoreError::Busy | StoreError::Closed => Self::Busy,
            StoreError::Io(fault) if fault.is_full() => Self::Full,
            StoreError::NotFound
            | StoreError::BadName
            | StoreError::AlreadyExists
            | StoreError::RevisionConflict { .. }
            | StoreError::Corrupt(_)
            | StoreError::NotPermitted
            | StoreError::Seal(_)
            | StoreError::Io(_) => Self::Internal(error.to_string()),
        }
    }
}

/// What callers are told of a denied key, for those who tell it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProblem {
    /// For a program, such as `customer_key_refused`.
    pub code: &'static str,
    /// For a person.
    pub message: String,
    /// Whether trying again may do without the customer's help.
    pub passes: bool,
}

impl From<KeyDenied> for KeyProblem {
    fn from(denied: KeyDenied) -> Self {
        let said = said_of_key(denied);
        Self {
            code: match said.code {
                Some(Cow::Borrowed(code)) => code,
                _ => "customer_key_refused",
            },
            message: said.message.into_owned(),
            passes: said.retry_after.is_some(),
        }
    }
}

/// What the body of a problem says.
struct Said {
    status: StatusCode,
    kind: &'static str,
    code: Option<Cow<'static, str>>,
    param: Option<Cow<'static, str>>,
    message: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Said {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        let message = message.into();
        Self {
            status,
            kind,
            code: Some(Cow::Borrowed(code)),
            param: None,
            message,
            retry_after: None,
        }
    }

    fn request(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, REQUEST, code, message)
    }

    fn retry(mut self, after: Option<Duration>) -> Self {
        self.retry_after = Some(after.unwrap_or(limits::RETRY_AFTER));
        self
    }

    fn param(mut self, param: Option<&'static str>) -> Self {
        self.param = param.map(Cow::Borrowed);
        self
    }
}

const REQUEST: &str = "invalid_request_error";
const SERVER: &str = "server_error";
const KEY: &str = "customer_key_error";

impl Problem {
    /// What is for the log alone: never part of an answer, and without content.
    pub(crate) fn for_the_log(&self) -> Option<&str> {
        match self {
            Self::Internal(detail) => Some(detail),
            Self::Full => Some("the disk is full"),
            _ => None,
        }
    }

    /// The object under `error`.
    pub(crate) fn object(&self, form: Form) -> Map<String, Value> {
        let said = self.said(form);
        let mut object = Map::new();
        object.insert("message".to_owned(), said.message.into());
        object.insert("type".to_owned(), said.kind.into());
        object.insert(
            "param".to_owned(),
            said.param.map_or(Value::Null, |param| param.into()),
        );
        if matches!(self, Self::Key(_)) {
            object.insert("innererror".to_owned(), json!({ "code": said.code.as_deref() }));
        }
        object.insert(
            "code".to_owned(),
            said.code.map_or(Value::Null, |code| code.into()),
        );
        object
    }

    /// The whole answer.
    pub(crate) fn answer(&self, form: Form) -> Response<Body> {
        let said = self.said(form);
        let body = json!({ "error": self.object(form) });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = said.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(after) = said.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        match self {
            Self::Range { len } => {
                if let Ok(range) = HeaderValue::try_from(format!("bytes */{len}")) {
                    headers.insert(CONTENT_RANGE, range);
                }
            }
            Self::NoCredential | Self::Denied(AuthDenied::Unknown | AuthDenied::Expired) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Full => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
                // The official clients try again after any 5xx that does not say this.
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            Self::SlowBody | Self::BrokenBody | Self::TooLarge { .. } => {
                // What is left of the body is not waited for.
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }

    fn said(&self, form: Form) -> Said {
        use StatusCode as S;
        match self {
            Self::NoCredential | Self::Denied(_) | Self::NoRight => self.said_of_caller(form),
            Self::UnknownRoute => Said::request(S::NOT_FOUND, "unknown_url", "There is nothing at this URL."),
            Self::WrongMethod => Said::request(
                S::METHOD_NOT_ALLOWED,
                "method_not_supported",
                "This URL does not take this method.",
            ),
            Self::ApiVersion(error) => said_of_version(*error),
            Self::Invalid(invalid) => Said {
                status: S::BAD_REQUEST,
                kind: REQUEST,
                code: invalid.code.clone(),
                param: invalid.param.clone(),
                message: invalid.message.clone().into(),
                retry_after: None,
            },
            Self::ContentType(wanted) => Said::request(
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_type",
                format!("The Content-Type of this request must be {wanted}."),
            ),
            Self::TooLarge { what, limit } => Said::request(
                S::PAYLOAD_TOO_LARGE,
                "request_too_large",
                format!("{what} is larger than {limit}, the most that is accepted."),
            ),
            Self::SlowBody => Said::request(
                S::REQUEST_TIMEOUT,
                "request_timeout",
                "The body of the request did not arrive in time.",
            ),
            Self::BrokenBody => Said::request(
                S::BAD_REQUEST,
                "incomplete_body",
                "The body of the request ended too early.",
            ),
            Self::NotFound { what, id, param } => said_of_nothing(form, what, id, *param),
            Self::UnknownModel { name } => said_of_model(form, name),
            Self::ModelInUse { deployments } => said_of_use(deployments),
            Self::Range { len } => Said::request(
                S::RANGE_NOT_SATISFIABLE,
                "invalid_range",
                format!("The range lies outside of the content's {len} bytes, or is malformed."),
            ),
            Self::Crowded => Said::new(
                S::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "rate_limit_exceeded",
                "Too many streams or transfers are open; try again in a moment.",
            )
            .retry(None),
            Self::TimedOut => {
                Said::new(S::GATEWAY_TIMEOUT, SERVER, "timeout", "The answer took too long.").retry(None)
            }
            Self::Key(denied) => said_of_key(*denied),
            Self::Engine(error) => said_of_engine(error, form),
            Self::Busy => said_of_busy(),
            Self::Full => said_of_full(),
            Self::Internal(_) => Said::new(
                S::INTERNAL_SERVER_ERROR,
                SERVER,
                "internal_error",
                "The service failed; the request id of this answer helps to find out why.",
            ),
        }
    }

    fn said_of_caller(&self, form: Form) -> Said {
        use StatusCode as S;
        let azure = matches!(form, Form::Azure);
        match self {
            Self::NoCredential => Said::request(
                S::UNAUTHORIZED,
                if azure { "401" } else { "missing_api_key" },
                "No credential was given: send an account key in `api-key`, or a key or token in `Authorization: Bearer`.",
            ),
            Self::Denied(AuthDenied::Expired) => Said::request(
                S::UNAUTHORIZED,
                if azure { "401" } else { "token_expired" },
                "The access token has expired.",
            ),
            Self::Denied(AuthDenied::Unavailable) => Said::new(
                S::SERVICE_UNAVAILABLE,
                SERVER,
                "credentials_unavailable",
                "Credentials cannot be checked now; try again in a moment.",
            )
            .retry(None),
            Self::Denied(AuthDenied::Unknown) => Said::request(
                S::UNAUTHORIZED,
                if azure { "401" } else { "invalid_api_key" },
                "The credential is not valid for this account.",
            ),
            _ => Said::request(
                S::FORBIDDEN,
                if azure {
                    "PermissionDenied"
                } else {
                    "permission_denied"
                },
                "The caller has no permission for this operation.",
            ),
        }
    }
}

fn said_of_version(error: ApiVersionError) -> Said {
    let code = match error {
        ApiVersionError::Missing => "MissingApiVersionParameter",
        ApiVersionError::Malformed => "InvalidApiVersionParameter",
    };
    Said::request(StatusCode::BAD_REQUEST, code, error.to_string()).param(Some("api-version"))
}

fn said_of_nothing(form: Form, what: &str, id: &str, param: Option<&'static str>) -> Said {
    let code = match form {
        Form::V1 => "not_found",
        Form::Azure => "NotFound",
    };
    let message = format!("No such {what}: {id}");
    Said::request(StatusCode::NOT_FOUND, code, message).param(Some(param.unwrap_or("id")))
}

fn said_of_model(form: Form, name: &str) -> Said {
    match form {
        Form::V1 => Said::request(
            StatusCode::NOT_FOUND,
            "model_not_found",
            format!("The model `{name}` does not exist or you do not have access to it."),
        )
        .param(Some("model")),
        Form::Azure => Said::request(
            StatusCode::NOT_FOUND,
            "DeploymentNotFound",
            format!("The deployment `{name}` does not exist for this account."),
        ),
    }
}

fn said_of_use(deployments: &[String]) -> Said {
    let message = format!(
        "The model is deployed. Delete its deployments first: {}.",
        deployments.join(", ")
    );
    Said::request(StatusCode::CONFLICT, "model_in_use", message).param(Some("model"))
}

fn said_of_key(denied: KeyDenied) -> Said {
    use StatusCode as S;
    match denied {
        // Key material that is not the account's, or no key at all: for a caller the same as a refusal.
        KeyDenied::Refused | KeyDenied::Mismatch | KeyDenied::NotBound => Said::new(
            S::FORBIDDEN,
            KEY,
            "customer_key_refused",
            "The customer key refuses: it is disabled, or this account may not use it. Nothing can be read, written or answered until its owner allows it again.",
        ),
        KeyDenied::Gone => Said::new(
            S::FORBIDDEN,
            KEY,
            "customer_key_gone",
            "The customer key is gone from its vault. Nothing can be read, written or answered until its owner brings it back.",
        ),
        KeyDenied::Unreachable { retry_after } => Said::new(
            S::SERVICE_UNAVAILABLE,
            KEY,
            "customer_key_unreachable",
            "The vault of the customer key cannot be reached.",
        )
        .retry(retry_after),
        KeyDenied::Throttled { retry_after } => Said::new(
            S::SERVICE_UNAVAILABLE,
            KEY,
            "customer_key_throttled",
            "The vault of the customer key asks to be called less often.",
        )
        .retry(retry_after),
        KeyDenied::Storage | KeyDenied::Closed => said_of_busy(),
    }
}

fn said_of_busy() -> Said {
    let message = "The service is busy; try again in a moment.";
    Said::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, "server_busy", message).retry(None)
}

fn said_of_full() -> Said {
    let message = "There is no room to store this. Nothing of it was kept; what was stored before is there.";
    let status = StatusCode::INSUFFICIENT_STORAGE;
    Said::new(status, SERVER, "insufficient_storage", message)
}

fn said_of_engine(error: &EngineError, form: Form) -> Said {
    use StatusCode as S;
    match error {
        EngineError::BadRequest { message, param, code } => Said {
            status: S::BAD_REQUEST,
            kind: REQUEST,
            code: Some(code.clone().map_or(Cow::Borrowed("invalid_value"), Cow::Owned)),
            param: param.clone().map(Cow::Owned),
            message: message.clone().into(),
            retry_after: None,
        },
        EngineError::UnknownModel => said_of_model(form, "that this deployment stands for"),
        EngineError::Overloaded { retry_after } => Said::new(
            S::TOO_MANY_REQUESTS,
            "rate_limit_error",
            "rate_limit_exceeded",
            "The model has too much to do; try again in a moment.",
        )
        .retry(*retry_after),
        EngineError::TimedOut => Said::new(
            S::GATEWAY_TIMEOUT,
            SERVER,
            "model_timeout",
            "The model did not answer in time.",
        )
        .retry(None),
        EngineError::Unavailable | EngineError::Stopped | EngineError::Withheld(_) => Said::new(
            S::SERVICE_UNAVAILABLE,
            SERVER,
            "model_unavailable",
            "The model is not available now.",
        )
        .retry(None),
        EngineError::Upstream { status, message } => Said::request(
            match S::from_u16(*status) {
                // The service's own credential was refused there: that is not the caller's fault.
                Ok(S::UNAUTHORIZED | S::FORBIDDEN | S::PROXY_AUTHENTICATION_REQUIRED) | Err(_) => {
                    S::BAD_GATEWAY
                }
                Ok(status) if status.is_client_error() => status,
                Ok(_) => S::BAD_GATEWAY,
            },
            "model_refused",
            message.clone(),
        ),
        EngineError::Protocol => Said::new(
            S::BAD_GATEWAY,
            SERVER,
            "model_error",
            "The model gave an answer that cannot be understood.",
        ),
    }
}
