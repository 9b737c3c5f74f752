//! Clocks that jump. Only the clock moves in these tests: the bound is so long that no renewal falls due while they run.

use std::sync::Arc;
use std::time::Duration;

use strongroom::SystemClock;
use strongroom_seal::Clock as _;
use strongroom_testkit::{Cue, FailingVault, HandClock, InstantUpstream, System, SystemOptions};
use tokio::time::{sleep, timeout};

use crate::PATIENCE;
use crate::asking::{Answer, Asked};
use crate::clients::{self, End};

/// Renewed at a third; far longer than a test takes.
const LONG: Duration = Duration::from_secs(240);

async fn system(grace: Duration) -> (System, FailingVault, HandClock, InstantUpstream) {
    let upstream = InstantUpstream::start_paced(Duration::from_millis(20), 5_000)
        .await
        .unwrap();
    let clock = HandClock::at(SystemClock.now());
    let options = SystemOptions::new()
        .unwrap()
        .revocation_bound(LONG)
        .outage_grace(grace)
        .clock(Arc::new(clock.clone()))
        .upstream(upstream.url());
    let (system, vault) = options.start_with_failing_vault().await.unwrap();
    (system, vault, clock, upstream)
}

/// With the vault refusing from now on, the old lease serves until `jump`, and not once after it.
async fn ends_the_lease(grace: Duration, jump: impl FnOnce(&HandClock)) {
    let (system, vault, clock, _upstream) = system(grace).await;
    let file = system.upload("kept.txt", b"kept".to_vec()).await.unwrap();
    let ask = async |asked: Asked| Answer::to(asked.request(&system, &file)).await;
    let mut stream = clients::draining("token stream", system.chat_request("Go on.", true));
    stream.at_least(200).await;
    vault.answer(Cue::Refused);
    for asked in Asked::ALL {
        assert!(
            ask(asked).await.is_success(),
            "{asked:?}: the lease has not ended yet"
        );
    }
    jump(&clock);
    for asked in Asked::ALL {
        let answer = ask(asked).await;
        assert_eq!(
            (answer.status, answer.code.as_str()),
            (403, "customer_key_refused"),
            "{asked:?}"
        );
    }
    assert_ne!(
        stream.seen().await.end,
        End::Whole,
        "the stream outlived the lease"
    );
    vault.answer(Cue::Ok);
    let back = timeout(PATIENCE, async {
        while !ask(Asked::Read).await.is_success() {
            sleep(Duration::from_millis(20)).await;
        }
    });
    back.await.expect("the key is back");
    assert_eq!(system.download(&file).await.unwrap(), b"kept");
}

#[tokio::test]
async fn a_wall_clock_that_goes_back_ends_the_lease() {
    ends_the_lease(LONG, |clock| clock.wall_back(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn a_wall_clock_that_jumps_forward_over_the_bound_ends_the_lease() {
    ends_the_lease(LONG, |clock| clock.wall_forward(LONG)).await;
}

#[tokio::test]
async fn time_that_passes_while_the_wall_clock_hangs_ends_the_lease() {
    ends_the_lease(LONG, |clock| clock.boot_forward(LONG)).await;
}

#[tokio::test]
async fn a_jump_over_the_bound_ends_the_lease_even_within_a_grace() {
    // Nobody knows yet that the vault is silent, so there is no grace to fall back on.
    ends_the_lease(Duration::from_secs(3600), |clock| clock.advance(LONG)).await;
}

#[tokio::test]
async fn a_jump_within_the_bound_ends_nothing() {
    let (system, vault, clock, _upstream) = system(Duration::ZERO).await;
    let file = system.upload("kept.txt", b"kept".to_vec()).await.unwrap();
    let before = vault.calls().borrow().unwrapped;
    clock.advance(LONG / 4);
    assert_eq!(system.download(&file).await.unwrap(), b"kept");
    assert_eq!(
        vault.calls().borrow().unwrapped,
        before,
        "the lease was still good"
    );
}
