//! `/healthz`, `/readyz` and `/metrics`, on the plain door.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strongroom_seal::Clock;
use strongroom_store::{KeyState, KeyStatus};
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

/// Shows one account's key in the metrics, as it is when they are read.
pub(crate) struct KeyGauges {
    key: watch::Receiver<KeyStatus>,
    clock: Arc<dyn Clock>,
    held: Gauge,
    lease_age: Gauge<f64, AtomicU64>,
}

impl KeyGauges {
    pub(crate) fn register(
        registry: &mut Registry,
        key: watch::Receiver<KeyStatus>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (held, lease_age) = (Gauge::default(), Gauge::default());
        let ours = registry.sub_registry_with_prefix("strongroom");
        ours.register(
            "key_held",
            "Whether the customer key may be used now",
            held.clone(),
        );
        ours.register(
            "lease_age_seconds",
            "Age of the lease; 0 without one",
            lease_age.clone(),
        );
        Self {
            key,
            clock,
            held,
            lease_age,
        }
    }

    fn read(&self) {
        let key = self.key.borrow();
        self.held.set((key.state == KeyState::Held).into());
        self.lease_age
            .set(key.lease_age(self.clock.now()).unwrap_or_default().as_secs_f64());
    }
}

#[derive(Clone)]
struct Health {
    stage: watch::Receiver<Stage>,
    registry: Arc<Registry>,
    key: Arc<KeyGauges>,
}

pub(crate) fn router(stage: watch::Receiver<Stage>, registry: Registry, key: KeyGauges) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Health {
            stage,
            registry: Arc::new(registry),
            key: Arc::new(key),
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
    health.key.read();
    let mut text = String::new();
    match encode(&mut text, &health.registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(std::fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
