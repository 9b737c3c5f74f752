//! The OpenAI and Azure OpenAI data plane.
//!
//! [`router`] answers what the official clients ask, under `/openai/v1/...` and in the Azure form under `/openai/...?api-version=...`. Each
//! request becomes a caller, then a permit, and runs under a lease on the customer key; see ARCHITECTURE.md, "Life of an upload".

mod arriving;
mod auth;
mod batches;
mod call;
mod chat;
mod completions;
mod connection;
mod edge;
mod embeddings;
mod fields;
mod files;
mod fine_tuned;
mod fine_tuning;
mod flow;
mod ids;
mod journal;
mod limits;
mod metrics;
mod models;
pub mod multipart;
mod paging;
mod parts;
mod problem;
mod responses;
mod routes;
mod service;
mod sse;
#[cfg(test)]
mod tests;
mod uploads;

// The public interface is:
pub use arriving::BodyFault;
pub use auth::{AuthDenied, Authenticate, Caller, Credential, Crud, Rights};
pub use connection::{Carrier, ConnectionCut};
pub use edge::Answered;
pub use fine_tuned::{Bases, TunedDeployment, TunedName, TunedParts, tuned_models};
pub use journal::{JournalSink, ServiceEvent, ServiceJournal, WeightsEvent, follow};
pub use limits::Limits;
pub use metrics::Metrics;
pub use parts::{AccountName, Deployment, Deployments, Retention, RevocationPolicy, ServiceParts};
pub use problem::KeyProblem;
pub use routes::router;
