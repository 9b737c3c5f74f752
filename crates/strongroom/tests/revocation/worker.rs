//! What a model leaves in memory: the process that held it is gone.

use std::collections::HashSet;
use std::path::Path;

use strongroom_testkit::SystemOptions;
use tokio::time::{Instant, sleep, timeout};

use crate::asking::Answer;
use crate::{BOUND, PATIENCE, SLACK};

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_the_process_that_holds_the_model_and_the_key_back_starts_another() {
    let system = SystemOptions::new()
        .unwrap()
        .revocation_bound(BOUND)
        .start()
        .await
        .unwrap();
    let chat = || Answer::to(system.chat_request("Say it again.", false));
    let before = children();
    assert_eq!(chat().await.status, 200);
    let workers: Vec<u32> = children().difference(&before).copied().collect();
    assert_eq!(workers.len(), 1, "one worker serves one model");

    let lost = Instant::now();
    system.disable_key().await.unwrap();
    let gone = timeout(PATIENCE, async {
        while workers.iter().any(|worker| is_there(*worker)) {
            sleep(SLACK / 25).await;
        }
    });
    gone.await.expect("the worker must end");
    assert!(
        lost.elapsed() <= BOUND + SLACK,
        "ended {:?} after the loss",
        lost.elapsed()
    );
    assert_eq!(chat().await.code, "customer_key_refused");

    system.enable_key().await.unwrap();
    let back = timeout(PATIENCE, async {
        while chat().await.status != 200 {
            sleep(SLACK / 25).await;
        }
    });
    back.await.expect("the model must answer again");
    system.stop().await;
}

/// The processes that this one started.
fn children() -> HashSet<u32> {
    let tasks = Path::new("/proc/self/task").read_dir().unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|line| {
            line.split_whitespace()
                .filter_map(|id| id.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Whether the process holds memory: one that only waits to be collected does not.
fn is_there(process: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/statm")).is_ok_and(|pages| !pages.starts_with("0 "))
}
