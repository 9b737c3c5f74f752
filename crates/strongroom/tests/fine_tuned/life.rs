//! From the first byte to the last.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_testkit::{Canaries, Storage, SystemOptions, strongroom_command};
use tokio::time::{Instant, sleep, timeout};

use crate::rig::{
    Rig, Weights, about_model, chat, deploy, deployed, gone, import, is_in_memory, manage, trained, turn,
    until_answered, wanted,
};
use crate::{BOUND, PATIENCE, SLACK};

/// Runs `strongroom verify` with keys and without, and says whether both found everything in order.
async fn is_clean(rig: &Rig) -> bool {
    let mut clean = true;
    for arguments in [&["verify"][..], &["verify", "--blind"]] {
        let output = strongroom_command(rig.folder().root(), arguments).await.unwrap();
        clean &= output.status.success();
    }
    clean
}

async fn until_clean(rig: &Rig) {
    let clean = timeout(PATIENCE, async {
        while !is_clean(rig).await {
            sleep(SLACK).await;
        }
    });
    clean.await.expect("verify must find everything in order");
}

/// Rotates the customer key, and makes a new branch key and waits until everything is under it.
async fn rotate_and_rekey(rig: &Rig) {
    rig.rotate_key().await.unwrap();
    let begun = rig.admin(Method::POST, "rekey", None).await.unwrap();
    begun.error_for_status().unwrap();
    let done = timeout(PATIENCE, async {
        loop {
            let status = rig.status().await.unwrap();
            let rows = status["sealed"].as_array().unwrap();
            if !rows.is_empty()
                && rows
                    .iter()
                    .all(|row| row["branch"] == status["key"]["branch"] && row["branch"] != 1)
            {
                return;
            }
            sleep(SLACK / 5).await;
        }
    });
    done.await.expect("the rekey must end");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customers_model_lives_under_the_key_from_its_first_byte_to_its_last() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let (weights, words) = (Weights::new(), Canaries::random());
    let suffix = words.at("s");
    let model = import(&rig, &suffix, &weights.bytes).await;
    let id = model.rsplit(':').next().unwrap().to_owned();
    let worker = deployed(&rig, "own", &model, "Shutdown").await;
    let said = until_answered(&rig, "own").await;
    assert!(!said.is_empty());
    // The strictest look there is: the weights are in that process, opened.
    assert_ne!(is_in_memory(worker, &weights.in_memory), Some(false));

    rotate_and_rekey(&rig).await;
    assert_eq!(chat(&rig, "own").await, (200, said.clone()));
    until_clean(&rig).await;

    let lost = Instant::now();
    rig.disable_key().await.unwrap();
    gone(worker).await;
    assert!(
        lost.elapsed() <= BOUND + SLACK,
        "ended {:?} after the loss",
        lost.elapsed()
    );
    everything_refuses(&rig, &model).await;

    rig.enable_key().await.unwrap();
    assert_eq!(until_answered(&rig, "own").await, said);
    assert_eq!(about_model(&rig, Method::GET, &model).await.0, 200);

    let storage = Storage::of(&rig);
    let blob = storage.blob_files(&id).unwrap().remove(0);
    let saved = std::fs::read(&blob).unwrap();
    let (status, told) = about_model(&rig, Method::DELETE, &model).await;
    assert_eq!((status, &told["error"]["code"]), (409, &json!("model_in_use")));
    let worker = *crate::rig::workers().iter().max().unwrap();
    assert_eq!(manage(&rig, Method::DELETE, "own", None).await.0, 200);
    gone(worker).await;
    assert_eq!(about_model(&rig, Method::DELETE, &model).await.0, 200);
    assert_eq!(about_model(&rig, Method::GET, &model).await.0, 404);
    until_clean(&rig).await;
    assert_eq!(shredded(&rig).await, 0);

    // The copy is not a model any more, whatever is done with it: the key is enabled, and nothing opens it.
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, &saved).unwrap();
    assert_eq!(about_model(&rig, Method::GET, &model).await.0, 404);
    let (status, told) = manage(&rig, Method::PUT, "own", Some(wanted(&model, "Shutdown"))).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (400, &json!("DeploymentModelNotSupported"))
    );
    assert!(!is_clean(&rig).await, "a blob that no record knows is a finding");
    std::fs::remove_file(&blob).unwrap();

    // Neither the name nor the weights ever stood on a disk in the clear.
    let root = rig.folder().root().to_owned();
    let _place = rig.system.stop().await.unwrap();
    let folders = ["service", "logs"].map(|folder| root.join(folder));
    let folders: Vec<&Path> = folders.iter().map(std::path::PathBuf::as_path).collect();
    assert_eq!(words.search(&folders).unwrap(), []);
    let mark: &[u8] = &weights.in_memory;
    assert!(
        strongroom_testkit::search_bytes(mark, &folders)
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_set_becomes_a_model_that_obeys_the_key_to_its_end() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let words = Canaries::random();
    let model = trained(&rig, &words.at("s"), &words.at("answer")).await;
    let worker = deployed(&rig, "own", &model, "Shutdown").await;
    let said = until_answered(&rig, "own").await;
    let before = until_answered(&rig, rig.variable("STRONGROOM_DEPLOYMENT")).await;
    assert_ne!(said, before, "it learned nothing");
    rotate_and_rekey(&rig).await;
    assert_eq!(chat(&rig, "own").await, (200, said.clone()));
    let lost = Instant::now();
    rig.disable_key().await.unwrap();
    gone(worker).await;
    assert!(
        lost.elapsed() <= BOUND + SLACK,
        "gone {:?} after the loss",
        lost.elapsed()
    );
    everything_refuses(&rig, &model).await;
    rig.enable_key().await.unwrap();
    assert_eq!(until_answered(&rig, "own").await, said);
    assert_eq!(manage(&rig, Method::DELETE, "own", None).await.0, 200);
    assert_eq!(about_model(&rig, Method::DELETE, &model).await.0, 200);
    shredded(&rig).await;
    until_clean(&rig).await;
    let root = rig.folder().root().to_owned();
    let _place = rig.system.stop().await.unwrap();
    let folders = ["service", "logs"].map(|folder| root.join(folder));
    let folders: Vec<&Path> = folders.iter().map(std::path::PathBuf::as_path).collect();
    assert_eq!(words.search(&folders).unwrap(), []);
}

