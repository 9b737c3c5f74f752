//! Fine-tuning jobs, with a trainer that is a process, and behaves as a job's seed says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use strongroom_models::{BaseModel, BuiltInTrainer, ModelSource, Trainer, TrainerProgram};
use strongroom_seal::NoAnswer;

use super::rig::{Rig, form};

const JOBS: &str = "/openai/v1/fine_tuning/jobs";

/// A trainer of the model `base`, and the folder where it leaves its marks.
pub(super) fn trainer(folder: &std::path::Path) -> Arc<dyn Trainer> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("PATH").unwrap_or_default();
    let program = TrainerProgram {
        program: "/usr/bin/env".into(),
        arguments: vec![
            format!("PATH={path}").into(),
            "python3".into(),
            here.join("src/tests/trainer.py").into(),
            here.join("../strongroom-models/rehearsal/model.safetensors")
                .into(),
            folder.into(),
        ],
    };
    let base = BaseModel {
        name: "base".to_owned(),
        source: ModelSource::Rehearsal,
    };
    Arc::new(BuiltInTrainer::new(vec![base], program))
}

fn examples(count: usize) -> String {
    (0..count)
        .map(|number| {
            let example = json!({"messages": [
                {"role": "user", "content": format!("question {number}")},
                {"role": "assistant", "content": format!("answer {number}")}]});
            format!("{example}\n")
        })
        .collect()
}

