//! The OpenAI and Azure OpenAI data plane.

mod auth;
mod connection;
mod journal;
mod limits;
mod metrics;
mod parts;

/// The routes, with paths relative to the account root: `/openai/v1/...` and `/openai/...?api-version=`.
pub fn router(parts: ServiceParts) -> axum::Router {
    let _ = parts;
    axum::Router::new()
}

// The public interface is:
pub use auth::{AuthDenied, Authenticate, Caller, Credential, Rights};
pub use connection::ConnectionCut;
pub use journal::{ServiceEvent, ServiceJournal};
pub use limits::Limits;
pub use metrics::Metrics;
pub use parts::{AccountName, Deployment, Deployments, RevocationPolicy, ServiceParts};
