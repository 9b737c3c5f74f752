//! Uploads in parts, from creation to the file.

use std::time::Duration;

use axum::body::Body;
use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};

use super::files::content;
use super::rig::{FORM, Rig, Said, form, said};
use crate::limits::Limits;

const UPLOADS: &str = "/openai/v1/uploads";

fn small() -> Limits {
    Limits {
        part_bytes: 1_500_000,
        upload_bytes: 6_000_000,
        ..Limits::default()
    }
}

fn wish(bytes: usize) -> Value {
    json!({ "filename": "set.jsonl", "purpose": "fine-tune", "bytes": bytes, "mime_type": "text/jsonl" })
}

async fn create(rig: &Rig, bytes: usize) -> String {
    let answer = rig.post(UPLOADS, &wish(bytes)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn send(rig: &Rig, upload: &str, body: Vec<u8>) -> Said {
    let path = format!("{UPLOADS}/{upload}/parts");
    let headers = [("content-type", FORM)];
    said(rig.send(Method::POST, &path, body.into(), &headers).await).await
}

async fn part(rig: &Rig, upload: &str, bytes: &[u8]) -> Said {
    send(rig, upload, form(&[("data", Some("upload"), bytes)])).await
}

async fn added(rig: &Rig, upload: &str, bytes: &[u8]) -> String {
    let answer = part(rig, upload, bytes).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().unwrap().to_owned()
}

async fn complete(rig: &Rig, upload: &str, wish: &Value) -> Said {
    rig.post(&format!("{UPLOADS}/{upload}/complete"), wish).await
}

async fn cancel(rig: &Rig, upload: &str) -> Said {
    rig.post_bytes(&format!("{UPLOADS}/{upload}/cancel"), "").await
}

fn err(status: u16, code: &str, param: Option<&str>) -> (u16, String, Option<String>) {
    (status, code.to_owned(), param.map(str::to_owned))
}

async fn until_blobs(rig: &Rig, count: usize) {
    while rig.blobs().len() != count {
        tokio::task::yield_now().await;
    }
}

fn kept(kinds: &[(&str, u64)]) -> Vec<(String, u64)> {
    kinds
        .iter()
        .map(|(kind, count)| ((*kind).to_owned(), *count))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_came_at_once_are_the_file_in_the_order_that_is_told() {
    let rig = Rig::with(small()).await;
    let bytes = content(4_100_000);
    let pieces: Vec<_> = bytes.chunks(1_200_000).collect();
    let upload = create(&rig, bytes.len()).await;
    let sent = pieces.iter().rev().map(|piece| added(&rig, &upload, piece));
    let mut ids = join_all(sent).await;
    ids.reverse();
    let files = rig.get("/openai/v1/files").await.json();
    assert_eq!(files["data"], json!([]), "what is not complete is not there");
    let answer = complete(&rig, &upload, &json!({ "part_ids": ids })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let done = answer.json();
    let file = &done["file"];
    let created = done["created_at"].as_u64().unwrap();
    assert_eq!(
        done,
        json!({
            "id": upload, "object": "upload", "bytes": bytes.len(), "created_at": created, "expires_at": created + 3600,
            "filename": "set.jsonl", "purpose": "fine-tune", "status": "completed", "file": file,
        })
    );
    assert_eq!(
        (
            &file["object"],
            &file["bytes"],
            &file["purpose"],
            &file["expires_at"]
        ),
        (
            &json!("file"),
            &json!(bytes.len()),
            &json!("fine-tune"),
            &Value::Null
        )
    );
    let path = format!("/openai/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(&rig.get(&path).await.json(), file);
    assert_eq!(&rig.get("/openai/v1/files").await.json()["data"], &json!([file]));
    let whole = rig.get(&format!("{path}/content")).await;
    assert_eq!(whole.header("content-length"), bytes.len().to_string());
    assert!(whole.body == bytes);
    for (from, to) in [
        (0, 0),
        (1_199_999, 1_200_000),
        (1_000_000, 3_700_000),
        (4_099_999, 9_000_000),
    ] {
        let (range, path) = (format!("bytes={from}-{to}"), format!("{path}/content"));
        let headers = [("range", range.as_str())];
        let answer = rig.send(Method::GET, &path, Body::empty(), &headers);
        let answer = said(answer.await).await;
        assert_eq!(answer.status, 206);
        assert!(answer.body == bytes[from..(to + 1).min(bytes.len())], "{range}");
    }
    assert_eq!(rig.delete(&path).await.status, 200);
    assert_eq!(rig.kept().await, kept(&[("upload", 1)]));
    until_blobs(&rig, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_rewrites_nothing_and_destroys_what_is_not_named() {
    let rig = Rig::with(small()).await;
    let upload = create(&rig, 200_000).await;
    let first = added(&rig, &upload, &content(100_000)).await;
    let lost = added(&rig, &upload, &[7; 100_000]).await;
    let second = added(&rig, &upload, &content(100_000)).await;
    let before = rig.blobs();
    assert_eq!(before.len(), 3);
    let done = complete(&rig, &upload, &json!({ "part_ids": [second, first] })).await;
    assert_eq!(done.status, 200, "{}", done.text());
    until_blobs(&rig, 2).await;
    assert!(rig.blobs().is_subset(&before));
    let file = done.json()["file"]["id"].as_str().unwrap().to_owned();
    let whole = rig.get(&format!("/openai/v1/files/{file}/content")).await;
    assert!(whole.body == [content(100_000), content(100_000)].concat());
    assert_ne!(lost, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_is_compared_over_the_parts_in_their_order() {
    let rig = Rig::with(small()).await;
    let upload = create(&rig, 9).await;
    let end = added(&rig, &upload, b"56789").await;
    let begin = added(&rig, &upload, b"1234").await;
    let md5 = "25f9e794323b453885f5181f1b624d0b";
    for (ids, md5, code) in [
        ([&end, &begin], md5, "checksum_mismatch"),
        (
            [&begin, &end],
            "00000000000000000000000000000000",
            "checksum_mismatch",
        ),
        ([&begin, &end], "25f9e794323b453885f5181f1b624d0", "invalid_value"),
        (
            [&begin, &end],
            "+5f9e794323b453885f5181f1b624d0b",
            "invalid_value",
        ),
    ] {
        let answer = complete(&rig, &upload, &json!({ "part_ids": ids, "md5": md5 })).await;
        assert_eq!(answer.error(), err(400, code, Some("md5")), "{ids:?} {md5}");
    }
    let md5 = md5.to_uppercase();
    let done = complete(&rig, &upload, &json!({ "part_ids": [begin, end], "md5": md5 })).await;
    assert_eq!(done.json()["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_a_possible_file_is_refused_before_any_part() {
    let rig = Rig::with(small()).await;
    let cases: [(&str, Value, &str, &str); 16] = [
        ("filename", Value::Null, "missing_required_parameter", "filename"),
        ("filename", json!("a\nb"), "invalid_file_name", "filename"),
        ("filename", json!(7), "invalid_type", "filename"),
        ("purpose", json!("world-domination"), "invalid_value", "purpose"),
        ("purpose", json!("vision"), "unsupported_mime_type", "mime_type"),
        (
            "mime_type",
            json!("image/png"),
            "unsupported_mime_type",
            "mime_type",
        ),
        ("mime_type", json!("jsonl"), "invalid_value", "mime_type"),
        ("mime_type", json!("text/js onl"), "invalid_value", "mime_type"),
        (
            "mime_type",
            Value::Null,
            "missing_required_parameter",
            "mime_type",
        ),
        ("bytes", Value::Null, "missing_required_parameter", "bytes"),
        ("bytes", json!(0), "invalid_value", "bytes"),
        ("bytes", json!(-1), "invalid_value", "bytes"),
        ("bytes", json!("9"), "invalid_type", "bytes"),
        ("bytes", json!(6_000_001), "integer_above_max_value", "bytes"),
        (
            "expires_after",
            json!({ "anchor": "created_at", "seconds": 5 }),
            "invalid_value",
            "expires_after.seconds",
        ),
        ("sha", json!("x"), "unknown_parameter", "sha"),
    ];
    for (name, value, code, param) in cases {
        let mut wish = wish(9);
        wish[name] = value.clone();
        let answer = rig.post(UPLOADS, &wish).await;
        assert_eq!(answer.error(), err(400, code, Some(param)), "{name} {value}");
    }
    assert_eq!(rig.kept().await, []);
    let mut wish = wish(9);
    wish["expires_after"] = json!({ "anchor": "created_at", "seconds": 3600 });
    let upload = rig.post(UPLOADS, &wish).await.json();
    let upload = upload["id"].as_str().unwrap();
    let id = added(&rig, upload, b"123456789").await;
    let file = complete(&rig, upload, &json!({ "part_ids": [id] })).await.json()["file"].clone();
    assert_eq!(
        file["expires_at"].as_u64().unwrap(),
        file["created_at"].as_u64().unwrap() + 3600
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_parts_that_is_not_the_file_is_refused_and_the_upload_stays() {
    let rig = Rig::with(small()).await;
    let (upload, other) = (create(&rig, 9).await, create(&rig, 9).await);
    let one = added(&rig, &upload, b"1234").await;
    let two = added(&rig, &upload, b"56789").await;
    let foreign = added(&rig, &other, b"56789").await;
    let unknown = format!("part_00000000{}", &one[13..]);
    let cases = [
        (json!({}), "missing_required_parameter", "part_ids"),
        (json!({ "part_ids": [] }), "invalid_value", "part_ids"),
        (json!({ "part_ids": "all" }), "invalid_type", "part_ids"),
        (json!({ "part_ids": [one, 7] }), "invalid_type", "part_ids[1]"),
        (
            json!({ "part_ids": vec!["part_1"; 1025] }),
            "invalid_value",
            "part_ids",
        ),
        (json!({ "part_ids": [one] }), "upload_bytes_mismatch", "part_ids"),
        (
            json!({ "part_ids": [one, two, one] }),
            "duplicate_part",
            "part_ids[2]",
        ),
        (
            json!({ "part_ids": [one, foreign] }),
            "part_not_found",
            "part_ids[1]",
        ),
        (
            json!({ "part_ids": [one, unknown] }),
            "part_not_found",
            "part_ids[1]",
        ),
        (
            json!({ "part_ids": [one, "part_"] }),
            "part_not_found",
            "part_ids[1]",
        ),
        (
            json!({ "part_ids": [one, "../../x"] }),
            "part_not_found",
            "part_ids[1]",
        ),
        (json!({ "part_ids": [one, two], "md5": 7 }), "invalid_type", "md5"),
    ];
    for (wish, code, param) in cases {
        let answer = complete(&rig, &upload, &wish).await;
        assert_eq!(answer.error(), err(400, code, Some(param)), "{wish}");
    }
    let words = |said: &Said, id: &str| said.text().replace(id, "ID");
    let of_other = complete(&rig, &upload, &json!({ "part_ids": [one, foreign] })).await;
    let of_none = complete(&rig, &upload, &json!({ "part_ids": [one, unknown] })).await;
    assert_eq!(words(&of_other, &foreign), words(&of_none, &unknown));
    let done = complete(&rig, &upload, &json!({ "part_ids": [one, two] })).await;
    assert_eq!(done.json()["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_cannot_be_taken_is_refused_and_leaves_nothing() {
    let rig = Rig::with(small()).await;
    let upload = create(&rig, 1_000).await;
    let cases = [
        (form(&[]), err(400, "missing_required_parameter", Some("data"))),
        (
            form(&[("data", Some("upload"), b"")]),
            err(400, "empty_part", Some("data")),
        ),
        (
            form(&[("data", Some("upload"), b"1"), ("data", Some("upload"), b"1")]),
            err(400, "invalid_value", Some("data")),
        ),
        (
            form(&[("file", Some("x"), b"1")]),
            err(400, "unknown_parameter", Some("form")),
        ),
        (
            form(&[("data", Some("upload"), &vec![1; 1_500_001])]),
            err(413, "request_too_large", None),
        ),
        (
            form(&[("data", Some("upload"), &vec![1; 3_000_000])]),
            err(413, "request_too_large", None),
        ),
    ];
    for (number, (body, expected)) in cases.into_iter().enumerate() {
        assert_eq!(send(&rig, &upload, body).await.error(), expected, "form {number}");
    }
    let nowhere = part(&rig, "upload_none", b"1").await;
    assert_eq!(nowhere.error(), err(404, "not_found", Some("id")));
    let file = rig.upload("a", b"1").await;
    let not_an_upload = part(&rig, file["id"].as_str().unwrap(), b"1").await;
    assert_eq!(not_an_upload.error(), err(404, "not_found", Some("id")));
    assert_eq!(rig.kept().await, kept(&[("file", 2), ("upload", 1)]));
    until_blobs(&rig, 0).await;
    // A thousand bytes and eight parts to spare: a part that is sent again and again does not fill the disk.
    for _ in 0..8 {
        added(&rig, &upload, &vec![1; 1_500_000]).await;
    }
    let over = part(&rig, &upload, &[1; 1_001]).await;
    assert_eq!(over.error(), err(413, "request_too_large", None));
    added(&rig, &upload, &[1; 1_000]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_so_many_parts_and_no_more() {
    let rig = Rig::with(small()).await;
    let upload = create(&rig, 1_024).await;
    let mut ids = Vec::new();
    for _ in 0..1_024 / 64 {
        ids.extend(join_all((0..64).map(|_| added(&rig, &upload, b"x"))).await);
    }
    let over = part(&rig, &upload, b"x").await;
    assert_eq!(over.error(), err(400, "too_many_parts", Some("data")));
    let done = complete(&rig, &upload, &json!({ "part_ids": ids })).await;
    assert_eq!(done.json()["file"]["bytes"], 1_024);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_over_takes_nothing_more_and_says_why() {
    let rig = Rig::with(small()).await;
    let (done, cancelled) = (create(&rig, 4).await, create(&rig, 4).await);
    let id = added(&rig, &done, b"1234").await;
    let wish = json!({ "part_ids": [id] });
    complete(&rig, &done, &wish).await.json();
    let other = added(&rig, &cancelled, &content(100_000)).await;
    let answer = cancel(&rig, &cancelled).await.json();
    assert_eq!(
        (&answer["status"], &answer["file"]),
        (&json!("cancelled"), &Value::Null)
    );
    for (upload, status, id) in [(&done, "completed", &id), (&cancelled, "cancelled", &other)] {
        let answers = [
            part(&rig, upload, b"1").await,
            complete(&rig, upload, &json!({ "part_ids": [id] })).await,
            cancel(&rig, upload).await,
        ];
        for answer in answers {
            assert_eq!(answer.error(), err(400, "upload_not_pending", Some("upload_id")));
            assert!(
                answer.text().contains(&format!("is {status}")),
                "{}",
                answer.text()
            );
        }
    }
    until_blobs(&rig, 0).await;
    assert_eq!(
        rig.get("/openai/v1/files").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_expires_and_its_parts_with_it() {
    let rig = Rig::with(Limits {
        upload_life: Duration::from_millis(400),
        ..small()
    })
    .await;
    let upload = create(&rig, 100_000).await;
    let mut ids = Vec::new();
    let refused = loop {
        let answer = part(&rig, &upload, &content(100_000)).await;
        if answer.status != 200 {
            break answer;
        }
        ids.push(answer.json()["id"].clone());
    };
    for answer in [
        refused,
        complete(&rig, &upload, &json!({ "part_ids": [ids[0]] })).await,
        cancel(&rig, &upload).await,
    ] {
        assert_eq!(answer.error(), err(400, "upload_not_pending", Some("upload_id")));
        assert!(answer.text().contains("is expired"), "{}", answer.text());
    }
    // The store's own expiry shreds the file in the making.
    while rig.kept().await != kept(&[("upload", 1)]) {
        tokio::task::yield_now().await;
    }
    until_blobs(&rig, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_completion_and_a_cancellation_at_once_one_wins() {
    let rig = Rig::with(small()).await;
    for _ in 0..20 {
        let upload = create(&rig, 4).await;
        let wish = json!({ "part_ids": [added(&rig, &upload, b"1234").await] });
        let (completed, cancelled) = tokio::join!(complete(&rig, &upload, &wish), cancel(&rig, &upload));
        assert_ne!(completed.status == 200, cancelled.status == 200);
        let status = if completed.status == 200 {
            "is completed"
        } else {
            "is cancelled"
        };
        let after = part(&rig, &upload, b"1").await.text();
        assert!(after.contains(status), "{after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_azure_form_and_rights_are_those_of_files() {
    let rig = Rig::with(small()).await;
    let path = "/openai/uploads?api-version=2025-04-01-preview";
    let upload = rig.post(path, &wish(4)).await.json();
    let id = upload["id"].as_str().unwrap();
    let path = format!("/openai/uploads/{id}/parts?api-version=2025-04-01-preview");
    let body = form(&[("data", Some("upload"), b"1234")]);
    let answer = rig
        .send(Method::POST, &path, body.into(), &[("content-type", FORM)])
        .await;
    let part = said(answer).await.json();
    assert_eq!(
        (&part["object"], &part["upload_id"]),
        (&json!("upload.part"), &json!(id))
    );
    let headers = [
        ("content-type", "application/json"),
        ("api-key", super::rig::READER),
    ];
    let body = wish(4).to_string();
    let refused = said(rig.send(Method::POST, UPLOADS, body.into(), &headers).await).await;
    assert_eq!(refused.error(), err(403, "permission_denied", None));
}
