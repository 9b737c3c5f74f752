//! New wraps and new branch versions.

use std::time::Duration;

use strongroom_seal::{BranchVersion, KeyName, NoAnswer};
use tokio::time::sleep;

use super::{
    rig::{BOUND, RENEWED, Rig, key},
    vault::{Asked, Mood},
};
use crate::{event::StoreEvent, keyring::KeyDenied, limits, rotation::RotationError};

fn bind_version(rig: &Rig, version: Option<&str>) {
    rig.change_binding(|binding| binding.version = version.map(str::to_owned));
}

/// An account with two living branch versions.
async fn rekeying() -> Rig {
    let rig = Rig::used_before().await;
    assert_eq!(rig.keyring.next_branch(rig.account).await.unwrap().get(), 2);
    rig
}

#[tokio::test(start_paused = true)]
async fn another_version_in_the_binding_rewraps_the_seed_by_itself() {
    let mut rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let check = rig.branches.rows.lock().unwrap()[0].check;
    bind_version(&rig, Some("2"));
    sleep(Duration::from_millis(10)).await;
    let row = rig.branches.rows.lock().unwrap()[0].clone();
    assert_eq!((row.wrap.key, row.check), (key("2"), check));
    // The old version is not needed any more.
    rig.vault.disable("1");
    sleep(BOUND * 3).await;
    lease.check().unwrap();
    assert_eq!(rig.vault.last_unwrapped(), "2");
    let rewrapped = |event: &StoreEvent| matches!(event, StoreEvent::Rewrapped { from, to, branch_versions: 1, .. } if *from == Some(key("1")) && *to == key("2"));
    assert!(rig.heard().iter().any(rewrapped));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_came_while_idle_is_made_up_at_the_next_use() {
    let rig = Rig::used_before().await;
    bind_version(&rig, Some("2"));
    let _lease = rig.lease().await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.branches.wrap_of(0).key, key("2"));
}

#[tokio::test(start_paused = true)]
async fn a_wrap_that_fails_leaves_the_old_one_in_force_and_is_tried_again() {
    let rig = rekeying().await;
    let lease = rig.lease().await;
    rig.vault.refuse_to_wrap_after(Some(1));
    bind_version(&rig, Some("2"));
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.branches.wrap_of(0).key, key("2"), "the first was done");
    assert_eq!(rig.branches.wrap_of(1).key, key("1"), "the second was not");
    sleep(BOUND * 2).await;
    lease.check().unwrap();
    assert_eq!(lease.guard().unwrap().current().version().get(), 2);
    rig.vault.refuse_to_wrap_after(None);
    sleep(limits::FOLLOW + BOUND).await;
    assert_eq!(rig.branches.wrap_of(1).key, key("2"));
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_wrap_that_does_not_unwrap_to_the_same_seed_is_never_put_in_force() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.vault.garble_wraps(true);
    bind_version(&rig, Some("2"));
    let result = rig.keyring.rewrap(rig.account).await;
    assert_eq!(result, Err(RotationError::Key(KeyDenied::Mismatch)));
    assert_eq!(rig.branches.wrap_of(0).key, key("1"));
    sleep(BOUND * 2).await;
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_seeds_hang_on_two_key_versions_each_of_them_must_still_unwrap() {
    let rig = rekeying().await;
    let lease = rig.lease().await;
    rig.vault.refuse_to_wrap_after(Some(1));
    bind_version(&rig, Some("2"));
    sleep(BOUND).await;
    lease.check().unwrap();
    rig.vault.disable("1");
    sleep(BOUND).await;
    assert_eq!(lease.check(), Err(KeyDenied::Refused));
}

