//! What is stored is believed only as far as anchor, check values and endorsements go.

use std::sync::atomic::Ordering;

use strongroom_seal::{BranchKey, BranchVersion, Endorsement, KeyId, Secret};
use tokio::time::sleep;

use super::rig::{RENEWED, Rig, key, seed_wrap};
use crate::{
    keyring::{KeyDenied, KeyState},
    limits,
    rotation::BranchRecord,
};

/// Nothing is leased, and the reason is that what is stored is not the account's.
async fn assert_mismatch(rig: &Rig) {
    let denied = rig.keyring.lease(rig.account).await.map(drop);
    assert_eq!(denied, Err(KeyDenied::Mismatch));
    assert_eq!(rig.state(), KeyState::Denied(KeyDenied::Mismatch));
}

/// A row that fits its seed in everything, made by someone who knows the public half of the customer key.
fn planted_row(rig: &Rig, version: BranchVersion) -> BranchRecord {
    let seed = [7; 32];
    let branch = BranchKey::derive(&Secret::build(|place| *place = seed), rig.account, version).unwrap();
    BranchRecord {
        version,
        created_ms: 1,
        check: branch.check_value(),
        endorsement: None,
        wrap: seed_wrap(key("1"), rig.vault.plant(&key("1"), seed)),
    }
}

#[tokio::test(start_paused = true)]
async fn first_use_makes_a_branch_key_and_anchors_it() {
    let rig = Rig::new();
    rig.lease().await.check().unwrap();
    let rows = rig.branches.rows.lock().unwrap().clone();
    assert_eq!(rows.len(), 1);
    let anchor = rig.anchor().unwrap();
    assert_eq!(
        (anchor.version, anchor.check),
        (BranchVersion::FIRST, rows[0].check)
    );
}

#[tokio::test(start_paused = true)]
async fn a_wrap_that_was_moved_from_another_account_fails_the_check() {
    let rig = Rig::used_before().await;
    let moved = rig.vault.plant(&key("1"), [9; 32]);
    rig.branches.tamper(|rows| rows[0].wrap.seed = moved);
    assert_mismatch(&rig).await;
    assert_eq!(rig.vault.unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_planted_row_does_not_fit_the_anchor_and_the_vault_is_not_even_asked() {
    let rig = Rig::used_before().await;
    let planted = planted_row(&rig, BranchVersion::FIRST);
    rig.branches.tamper(|rows| rows[0] = planted);
    assert_mismatch(&rig).await;
    assert_eq!(rig.vault.unwraps(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_planted_successor_is_not_endorsed() {
    for endorsement in [None, Some(Endorsement::from_bytes([5; 32]))] {
        let rig = Rig::used_before().await;
        let mut planted = planted_row(&rig, BranchVersion::new(2));
        planted.endorsement = endorsement;
        rig.branches.tamper(|rows| rows.push(planted));
        assert_mismatch(&rig).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_planted_successor_ends_a_lease_at_the_next_renewal() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let planted = planted_row(&rig, BranchVersion::new(2));
    rig.branches.tamper(|rows| rows.push(planted));
    sleep(RENEWED).await;
    assert_eq!(lease.check(), Err(KeyDenied::Mismatch));
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_rolled_back_to_before_a_rekey_end_the_lease_of_who_saw_it() {
    let rig = Rig::used_before().await;
    rig.keyring.next_branch(rig.account).await.unwrap();
    let lease = rig.lease().await;
    rig.branches.tamper(|rows| rows.truncate(1));
    sleep(RENEWED).await;
    assert_eq!(lease.check(), Err(KeyDenied::Mismatch));
}

#[tokio::test(start_paused = true)]
async fn a_wrap_under_a_foreign_key_is_never_sent_anywhere() {
    for foreign in [
        "https://evil.vault.localhost:8443/keys/main/1",
        "https://acme.vault.localhost:8443/keys/other/1",
        "https://acme.vault.localhost:9999/keys/main/1",
    ] {
        let rig = Rig::used_before().await;
        rig.branches
            .tamper(|rows| rows[0].wrap.key = KeyId::parse(foreign).unwrap());
        assert_mismatch(&rig).await;
        assert!(rig.vault.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn rows_with_gaps_and_too_many_rows_are_not_trusted() {
    let rig = Rig::used_before().await;
    let planted = planted_row(&rig, BranchVersion::new(3));
    rig.branches.tamper(|rows| rows.push(planted));
    assert_mismatch(&rig).await;

    let rig = Rig::used_before().await;
    let count = u32::try_from(limits::BRANCH_VERSIONS).unwrap() + 1;
    let planted: Vec<_> = (2..=count)
        .map(|version| planted_row(&rig, BranchVersion::new(version)))
        .collect();
    rig.branches.tamper(|rows| rows.extend(planted));
    assert_mismatch(&rig).await;
    assert_eq!(rig.vault.unwraps(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_anchor_without_its_row_yields_no_key_and_no_new_one() {
    let rig = Rig::used_before().await;
    let anchor = rig.anchor();
    rig.branches.tamper(Vec::clear);
    assert_mismatch(&rig).await;
    assert_eq!(rig.anchor(), anchor);
    assert!(rig.branches.rows.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_used_before_it_is_anchored_and_the_anchor_is_tried_again() {
    let rig = Rig::new();
    rig.anchors.fails.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let denied = rig.keyring.lease(rig.account).await.map(drop);
        assert_eq!(denied, Err(KeyDenied::Storage));
        sleep(limits::ASK_AGAIN).await;
    }
    assert_eq!(rig.branches.rows.lock().unwrap().len(), 1);
    rig.anchors.fails.store(false, Ordering::SeqCst);
    rig.lease().await.check().unwrap();
    assert_eq!(rig.anchor().unwrap().version, BranchVersion::FIRST);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_the_anchor_leaves_a_row_that_is_not_trusted_but_followed_by_another() {
    let rig = Rig::new();
    rig.anchors.fails.store(true, Ordering::SeqCst);
    assert!(rig.keyring.lease(rig.account).await.is_err());
    rig.anchors.fails.store(false, Ordering::SeqCst);
    let rig = rig.restart();
    let lease = rig.lease().await;
    assert_eq!(lease.guard().unwrap().current().version().get(), 2);
    assert!(lease.guard().unwrap().version(BranchVersion::FIRST).is_none());
    let rig = rig.restart();
    assert_eq!(rig.lease().await.guard().unwrap().current().version().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn data_under_a_version_that_was_never_anchored_is_not_papered_over() {
    let rig = Rig::new();
    let planted = planted_row(&rig, BranchVersion::FIRST);
    rig.branches.tamper(|rows| rows.push(planted));
    rig.branches.used.lock().unwrap().push(BranchVersion::FIRST);
    assert_mismatch(&rig).await;
    assert_eq!(rig.anchor(), None);
}
