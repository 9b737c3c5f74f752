//! The program is killed while a deployment is made.

use std::time::Duration;

use reqwest::Method;
use strongroom_testkit::ChildOptions;
use tokio::time::{sleep, timeout};

use crate::PATIENCE;
use crate::rig::{Weights, gone, import, manage, until_answered, wanted, workers_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_being_made_when_the_program_was_killed_is_made_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let start = || ChildOptions::new(folder.path()).start();
    let child = start().await.unwrap();
    let model = import(&child, "night", &Weights::new().bytes).await;
    // From before the record is written until after the model is loaded.
    let mut child = Some(child);
    for (round, milliseconds) in [0, 5, 15, 40, 120].into_iter().enumerate() {
        let running = child.take().unwrap();
        let name = format!("d{round}");
        let put = manage(&running, Method::PUT, &name, Some(wanted(&model, "Shutdown")));
        // The answer may not come any more.
        let _ = timeout(Duration::from_millis(milliseconds), put).await;
        let workers = workers_of(running.id());
        running.kill().unwrap();
        // Nobody is left who has the weights.
        for worker in workers {
            gone(worker).await;
        }
        let running = start().await.unwrap();
        let (status, _) = manage(&running, Method::GET, &name, None).await;
        if status == 404 {
            // It was never on record, and the client has no answer that says otherwise.
            child = Some(running);
            continue;
        }
        let made = timeout(PATIENCE, async {
            while manage(&running, Method::GET, &name, None).await.1["properties"]["provisioningState"]
                != "Succeeded"
            {
                sleep(Duration::from_millis(20)).await;
            }
        });
        made.await.expect("it must be made");
        until_answered(&running, &name).await;
        child = Some(running);
    }
    child.take().unwrap().terminate().await.unwrap();
}
