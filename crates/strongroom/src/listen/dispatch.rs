//! Hands each admitted request to the routes that answer it, with what they need to know of its address.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use serde_json::json;
use strongroom_service::AccountName;
use strongroom_vault::VaultHost;
use tower::ServiceExt as _;

use super::Reception;
use super::connection::Cut;
use super::names::{Door, Misdirected, Ports, Target, target};
use super::proxy::{self, Tunnels};
use crate::limits;

/// The routes of each part, as that part made them. A part without routes answers 404.
#[derive(Default)]
pub struct Routes {
    /// For `<vault>.vault.localhost`.
    pub vault: Router,
    /// For accounts, relative to the account's root.
    pub service: Router,
    /// For `localhost` and the names of token issuer, ARM and Graph.
    pub control: Router,
    /// For `/strongroom/...` on `localhost`.
    pub admin: Router,
    /// For the plain door, beside the default account.
    pub loopback: Router,
}

/// From (door, Host, path) to routes.
pub(crate) struct Dispatch {
    ports: Ports,
    default_account: Arc<str>,
    routes: Routes,
    tunnels: Arc<Tunnels>,
}

impl Dispatch {
    pub(crate) fn new(ports: Ports, default_account: &str, routes: Routes) -> Self {
        Self {
            ports,
            default_account: default_account.into(),
            routes,
            tunnels: Arc::default(),
        }
    }

    pub(super) fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// Answers one request, whatever it is.
    pub(super) async fn answer(
        &self,
        door: Door,
        mut request: Request<Incoming>,
        cut: Cut,
        reception: Reception,
    ) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return match door {
                Door::Http => proxy::connect(request, self.ports, &self.tunnels, cut),
                Door::Https => refusal(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    "CONNECT is for the plain port",
                ),
            };
        }
        if is_too_long(request.uri(), request.headers()) {
            return refusal(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "request_head_too_large",
                "the head of the request is too long",
            );
        }
        let target = match target(door, self.ports, request.uri(), request.headers()) {
            Ok(target) => target,
            Err(misdirected) => return misdirected.into_response(),
        };
        let is_data_plane = matches!(target, Target::Account { .. } | Target::DefaultAccount);
        if is_data_plane && reception == Reception::Closing {
            return come_again("stopping", "this server is stopping; try again in a moment");
        }
        let routes = match target {
            Target::Vault { vault, authority } => {
                request.extensions_mut().insert(VaultHost { vault, authority });
                &self.routes.vault
            }
            Target::Account { account, path } => {
                let Some(uri) = with_path(request.uri(), &path) else {
                    return Misdirected::BadAccount.into_response();
                };
                *request.uri_mut() = uri;
                request.extensions_mut().insert(AccountName(account));
                &self.routes.service
            }
            Target::DefaultAccount => {
                request
                    .extensions_mut()
                    .insert(AccountName(self.default_account.to_string()));
                &self.routes.service
            }
            Target::Control => &self.routes.control,
            Target::Admin => &self.routes.admin,
            Target::Loopback => &self.routes.loopback,
        };
        match routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The answer while too many connections are open.
    pub(super) fn crowded(&self) -> Response<Body> {
        come_again(
            "too_many_connections",
            "too many connections are open; try again in a moment",
        )
    }
}

/// Tells the caller to come again on another connection.
fn come_again(code: &str, message: &str) -> Response<Body> {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, code, message);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Misdirected {
    fn into_response(self) -> Response<Body> {
        let (status, code) = match self {
            Self::NoHost => (StatusCode::BAD_REQUEST, "host_required"),
            Self::ForeignHost => (StatusCode::MISDIRECTED_REQUEST, "foreign_host"),
            Self::ForeignOrigin => (StatusCode::FORBIDDEN, "foreign_origin"),
            Self::BadAccount => (StatusCode::NOT_FOUND, "account_not_found"),
        };
        refusal(status, code, &self.to_string())
    }
}

/// An error that no part's routes saw, in a shape that OpenAI's and Azure's clients both read.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let kind = if status.is_server_error() {
        "server_error"
    } else {
        "invalid_request_error"
    };
    let body = json!({"error": {"code": code, "message": message, "type": kind, "param": null}});
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer at a path that no part serves, so that a wrong base URL is told from a broken server.
pub(crate) async fn nothing_here() -> Response<Body> {
    refusal(
        StatusCode::NOT_FOUND,
        "unknown_url",
        "There is nothing at this URL.",
    )
}

/// Whether a request's head is longer than is taken. HTTP/2 sees to it by itself; HTTP/1 reads ahead of bodies as
/// far as of heads.
fn is_too_long(uri: &Uri, headers: &HeaderMap) -> bool {
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    path + lines.sum::<usize>() > limits::REQUEST_HEAD as usize
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let path_and_query = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")).ok()?,
        None => PathAndQuery::try_from(path).ok()?,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}
