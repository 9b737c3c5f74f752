//! Silence, late answers, clocks: what a lease lives through, and what it does not.

use std::{sync::atomic::Ordering, time::Duration};

use strongroom_seal::NoAnswer;
use tokio::time::{Instant, sleep};

use super::{
    rig::{BOUND, GRACE, RENEWED, Rig, UNREACHABLE},
    vault::Mood,
};
use crate::keyring::{KeyDenied, KeyState, Lease};

/// How long the lease can be used from now on, looked at every 50 ms.
async fn usable_for(lease: &Lease) -> Duration {
    let start = Instant::now();
    while lease.guard().is_ok() {
        sleep(Duration::from_millis(50)).await;
    }
    start.elapsed()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn in_strict_mode_silence_ends_the_lease_at_the_bound() {
    for (mood, denied) in [
        (
            Mood::Says(UNREACHABLE),
            KeyDenied::Unreachable { retry_after: None },
        ),
        (Mood::Mute, KeyDenied::Unreachable { retry_after: None }),
        (
            Mood::Says(NoAnswer::Throttled {
                retry_after: Some(seconds(2)),
            }),
            KeyDenied::Throttled {
                retry_after: Some(seconds(2)),
            },
        ),
    ] {
        let rig = Rig::used_before().await;
        rig.grace(Duration::ZERO);
        let lease = rig.lease().await;
        rig.vault.mood(mood);
        let usable = usable_for(&lease).await;
        assert!(usable <= BOUND + Duration::from_millis(50), "{usable:?}");
        assert!(usable >= BOUND - Duration::from_millis(50), "{usable:?}");
        assert_eq!(lease.check(), Err(denied));
        assert_eq!(rig.state(), KeyState::Denied(denied));
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_grace_silence_is_lived_through_until_the_grace_is_spent() {
    for mood in [
        Mood::Says(UNREACHABLE),
        Mood::Mute,
        Mood::Says(NoAnswer::Throttled {
            retry_after: Some(seconds(600)),
        }),
    ] {
        let rig = Rig::used_before().await;
        let lease = rig.lease().await;
        rig.vault.mood(mood);
        let usable = usable_for(&lease).await;
        assert!(
            usable <= GRACE + Duration::from_millis(50),
            "{mood:?}: {usable:?}"
        );
        assert!(
            usable >= GRACE - Duration::from_millis(50),
            "{mood:?}: {usable:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_comes_back_within_the_grace_renews_the_lease() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.vault.mood(Mood::Mute);
    sleep(seconds(40)).await;
    rig.vault.mood(Mood::Willing);
    sleep(seconds(300)).await;
    lease.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_in_the_grace_ends_it_at_once() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.vault.says(UNREACHABLE);
    sleep(seconds(30)).await;
    lease.check().unwrap();
    rig.vault.says(NoAnswer::Refused);
    let start = Instant::now();
    assert_eq!(lease.ended().await, KeyDenied::Refused);
    assert!(start.elapsed() < BOUND / 2);
    // And silence after it brings nothing back.
    rig.vault.says(UNREACHABLE);
    sleep(seconds(2)).await;
    assert!(rig.keyring.lease(rig.account).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_comes_after_a_refusal_to_a_later_question_counts_for_nothing() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    let late = rig.vault.answer_late();
    sleep(RENEWED).await;
    assert_eq!(
        rig.vault.unwraps(),
        2,
        "the renewal is out, already granted by the vault"
    );
    // A rotation unwraps the same active wrap, and hears a no.
    rig.vault.says(NoAnswer::Refused);
    rig.change_binding(|binding| binding.version = Some("2".to_owned()));
    assert!(rig.keyring.rewrap(rig.account).await.is_err());
    assert_eq!(lease.check(), Err(KeyDenied::Refused));
    rig.vault.mood(Mood::Mute);
    late.add_permits(1);
    sleep(Duration::from_millis(10)).await;
    assert_eq!(lease.check(), Err(KeyDenied::Refused));
    assert_ne!(rig.state(), KeyState::Held);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_process_finds_its_lease_over_at_the_next_use() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    // Even in the midst of a grace, which must not outlive the sleep.
    for silent in [false, true] {
        let lease = if silent { rig.lease().await } else { lease.clone() };
        if silent {
            rig.vault.says(UNREACHABLE);
            sleep(seconds(12)).await;
            lease.check().unwrap();
        }
        rig.clock.suspend(seconds(20));
        assert!(lease.guard().is_err());
        assert!(lease.check().is_err());
        rig.vault.mood(Mood::Willing);
        sleep(seconds(2)).await;
        rig.lease().await.check().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_jumps_either_way_ends_the_lease() {
    for step in [3_600_000, -1_000, -3_600_000] {
        let rig = Rig::used_before().await;
        let lease = rig.lease().await;
        sleep(seconds(5)).await;
        lease.check().unwrap();
        rig.clock.step_wall_clock(step);
        assert!(lease.check().is_err());
        rig.lease().await.check().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttling_vault_is_left_in_peace_for_as_long_as_it_asks() {
    let rig = Rig::used_before().await;
    let retry_after = Some(seconds(20));
    rig.vault.says(NoAnswer::Throttled { retry_after });
    for _ in 0..19 {
        let denied = rig.keyring.lease(rig.account).await.map(drop);
        assert_eq!(denied, Err(KeyDenied::Throttled { retry_after }));
        sleep(seconds(1)).await;
    }
    assert_eq!(rig.vault.unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn storage_that_fails_for_a_moment_costs_no_lease_and_for_longer_gets_no_grace() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    rig.branches.fails.store(true, Ordering::SeqCst);
    sleep(seconds(5)).await;
    lease.check().unwrap();
    rig.branches.fails.store(false, Ordering::SeqCst);
    sleep(seconds(20)).await;
    lease.check().unwrap();
    rig.branches.fails.store(true, Ordering::SeqCst);
    assert!(usable_for(&lease).await <= BOUND + Duration::from_millis(50));
    assert!(matches!(
        rig.keyring.lease(rig.account).await,
        Err(KeyDenied::Storage)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_bound_holds_at_once() {
    let rig = Rig::used_before().await;
    let lease = rig.lease().await;
    sleep(seconds(2)).await;
    rig.vault.mood(Mood::Mute);
    rig.change_binding(|binding| {
        binding.revocation_bound = seconds(1);
        binding.outage_grace = Duration::ZERO;
    });
    sleep(Duration::from_millis(1)).await;
    assert!(lease.check().is_err());
}
