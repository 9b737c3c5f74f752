//! The administrator's routes, `/strongroom/...` on `https://localhost`: what the commands use beside the
//! vault's own protocol. Every one demands a token of a principal with the matching data action.

mod control;
mod plane;
mod tokens;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strongroom_azure::token::bearer;
use strongroom_control::{Account, Actor, Control, TokenIssuer};
use strongroom_journal::JournalError;
use strongroom_seal::{AccountId, BoxFuture, Clock};
use strongroom_service::Deployments;
use strongroom_store::{
    Action, Binding, JobId, JobStatus, KeyDenied, Permit, PermitAuthority, Store, StoreError, StoreEvent,
    StoredReader, TinkExport, Wish,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::journals::Journals;
use crate::limits;
use crate::listen::refusal;
use crate::status;

/// What the routes work with.
#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) control: Control,
    pub(crate) issuer: TokenIssuer,
    /// Base of what is served on plain loopback.
    pub(crate) loopback: Arc<str>,
    pub(crate) store: Store,
    pub(crate) permits: PermitAuthority,
    pub(crate) account: AccountId,
    pub(crate) bindings: watch::Receiver<Vec<Binding>>,
    pub(crate) deployments: watch::Receiver<Arc<Deployments>>,
    pub(crate) guard: Arc<dyn Guard>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) journals: Journals,
}

/// Knows who holds a token, and whether they may do what they ask.
pub(crate) trait Guard: Send + Sync + 'static {
    /// The caller's name for journals, if the token is good and the caller may.
    fn admit<'a>(&'a self, token: &'a str, right: Right) -> BoxFuture<'a, Result<String, Denied>>;

    /// Whether the caller of this name may do it to this account.
    fn may(&self, caller: &str, account: &Account, right: Right) -> bool;

    /// The control plane on behalf of whoever holds the token, if it is good. What they may do there, it says itself.
    fn actor<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Actor, Denied>>;
}

/// What an administrator's route demands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Right {
    /// See status and jobs; rotate and rekey.
    Administer,
    /// Take an object out together with its key.
    Export,
}

/// Why a token is not enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denied {
    /// There is none.
    NoToken,
    /// It is no token of ours, or its time is over.
    Unknown,
    /// Its holder may not do this.
    Forbidden,
}

pub(crate) fn router(admin: Admin) -> Router {
    let export = Router::new().route("/strongroom/export", post(export));
    // These show of each account what the caller may see.
    let looks = Router::new()
        .route("/strongroom/status", get(status))
        .route("/strongroom/pins", get(pins));
    let signed = admin.clone();
    let signed = middleware::from_fn(move |request, next| signed_in(signed.clone(), request, next));
    let other = Router::new()
        .route("/strongroom/jobs", get(jobs))
        .route("/strongroom/jobs/{job}/{wish}", post(ask))
        .route("/strongroom/rekey", post(rekey))
        .route("/strongroom/rewrap", post(rewrap));
    let demand = |right| {
        let admin = admin.clone();
        middleware::from_fn(move |request, next| demand(admin.clone(), right, request, next))
    };
    export
        .route_layer(demand(Right::Export))
        .merge(other.route_layer(demand(Right::Administer)))
        .merge(looks.route_layer(signed))
        .with_state(admin.clone())
        .merge(control::router(&admin))
        .merge(tokens::router(&admin))
        .layer(DefaultBodyLimit::max(limits::ADMIN_BODY))
}

/// Who asks, for permits.
#[derive(Clone)]
struct Asking(Arc<str>);

async fn demand(admin: Admin, right: Right, mut request: Request, next: Next) -> Response {
    let admitted = match token_of(request.headers()) {
        Some(token) => admin.guard.admit(&token, right).await,
        None => Err(Denied::NoToken),
    };
    match admitted {
        Ok(name) => {
            request.extensions_mut().insert(Asking(name.into()));
            next.run(request).await
        }
        Err(refused) => denied(refused),
    }
}

async fn signed_in(admin: Admin, mut request: Request, next: Next) -> Response {
    match identify(&admin, request.headers()).await {
        Ok(actor) => {
            request
                .extensions_mut()
                .insert(Asking(actor.caller().to_string().into()));
            next.run(request).await
        }
        Err(refused) => denied(refused),
    }
}

/// The control plane on behalf of whoever sent the request.
async fn identify(admin: &Admin, headers: &HeaderMap) -> Result<Actor, Denied> {
    let token = token_of(headers).ok_or(Denied::NoToken)?;
    admin.guard.actor(&token).await
}

