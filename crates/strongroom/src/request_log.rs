//! Requests to accounts, for those who want to know of them: which route, who, how it ended; never content.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::middleware::map_response;
use axum::response::Response;
use serde_json::json;
use strongroom_control::Arm;
use strongroom_journal::Journal;
use strongroom_seal::{AccountId, Clock};
use strongroom_service::Answered;
use tokio::sync::watch;

/// Notes answers in the service's journal, from where they are delivered.
#[derive(Clone)]
pub(crate) struct RequestLog {
    /// The accounts that it is wanted for.
    watched: watch::Receiver<Arc<HashSet<AccountId>>>,
    journal: Journal,
    clock: Arc<dyn Clock>,
}

impl RequestLog {
    /// A log of what `arm`'s diagnostic settings ask for, in the service's journal.
    pub(crate) fn of(arm: &Arm, journal: &Journal, clock: &Arc<dyn Clock>) -> Self {
        Self {
            watched: arm.watched_accounts(),
            journal: journal.clone(),
            clock: Arc::clone(clock),
        }
    }

    /// The routes, with each answer noted.
    pub(crate) fn over(self, routes: Router) -> Router {
        routes.layer(map_response(move |response: Response| {
            self.note(&response);
            std::future::ready(response)
        }))
    }

    /// Notes the request that this answers, if somebody wants to know of it. Waits for no disk.
    fn note(&self, response: &Response) {
        let Some(answered) = response.extensions().get::<Answered>() else {
            return;
        };
        if !self.watched.borrow().contains(&answered.account) {
            return;
        }
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let entry = json!({
            "event": "request",
            "account": answered.account.to_string(),
            "caller": answered.caller,
            "method": answered.method,
            "route": answered.route,
            "request": answered.request,
            "status": response.status().as_u16(),
            "ms": milliseconds(answered.took),
            "at_ms": milliseconds(self.clock.now().wall),
        });
        if let Err(error) = self.journal.append(entry.to_string().into_bytes()) {
            tracing::error!(%error, "a request is missing from the service's journal");
        }
    }
}