#[tokio::test(start_paused = true)]
async fn the_latest_version_is_followed_at_a_period_and_upon_a_nudge() {
    let rig = Rig::used_before().await;
    bind_version(&rig, None);
    let lease = rig.lease().await;
    sleep(limits::FOLLOW * 5).await;
    let described = rig.vault.count(Asked::Describe);
    assert!((5..=7).contains(&described), "{described} in 5 periods");

    rig.vault.rotate("2");
    sleep(limits::FOLLOW + BOUND).await;
    assert_eq!(rig.branches.wrap_of(0).key, key("2"));

    rig.vault.rotate("3");
    rig.keyring.nudge(rig.account);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.branches.wrap_of(0).key, key("3"));
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_key_in_another_vault_takes_over_from_the_one_before() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let other = KeyName::parse("https://other.vault.localhost:8443/keys/second").unwrap();
    rig.change_binding(|binding| {
        binding.key = other.clone();
        binding.version = Some("7".to_owned());
    });
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.branches.wrap_of(0).key, other.with_version("7").unwrap());
    sleep(BOUND).await;
    lease.check().unwrap();

    // After a restart in the midst, the binding says which key is retiring.
    let rig = Rig::used_before().await;
    rig.change_binding(|binding| {
        binding.retiring = Some(std::mem::replace(&mut binding.key, other.clone()));
        binding.version = Some("7".to_owned());
    });
    let rig = rig.restart();
    let _lease = rig.lease().await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(rig.branches.wrap_of(0).key, other.with_version("7").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_bound_while_all_is_wrapped_anew_leaves_the_one_before_believed() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let entry = rig.keyring.inner.entry(rig.account);
    let found_under = entry.binding().unwrap();
    // The next key cannot take over yet, so the seed stays under the first.
    rig.vault.refuse_to_wrap_after(Some(0));
    rig.change_binding(|binding| {
        binding.key = KeyName::parse("https://other.vault.localhost:8443/keys/second").unwrap();
        binding.version = Some("7".to_owned());
    });
    sleep(Duration::from_millis(10)).await;
    entry.forget_retiring(&found_under);
    assert_eq!(entry.binding().unwrap().retiring.as_ref(), Some(&found_under.key));
    sleep(RENEWED).await;
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_account_is_settled_once_nothing_is_under_another_key() {
    let rig = rekeying().await;
    assert_eq!(rig.keyring.is_settled(rig.account).await, Ok(true));
    rig.vault.refuse_to_wrap_after(Some(1));
    bind_version(&rig, Some("2"));
    assert!(rig.keyring.rewrap(rig.account).await.is_err());
    assert_eq!(rig.keyring.is_settled(rig.account).await, Ok(false));
    assert!(rig.keyring.prove_key(rig.account).await.is_err());
    rig.vault.refuse_to_wrap_after(None);
    assert_eq!(rig.keyring.prove_key(rig.account).await, Ok(()));
    rig.keyring.rewrap(rig.account).await.unwrap();
    assert_eq!(rig.keyring.is_settled(rig.account).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nothing_needs_any_more_is_not_believed_again() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let planted = rig.branches.wrap_of(0);
    let other = KeyName::parse("https://other.vault.localhost:8443/keys/second").unwrap();
    for names_it in [false, true] {
        rig.change_binding(|binding| {
            let old = std::mem::replace(&mut binding.key, other.clone());
            binding.retiring = names_it.then_some(old);
            binding.version = Some("7".to_owned());
        });
        rig.keyring.rewrap(rig.account).await.unwrap();
        if names_it {
            rig.change_binding(|binding| binding.retiring = None);
        }
        assert_eq!(rig.keyring.is_settled(rig.account).await, Ok(true));
    }
    lease.check().unwrap();
    rig.branches.rows.lock().unwrap()[0].wrap = planted;
    rig.keyring.nudge(rig.account);
    sleep(RENEWED).await;
    assert_eq!(lease.check(), Err(KeyDenied::Mismatch));
}

#[tokio::test(start_paused = true)]
async fn a_rewrap_counts_what_it_did_and_does_nothing_twice() {
    let rig = rekeying().await;
    bind_version(&rig, Some("2"));
    assert_eq!(rig.keyring.rewrap(rig.account).await, Ok(2));
    assert_eq!(rig.keyring.rewrap(rig.account).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_met_by_a_rewrap_ends_the_lease() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.vault.says(NoAnswer::Refused);
    bind_version(&rig, Some("2"));
    assert!(rig.keyring.rewrap(rig.account).await.is_err());
    assert_eq!(lease.check(), Err(KeyDenied::Refused));
    assert_eq!(rig.branches.wrap_of(0).key, key("1"));
}

#[tokio::test(start_paused = true)]
async fn a_new_branch_version_is_current_and_the_older_one_still_opens() {
    let rig = rekeying().await;
    let guard = rig.lease().await.guard().unwrap();
    assert_eq!(guard.current().version().get(), 2);
    assert!(guard.version(BranchVersion::FIRST).is_some());
    drop(guard);
    // Also after a restart, with one question for both, as one customer key wraps both.
    let rig = rig.restart();
    let lease = rig.lease().await;
    assert!(lease.guard().unwrap().version(BranchVersion::FIRST).is_some());
    let unwraps = rig.vault.unwraps();
    sleep(RENEWED).await;
    assert_eq!(rig.vault.unwraps(), unwraps + 1);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_another_process_added_is_loaded_when_it_is_asked_for() {
    let rig = Rig::used_before().await;
    rig.lease().await;
    let busy = rig.second_process();
    busy.keyring.next_branch(busy.account).await.unwrap();
    let lease = rig
        .keyring
        .lease_with(rig.account, BranchVersion::new(2))
        .await
        .unwrap();
    assert_eq!(lease.guard().unwrap().current().version().get(), 2);
    // One that does not exist costs no call.
    let unwraps = rig.vault.unwraps();
    let lease = rig
        .keyring
        .lease_with(rig.account, BranchVersion::new(99))
        .await
        .unwrap();
    assert!(lease.guard().unwrap().version(BranchVersion::new(99)).is_none());
    assert_eq!(rig.vault.unwraps(), unwraps);
}

#[tokio::test(start_paused = true)]
async fn a_version_is_dropped_only_when_unused_and_after_the_anchor_has_moved_on() {
    let rig = rekeying().await;
    let first = BranchVersion::FIRST;
    rig.branches.used.lock().unwrap().push(first);
    let still = rig.keyring.before_drop(rig.account, first).await;
    assert_eq!(still, Err(RotationError::StillNeeded));
    assert_eq!(rig.anchor().unwrap().version, first);

    rig.branches.used.lock().unwrap().clear();
    rig.keyring.before_drop(rig.account, first).await.unwrap();
    assert_eq!(rig.anchor().unwrap().version.get(), 2);
    rig.keyring.before_drop(rig.account, first).await.unwrap();
    // A crash here leaves a dead row, which harms nobody.
    let rig = rig.restart();
    assert!(rig.lease().await.guard().unwrap().version(first).is_none());

    rig.branches.drop_version(first);
    rig.keyring.dropped(rig.account, first);
    let lease = rig.lease().await;
    sleep(BOUND).await;
    assert_eq!(lease.guard().unwrap().current().version().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_version_leaves_memory_and_the_current_one_is_never_dropped() {
    let rig = rekeying().await;
    let lease = rig.lease().await;
    rig.keyring
        .before_drop(rig.account, BranchVersion::FIRST)
        .await
        .unwrap();
    rig.branches.drop_version(BranchVersion::FIRST);
    rig.keyring.dropped(rig.account, BranchVersion::FIRST);
    assert!(lease.guard().unwrap().version(BranchVersion::FIRST).is_none());
    let current = rig.keyring.before_drop(rig.account, BranchVersion::new(2)).await;
    assert_eq!(current, Err(RotationError::StillNeeded));
    sleep(BOUND * 2).await;
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_does_not_hear_of_a_rekey_goes_on_while_its_own_key_vouches_for_the_new_one() {
    let busy = Rig::used_before().await;
    let stalled = busy.second_process();
    let lease = stalled.lease().await;
    busy.keyring.next_branch(busy.account).await.unwrap();
    busy.keyring
        .before_drop(busy.account, BranchVersion::FIRST)
        .await
        .unwrap();
    busy.branches.drop_version(BranchVersion::FIRST);
    for _ in 0..3 {
        sleep(RENEWED).await;
        assert_eq!(lease.guard().unwrap().current().version().get(), 2);
    }
    // Once it holds nothing, only the anchor can vouch.
    drop(lease);
    sleep(limits::IDLE * 2).await;
    let denied = stalled.keyring.lease(stalled.account).await.map(drop);
    assert_eq!(denied, Err(KeyDenied::Mismatch));
    stalled.bindings.send_replace(busy.bindings.borrow().clone());
    sleep(limits::ASK_AGAIN).await;
    stalled.lease().await.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_forged_rekey_does_not_pass_while_the_old_key_is_held() {
    let rig = rekeying().await;
    let stalled = rig.second_process();
    let lease = stalled.lease().await;
    rig.branches.tamper(|rows| {
        rows.remove(0);
        rows[0].endorsement = Some(strongroom_seal::Endorsement::from_bytes([1; 32]));
        rows[0].version = BranchVersion::new(3);
    });
    sleep(RENEWED).await;
    assert_eq!(lease.check(), Err(KeyDenied::Mismatch));
}

#[tokio::test(start_paused = true)]
async fn branch_versions_are_limited() {
    let rig = Rig::used_before().await;
    for _ in 1..limits::BRANCH_VERSIONS {
        rig.keyring.next_branch(rig.account).await.unwrap();
    }
    let one_more = rig.keyring.next_branch(rig.account).await;
    assert_eq!(one_more, Err(RotationError::TooManyVersions));
    rig.restart().lease().await.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_vault_stops_a_rotation_within_its_deadline_and_changes_nothing() {
    let rig = Rig::used_before().await;
    rig.vault.mood(Mood::Mute);
    bind_version(&rig, Some("2"));
    let result = rig.keyring.rewrap(rig.account).await;
    assert_eq!(
        result,
        Err(RotationError::Key(KeyDenied::Unreachable { retry_after: None }))
    );
    assert_eq!(rig.branches.wrap_of(0).key, key("1"));
}
