//! Jobs: one at a time for an account's rekey and for each object, claimed with a token that fences.

use super::fixture::{Fixture, KIND, NOW, Tenant};
use crate::{
    jobs::Wish,
    records::{Change, Check, JobChange, JobPhase, JobRow, NewJob, Records, Rejected, Transaction},
};

pub(super) async fn all(records: &dyn Records, _: &Fixture) {
    an_account_has_one_open_job(records).await;
    a_claim_fences_off_the_one_before(records).await;
    a_job_comes_and_goes_with_its_object(records).await;
    what_is_asked_of_a_job_is_heard_by_whoever_has_it(records).await;
    only_open_jobs_are_found_for_work(records).await;
}

async fn send(records: &dyn Records, transaction: Transaction) -> Result<(u64, u64), Rejected> {
    let answer = records.commit(transaction).await;
    answer
        .map(|receipt| (receipt.job, receipt.token))
        .map_err(|returned| returned.reason)
}

async fn row_of(records: &dyn Records, tenant: &Tenant, job: u64) -> JobRow {
    let rows = records.jobs(tenant.id, 100).await.unwrap();
    rows.into_iter().find(|row| row.id == job).unwrap()
}

fn add(tenant: &Tenant) -> Transaction {
    let new = NewJob {
        kind: "rekey",
        object: None,
        from: Some(tenant.current()),
        total: 5,
    };
    tenant.transaction().change(Change::Job(JobChange::Add(new)))
}

fn claim(tenant: &Tenant, job: u64) -> Transaction {
    let until_ms = NOW + 10;
    let claim = JobChange::Claim { job, until_ms };
    tenant.transaction().change(Change::Job(claim))
}

fn progress(tenant: &Tenant, job: u64, token: u64, phase: JobPhase) -> Transaction {
    let change = JobChange::Progress {
        job,
        done: 3,
        total: 6,
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
    let (_, token) = send(records, claim(&tenant, job)).await.unwrap();
    send(records, progress(&tenant, job, token, JobPhase::Done))
        .await
        .unwrap();
    let row = row_of(records, &tenant, job).await;
    assert_eq!((row.state, row.done, row.total), (JobPhase::Done, 3, 6));
    assert_eq!(
        (row.created_ms, row.finished_ms, row.from),
        (NOW, Some(NOW), Some(tenant.current()))
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

fn with_job(tenant: &Tenant, id: &str) -> Transaction {
    let new = NewJob {
        kind: KIND,
        object: Some(id.to_owned()),
        from: None,
        total: 0,
    };
    tenant
        .insertion(tenant.record(id))
        .change(Change::Job(JobChange::Add(new)))
}

async fn a_job_comes_and_goes_with_its_object(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let (one, _) = send(records, with_job(&tenant, "one")).await.unwrap();
    let (two, _) = send(records, with_job(&tenant, "two")).await.unwrap();
    assert_eq!(
        send(records, with_job(&tenant, "one")).await,
        Err(Rejected::AlreadyExists)
    );
    let found = records.job_of(tenant.name("one")).await.unwrap().unwrap();
    assert_eq!((found.id, found.object.as_deref()), (one, Some("one")));
    let (_, token) = send(records, claim(&tenant, one)).await.unwrap();
    tenant.delete(records, "one").await.unwrap();
    assert_eq!(records.job_of(tenant.name("one")).await.unwrap(), None);
    assert_eq!(
        send(records, progress(&tenant, one, token, JobPhase::Running)).await,
        Err(Rejected::ClaimLost)
    );
    assert_eq!(row_of(records, &tenant, two).await.state, JobPhase::Waiting);
}

async fn what_is_asked_of_a_job_is_heard_by_whoever_has_it(records: &dyn Records) {
    let (tenant, other) = (Tenant::settle(records).await, Tenant::settle(records).await);
    let (job, _) = send(records, with_job(&tenant, "asked")).await.unwrap();
    let ask = |of: &Tenant, wish| {
        let ask = JobChange::Ask { job, wish };
        of.transaction().change(Change::Job(ask))
    };
    send(records, ask(&tenant, Wish::Hold)).await.unwrap();
    assert_eq!(row_of(records, &tenant, job).await.state, JobPhase::Held);
    assert_eq!(send(records, claim(&tenant, job)).await, Err(Rejected::ClaimLost));
    send(records, ask(&tenant, Wish::Resume)).await.unwrap();
    let (_, token) = send(records, claim(&tenant, job)).await.unwrap();
    send(records, ask(&tenant, Wish::Cancel)).await.unwrap();
    assert_eq!(
        send(records, ask(&other, Wish::Resume)).await,
        Err(Rejected::ClaimLost)
    );
    let until_ms = NOW + 500;
    let renew = JobChange::Renew { job, until_ms };
    let renew = tenant
        .transaction()
        .check(Check::Claimed { job, token })
        .change(Change::Job(renew));
    let heard = records.commit(renew).await.map_err(|returned| returned.reason);
    assert_eq!(heard.unwrap().wish, Some(Wish::Cancel));
    let row = row_of(records, &tenant, job).await;
    assert_eq!((row.claimed_until_ms, row.wish), (until_ms, Some(Wish::Cancel)));
}

async fn only_open_jobs_are_found_for_work(records: &dyn Records) {
    let tenant = Tenant::settle(records).await;
    let mut jobs = Vec::new();
    for id in ["a", "b", "c"] {
        jobs.push(send(records, with_job(&tenant, id)).await.unwrap().0);
    }
    let (_, token) = send(records, claim(&tenant, jobs[1])).await.unwrap();
    send(records, progress(&tenant, jobs[1], token, JobPhase::Failed))
        .await
        .unwrap();
    let open = records.open_jobs().await.unwrap();
    let own = open.iter().filter(|row| row.account == tenant.id);
    assert_eq!(own.map(|row| row.id).collect::<Vec<_>>(), [jobs[0], jobs[2]]);
    let newest = records.jobs(tenant.id, 2).await.unwrap();
    assert_eq!(
        newest.iter().map(|row| row.id).collect::<Vec<_>>(),
        [jobs[2], jobs[1]]
    );
}
