//! As much of the API as the comparisons need: files in and out, and requests kept as records.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use strongroom_service::BodyFault;
use strongroom_service::multipart::{Multipart, boundary};

use super::door::{Admitted, Door};
use super::store::{PlainBlob, PlainRecord, PlainStore};
use crate::error::TestkitError;

const PIECE: usize = 1 << 20;
/// The service's: an upload may take as long as it keeps coming.
const UPLOAD_TIME: Duration = Duration::from_secs(6 * 3600);

/// What every route works with.
pub(super) struct Shared {
    pub(super) store: PlainStore,
    pub(super) door: Door,
}

type Twin = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/openai/v1/files", post(upload))
        .route("/openai/v1/files/{id}", get(file).delete(delete_file))
        .route("/openai/v1/files/{id}/content", get(content))
        .route("/openai/v1/responses", post(respond))
        .route("/openai/v1/responses/{id}", get(response))
        .route("/openai/v1/chat/completions", post(respond))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// The twin broke: a test that meets this fails anyway.
struct Broken(TestkitError);

impl<E: Into<TestkitError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for Broken {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

/// What is stored of a file beside its content.
#[derive(Serialize)]
struct FileRecord<'a> {
    filename: &'a str,
    purpose: &'a str,
}

async fn upload(
    State(shared): Twin,
    caller: Admitted,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Broken> {
    let taken = tokio::time::timeout(UPLOAD_TIME, take(&shared.store, &caller, &headers, body));
    let response = taken.await.map_err(std::io::Error::other)??;
    Ok(caller.answer(response))
}

async fn take(
    store: &PlainStore,
    caller: &Admitted,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Broken> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let Some(Ok(boundary)) = boundary(content_type) else {
        return Ok(StatusCode::BAD_REQUEST.into_response());
    };
    let pieces = body.into_data_stream().map_err(|_| BodyFault::Broken);
    let mut form = Multipart::new(pieces, &boundary);
    let (mut name, mut purpose, mut blob) = (String::new(), Vec::new(), None);
    while let Some(head) = form.next_part().await.map_err(std::io::Error::other)? {
        let is_file = head.name == "file";
        let mut incoming = is_file.then(|| store.incoming());
        while let Some(piece) = form.next_piece().await.map_err(std::io::Error::other)? {
            match &mut incoming {
                Some(incoming) => incoming.write(&piece).await?,
                None => purpose.extend_from_slice(&piece),
            }
        }
        if let Some(incoming) = incoming {
            name = head.file_name.unwrap_or_default();
            blob = Some(incoming.finish().await?);
        }
    }
    let purpose = String::from_utf8_lossy(&purpose);
    let id = new_id("file");
    let bytes = match &blob {
        Some(PlainBlob::Inline(bytes)) => bytes.len() as u64,
        Some(PlainBlob::File { size, .. }) => *size,
        None => 0,
    };
    let record = FileRecord {
        filename: &name,
        purpose: &purpose,
    };
    let body = serde_json::to_vec(&record).map_err(std::io::Error::other)?;
    let created = store
        .put(PlainRecord {
            account: caller.account,
            kind: "file",
            id: id.clone(),
            body,
            blob,
        })
        .await?;
    let shown = json!({
        "id": id,
        "object": "file",
        "bytes": bytes,
        "created_at": created / 1000,
        "expires_at": null,
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "status_details": null,
    });
    Ok(Json(shown).into_response())
}

async fn file(State(shared): Twin, caller: Admitted, Path(id): Path<String>) -> Result<Response, Broken> {
    Ok(caller.answer(answer(shared.store.get(caller.account, "file", &id)?)))
}

async fn delete_file(
    State(shared): Twin,
    caller: Admitted,
    Path(id): Path<String>,
) -> Result<Response, Broken> {
    let store = &shared.store;
    let blob = store.blob(caller.account, "file", &id)?;
    store.delete(caller.account, "file", &id).await?;
    if let Some(PlainBlob::File { name, .. }) = blob {
        tokio::fs::remove_file(store.path(&name)).await?;
    }
    let deleted = Json(json!({"id": id, "object": "file", "deleted": true}));
    Ok(caller.answer(deleted.into_response()))
}

async fn content(State(shared): Twin, caller: Admitted, Path(id): Path<String>) -> Result<Response, Broken> {
    let store = &shared.store;
    let response = match store.blob(caller.account, "file", &id)? {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(PlainBlob::Inline(bytes)) => Bytes::from(bytes).into_response(),
        Some(PlainBlob::File { name, size }) => {
            let file = tokio::fs::File::open(store.path(&name)).await?.into_std().await;
            let pieces = futures::stream::try_unfold(
                (file, size, Spare::default()),
                |(file, left, spare)| async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                    let mut buffer = spare.take();
                    buffer.resize(length, 0);
                    let read = tokio::task::spawn_blocking(move || read_piece(file, buffer)).await;
                    let (file, buffer) = read.map_err(std::io::Error::other)??;
                    let piece = Bytes::from_owner(Lent {
                        buffer,
                        spare: spare.clone(),
                    });
                    Ok::<_, std::io::Error>(Some((piece, (file, left - length as u64, spare))))
                },
            );
            ([(CONTENT_LENGTH, size)], Body::from_stream(pieces.into_stream())).into_response()
        }
    };
    Ok(caller.answer(response))
}

fn read_piece(mut file: std::fs::File, mut buffer: Vec<u8>) -> std::io::Result<(std::fs::File, Vec<u8>)> {
    std::io::Read::read_exact(&mut file, &mut buffer)?;
    Ok((file, buffer))
}

/// A piece in the connection's hands. When given back, its buffer serves the next one, as the sealed service's does.
struct Lent {
    buffer: Vec<u8>,
    spare: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.buffer));
    }
}

#[derive(Clone, Default)]
struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give(&self, buffer: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
    }
}

async fn respond(
    State(shared): Twin,
    caller: Admitted,
    Json(request): Json<Value>,
) -> Result<Response, Broken> {
    let id = new_id("resp");
    let record = json!({"id": id, "object": "response", "request": request});
    let body = record.to_string().into_bytes();
    shared
        .store
        .put(PlainRecord {
            account: caller.account,
            kind: "response",
            id,
            body,
            blob: None,
        })
        .await?;
    Ok(caller.answer(Json(record).into_response()))
}

async fn response(State(shared): Twin, caller: Admitted, Path(id): Path<String>) -> Result<Response, Broken> {
    let record = shared.store.get(caller.account, "response", &id)?;
    Ok(caller.answer(answer(record)))
}

fn answer(record: Option<Vec<u8>>) -> Response {
    match record {
        Some(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn new_id(prefix: &str) -> String {
    format!("{prefix}-{}", uuid::Uuid::new_v4().simple())
}
