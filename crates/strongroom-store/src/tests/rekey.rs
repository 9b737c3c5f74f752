//! Rekey: to the end, across refusals, long uploads, kills and a second instance.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{join_all, select_all},
};
use strongroom_seal::{AccountId, BranchVersion, NoAnswer, WrappedKey};
use uuid::Uuid;

use super::rig::{Machine, Rig, noise};
use crate::{
    Action, Corruption, JobState, KeyDenied, KeyState, Order, Page, StoreError, StoreEvent,
    faults::Faults,
    jobs::REKEY,
    records::{Change, Check, JobChange, JobPhase, NewJob, Records, Rejected, Transaction},
};

/// A rekey, as another instance would ask for it.
fn of_one_key() -> NewJob {
    NewJob {
        kind: REKEY,
        object: None,
        from: Some(BranchVersion::FIRST),
        total: 1,
    }
}

fn someone() -> AccountId {
    AccountId::from_uuid(Uuid::new_v4())
}

/// Waits until no job is left, whichever of these instances works on it.
async fn until_rekeyed(rigs: &[&Rig]) {
    let mut events: Vec<_> = rigs.iter().map(|rig| rig.store.events()).collect();
    loop {
        let jobs = rigs[0].jobs().await.unwrap();
        if jobs.iter().all(|job| job.state == JobState::Done) {
            return;
        }
        // The end of a job is told after it is on record.
        let next = events.iter_mut().map(|events| events.recv().boxed());
        drop(select_all(next).await);
    }
}

async fn rekey(rig: &Rig) {
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    until_rekeyed(&[rig]).await;
}

