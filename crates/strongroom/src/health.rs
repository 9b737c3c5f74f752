//! `/healthz`, `/readyz` and `/metrics`, on the plain door.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// How far the program is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// Not everything serves yet.
    Starting,
    /// Everything serves.
    Ready,
    /// It takes no more work.
    Stopping,
}

#[derive(Clone)]
struct Health {
    stage: watch::Receiver<Stage>,
    registry: Arc<Registry>,
}

pub(crate) fn router(stage: watch::Receiver<Stage>, registry: Registry) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health {
            stage,
            registry: Arc::new(registry),
        })
}

async fn ready(State(health): State<Health>) -> Response {
    match *health.stage.borrow() {
        Stage::Ready => "ready\n".into_response(),
        Stage::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n").into_response(),
        Stage::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    let mut text = String::new();
    match encode(&mut text, &health.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
