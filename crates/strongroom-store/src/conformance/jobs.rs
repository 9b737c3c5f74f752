//! Jobs: one at a time for an account, claimed with a token that fences.

use super::fixture::{Fixture, NOW, Tenant};
use crate::records::{Change, Check, JobChange, JobPhase, Records, Rejected, Transaction};

pub(super) async fn all(records: &dyn Records, _: &Fixture) {
    an_account_has_one_open_job(records).await;
    a_claim_fences_off_the_one_before(records).await;
}

async fn send(records: &dyn Records, transaction: Transaction) -> Result<(u64, u64), Rejected> {
    let answer = records.commit(transaction).await;
    answer
        .map(|receipt| (receipt.job, receipt.token))
        .map_err(|returned| returned.reason)
}

fn add(tenant: &Tenant) -> Transaction {
    let from = tenant.current();
    tenant
        .transaction()
        .change(Change::Job(JobChange::Add { from, total: 5 }))
}

fn progress(tenant: &Tenant, job: u64, token: u64, phase: JobPhase) -> Transaction {
    let change = JobChange::Progress {
        job,
        done: 3,
        phase,
        until_ms: NOW + 100,
    };
    tenant
        .transaction()
        .check(Check::Claimed { job, token })
        .change(Change::Job(change))
}

async fn an_account_has_one_open_job(records: &dyn Records) {
    let (tenant, other) = (Tenant::settle(records).await, Tenant::settle(records).await);
    let (job, _) = send(records, add(&tenant)).await.unwrap();
    assert_eq!(send(records, add(&tenant)).await.unwrap().0, job);
    assert_ne!(send(records, add(&other)).await.unwrap().0, job);
    let claim = tenant.transaction().change(Change::Job(JobChange::Claim {
        job,
        until_ms: NOW + 10,
    }));
    let (_, token) = send(records, claim).await.unwrap();
    send(records, progress(&tenant, job, token, JobPhase::Done))
        .await
        .unwrap();
    let row = records
        .jobs()
        .await
        .unwrap()
        .into_iter()
        .find(|row| row.id == job)
        .unwrap();
    assert_eq!((row.state, row.done, row.total), (JobPhase::Done, 3, 5));
    assert_eq!(
        (row.created_ms, row.finished_ms, row.from),
        (NOW, Some(NOW), tenant.current())
    );
    assert_ne!(send(records, add(&tenant)).await.unwrap().0, job);
}

async fn a_claim_fences_off_the_one_before(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let (job, _) = send(records, add(&tenant)).await.unwrap();
    let claim_at = |now_ms: u64| {
        let claim = JobChange::Claim {
            job,
            until_ms: now_ms + 10,
        };
        Transaction::new(tenant.id, now_ms).change(Change::Job(claim))
    };
    let (_, first) = send(records, claim_at(NOW)).await.unwrap();
    assert_eq!(send(records, claim_at(NOW + 9)).await, Err(Rejected::ClaimLost));
    let (_, second) = send(records, claim_at(NOW + 10)).await.unwrap();
    assert!(second > first);
    let stalled = progress(&tenant, job, first, JobPhase::Running);
    assert_eq!(send(records, stalled).await, Err(Rejected::ClaimLost));
    send(records, progress(&tenant, job, second, JobPhase::Running))
        .await
        .unwrap();
}