/// The branch versions that anything is sealed under.
async fn branches(rig: &Rig) -> Vec<u32> {
    let needs = rig
        .store
        .still_needed(&rig.permit(Action::Administer))
        .await
        .unwrap();
    needs
        .iter()
        .flat_map(|need| need.branch_versions.iter().map(|version| version.get()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_a_version_that_is_gone_is_damaged_not_busy() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put_blob("a", &noise(100_000)).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    database
        .execute(
            "CREATE TEMP TABLE before AS SELECT slot, branch, wrapped FROM key_slot",
            [],
        )
        .unwrap();
    let reader = rig
        .store
        .open_blob(&rig.permit(Action::Read), "file", "a", 0, None)
        .await;
    rekey(&rig).await;
    let changed = database.execute(
        "UPDATE key_slot SET branch = b.branch, wrapped = b.wrapped FROM before AS b WHERE b.slot = key_slot.slot",
        [],
    );
    assert_eq!(changed.unwrap(), 2);
    let dead = |answer: Result<(), StoreError>| {
        assert!(
            matches!(answer, Err(StoreError::Corrupt(Corruption::Key))),
            "{answer:?}"
        );
    };
    dead(rig.get("a").await.map(drop));
    dead(rig.read_blob("a", None).await.map(drop));
    dead(reader.unwrap().next_chunk().await.unwrap().map(drop));
    let page = Page {
        after: None,
        limit: 10,
        order: Order::Asc,
    };
    dead(
        rig.store
            .list(&rig.permit(Action::Read), "file", page)
            .await
            .map(drop),
    );
    let export = rig.permit(Action::Export);
    dead(rig.store.export(&export, "file", "a", 0).await.map(drop));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_moves_and_the_old_version_goes() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    let ids: Vec<_> = (0..700).map(|number| format!("id-{number}")).collect();
    for meta in join_all(ids.iter().map(|id| rig.put(id, b"body"))).await {
        meta.unwrap();
    }
    rig.put_blob("blob", &noise(100_000)).await.unwrap();
    let mut events = rig.store.events();
    rekey(&rig).await;
    assert_eq!(branches(&rig).await, [2]);
    let status = &rig.jobs().await.unwrap()[0];
    assert_eq!(
        (status.done, status.total, status.state),
        (702, 702, JobState::Done)
    );
    let sealed = rig.statistics().await.unwrap().sealed;
    assert_eq!(
        sealed
            .iter()
            .map(|row| (row.branch.get(), row.objects))
            .collect::<Vec<_>>(),
        [(2, 701)]
    );
    assert_eq!(rig.get("id-699").await.unwrap().body.as_slice(), b"body");
    assert_eq!(rig.read_blob("blob", None).await.unwrap(), noise(100_000));
    loop {
        if let StoreEvent::Rekeyed { version, keys, .. } = events.recv().await.unwrap() {
            assert_eq!((version.get(), keys), (2, 702));
            break;
        }
    }
    rekey(&rig).await;
    assert_eq!(branches(&rig).await, [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_pauses_it_and_the_key_coming_back_resumes_it() {
    let (machine, account) = (Machine::new(), someone());
    let rig = Rig::in_memory(&machine, account, Faults::default()).await;
    rig.put("a", b"body").await.unwrap();
    rig.vault.says(Some(NoAnswer::Refused));
    let ended = rig.store.lease(account).await.unwrap().ended();
    rig.store.nudge(account);
    ended.await;
    let add = Change::Job(JobChange::Add(of_one_key()));
    let added = machine
        .records()
        .commit(Transaction::new(account, 0).change(add))
        .await;
    added.map_err(|returned| returned.reason).unwrap();
    while rig.jobs().await.unwrap()[0].state != JobState::Paused {
        tokio::task::yield_now().await;
    }
    assert_eq!(branches(&rig).await, [1]);
    rig.vault.says(None);
    rig.store.nudge(account);
    until_rekeyed(&[&rig]).await;
    assert_eq!(branches(&rig).await, [2]);
    assert_eq!(rig.get("a").await.unwrap().body.as_slice(), b"body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrap_refused_while_the_key_is_held_is_not_asked_for_again_at_once() {
    let rig = Rig::in_memory(&Machine::new(), someone(), Faults::default()).await;
    rig.put("a", b"body").await.unwrap();
    *rig.vault.no_wrap.lock().unwrap() = Some(NoAnswer::Refused);
    let before = rig.vault.wraps.load(Ordering::SeqCst);
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    while rig.jobs().await.unwrap()[0].state != JobState::Paused {
        tokio::task::yield_now().await;
    }
    // Waking the job does not make it try earlier.
    for _ in 0..200 {
        rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.vault.wraps.load(Ordering::SeqCst) - before, 1);
    *rig.vault.no_wrap.lock().unwrap() = None;
    until_rekeyed(&[&rig]).await;
    assert_eq!(branches(&rig).await, [2]);
}

async fn until_paused(rig: &Rig) {
    while rig.jobs().await.unwrap()[0].state != JobState::Paused {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_a_record_do_not_hide_the_living_ones_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    for number in 0..300 {
        rig.put(&format!("id-{number}"), b"body").await.unwrap();
    }
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let removed = database.execute(
        "DELETE FROM record WHERE seq IN (SELECT seq FROM record ORDER BY seq LIMIT 290)",
        [],
    );
    assert_eq!(removed.unwrap(), 290);
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    until_paused(&rig).await;
    // The strays count as damaged, so the old version stays; the living keys were wrapped anew nevertheless.
    assert_eq!(branches(&rig).await, [1, 2]);
    assert_eq!(rig.jobs().await.unwrap()[0].done, 10);
    for number in 290..300 {
        rig.get(&format!("id-{number}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_names_an_unknown_version_is_damaged_and_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    for id in ["a", "b"] {
        rig.put(id, b"body").await.unwrap();
    }
    let database = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let mut wrapped: Vec<u8> = database
        .query_row("SELECT wrapped FROM key_slot WHERE slot = 1", [], |row| {
            row.get(0)
        })
        .unwrap();
    let other = WrappedKey::parse(&wrapped).unwrap().branch_version();
    // The version stands before the nonce.
    assert_eq!(wrapped[5..9], other.get().to_be_bytes());
    wrapped[5..9].copy_from_slice(&77_u32.to_be_bytes());
    database
        .execute("UPDATE key_slot SET wrapped = ?1 WHERE slot = 1", [wrapped])
        .unwrap();
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    until_paused(&rig).await;
    assert_eq!(rig.jobs().await.unwrap()[0].done, 1);
    rig.delete("a").await.unwrap();
    until_rekeyed(&[&rig]).await;
    assert_eq!(branches(&rig).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_binding_is_denied_from_the_beginning() {
    let rig = Rig::in_memory(&Machine::new(), someone(), Faults::default()).await;
    let state = rig.store.key_state(someone()).borrow().state;
    assert_eq!(state, KeyState::Denied(KeyDenied::NotBound));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_began_before_it_is_committed_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    rig.put("a", b"body").await.unwrap();
    let plain = noise(2_500_000);
    let mut writer = rig
        .store
        .stage(&rig.permit(Action::Write), "file", "long", 0)
        .await
        .unwrap();
    writer
        .write(Bytes::copy_from_slice(&plain[..2_000_000]))
        .await
        .unwrap();
    rekey(&rig).await;
    rekey(&rig).await;
    assert_eq!(branches(&rig).await, [3]);
    writer
        .write(Bytes::copy_from_slice(&plain[2_000_000..]))
        .await
        .unwrap();
    let blobs = vec![writer.finish().await.unwrap()];
    let new = crate::NewObject {
        blobs,
        ..crate::NewObject::new("file", "long", b"x")
    };
    rig.store.put(&rig.permit(Action::Write), new).await.unwrap();
    assert_eq!(rig.read_blob("long", None).await.unwrap(), plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_across_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(folder.path()).await;
    let plain = noise(3_000_000);
    rig.put_blob("a", &plain).await.unwrap();
    let mut reader = rig
        .store
        .open_blob(&rig.permit(Action::Read), "file", "a", 0, None)
        .await
        .unwrap();
    let mut all = reader.next_chunk().await.unwrap().unwrap().to_vec();
    rekey(&rig).await;
    while let Some(piece) = reader.next_chunk().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(all, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_stood_still_across_it_goes_on_correctly() {
    let (machine, account) = (Machine::new(), someone());
    let stalled = Rig::in_memory(&machine, account, Faults::default()).await;
    let busy = Rig::in_memory(&machine, account, Faults::default()).await;
    let plain = noise(1_500_000);
    stalled.put_blob("before", &plain).await.unwrap();
    let mut reader = stalled
        .store
        .open_blob(&stalled.permit(Action::Read), "file", "before", 0, None)
        .await
        .unwrap();
    let mut all = reader.next_chunk().await.unwrap().unwrap().to_vec();
    let staged = stalled.stage("staged", 0, b"small").await.unwrap();
    busy.store.rekey(&busy.permit(Action::Administer)).await.unwrap();
    until_rekeyed(&[&busy, &stalled]).await;
    assert_eq!(branches(&busy).await, [2]);
    let new = crate::NewObject {
        blobs: vec![staged],
        ..crate::NewObject::new("file", "staged", b"x")
    };
    stalled
        .store
        .put(&stalled.permit(Action::Write), new)
        .await
        .unwrap();
    stalled.put("after", b"x").await.unwrap();
    while let Some(piece) = reader.next_chunk().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(all, plain);
    assert_eq!(stalled.get("before").await.unwrap().body.as_slice(), b"body");
    for rig in [&stalled, &busy] {
        assert_eq!(rig.read_blob("staged", None).await.unwrap(), b"small");
        assert_eq!(rig.get("after").await.unwrap().body.as_slice(), b"x");
    }
    assert_eq!(branches(&stalled).await, [2]);
    let sealed = busy.statistics().await.unwrap().sealed;
    assert!(sealed.iter().all(|row| row.branch == BranchVersion::new(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_ran_out_is_taken_over_and_fences_off_its_holder() {
    let (machine, account) = (Machine::new(), someone());
    let rig = Rig::in_memory(&machine, account, Faults::default()).await;
    rig.put("a", b"body").await.unwrap();
    let records = machine.records();
    let send = async |now_ms, change: JobChange, token: Option<(u64, u64)>| {
        let mut transaction = Transaction::new(account, now_ms).change(Change::Job(change));
        if let Some((job, token)) = token {
            transaction = transaction.check(Check::Claimed { job, token });
        }
        records
            .commit(transaction)
            .await
            .map_err(|returned| returned.reason)
    };
    // Another instance claims the job and stands still.
    let job = send(0, JobChange::Add(of_one_key()), None).await.unwrap().job;
    let until_ms = 1_000_000 + 30_000;
    let token = send(0, JobChange::Claim { job, until_ms }, None)
        .await
        .unwrap()
        .token;
    assert_eq!(
        rig.store
            .rekey(&rig.permit(Action::Administer))
            .await
            .unwrap()
            .to_string(),
        format!("job-{job}")
    );
    assert_eq!(rig.jobs().await.unwrap()[0].state, JobState::Running);
    rig.clock.turn(Duration::from_secs(30));
    until_rekeyed(&[&rig]).await;
    assert_eq!(branches(&rig).await, [2]);
    let progress = JobChange::Progress {
        job,
        done: 0,
        total: 1,
        phase: JobPhase::Running,
        until_ms,
    };
    assert_eq!(
        send(until_ms, progress, Some((job, token))).await.err(),
        Some(Rejected::ClaimLost)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_stops_at_any_step_of_it_ends_it_after_it_comes_back() {
    let mut whole_runs = 0;
    for steps in 0.. {
        let (machine, account) = (Machine::new(), someone());
        let rig = Rig::in_memory(&machine, account, Faults::default()).await;
        for id in ["a", "b", "c"] {
            rig.put_blob(id, &noise(70_000)).await.unwrap();
        }
        drop(rig);
        let faults = Faults::after(steps);
        let dying = Rig::in_memory(&machine, account, faults.clone()).await;
        let asked = dying.store.rekey(&dying.permit(Action::Administer)).await.is_ok();
        while !faults.stopped()
            && !dying
                .jobs()
                .await
                .is_ok_and(|jobs| jobs[0].state == JobState::Done)
        {
            tokio::task::yield_now().await;
        }
        whole_runs += u32::from(!faults.stopped());
        drop(dying);
        let rig = Rig::in_memory(&machine, account, Faults::default()).await;
        // A claim may still stand.
        rig.clock.turn(Duration::from_secs(60));
        if asked {
            rekey_again_if_needed(&rig).await;
        }
        for id in ["a", "b", "c"] {
            assert_eq!(
                rig.get(id).await.unwrap().body.as_slice(),
                b"body",
                "after {steps} steps"
            );
            assert_eq!(rig.read_blob(id, None).await.unwrap(), noise(70_000));
        }
        if whole_runs > 0 {
            return;
        }
    }
}

async fn rekey_again_if_needed(rig: &Rig) {
    rig.store.rekey(&rig.permit(Action::Administer)).await.unwrap();
    until_rekeyed(&[rig]).await;
    assert_eq!(branches(rig).await.len(), 1);
}