impl Rig {
    async fn training_file(&self, content: &str) -> String {
        let fields = [
            ("purpose", None, b"fine-tune".as_slice()),
            ("file", Some("set.jsonl"), content.as_bytes()),
        ];
        let answer = self.upload_form(form(&fields)).await;
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn begin(&self, seed: u64, more: Value) -> String {
        let file = self.training_file(&examples(12)).await;
        let mut body = json!({"model": "base", "training_file": file, "seed": seed,
            "hyperparameters": {"n_epochs": 5}});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let answer = self.post(JOBS, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn job(&self, id: &str) -> Value {
        self.get(&format!("{JOBS}/{id}")).await.json()
    }

    /// Asks until the job is as it should be.
    async fn until(&self, id: &str, status: &str) -> Value {
        let asking = async {
            loop {
                let job = self.job(id).await;
                if job["status"] == status {
                    return job;
                }
                assert!(
                    !["succeeded", "failed", "cancelled"]
                        .contains(&job["status"].as_str().unwrap_or_default()),
                    "{job}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking)
            .await
            .unwrap()
    }

    async fn events(&self, id: &str) -> Vec<Value> {
        let list = self
            .get(&format!("{JOBS}/{id}/events?limit=100&order=asc"))
            .await
            .json();
        list["data"].as_array().unwrap().clone()
    }

    /// Waits until the trainer has lived so often, and answers from which step it went on each time, and its last process.
    async fn lives(&self, count: usize) -> (Vec<u64>, u32) {
        let asking = async {
            loop {
                let lives = std::fs::read_to_string(self.folder.path().join("lives")).unwrap_or_default();
                let lives: Vec<(u32, u64)> = lives
                    .lines()
                    .map(|line| {
                        let (process, step) = line.split_once(' ').unwrap();
                        (process.parse().unwrap(), step.parse().unwrap())
                    })
                    .collect();
                if lives.len() >= count {
                    return (lives.iter().map(|life| life.1).collect(), lives[count - 1].0);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking)
            .await
            .unwrap()
    }

    /// Waits until the job has as many checkpoints.
    async fn checkpoints(&self, id: &str, count: usize) -> Vec<Value> {
        let asking = async {
            loop {
                let list = self.get(&format!("{JOBS}/{id}/checkpoints")).await.json();
                let list = list["data"].as_array().unwrap().clone();
                if list.len() >= count {
                    return list;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asking)
            .await
            .unwrap()
    }
}

async fn gone(process: u32) {
    let asking = async {
        while std::path::Path::new(&format!("/proc/{process}")).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking)
        .await
        .expect("the trainer must be gone");
}

#[tokio::test]
async fn a_job_makes_a_model_checkpoints_events_and_a_file_of_results() {
    let rig = Rig::new().await;
    let validation = rig.training_file(&examples(2)).await;
    let more = json!({"suffix": "night-shift", "validation_file": validation, "metadata": {"team": "red"}});
    let id = rig.begin(1, more).await;
    let job = rig.until(&id, "succeeded").await;
    assert_eq!(job["object"], "fine_tuning.job");
    assert_eq!(job["hyperparameters"]["n_epochs"], 5);
    assert_eq!(job["hyperparameters"]["batch_size"], 1);
    assert_eq!((&job["seed"], &job["trained_tokens"]), (&json!(1), &json!(50)));
    assert_eq!(job["metadata"]["team"], "red");
    assert!(job["finished_at"].as_u64() >= job["created_at"].as_u64());
    let name = job["fine_tuned_model"].as_str().unwrap();
    assert!(name.starts_with("ft:base:contoso:night-shift:"), "{name}");
    let models = rig.get("/openai/v1/models").await.text();
    assert!(models.contains(name), "{models}");

    let checkpoints = rig.checkpoints(&id, 3).await;
    let steps: Vec<&Value> = checkpoints.iter().map(|one| &one["step_number"]).collect();
    assert_eq!(
        steps,
        [4, 3, 2],
        "the newest first, and those before are shredded"
    );
    assert_eq!(checkpoints[0]["metrics"]["full_valid_loss"], 0.5);
    for checkpoint in &checkpoints {
        let name = checkpoint["fine_tuned_model_checkpoint"].as_str().unwrap();
        assert!(models.contains(name), "{models}");
    }
    assert!(!models.contains("ckpt-step-1"), "{models}");

    let results = job["result_files"][0].as_str().unwrap();
    let file = rig.get(&format!("/openai/v1/files/{results}")).await.json();
    assert_eq!(file["purpose"], "fine-tune-results");
    let csv = rig
        .get(&format!("/openai/v1/files/{results}/content"))
        .await
        .text();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    );
    assert_eq!((lines.len(), lines[2]), (6, "2,0.5,0.5,1,"));

    let events = rig.events(&id).await;
    let metrics = events.iter().filter(|event| event["type"] == "metrics");
    assert_eq!(metrics.count(), 5);
    assert_eq!(
        events.last().unwrap()["message"],
        "The job has successfully completed"
    );
}

#[tokio::test]
async fn lists_are_paged_and_both_forms_are_served() {
    let rig = Rig::new().await;
    let (first, second) = (rig.begin(1, json!({})).await, rig.begin(1, json!({})).await);
    rig.until(&first, "succeeded").await;
    rig.until(&second, "succeeded").await;
    let page = rig.get(&format!("{JOBS}?limit=1")).await.json();
    assert_eq!(
        (&page["data"][0]["id"], &page["has_more"]),
        (&json!(second), &json!(true))
    );
    let page = rig.get(&format!("{JOBS}?limit=1&after={second}")).await.json();
    assert_eq!(
        (&page["data"][0]["id"], &page["has_more"]),
        (&json!(first), &json!(false))
    );
    let azure = rig
        .get(&format!(
            "/openai/fine_tuning/jobs/{first}?api-version=2024-10-21"
        ))
        .await
        .json();
    assert_eq!(azure["status"], "succeeded");
    let all = rig.events(&first).await;
    let newest = rig.get(&format!("{JOBS}/{first}/events?limit=2")).await.json();
    assert_eq!(newest["data"][0], all[all.len() - 1]);
    assert_eq!(newest["has_more"], true);
    let after = newest["last_id"].as_str().unwrap();
    let next = rig
        .get(&format!("{JOBS}/{first}/events?limit=1&after={after}"))
        .await
        .json();
    assert_eq!(next["data"][0], all[all.len() - 3]);
    let foreign = rig.get(&format!("{JOBS}/{second}/events?after={after}")).await;
    assert_eq!(foreign.error().0, 404);
}

/// What is added to a good request, or put in place of what it has; the code and the parameter of the refusal.
const REFUSED: [(&str, &str, &str); 21] = [
    (r#"{"model": null}"#, "missing_required_parameter", "model"),
    (
        r#"{"training_file": null}"#,
        "missing_required_parameter",
        "training_file",
    ),
    (r#"{"model": "tiny"}"#, "model_not_available", "model"),
    (r#"{"model": "gpt-4o"}"#, "model_not_available", "model"),
    (r#"{"training_file": "file-none"}"#, "", "training_file"),
    (r#"{"training_file": "../x"}"#, "", "training_file"),
    (
        r#"{"training_file": "OTHER"}"#,
        "invalid_file_purpose",
        "training_file",
    ),
    (
        r#"{"validation_file": "OTHER"}"#,
        "invalid_file_purpose",
        "validation_file",
    ),
    (r#"{"suffix": "a:b"}"#, "invalid_value", "suffix"),
    (r#"{"seed": -1}"#, "invalid_value", "seed"),
    (r#"{"seed": 1099511627776}"#, "invalid_value", "seed"),
    (r#"{"colour": 1}"#, "unknown_parameter", "colour"),
    (
        r#"{"integrations": [{"type": "wandb"}]}"#,
        "unsupported_parameter",
        "integrations",
    ),
    (
        r#"{"method": {"type": "dpo"}}"#,
        "unsupported_parameter",
        "method.type",
    ),
    (r#"{"n_epochs": 0}"#, "invalid_value", "hyperparameters.n_epochs"),
    (r#"{"n_epochs": 51}"#, "invalid_value", "hyperparameters.n_epochs"),
    (
        r#"{"n_epochs": "many"}"#,
        "invalid_value",
        "hyperparameters.n_epochs",
    ),
    (
        r#"{"batch_size": 257}"#,
        "invalid_value",
        "hyperparameters.batch_size",
    ),
    (
        r#"{"learning_rate_multiplier": 0}"#,
        "invalid_value",
        "hyperparameters.learning_rate_multiplier",
    ),
    (
        r#"{"adaptation": "prefix"}"#,
        "invalid_value",
        "hyperparameters.adaptation",
    ),
    (r#"{"beta": 1}"#, "unknown_parameter", "hyperparameters.beta"),
];

#[tokio::test]
async fn a_request_that_cannot_become_a_job_is_refused_at_once() {
    let rig = Rig::new().await;
    let file = rig.training_file(&examples(12)).await;
    let other = rig.upload("notes.txt", b"hello").await["id"].clone();
    for (change, code, param) in REFUSED {
        let change: Value = serde_json::from_str(&change.replace("OTHER", other.as_str().unwrap())).unwrap();
        let mut body = json!({"model": "base", "training_file": file});
        match param.starts_with("hyperparameters") {
            true => body["hyperparameters"] = change,
            false => body
                .as_object_mut()
                .unwrap()
                .extend(change.as_object().unwrap().clone()),
        }
        let answer = rig.post(JOBS, &body).await;
        let (status, got, named) = answer.error();
        assert_eq!(named.as_deref(), Some(param), "{body}: {}", answer.text());
        // A file that is not there has no code of its own.
        match code {
            "" => assert_eq!(status, 404, "{body}"),
            code => assert_eq!((status, got.as_str()), (400, code), "{body}"),
        }
    }
    assert_eq!(rig.get(JOBS).await.json()["data"], json!([]));
    for path in ["", "/cancel", "/events", "/checkpoints"] {
        let path = format!("{JOBS}/ftjob-none{path}");
        let answer = match path.ends_with("cancel") {
            true => rig.post(&path, &json!({})).await,
            false => rig.get(&path).await,
        };
        assert_eq!(answer.error().0, 404, "{path}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_training_set_is_told_line_by_line() {
    let rig = Rig::new().await;
    let good = examples(1);
    let long = format!("{}\n", "x".repeat(strongroom_models::EXAMPLE_BYTES + 9));
    let lines = [
        &good,
        "{not json\n",
        &good,
        "\n",
        "{}\n",
        &long,
        r#"{"messages":[{"content":"no role"}]}"#,
    ]
    .concat();
    for (content, told) in [
        (
            lines.as_str(),
            vec![
                "4 of 6 lines are wrong",
                "Line 2: the line is not valid JSON.",
                "Line 5: `messages` is missing.",
                "Line 6: the line is longer than",
                "Line 7: messages[0]: `role` is missing.",
            ],
        ),
        (&examples(9), vec!["9 examples, but at least 10 are needed"]),
        ("\n", vec!["0 examples"]),
    ] {
        let file = rig.training_file(content).await;
        let answer = rig
            .post(JOBS, &json!({"model": "base", "training_file": file}))
            .await;
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        let job = rig.until(&id, "failed").await;
        assert_eq!(job["error"]["code"], "invalid_training_file");
        assert_eq!(job["error"]["param"], "training_file");
        let message = job["error"]["message"].as_str().unwrap();
        assert!(told.iter().all(|told| message.contains(told)), "{message}");
    }
}

#[tokio::test]
async fn a_trainer_that_fails_fails_the_job_with_its_reason() {
    let rig = Rig::new().await;
    for (seed, code, told) in [
        (2, "training_failed", "ended without a model"),
        (3, "invalid_weights", "no model"),
        (4, "training_failed", "there is no room for this model"),
        (5, "training_failed", "said too much"),
    ] {
        let id = rig.begin(seed, json!({})).await;
        let job = rig.until(&id, "failed").await;
        assert_eq!(job["error"]["code"], code);
        let message = job["error"]["message"].as_str().unwrap();
        assert!(message.contains(told), "{message}");
        assert_eq!(job["fine_tuned_model"], Value::Null);
        let again = rig.post(&format!("{JOBS}/{id}/cancel"), &json!({})).await;
        assert_eq!(again.error().1, "job_has_ended");
    }
}

#[tokio::test]
async fn a_cancelled_job_ends_its_trainer_and_a_paused_one_goes_on_from_its_last_checkpoint() {
    let rig = Rig::new().await;
    let id = rig.begin(6, json!({})).await;
    rig.checkpoints(&id, 2).await;
    let (_, process) = rig.lives(1).await;
    let early = rig.post(&format!("{JOBS}/{id}/resume"), &json!({})).await;
    assert_eq!(early.error().1, "job_is_not_paused");
    let paused = rig.post(&format!("{JOBS}/{id}/pause"), &json!({})).await.json();
    assert_eq!(paused["status"], "paused");
    gone(process).await;
    assert_eq!(rig.job(&id).await["status"], "paused");
    rig.post(&format!("{JOBS}/{id}/resume"), &json!({})).await;
    rig.until(&id, "succeeded").await;
    assert_eq!(rig.lives(2).await.0, [0, 2]);

    let id = rig.begin(6, json!({})).await;
    rig.checkpoints(&id, 2).await;
    let (_, process) = rig.lives(3).await;
    let cancelled = rig.post(&format!("{JOBS}/{id}/cancel"), &json!({})).await.json();
    assert_eq!(cancelled["status"], "cancelled");
    gone(process).await;
    assert_eq!(rig.job(&id).await["fine_tuned_model"], Value::Null);
}

#[tokio::test]
async fn a_checkpoint_that_is_deployed_outlasts_those_that_overtake_it() {
    let rig = Rig::new().await;
    // Its trainer waits after the second checkpoint until the job was paused and resumed.
    let id = rig.begin(6, json!({})).await;
    let checkpoints = rig.checkpoints(&id, 2).await;
    assert_eq!(checkpoints[1]["step_number"], 1);
    let name = checkpoints[1]["fine_tuned_model_checkpoint"].as_str().unwrap();
    rig.deploy("of-a-checkpoint", name);
    let (_, process) = rig.lives(1).await;
    rig.post(&format!("{JOBS}/{id}/pause"), &json!({})).await;
    gone(process).await;
    rig.post(&format!("{JOBS}/{id}/resume"), &json!({})).await;
    rig.until(&id, "succeeded").await;

    let checkpoints = rig.checkpoints(&id, 4).await;
    let steps: Vec<&Value> = checkpoints.iter().map(|one| &one["step_number"]).collect();
    assert_eq!(steps, [4, 3, 2, 1]);
    let refused = rig.delete(&format!("/openai/v1/models/{name}")).await;
    assert_eq!(refused.error().1, "model_in_use");
}

#[tokio::test]
async fn when_the_key_is_refused_the_trainer_is_gone_and_the_job_goes_on_by_itself_when_it_is_back() {
    let rig = Rig::new().await;
    let id = rig.begin(6, json!({})).await;
    rig.checkpoints(&id, 2).await;
    let (_, process) = rig.lives(1).await;
    rig.turn_key_off(NoAnswer::Refused).await;
    gone(process).await;
    for path in [
        String::new(),
        format!("/{id}"),
        format!("/{id}/events"),
        format!("/{id}/checkpoints"),
    ] {
        let answer = rig.get(&format!("{JOBS}{path}")).await;
        assert_eq!(answer.error().1, "customer_key_refused", "{path}");
    }
    rig.turn_key_on().await;
    rig.until(&id, "succeeded").await;
    assert_eq!(rig.lives(2).await.0, [0, 2], "from the last checkpoint");
    let events = rig.events(&id).await;
    assert!(events.iter().any(|event| event["message"] == "The job goes on"));
}

#[tokio::test]
async fn who_may_only_read_begins_no_job() {
    let rig = Rig::new().await;
    let file = rig.training_file(&examples(12)).await;
    let body = json!({"model": "base", "training_file": file}).to_string();
    let headers = [
        ("api-key", super::rig::READER),
        ("content-type", "application/json"),
    ];
    let answer = rig.send(http::Method::POST, JOBS, body.into(), &headers).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}
