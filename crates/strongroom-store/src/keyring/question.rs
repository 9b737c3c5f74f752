//! One question to the vault: are this account's seeds still unwrapped?

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use strongroom_seal::{BranchKey, NoAnswer, VaultError};
use tokio::time::timeout;

use super::{chain, entry::Entry, state::Answer, status::KeyDenied};
use crate::{
    limits,
    rotation::{self, BranchRecord, RotationError},
};

/// Asks, and lets the entry hear the answer. `Ok` if there is a lease afterwards.
pub(super) async fn ask(entry: &Arc<Entry>) -> Result<(), KeyDenied> {
    for _ in 0..limits::BRANCH_TRIES {
        if let Some(result) = try_to_ask(entry).await {
            return result;
        }
    }
    Err(KeyDenied::Unreachable { retry_after: None })
}

/// `None` if the lease ended meanwhile and took keys along that were not asked for: ask for all.
async fn try_to_ask(entry: &Arc<Entry>) -> Option<Result<(), KeyDenied>> {
    let held = entry.inventory();
    let stored = match load(entry).await {
        Ok(stored) => stored,
        Err(denied) => return Some(Err(denied)),
    };
    // The anchor is read after the rows: it moves forward before a row is dropped, so this order cannot miss one.
    let living = entry
        .binding()
        .map(|binding| chain::living(stored, entry.anchor(), &held, &binding));
    let (living, ticket) = match (living, entry.send()) {
        (Ok(Ok(living)), Ok(ticket)) => (living, ticket),
        (Ok(Err(untrusted)), Ok(ticket)) => {
            tracing::error!(account = %entry.account(), reason = %untrusted, "the stored branch key is not trusted");
            return Some(entry.hear(ticket, Answer::Mismatch, None));
        }
        (Err(denied), _) | (_, Err(denied)) => return Some(Err(denied)),
    };
    let key = living.key();
    let terms = entry.terms();
    let deadline = if held.is_empty() {
        terms.first_deadline()
    } else {
        terms.deadline()
    };
    match unwrap_all(entry, chain::to_unwrap(&living, &held), deadline).await {
        Ok(fresh) => entry.granted(ticket, &living, fresh),
        Err(answer) => Some(entry.hear(ticket, answer, key)),
    }
}

/// The stored versions; at an account's first use, after making the first.
async fn load(entry: &Arc<Entry>) -> Result<Vec<BranchRecord>, KeyDenied> {
    let stored = entry.shared().load(entry.account()).await?;
    let is_anchored = entry.anchor().is_some();
    let must_be_anchored = entry.shared().anchors.is_some();
    if is_anchored || (!stored.is_empty() && !must_be_anchored) {
        return Ok(stored);
    }
    match rotation::found(entry, &stored).await {
        Ok(()) => {}
        Err(RotationError::Key(denied)) => return Err(denied),
        Err(error) => {
            tracing::error!(account = %entry.account(), %error, "the first branch key could not be made");
            return Err(KeyDenied::Storage);
        }
    }
    entry.shared().load(entry.account()).await
}

/// Unwraps all of them at once and checks each against its check value. The first definite no is the answer; silence is only the answer once
/// nothing definite can come any more.
async fn unwrap_all(
    entry: &Entry,
    wanted: Vec<BranchRecord>,
    deadline: Duration,
) -> Result<Vec<BranchKey>, Answer> {
    let mut fresh = Vec::with_capacity(wanted.len());
    let mut calls: FuturesUnordered<_> = wanted.iter().map(|record| unwrap(entry, record)).collect();
    let mut silence = None;
    let all = async {
        while let Some(result) = calls.next().await {
            match result {
                Ok(key) => fresh.push(key),
                Err(answer @ Answer::No(NoAnswer::Unreachable | NoAnswer::Throttled { .. })) => {
                    silence.get_or_insert(answer);
                }
                Err(answer) => return Err(answer),
            }
        }
        silence.map_or(Ok(()), Err)
    };
    match timeout(deadline, all).await {
        Ok(done) => done.map(|()| fresh),
        Err(_elapsed) => {
            tracing::warn!(account = %entry.account(), ?deadline, "the vault did not answer in time");
            Err(Answer::No(NoAnswer::Unreachable))
        }
    }
}

async fn unwrap(entry: &Entry, record: &BranchRecord) -> Result<BranchKey, Answer> {
    let account = entry.account();
    let wrap = &record.wrap;
    let seed = entry.vault().unwrap(&wrap.key, &wrap.seed).await;
    let seed = seed.map_err(|error| {
        log_no(entry, &error);
        Answer::No(error.answer)
    })?;
    BranchKey::derive_checked(&seed, account, record.version, record.check).map_err(|error| {
        tracing::error!(%account, key = %wrap.key, version = %record.version, %error, "an unwrapped seed is not the account's");
        Answer::Mismatch
    })
}

fn log_no(entry: &Entry, error: &VaultError) {
    let request = error.request_id.as_deref().unwrap_or("-");
    tracing::warn!(account = %entry.account(), %error, request, "the vault did not unwrap");
}
