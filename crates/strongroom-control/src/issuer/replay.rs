//! Assertions that were used. Each counts once for each resource: Microsoft's clients sign one and show it for every resource that
//! they ask for in the nine minutes that follow, so once in all would lock them out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::documents::{Batch, Documents};
use crate::error::ControlError;
use crate::limits::USED_ASSERTIONS;

/// What was used, until it could not be used anyway. Kept on disk too: a restart does not make an assertion new.
pub(crate) struct Used {
    until: Mutex<HashMap<String, u64>>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    until: u64,
}

impl Used {
    pub(crate) fn open(documents: &Documents) -> Result<Self, ControlError> {
        let records = documents.all::<Record>("used-assertion")?;
        let until = records.into_iter().map(|record| (record.name, record.until));
        Ok(Self {
            until: Mutex::new(until.collect()),
        })
    }

    /// Marks the use, durably. Whether it is the first.
    pub(super) fn mark(&self, documents: &Documents, used: &Use<'_>, now: u64) -> Result<bool, ControlError> {
        let name = used.name();
        let mut known = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::default();
        let over: Vec<_> = known
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for old in over {
            batch.delete("used-assertion", &old);
            known.remove(&old);
        }
        if known.contains_key(&name) {
            return Ok(false);
        }
        if known.len() >= USED_ASSERTIONS {
            return Err(ControlError::TooMany { what: "assertions" });
        }
        let until = used.until;
        batch.put(
            "used-assertion",
            &name,
            &Record {
                name: name.clone(),
                until,
            },
        )?;
        documents.commit(&batch)?;
        known.insert(name, until);
        Ok(true)
    }
}

/// One use of an assertion.
pub(super) struct Use<'a> {
    pub(super) client: Uuid,
    pub(super) assertion: &'a str,
    pub(super) audience: &'a str,
    /// From when on its times forbid it.
    pub(super) until: u64,
}

impl Use<'_> {
    fn name(&self) -> String {
        let mut digest = Context::new(&SHA256);
        let audience = self.audience.trim_end_matches('/').to_ascii_lowercase();
        for part in [self.client.to_string().as_str(), self.assertion, &audience] {
            digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part.as_bytes());
        }
        hex::encode(digest.finish())
    }
}
