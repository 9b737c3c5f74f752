//! Batches from their file to their results, through refusals, wishes and whatever a file can hold that is not a batch.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_models::EngineError;
use strongroom_seal::NoAnswer;

use super::rig::{Rig, form};
use crate::{Limits, Retention, limits};

const CHAT: &str = "/v1/chat/completions";
const BATCHES: &str = "/openai/v1/batches";

fn line(id: &str) -> Value {
    let message = json!({ "role": "user", "content": format!("say {id}") });
    let body = json!({ "model": "tiny", "messages": [message] });
    json!({ "custom_id": id, "method": "POST", "url": CHAT, "body": body })
}

fn jsonl(lines: &[Value]) -> Vec<u8> {
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    lines.join("\n").into_bytes()
}

fn many(count: usize) -> Vec<u8> {
    jsonl(
        &(0..count)
            .map(|at| line(&format!("line-{at}")))
            .collect::<Vec<_>>(),
    )
}

impl Rig {
    async fn input(&self, content: &[u8]) -> String {
        let fields = [
            ("purpose", None, b"batch".as_slice()),
            ("file", Some("in.jsonl"), content),
        ];
        let answer = self.upload_form(form(&fields)).await;
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn batch(&self, endpoint: &str, content: &[u8]) -> Value {
        let input = self.input(content).await;
        let wanted = json!({
            "input_file_id": input, "endpoint": endpoint, "completion_window": "24h", "metadata": { "who": "me" },
        });
        let answer = self.post(BATCHES, &wanted).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn look(&self, batch: &Value) -> Value {
        let path = format!("{BATCHES}/{}", batch["id"].as_str().unwrap());
        self.get(&path).await.json()
    }

    /// Waits until the batch is so.
    async fn batch_until(&self, batch: &Value, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..3000 {
            let now = self.look(batch).await;
            if is(&now) {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never so: {}", self.look(batch).await);
    }

    async fn ended(&self, batch: &Value) -> Value {
        let ends = ["completed", "failed", "cancelled", "expired"];
        self.batch_until(batch, |now| {
            ends.contains(&now["status"].as_str().unwrap_or_default())
        })
        .await
    }

    /// The lines of a file with results.
    async fn results(&self, id: &Value) -> Vec<Value> {
        let path = format!("/openai/v1/files/{}/content", id.as_str().unwrap());
        let text = self.get(&path).await.text();
        assert!(text.ends_with('\n'));
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn ids(results: &[Value]) -> Vec<&str> {
    results
        .iter()
        .map(|line| line["custom_id"].as_str().unwrap())
        .collect()
}

fn counts(batch: &Value) -> (u64, u64, u64) {
    let counts = &batch["request_counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    (count("total"), count("completed"), count("failed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_every_line_into_a_file() {
    let rig = Rig::new().await;
    let mut azure = line("azure");
    azure["url"] = json!("/chat/completions");
    let content = [
        jsonl(&[line("a"), line("b")]),
        b"\r\n\n".to_vec(),
        jsonl(&[azure]),
        b"\n".to_vec(),
    ]
    .concat();
    let batch = rig.batch(CHAT, &content).await;
    assert_eq!(
        (
            batch["object"].as_str(),
            batch["status"].as_str(),
            batch["endpoint"].as_str()
        ),
        (Some("batch"), Some("validating"), Some(CHAT))
    );
    assert_eq!(
        batch["expires_at"].as_u64().unwrap() - batch["created_at"].as_u64().unwrap(),
        86_400
    );
    let ended = rig.ended(&batch).await;
    assert_eq!(
        (ended["status"].as_str(), counts(&ended)),
        (Some("completed"), (3, 3, 0))
    );
    assert_eq!(
        (&ended["errors"], &ended["error_file_id"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(ended["metadata"], json!({ "who": "me" }));
    for time in ["in_progress_at", "finalizing_at", "completed_at"] {
        assert!(
            ended[time].as_u64() >= batch["created_at"].as_u64(),
            "{time}: {ended}"
        );
    }
    let results = rig.results(&ended["output_file_id"]).await;
    assert_eq!(ids(&results), ["a", "b", "azure"]);
    for result in &results {
        assert!(result["id"].as_str().unwrap().starts_with("batch_req_"));
        let response = &result["response"];
        assert_eq!(
            (&response["status_code"], &result["error"]),
            (&json!(200), &Value::Null)
        );
        assert_eq!(
            response["body"]["choices"][0]["message"]["content"],
            "one two three"
        );
    }
    let path = format!("/openai/v1/files/{}", ended["output_file_id"].as_str().unwrap());
    let file = rig.get(&path).await.json();
    assert_eq!(file["purpose"], "batch_output");
    assert_eq!(
        file["expires_at"].as_u64().unwrap() - file["created_at"].as_u64().unwrap(),
        limits::BATCH_OUTPUT_LIFE.as_secs()
    );
    let listed = rig.get(BATCHES).await.json();
    assert_eq!((&listed["data"][0], &listed["has_more"]), (&ended, &json!(false)));
    let again = rig
        .post(
            &format!("{BATCHES}/{}/cancel", ended["id"].as_str().unwrap()),
            &json!({}),
        )
        .await;
    assert_eq!(again.error().1, "batch_not_cancellable");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_and_embeddings_are_answered_too_and_what_fails_has_a_file_of_its_own() {
    let rig = Rig::new().await;
    let respond = |id: &str, input: Value| {
        let body = json!({ "model": "tiny", "input": input });
        json!({ "custom_id": id, "method": "POST", "url": "/v1/responses", "body": body })
    };
    let batch = rig
        .batch(
            "/v1/responses",
            &jsonl(&[respond("a", json!("hi")), respond("b", json!(7))]),
        )
        .await;
    let ended = rig.ended(&batch).await;
    assert_eq!(
        (ended["status"].as_str(), counts(&ended)),
        (Some("completed"), (2, 1, 1))
    );
    let good = rig.results(&ended["output_file_id"]).await;
    assert_eq!(
        (ids(&good), &good[0]["response"]["body"]["object"]),
        (vec!["a"], &json!("response"))
    );
    let bad = rig.results(&ended["error_file_id"]).await;
    assert_eq!(
        (ids(&bad), &bad[0]["response"]["status_code"]),
        (vec!["b"], &json!(400))
    );
    assert_eq!(bad[0]["response"]["body"]["error"]["param"], "input");

    let embed = json!({ "model": "tiny", "input": "x" });
    let embed = json!({ "custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": embed });
    let batch = rig.batch("/embeddings", &jsonl(&[embed])).await;
    let results = rig.results(&rig.ended(&batch).await["output_file_id"]).await;
    assert_eq!(results[0]["response"]["body"]["data"][0]["object"], "embedding");

    // An engine that is busy for a moment is asked again.
    *rig.engine.fails.lock().unwrap() = Some(EngineError::Overloaded { retry_after: None });
    let batch = rig.batch(CHAT, &many(1)).await;
    assert_eq!(counts(&rig.ended(&batch).await), (1, 1, 0));
}

/// A file, the code of its fault, and the line that has it.
type Wrong = (Vec<u8>, &'static str, Option<u64>);

fn wrong_files() -> Vec<Wrong> {
    let long = format!("{{\"custom_id\":\"{}\"}}", "x".repeat(limits::BATCH_LINE_BYTES));
    vec![
        (b"\n \n".to_vec(), "empty_file", None),
        (
            b"\n{\"custom_id\": nonsense}\n".to_vec(),
            "invalid_json_line",
            Some(2),
        ),
        (b"[]".to_vec(), "invalid_json_line", Some(1)),
        (
            [many(1), b"\n\xff\xfe".to_vec()].concat(),
            "invalid_json_line",
            Some(2),
        ),
        (
            [many(2), b"\n".to_vec(), long.into_bytes()].concat(),
            "line_too_long",
            Some(3),
        ),
        (jsonl(&[line("a"), line("a")]), "duplicate_custom_id", Some(2)),
        (jsonl(&[with_model("nobody")]), "model_not_found", Some(1)),
    ]
}

fn wrong_lines() -> Vec<Wrong> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = line("b");
        change(&mut changed);
        [jsonl(&[line("a")]), b"\n".to_vec(), jsonl(&[changed])].concat()
    };
    let without = |name: &str| with(&|line| drop(line.as_object_mut().unwrap().remove(name)));
    vec![
        (without("custom_id"), "missing_required_parameter", Some(2)),
        (without("method"), "missing_required_parameter", Some(2)),
        (without("url"), "missing_required_parameter", Some(2)),
        (without("body"), "missing_required_parameter", Some(2)),
        (
            with(&|line| line["body"] = json!({})),
            "missing_required_parameter",
            Some(2),
        ),
        (
            with(&|line| line["custom_id"] = json!(5)),
            "invalid_request",
            Some(2),
        ),
        (
            with(&|line| line["custom_id"] = json!("x".repeat(600))),
            "invalid_request",
            Some(2),
        ),
        (
            with(&|line| line["method"] = json!("GET")),
            "invalid_method",
            Some(2),
        ),
        (
            with(&|line| line["url"] = json!("/v1/files")),
            "invalid_url",
            Some(2),
        ),
        (
            with(&|line| line["url"] = json!("/v1/embeddings")),
            "url_mismatch",
            Some(2),
        ),
        (
            with(&|line| line["body"]["stream"] = json!(true)),
            "invalid_request",
            Some(2),
        ),
        (
            with(&|line| line["body"]["model"] = json!("drains")),
            "mismatched_model",
            Some(2),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_batch_fails_it_with_the_number_of_the_line() {
    let rig = Rig::new().await;
    let cases = wrong_files().into_iter().chain(wrong_lines());
    for (content, code, number) in cases {
        let ended = rig.ended(&rig.batch(CHAT, &content).await).await;
        let fault = &ended["errors"]["data"][0];
        assert_eq!(
            (
                ended["status"].as_str(),
                fault["code"].as_str(),
                fault["line"].as_u64()
            ),
            (Some("failed"), Some(code), number),
            "{ended}"
        );
        assert_eq!(
            (&ended["errors"]["object"], &ended["output_file_id"]),
            (&json!("list"), &Value::Null)
        );
        assert!(ended["failed_at"].is_u64());
    }
    assert_eq!(
        rig.engine.count.load(std::sync::atomic::Ordering::Relaxed),
        0,
        "nothing was asked"
    );
}

fn with_model(model: &str) -> Value {
    let mut line = line("a");
    line["body"]["model"] = json!(model);
    line
}

#[tokio::test(flavor = "multi_thread")]
async fn more_lines_than_are_taken_fail_the_whole_batch() {
    let rig = Rig::new().await;
    let most = usize::try_from(limits::BATCH_LINES).unwrap();
    let ended = rig.ended(&rig.batch(CHAT, &many(most + 1)).await).await;
    assert_eq!(
        (
            ended["status"].as_str(),
            ended["errors"]["data"][0]["code"].as_str()
        ),
        (Some("failed"), Some("too_many_tasks"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_batch_that_cannot_be_is_refused() {
    let rig = Rig::new().await;
    let other = rig.upload("a.txt", b"hello").await;
    let good =
        json!({ "input_file_id": rig.input(&many(1)).await, "endpoint": CHAT, "completion_window": "24h" });
    let error = |status: u16, code: &str, param: &str| (status, code.to_owned(), Some(param.to_owned()));
    let cases = [
        (
            "input_file_id",
            other["id"].clone(),
            error(400, "invalid_file_purpose", "input_file_id"),
        ),
        (
            "input_file_id",
            json!("file-none"),
            error(404, "not_found", "input_file_id"),
        ),
        (
            "input_file_id",
            json!("no id at all"),
            error(404, "not_found", "input_file_id"),
        ),
        (
            "input_file_id",
            Value::Null,
            error(400, "missing_required_parameter", "input_file_id"),
        ),
        (
            "endpoint",
            json!("/v1/files"),
            error(400, "invalid_value", "endpoint"),
        ),
        ("endpoint", json!(3), error(400, "invalid_type", "endpoint")),
        (
            "completion_window",
            json!("1h"),
            error(400, "invalid_value", "completion_window"),
        ),
        (
            "completion_window",
            Value::Null,
            error(400, "missing_required_parameter", "completion_window"),
        ),
        ("metadata", json!([]), error(400, "invalid_type", "metadata")),
        (
            "output_expires_after",
            json!({ "anchor": "created_at", "seconds": 5 }),
            error(400, "invalid_value", "output_expires_after.seconds"),
        ),
    ];
    for (name, value, expected) in cases {
        let mut wanted = good.clone();
        wanted[name] = value;
        assert_eq!(rig.post(BATCHES, &wanted).await.error(), expected, "{wanted}");
    }
    for path in [
        format!("{BATCHES}/batch_none"),
        format!("{BATCHES}?after=batch_none"),
    ] {
        assert_eq!(rig.get(&path).await.error().0, 404, "{path}");
    }
    assert_eq!(
        rig.post(&format!("{BATCHES}/batch_none/cancel"), &json!({}))
            .await
            .error()
            .0,
        404
    );
    assert_eq!(rig.get(BATCHES).await.json()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_come_in_pieces_and_are_one_file_in_order() {
    let rig = Rig::new().await;
    let ended = rig.ended(&rig.batch(CHAT, &many(300)).await).await;
    assert_eq!(counts(&ended), (300, 300, 0));
    let results = rig.results(&ended["output_file_id"]).await;
    let expected: Vec<_> = (0..300).map(|at| format!("line-{at}")).collect();
    assert_eq!(ids(&results), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_key_pauses_a_batch_and_the_key_coming_back_ends_it_with_each_line_once() {
    let rig = Rig::new().await;
    let paced = rig.engine.answers_only(40);
    let batch = rig.batch(CHAT, &many(100)).await;
    let half = rig.batch_until(&batch, |now| counts(now).1 >= 32).await;
    assert_eq!(half["status"], "in_progress");
    assert_eq!(half["output_file_id"], Value::Null);
    let files = rig.get("/openai/v1/files").await.json();
    assert_eq!(
        files["data"].as_array().unwrap().len(),
        1,
        "nobody sees results that still come: {files}"
    );
    rig.turn_key_off(NoAnswer::Refused).await;
    let path = format!("{BATCHES}/{}", batch["id"].as_str().unwrap());
    assert_eq!(rig.get(&path).await.error().1, "customer_key_refused");
    rig.turn_key_on().await;
    paced.add_permits(1000);
    let ended = rig.ended(&batch).await;
    assert_eq!(
        (ended["status"].as_str(), counts(&ended)),
        (Some("completed"), (100, 100, 0))
    );
    let results = rig.results(&ended["output_file_id"]).await;
    let expected: Vec<_> = (0..100).map(|at| format!("line-{at}")).collect();
    assert_eq!(ids(&results), expected);
    // What was in flight, or written and not yet committed, was asked again; nothing else was.
    let asked = rig.engine.count.load(std::sync::atomic::Ordering::Relaxed);
    let most = 3 * u64::try_from(limits::BATCH_LINES_AT_ONCE).unwrap();
    assert!((100..=100 + most).contains(&asked), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_keeps_what_was_answered() {
    let rig = Rig::new().await;
    let _paced = rig.engine.answers_only(20);
    let batch = rig.batch(CHAT, &many(100)).await;
    rig.batch_until(&batch, |now| counts(now).1 >= 16).await;
    let path = format!("{BATCHES}/{}/cancel", batch["id"].as_str().unwrap());
    let answer = rig.post(&path, &json!({})).await.json();
    assert!(
        ["cancelling", "cancelled"].contains(&answer["status"].as_str().unwrap()),
        "{answer}"
    );
    let ended = rig.ended(&batch).await;
    let (total, completed, failed) = counts(&ended);
    assert_eq!(
        (ended["status"].as_str(), total, failed),
        (Some("cancelled"), 100, 0)
    );
    assert!((16..=20).contains(&completed), "{ended}");
    assert!(ended["cancelling_at"].is_u64() && ended["cancelled_at"].is_u64());
    let results = rig.results(&ended["output_file_id"]).await;
    assert_eq!(results.len() as u64, completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_input_is_deleted_ends_with_what_it_has_and_says_why() {
    let rig = Rig::new().await;
    let paced = rig.engine.answers_only(0);
    let batch = rig.batch(CHAT, &many(40)).await;
    rig.batch_until(&batch, |now| now["status"] == "in_progress")
        .await;
    rig.delete(&format!(
        "/openai/v1/files/{}",
        batch["input_file_id"].as_str().unwrap()
    ))
    .await;
    rig.turn_key_off(NoAnswer::Refused).await;
    rig.turn_key_on().await;
    paced.add_permits(100);
    let ended = rig.ended(&batch).await;
    assert_eq!(
        (
            ended["status"].as_str(),
            ended["errors"]["data"][0]["code"].as_str()
        ),
        (Some("cancelled"), Some("input_file_not_found"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_window_is_over_says_so_of_every_line_that_is_left() {
    let rig = Rig::with(Limits {
        batch_window: Duration::from_secs(2),
        ..Limits::default()
    })
    .await;
    let _paced = rig.engine.answers_only(17);
    let batch = rig.batch(CHAT, &many(40)).await;
    let ended = rig.ended(&batch).await;
    assert_eq!(ended["status"], "expired");
    assert!(ended["expired_at"].is_u64());
    let (total, completed, failed) = counts(&ended);
    assert_eq!((total, completed + failed), (40, 40));
    assert!((16..=17).contains(&completed), "{ended}");
    let left = rig.results(&ended["error_file_id"]).await;
    assert_eq!((left.len() as u64, &left[0]["response"]), (failed, &Value::Null));
    assert!(left.iter().all(|line| line["error"]["code"] == "batch_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_keeps_things_for_a_time_of_its_own_has_everything_expire_then() {
    let rig = Rig::new().await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    rig.retain(Retention {
        files: Some(days(2)),
        responses: Some(days(40)),
        completions: Some(days(3)),
        batches: Some(days(4)),
    });
    let life =
        |object: &Value| object["expires_at"].as_u64().unwrap() - object["created_at"].as_u64().unwrap();
    assert_eq!(life(&rig.upload("a.txt", b"x").await), 2 * 86_400);
    let ended = rig.ended(&rig.batch(CHAT, &many(2)).await).await;
    let path = format!("/openai/v1/files/{}", ended["output_file_id"].as_str().unwrap());
    assert_eq!(life(&rig.get(&path).await.json()), 4 * 86_400);
    let respond = json!({ "model": "tiny", "input": "x" });
    let response = rig.post("/openai/v1/responses", &respond).await.json();
    let expiry = |kind: &'static str, id: String| {
        let rig = &rig;
        async move {
            let read = rig.permit_to_read();
            let meta = rig.store.get(&read, kind, &id).await.unwrap().meta;
            meta.expires_ms.unwrap() - meta.created_ms
        }
    };
    let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
    assert_eq!(expiry("response", id(&response)).await, 40 * 86_400_000);
    let batch = expiry("batch", id(&ended)).await;
    assert!(
        (4 * 86_400_000..4 * 86_400_000 + 60_000).contains(&batch),
        "{batch}"
    );
}
