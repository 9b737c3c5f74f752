//! Every way to lose a key, under load.

use std::time::Duration;

use strongroom_testkit::Cue;
use tokio::time::{Instant, sleep, timeout};

use crate::asking::Asked;
use crate::rig::{Expected, Rig};
use crate::{BOUND, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_key_ends_everything_within_the_bound_and_an_enabled_one_brings_it_back() {
    let rig = Rig::start(None).await;
    let load = rig.load().await;
    rig.system.disable_key().await.unwrap();
    let acknowledged = load
        .ends(Instant::now(), &Expected::refused("customer_key_refused"))
        .await;
    rig.system.enable_key().await.unwrap();
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_key_is_gone_within_the_bound_and_a_recovered_one_brings_it_back() {
    let rig = Rig::start(None).await;
    let load = rig.load().await;
    rig.system.delete_key().await.unwrap();
    let acknowledged = load
        .ends(Instant::now(), &Expected::refused("customer_key_gone"))
        .await;
    rig.system.recover_key().await.unwrap();
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_push_the_lease_alone_ends_everything_within_the_bound() {
    let rig = Rig::start(None).await;
    let load = rig.load().await;
    rig.vault.answer(Cue::Refused);
    let acknowledged = load
        .ends(Instant::now(), &Expected::refused("customer_key_refused"))
        .await;
    rig.vault.answer(Cue::Ok);
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_strict_mode_a_vault_that_never_answers_ends_everything_within_the_bound() {
    let rig = Rig::start(Some(Duration::ZERO)).await;
    let load = rig.load().await;
    rig.vault.answer(Cue::Hang);
    let expected = Expected {
        limit: BOUND,
        served: Duration::ZERO,
        status: 503,
        code: "customer_key_unreachable",
    };
    let acknowledged = load.ends(Instant::now(), &expected).await;
    rig.vault.answer(Cue::Ok);
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_vault_is_put_up_with_for_the_grace_and_no_longer() {
    let grace = BOUND * 3;
    let rig = Rig::start(Some(grace)).await;
    let load = rig.load().await;
    rig.vault.answer(Cue::Unreachable);
    let expected = Expected {
        limit: grace,
        served: BOUND,
        status: 503,
        code: "customer_key_unreachable",
    };
    let acknowledged = load.ends(Instant::now(), &expected).await;
    rig.vault.answer(Cue::Ok);
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttling_vault_is_silent_too_and_callers_are_told_when_to_come_back() {
    let rig = Rig::start(Some(Duration::ZERO)).await;
    let load = rig.load().await;
    rig.vault.answer(Cue::Throttled(Some(Duration::from_secs(3))));
    let expected = Expected {
        limit: BOUND,
        served: Duration::ZERO,
        status: 503,
        code: "customer_key_throttled",
    };
    let acknowledged = load.ends(Instant::now(), &expected).await;
    rig.vault.answer(Cue::Ok);
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_gets_no_grace_after_a_silence() {
    let rig = Rig::start(Some(Duration::from_secs(3600))).await;
    let load = rig.load().await;
    rig.vault.answer(Cue::Unreachable);
    sleep(BOUND + BOUND / 2).await;
    assert!(rig.ask(Asked::Read).await.is_success(), "the grace holds");
    rig.vault.answer(Cue::Refused);
    let acknowledged = load
        .ends(Instant::now(), &Expected::refused("customer_key_refused"))
        .await;
    rig.vault.answer(Cue::Ok);
    rig.recovers(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_that_arrives_late_after_a_refusal_counts_for_nothing() {
    let rig = Rig::start(None).await;
    assert!(rig.ask(Asked::Read).await.is_success());
    let mut calls = rig.vault.calls();
    let before = calls.borrow().unwrapped;
    // The next unwrap is done at once and answered late; whoever asks after it is refused.
    rig.vault
        .answer_next(std::iter::once(Cue::Late).chain(std::iter::repeat_n(Cue::Refused, 10_000)));
    let asked_again = timeout(PATIENCE, calls.wait_for(|calls| calls.unwrapped >= before + 2));
    asked_again.await.expect("the vault is asked again").unwrap();
    rig.until(Asked::Read, 403, "customer_key_refused").await;
    rig.vault.release();
    let since = Instant::now();
    while since.elapsed() < BOUND / 2 {
        for asked in Asked::ALL {
            let answer = rig.ask(asked).await;
            assert_eq!(
                (answer.status, answer.code.as_str()),
                (403, "customer_key_refused"),
                "{asked:?}"
            );
        }
    }
    rig.vault.answer(Cue::Ok);
    rig.recovers(&[]).await;
}