fn denied(denied: Denied) -> Response {
    let (status, code, message) = match denied {
        Denied::NoToken => (
            StatusCode::UNAUTHORIZED,
            "token_required",
            "an administrator's bearer token is required",
        ),
        Denied::Unknown => (
            StatusCode::UNAUTHORIZED,
            "token_invalid",
            "the token is not valid here, or no longer",
        ),
        Denied::Forbidden => (
            StatusCode::FORBIDDEN,
            "not_permitted",
            "the caller has no right to do this",
        ),
    };
    refusal(status, code, message)
}

/// The bearer token of a request.
fn token_of(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
    bearer(header).map(str::to_owned)
}

type Asker = axum::Extension<Asking>;

impl Admin {
    fn administers(&self, asking: &Asking, account: &Account) -> bool {
        self.guard.may(&asking.0, account, Right::Administer)
    }

    fn permit(&self, action: Action, asking: &Asking) -> Permit {
        self.permit_for(self.account, action, asking)
    }

    fn permit_for(&self, account: AccountId, action: Action, asking: &Asking) -> Permit {
        self.permits.permit(account, action, Arc::clone(&asking.0))
    }
}

#[derive(Deserialize)]
struct StatusAsked {
    account: Option<String>,
}

/// Of one account in full, and of every other that the caller may administer in a line.
async fn status(
    State(admin): State<Admin>,
    asking: Asker,
    Query(asked): Query<StatusAsked>,
) -> Result<Response, Failed> {
    let named = match &asked.account {
        Some(name) => admin.control.account(name),
        None => admin.control.account_by_id(admin.account),
    };
    // One that is not there is not told from one that is not the caller's to see.
    let Some(account) = named.filter(|account| admin.administers(&asking, account)) else {
        return Ok(denied(Denied::Forbidden));
    };
    let binding = admin
        .bindings
        .borrow()
        .iter()
        .find(|binding| binding.account == account.id)
        .cloned();
    let permit = admin.permit_for(account.id, Action::Administer, &asking);
    let deployments = Arc::clone(&admin.deployments.borrow());
    let status = status::gather(
        &admin.store,
        admin.clock.as_ref(),
        &account.name,
        &permit,
        binding.as_ref(),
        (admin.journals.rows(), &deployments),
    );
    let mut status = status.await?;
    let days = account.retention.iter();
    status.retention_days = days
        .map(|(class, days)| (class.name().to_owned(), *days))
        .collect();
    let accounts = admin.control.accounts().borrow().clone();
    let accounts = accounts
        .iter()
        .filter(|account| admin.administers(&asking, account));
    let accounts = accounts.map(|account| {
        let key = admin.store.key_state(account.id).borrow().clone();
        status::row(account, &key)
    });
    let accounts = accounts.collect();
    Ok(Json(status::Overview { status, accounts }).into_response())
}

/// Which keys each account's seeds may be under, and what is pinned of it: of the deleted ones too, as long as they are kept. Of those
/// alone that the caller may administer.
async fn pins(State(admin): State<Admin>, asking: Asker) -> Response {
    let all = admin.control.accounts_with_content();
    let seen = all.iter().filter(|account| admin.administers(&asking, account));
    let pins: Vec<_> = seen.filter_map(|account| status::pinned(account)).collect();
    if pins.is_empty() {
        return denied(Denied::Forbidden);
    }
    Json(pins).into_response()
}

async fn jobs(State(admin): State<Admin>, asking: Asker) -> Result<Json<Vec<Value>>, Failed> {
    let permit = admin.permit(Action::Administer, &asking);
    Ok(Json(admin.store.jobs(&permit).await?.iter().map(job).collect()))
}

/// Asks something of a job: to be cancelled, to be held, to go on.
async fn ask(
    State(admin): State<Admin>,
    asking: Asker,
    Path((job, wish)): Path<(String, String)>,
) -> Result<Json<Value>, Failed> {
    let (Some(id), Some(wish)) = (JobId::parse(&job), Wish::parse(&wish)) else {
        return Err(StoreError::NotFound.into());
    };
    let permit = admin.permit(Action::Administer, &asking);
    Ok(Json(self::job(&admin.store.ask_job(&permit, id, wish).await?)))
}

async fn rekey(State(admin): State<Admin>, asking: Asker) -> Result<Json<Value>, Failed> {
    let id = admin
        .store
        .rekey(&admin.permit(Action::Administer, &asking))
        .await?;
    Ok(Json(json!({"id": id.to_string()})))
}