async fn everything_refuses(rig: &Rig, model: &str) {
    let refused = json!("customer_key_refused");
    assert_eq!(chat(rig, "own").await, (403, "customer_key_refused".to_owned()));
    for method in [Method::GET, Method::DELETE] {
        let (status, told) = about_model(rig, method, model).await;
        assert_eq!((status, &told["error"]["code"]), (403, &refused));
    }
    let (status, told) = manage(rig, Method::PUT, "second", Some(wanted(model, "Shutdown"))).await;
    assert_eq!((status, &told["error"]["code"]), (403, &refused));
    let (status, _) = manage(rig, Method::GET, "own", None).await;
    assert_eq!(status, 200, "what Resource Manager knows of it is not sealed");
}

/// Waits until everything that was deleted is erased; says how much awaits it then.
async fn shredded(rig: &Rig) -> u64 {
    let erased = timeout(PATIENCE, async {
        while rig.status().await.unwrap()["awaiting_erasure"] != 0 {
            sleep(SLACK / 5).await;
        }
    });
    erased.await.expect("what was deleted must be erased");
    rig.status().await.unwrap()["awaiting_erasure"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_records_brings_a_deleted_model_back_for_as_long_as_the_key_lets_it() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    deployed(&rig, "own", &model, "Shutdown").await;
    let said = until_answered(&rig, "own").await;
    let root = rig.folder().root().to_owned();
    let place = rig.system.stop().await.unwrap();
    let (service, backup) = (root.join("service"), place.path().join("backup"));
    copy(&service, &backup);

    let rig = Rig::with(SystemOptions::over(&root).unwrap()).await;
    // A deployment comes back by itself.
    assert_eq!(until_answered(&rig, "own").await, said);
    assert_eq!(manage(&rig, Method::DELETE, "own", None).await.0, 200);
    assert_eq!(about_model(&rig, Method::DELETE, &model).await.0, 200);
    shredded(&rig).await;
    rig.system.stop().await;

    std::fs::remove_dir_all(&service).unwrap();
    copy(&backup, &service);
    let rig = Rig::with(SystemOptions::over(&root).unwrap()).await;
    rig.disable_key().await.unwrap();
    let (status, told) = manage(&rig, Method::PUT, "own", Some(wanted(&model, "Shutdown"))).await;
    assert_eq!(
        (status, &told["error"]["code"]),
        (403, &json!("customer_key_refused"))
    );
    rig.enable_key().await.unwrap();
    let made = timeout(PATIENCE, async {
        while manage(&rig, Method::PUT, "own", Some(wanted(&model, "Shutdown")))
            .await
            .0
            == 403
        {
            sleep(SLACK / 5).await;
        }
    });
    made.await.expect("with the key it can be deployed again");
    assert_eq!(until_answered(&rig, "own").await, said);
    rig.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_the_model_cannot_have_are_deployed_with_a_clear_no() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let length = u64::try_from(header.len()).unwrap().to_le_bytes();
    let model = import(&rig, "foreign", &[&length[..], header, &[0; 4]].concat()).await;
    let properties = deploy(&rig, "own", &model, "Shutdown").await;
    assert_eq!(properties["provisioningState"], "Failed");
    let error: &Value = &properties["provisioningError"];
    assert_eq!(error["code"], "DeploymentModelUnusable");
    assert!(
        error["message"].as_str().unwrap().contains("embed_tokens"),
        "{error}"
    );
    // It serves nothing, and stands in nobody's way.
    assert_eq!(chat(&rig, "own").await.0, 404);
    assert_eq!(about_model(&rig, Method::DELETE, &model).await.0, 200);
    rig.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_whose_model_is_gone_says_so() {
    let _turn = turn().await;
    let rig = Rig::start().await;
    let model = import(&rig, "night", &Weights::new().bytes).await;
    let worker = deployed(&rig, "own", &model, "Shutdown").await;
    // As an older backup of the records does it, or somebody with the store at hand.
    let id = model.rsplit(':').next().unwrap();
    let running = rig.system.running();
    let permit = running
        .permits()
        .permit(running.account(), strongroom_store::Action::Delete, "test");
    running
        .store()
        .delete(&permit, "fine_tuned_model", id)
        .await
        .unwrap();
    rig.disable_key().await.unwrap();
    gone(worker).await;
    rig.enable_key().await.unwrap();
    let told = timeout(PATIENCE, async {
        loop {
            let (status, code) = chat(&rig, "own").await;
            if status != 403 {
                return (status, code);
            }
            sleep(SLACK / 5).await;
        }
    });
    assert_eq!(
        told.await.expect("it must say so"),
        (404, "model_not_found".to_owned())
    );
    rig.system.stop().await;
}
