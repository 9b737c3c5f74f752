//! Keeps the engine's maintenance going, and puts on record what it did.

use std::sync::Arc;
use std::time::Duration;

use strongroom_seal::Clock;
use uuid::Uuid;

use crate::audit::{AuditEvent, AuditIdentity, AuditProperties, AuditSink};
use crate::engine::VaultEngine;
use crate::engine::maintenance::{Notice, NoticeKind};
use crate::limits::{MAINTENANCE_RETRY, MAINTENANCE_WAIT};
use crate::routes::wall_time;

/// What maintenance works with.
#[derive(Clone)]
pub struct Maintenance {
    /// The keys.
    pub engine: VaultEngine,
    /// Keeps the records.
    pub audit: Arc<dyn AuditSink>,
    /// Dates them, and says what is due.
    pub clock: Arc<dyn Clock>,
    /// The domain above the vaults, with its port, for the ids in records.
    pub domain: String,
}

impl Maintenance {
    /// Works until it is dropped: whenever something is due, after every change, and at the latest after ten minutes.
    pub async fn run(self) {
        loop {
            let wait = self.round().await;
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.engine.stirred() => {}
            }
        }
    }

    /// One round; answers how long to wait for the next.
    async fn round(&self) -> Duration {
        let done = match self.engine.maintain().await {
            Ok(done) => done,
            Err(fault) => {
                tracing::error!(%fault, "the vaults' maintenance failed");
                return MAINTENANCE_RETRY;
            }
        };
        let mut failed = done.failed;
        for notice in &done.notices {
            if let Err(error) = self.audit.record(self.event(notice)).await {
                tracing::error!(%error, kind = ?notice.kind, key = notice.key.name, "a notice could not be recorded");
                // A rotation is told again; the others are told once at most, if need be not at all.
                failed = true;
            } else if let Err(fault) = self.engine.told(notice).await {
                tracing::error!(%fault, "a notice could not be marked as recorded");
                failed = true;
            }
        }
        if failed {
            return MAINTENANCE_RETRY;
        }
        let now = self.clock.now().wall.as_secs();
        let until = done
            .next
            .map(|next| Duration::from_secs(next.saturating_sub(now)));
        until.unwrap_or(MAINTENANCE_WAIT).min(MAINTENANCE_WAIT)
    }

    /// A record without caller and address: nobody asked.
    fn event(&self, notice: &Notice) -> AuditEvent {
        let vault = self.engine.vault(&notice.vault).ok();
        let (name, version) = (&notice.key.name, &notice.key.version);
        AuditEvent {
            time: wall_time(self.clock.now()),
            resource_id: vault
                .map(|vault| vault.resource_id.to_uppercase())
                .unwrap_or_default(),
            operation_name: match notice.kind {
                NoticeKind::Rotated => "KeyRotate",
                NoticeKind::NearExpiry => "KeyNearExpiryEventGridNotification",
                NoticeKind::Expired => "KeyExpiredEventGridNotification",
            },
            operation_version: String::new(),
            category: "AuditEvent",
            result_type: "Success",
            result_signature: "OK".to_owned(),
            result_description: None,
            duration_ms: "0".to_owned(),
            caller_ip_address: None,
            correlation_id: Uuid::new_v4().to_string(),
            identity: AuditIdentity::default(),
            properties: AuditProperties {
                client_info: String::new(),
                request_uri: String::new(),
                id: format!("https://{}.{}/keys/{name}/{version}", notice.vault, self.domain),
                http_status_code: 200,
            },
        }
    }
}