async fn rewrap(State(admin): State<Admin>, asking: Asker) -> Result<StatusCode, Failed> {
    admin
        .store
        .rewrap(&admin.permit(Action::Administer, &asking))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
struct ExportRequest {
    kind: String,
    id: String,
    part: u32,
}

/// One line of JSON with the keyset, then the sealed bytes as stored.
async fn export(
    State(admin): State<Admin>,
    asking: Asker,
    wanted: Result<Json<ExportRequest>, JsonRejection>,
) -> Result<Response, Failed> {
    let Ok(Json(wanted)) = wanted else {
        return Ok(refusal(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the body must be a JSON object with `kind`, `id` and `part`",
        ));
    };
    let permit = admin.permit(Action::Export, &asking);
    let export = admin
        .store
        .export(&permit, &wanted.kind, &wanted.id, wanted.part)
        .await?;
    // Nothing leaves that is not on record.
    let exported = StoreEvent::Exported {
        account: admin.account,
        kind: wanted.kind,
        id: wanted.id,
        part: Some(wanted.part),
        caller: permit.caller().to_owned(),
        at_ms: admin.journals.now_ms(),
    };
    if let Err(error) = admin.journals.tell(exported).await {
        tracing::error!(%error, "an export was withheld: the service's journal did not take its line");
        if matches!(error, JournalError::Full) {
            return Ok(full());
        }
        return Ok(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "busy",
            "the export cannot be put on record now",
        ));
    }
    Ok(([(CONTENT_TYPE, "application/octet-stream")], stream(export)).into_response())
}

fn stream(export: TinkExport) -> Body {
    let head = futures::stream::iter([head(&export)]);
    let stored = futures::stream::unfold(export.stored, |mut stored: StoredReader| async move {
        let piece = stored.next_chunk().await?;
        Some((piece, stored))
    });
    Body::from_stream(head.chain(stored))
}

#[derive(Serialize)]
struct ExportHead<'a> {
    keyset_json: &'a str,
    associated_data: String,
    stored_length: u64,
}

/// The line with the keyset, in one buffer that is never moved and is wiped at its end.
fn head(export: &TinkExport) -> Result<Bytes, StoreError> {
    let head = ExportHead {
        keyset_json: &export.keyset_json,
        associated_data: STANDARD.encode(&export.associated_data),
        stored_length: export.stored.len(),
    };
    // Every character takes six bytes at most.
    let room = 128 + 6 * head.keyset_json.len() + head.associated_data.len();
    let mut line = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *line, &head).map_err(|_| StoreError::Closed)?;
    line.push(b'\n');
    Ok(Bytes::from_owner(line))
}

fn job(job: &JobStatus) -> Value {
    json!({
        "id": job.id.to_string(),
        "kind": job.kind,
        "object": job.object,
        "state": job.state.as_str(),
        "wish": job.wish.map(Wish::as_str),
        "done": job.done,
        "total": job.total,
        "created_ms": job.created_ms,
        "finished_ms": job.finished_ms,
    })
}

/// A store's error on its way to the caller.
struct Failed(StoreError);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for Failed {
    fn into_response(self) -> Response {
        let (status, code) = match &self.0 {
            StoreError::Key(denied) => return key_denied(*denied),
            StoreError::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            StoreError::BadName => (StatusCode::BAD_REQUEST, "bad_name"),
            StoreError::NotPermitted => (StatusCode::FORBIDDEN, "not_permitted"),
            StoreError::Busy | StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            StoreError::Io(fault) if fault.is_full() => return full(),
            _ => {
                tracing::error!(error = %self.0, "an administrator's request failed");
                return refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the store failed; see the logs",
                );
            }
        };
        refusal(status, code, &self.0.to_string())
    }
}

fn full() -> Response {
    refusal(
        StatusCode::INSUFFICIENT_STORAGE,
        "insufficient_storage",
        "the disk is full; nothing was done",
    )
}

fn key_denied(denied: KeyDenied) -> Response {
    let (status, code, retry_after) = match denied {
        KeyDenied::Refused | KeyDenied::Mismatch | KeyDenied::NotBound => {
            (StatusCode::FORBIDDEN, "customer_key_refused", None)
        }
        KeyDenied::Gone => (StatusCode::FORBIDDEN, "customer_key_gone", None),
        KeyDenied::Unreachable { retry_after } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "customer_key_unreachable",
            Some(retry_after),
        ),
        KeyDenied::Throttled { retry_after } => (
            StatusCode::SERVICE_UNAVAILABLE,
            "customer_key_throttled",
            Some(retry_after),
        ),
        KeyDenied::Storage | KeyDenied::Closed => (StatusCode::SERVICE_UNAVAILABLE, "busy", Some(None)),
    };
    let mut response = refusal(status, code, &denied.to_string());
    if let Some(retry_after) = retry_after {
        let seconds = retry_after.map_or(1, |wait| wait.as_secs().max(1));
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}
