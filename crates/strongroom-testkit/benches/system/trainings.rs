//! A training: steps per second, by a job of the sealed service and by the same trainer on its own, whose weights go to a plain file.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_models::{
    Adaptation, BaseModel, BuiltInTrainer, Examples, ModelSource, Plan, REHEARSAL_MODEL, Trainer as _,
    TrainerProgram, TrainingEvent, TrainingOrder,
};
use strongroom_testkit::{Child, strongroom_program};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep};

use crate::report::{Goal, median, median_ratio, number, report};

const EXAMPLES: u64 = 40;
const EPOCHS: u32 = 20;
const STEPS: f64 = (EXAMPLES * EPOCHS as u64) as f64;
/// How often it is asked whether the job is done: short against a training.
const LOOK: Duration = Duration::from_millis(10);

pub(crate) async fn measure(child: &Child, place: &Path) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..number("STRONGROOM_BENCH_TRAININGS", 5) {
        without.push(STEPS / plain(place).await);
        with.push(STEPS / sealed(child).await);
    }
    report("training, unsealed", median(&without), "steps/s", &Goal::None);
    let ratio = median_ratio(&with, &without);
    report(
        "training, sealed",
        median(&with),
        "steps/s",
        &Goal::Ratio(ratio, 0.98),
    );
}

fn lines() -> String {
    (0..EXAMPLES)
        .map(|number| {
            let example = json!({"messages": [
                {"role": "user", "content": format!("What is the word for {number} in the old book of lists?")},
                {"role": "assistant", "content": format!("The word for {number} is alder, and after it comes birch.")}]});
            format!("{example}\n")
        })
        .collect()
}

/// Seconds from the file to the model, through the service.
async fn sealed(child: &Child) -> f64 {
    let mut form = Vec::new();
    form.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n");
    form.extend_from_slice(b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"s\"\r\n\r\n");
    form.extend_from_slice(lines().as_bytes());
    form.extend_from_slice(b"\r\n--b0--\r\n");
    let request = child
        .api(Method::POST, "/files")
        .header("Content-Type", "multipart/form-data; boundary=b0");
    let file: Value = request.body(form).send().await.unwrap().json().await.unwrap();
    let body = json!({"model": REHEARSAL_MODEL, "training_file": file["id"], "seed": 1,
        "hyperparameters": {"n_epochs": EPOCHS, "batch_size": 1}});
    let began = Instant::now();
    let request = child.api(Method::POST, "/fine_tuning/jobs").json(&body);
    let job: Value = request.send().await.unwrap().json().await.unwrap();
    let path = format!("/fine_tuning/jobs/{}", job["id"].as_str().unwrap());
    loop {
        let shown: Value = child
            .api(Method::GET, &path)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        if shown["status"] == "succeeded" {
            return began.elapsed().as_secs_f64();
        }
        assert_ne!(shown["status"], "failed", "{shown}");
        sleep(LOOK).await;
    }
}

/// The same, without it.
async fn plain(place: &Path) -> f64 {
    let base = BaseModel {
        name: REHEARSAL_MODEL.to_owned(),
        source: ModelSource::Rehearsal,
    };
    let program = TrainerProgram {
        program: strongroom_program().unwrap(),
        arguments: vec!["trainer".into()],
    };
    let order = TrainingOrder {
        base_model: REHEARSAL_MODEL.to_owned(),
        plan: Plan {
            adaptation: Adaptation::Lora,
            n_epochs: EPOCHS,
            batch_size: 1,
            learning_rate_multiplier: 1.0,
            seed: 1,
        },
        training: Examples {
            count: EXAMPLES,
            lines: Box::pin(stream::iter([Ok(Bytes::from(lines()))])),
        },
        validation: None,
        checkpoint: None,
    };
    let began = Instant::now();
    let mut training = BuiltInTrainer::new(vec![base], program).start(order).unwrap();
    let mut file = None;
    while let Some(event) = training.next().await.unwrap() {
        match event {
            TrainingEvent::Progress(_) => {}
            TrainingEvent::Weights(_) => {
                file = Some(tokio::fs::File::create(place.join("weights")).await.unwrap());
            }
            TrainingEvent::Piece(piece) => file.as_mut().unwrap().write_all(&piece).await.unwrap(),
            TrainingEvent::Whole => file.as_mut().unwrap().sync_all().await.unwrap(),
        }
    }
    began.elapsed().as_secs_f64()
}
