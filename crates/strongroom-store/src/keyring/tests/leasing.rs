//! How leases begin, go on and end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use strongroom_seal::NoAnswer;
use tokio::time::{Instant, sleep};

use super::{
    rig::{RENEWED, Rig},
    vault::{Asked, Mood},
};
use crate::{
    event::StoreEvent,
    keyring::{KeyDenied, KeyState},
    limits,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_wishes_at_once_are_one_unwrap() {
    let rig = Rig::used_before().await;
    let leases = join_all((0..100).map(|_| rig.keyring.lease(rig.account))).await;
    assert!(leases.iter().all(Result::is_ok));
    assert_eq!(rig.vault.unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_given_up_does_not_spoil_it_for_the_others() {
    let rig = Rig::used_before().await;
    let late = rig.vault.answer_late();
    let first = tokio::spawn({
        let (keyring, account) = (rig.keyring.clone(), rig.account);
        async move { keyring.lease(account).await.is_ok() }
    });
    sleep(seconds(1)).await;
    first.abort();
    late.add_permits(1);
    rig.lease().await;
    assert_eq!(rig.vault.unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn uses_under_a_lease_cost_no_call_to_the_vault() {
    let rig = Rig::used_before().await;
    for _ in 0..1_000 {
        let lease = rig.lease().await;
        lease.check().unwrap();
        assert_eq!(lease.guard().unwrap().current().version().get(), 1);
    }
    assert_eq!(rig.vault.unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_in_use_is_renewed_at_a_third_of_the_bound() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    for _ in 0..3_600 {
        sleep(Duration::from_millis(100)).await;
        lease.check().unwrap();
    }
    let unwraps = rig.vault.unwraps();
    assert!((108..=128).contains(&unwraps), "{unwraps} unwraps in 6 minutes");
}

#[tokio::test(start_paused = true)]
async fn idle_accounts_hold_no_lease_and_ask_nothing() {
    let mut rig = Rig::used_before().await;
    let lease = rig.lease().await;
    sleep(limits::IDLE * 2).await;
    lease.check().unwrap();
    drop(lease);
    sleep(limits::IDLE + seconds(1)).await;
    assert_eq!(rig.state(), KeyState::Idle);
    assert!(rig.was_wiped());
    let unwraps = rig.vault.unwraps();
    sleep(seconds(3600)).await;
    assert_eq!(rig.vault.unwraps(), unwraps);
    rig.lease().await.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn refused_and_gone_end_the_lease_when_they_are_heard_and_wipe_the_key() {
    for (no, denied) in [
        (NoAnswer::Refused, KeyDenied::Refused),
        (NoAnswer::Gone, KeyDenied::Gone),
    ] {
        let mut rig = Rig::used_before().await;
        let lease = rig.lease().await;
        drop(lease.guard().unwrap());
        let ended = lease.ended();
        rig.vault.says(no);
        let start = Instant::now();
        assert_eq!(ended.await, denied);
        assert!(start.elapsed() <= RENEWED);
        assert_eq!(lease.check(), Err(denied));
        assert!(lease.guard().is_err());
        assert_eq!(rig.state(), KeyState::Denied(denied));
        let events = rig.heard();
        let account = rig.account;
        let wiped = |event: &StoreEvent| matches!(event, StoreEvent::Wiped { account: of, denied: why, .. } if *of == account && *why == Some(denied));
        let heard = |event: &StoreEvent| matches!(event, StoreEvent::KeyHeard { denied: why, .. } if *why == Some(denied));
        assert!(events.iter().any(wiped) && events.iter().any(heard));
        assert!(
            events
                .iter()
                .any(|event| matches!(event, StoreEvent::LastUse { .. }))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_vault_is_asked_once_a_second_at_most_and_work_resumes_by_itself() {
    let rig = Rig::used_before().await;
    rig.vault.says(NoAnswer::Refused);
    let start = Instant::now();
    while start.elapsed() < seconds(10) {
        assert!(matches!(
            rig.keyring.lease(rig.account).await,
            Err(KeyDenied::Refused)
        ));
        sleep(Duration::from_millis(10)).await;
    }
    assert!(rig.vault.unwraps() <= 11, "{}", rig.vault.unwraps());
    rig.vault.mood(Mood::Willing);
    sleep(limits::ASK_AGAIN).await;
    rig.lease().await.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_stays_ended_when_the_key_comes_back() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.vault.says(NoAnswer::Refused);
    lease.ended().await;
    rig.vault.mood(Mood::Willing);
    sleep(seconds(2)).await;
    let new = rig.lease().await;
    assert_eq!(lease.check(), Err(KeyDenied::Refused));
    new.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_nudge_asks_at_once_and_decides_nothing() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    sleep(seconds(1)).await;
    rig.keyring.nudge(rig.account);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(rig.vault.unwraps(), 2);
    lease.check().unwrap();

    rig.vault.says(NoAnswer::Refused);
    rig.keyring.nudge(rig.account);
    let start = Instant::now();
    assert_eq!(lease.ended().await, KeyDenied::Refused);
    assert!(start.elapsed() < Duration::from_millis(5));

    // The push that the key is back makes the state right without anyone's wish.
    rig.vault.mood(Mood::Willing);
    rig.keyring.nudge(rig.account);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(rig.state(), KeyState::Held);
}

#[tokio::test(start_paused = true)]
async fn a_nudge_while_a_question_is_out_asks_again_after_it() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let late = rig.vault.answer_late();
    sleep(RENEWED).await;
    rig.vault.says(NoAnswer::Refused);
    rig.keyring.nudge(rig.account);
    late.add_permits(1);
    let start = Instant::now();
    assert_eq!(lease.ended().await, KeyDenied::Refused);
    assert!(start.elapsed() < Duration::from_millis(5));
}

#[tokio::test(start_paused = true)]
async fn wiping_waits_for_guards_and_for_nothing_else() {
    let mut rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let others = [lease.clone(), lease.clone()];
    let guard = lease.guard().unwrap();
    rig.vault.says(NoAnswer::Refused);
    lease.ended().await;
    assert!(lease.guard().is_err(), "no new guard");
    assert!(!rig.was_wiped(), "a guard is still out");
    assert_eq!(guard.current().version().get(), 1);
    drop(guard);
    assert!(rig.was_wiped(), "the leases that live do not matter");
    drop(others);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_leased_without_a_binding_and_its_end_ends_the_lease() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let bindings = rig.bindings.send_replace(Vec::new());
    sleep(Duration::from_millis(1)).await;
    assert_eq!(lease.check(), Err(KeyDenied::NotBound));
    assert!(matches!(
        rig.keyring.lease(rig.account).await,
        Err(KeyDenied::NotBound)
    ));
    let unwraps = rig.vault.unwraps();
    rig.bindings.send_replace(bindings);
    // At once, even if the change was not followed yet.
    rig.lease().await.check().unwrap();
    assert_eq!(rig.vault.unwraps(), unwraps + 1);
}

/// In real time and on real threads, where paused time cannot look.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn uses_answers_nudges_and_ends_at_once_neither_block_each_other_nor_let_a_refused_key_be_used() {
    let rig = Rig::used_before().await;
    let stop = Arc::new(AtomicBool::new(false));
    let used = Arc::new(AtomicUsize::new(0));
    let users = (0..8).map(|_| {
        let (keyring, account) = (rig.keyring.clone(), rig.account);
        let (stop, used) = (Arc::clone(&stop), Arc::clone(&used));
        tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                if let Ok(lease) = keyring.lease(account).await {
                    let other = lease.clone();
                    let guard = lease.guard();
                    used.fetch_add(usize::from(guard.is_ok()), Ordering::SeqCst);
                    drop((lease, guard));
                    drop(other);
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let users: Vec<_> = users.collect();
    for _ in 0..20 {
        let lease = rig.lease().await;
        rig.vault.says(NoAnswer::Refused);
        rig.keyring.nudge(rig.account);
        assert_eq!(lease.ended().await, KeyDenied::Refused);
        assert!(lease.guard().is_err());
        let before = used.load(Ordering::SeqCst);
        sleep(Duration::from_millis(5)).await;
        // Those that had their guard counted it by now; nobody got a new one.
        assert!(used.load(Ordering::SeqCst) <= before + users.len());
        rig.vault.mood(Mood::Willing);
        rig.keyring.nudge(rig.account);
        while rig.state() != KeyState::Held {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    join_all(users).await.into_iter().for_each(Result::unwrap);
    assert!(used.load(Ordering::SeqCst) > 0);
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_lease_and_refuses_more() {
    let mut rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let ended = lease.ended();
    rig.keyring.close().await;
    assert_eq!(ended.await, KeyDenied::Closed);
    assert!(rig.was_wiped());
    assert!(matches!(
        rig.keyring.lease(rig.account).await,
        Err(KeyDenied::Closed)
    ));
    assert_eq!(rig.vault.count(Asked::Unwrap), 1);
}
