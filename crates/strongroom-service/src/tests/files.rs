//! Files from upload to deletion.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::rig::{FORM, Rig, Said, form, said};

/// Not compressible, not periodic with any segment.
pub(super) fn content(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| step()).collect()
}

fn id(file: &Value) -> &str {
    file["id"].as_str().unwrap()
}

async fn range(rig: &Rig, file: &Value, range: &str) -> Said {
    let path = format!("/openai/v1/files/{}/content", id(file));
    said(
        rig.send(Method::GET, &path, Body::empty(), &[("range", range)])
            .await,
    )
    .await
}

#[tokio::test]
async fn an_upload_comes_back_whole_and_by_range() {
    let rig = Rig::new().await;
    for length in [1, 65_536, 65_537, 3_000_000] {
        let bytes = content(length);
        let file = rig.upload("data.bin", &bytes).await;
        assert_eq!(file["bytes"], length);
        let whole = rig.get(&format!("/openai/v1/files/{}/content", id(&file))).await;
        assert_eq!(whole.status, 200);
        assert_eq!(whole.header("content-length"), length.to_string());
        assert_eq!(whole.header("accept-ranges"), "bytes");
        assert!(whole.body == bytes, "{length} bytes");
        let last = range(&rig, &file, "bytes=-1").await;
        assert_eq!(
            (last.status.as_u16(), &last.body[..]),
            (206, &bytes[length - 1..])
        );
        assert_eq!(
            last.header("content-range"),
            format!("bytes {0}-{0}/{length}", length - 1)
        );
        let from = length / 2;
        let part = range(&rig, &file, &format!("bytes={from}-{}", length + 5)).await;
        assert!(part.body == bytes[from..], "{length} bytes from {from}");
        assert_eq!(part.header("content-length"), (length - from).to_string());
    }
}

#[tokio::test]
async fn a_range_that_cannot_be_served_is_answered_with_416_and_the_length() {
    let rig = Rig::new().await;
    let file = rig.upload("a.txt", b"0123456789").await;
    for bad in ["bytes=10-", "bytes=5-2", "bytes=x-y", "bytes=-0", "bytes"] {
        let answer = range(&rig, &file, bad).await;
        assert_eq!(answer.error(), (416, "invalid_range".to_owned(), None), "{bad}");
        assert_eq!(answer.header("content-range"), "bytes */10");
    }
    assert_eq!(range(&rig, &file, "bytes=0-1,3-4").await.status, 200);
}

#[tokio::test]
async fn the_file_object_has_the_official_shape() {
    let rig = Rig::new().await;
    let fields: &[(&str, Option<&str>, &[u8])] = &[
        ("purpose", None, b"user_data"),
        ("expires_after[anchor]", None, b"created_at"),
        ("expires_after[seconds]", None, b"3600"),
        ("file", Some("a.txt"), b"hello"),
    ];
    let file = rig.upload_form(form(fields)).await.json();
    assert!(id(&file).starts_with("file-"));
    let created = file["created_at"].as_u64().unwrap();
    let expected = json!({
        "id": id(&file), "object": "file", "bytes": 5, "created_at": created, "expires_at": created + 3600,
        "filename": "a.txt", "purpose": "user_data", "status": "processed", "status_details": null,
    });
    assert_eq!(file, expected);
    assert_eq!(
        rig.get(&format!("/openai/v1/files/{}", id(&file))).await.json(),
        expected
    );
    let azure = format!("/openai/files/{}?api-version=2025-04-01-preview", id(&file));
    assert_eq!(rig.get(&azure).await.json(), expected);
}

#[tokio::test]
async fn files_for_batches_expire_after_thirty_days_and_others_do_not() {
    let rig = Rig::new().await;
    let batch = rig
        .upload_form(form(&[("purpose", None, b"batch"), ("file", Some("b"), b"{}")]))
        .await
        .json();
    let created = batch["created_at"].as_u64().unwrap();
    assert_eq!(batch["expires_at"], created + 30 * 24 * 3600);
    assert_eq!(rig.upload("a", b"1").await["expires_at"], Value::Null);
}

#[tokio::test]
async fn the_purpose_may_follow_the_file() {
    let rig = Rig::new().await;
    let big = content(200_000);
    let answer = rig
        .upload_form(form(&[
            ("file", Some("late"), &big),
            ("purpose", None, b"vision"),
        ]))
        .await;
    let file = answer.json();
    assert_eq!(file["purpose"], "vision");
    assert!(
        rig.get(&format!("/openai/v1/files/{}/content", id(&file)))
            .await
            .body
            == big
    );
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let rig = Rig::new().await;
    let file = rig.upload("a.txt", &content(100_000)).await;
    let path = format!("/openai/v1/files/{}", id(&file));
    let deleted = rig.delete(&path).await.json();
    assert_eq!(
        deleted,
        json!({ "id": id(&file), "object": "file", "deleted": true })
    );
    for path in [path.clone(), format!("{path}/content")] {
        assert_eq!(
            rig.get(&path).await.error(),
            (404, "not_found".to_owned(), Some("id".to_owned()))
        );
    }
    assert_eq!(rig.delete(&path).await.error().0, 404);
}

#[tokio::test]
async fn the_list_pages_by_cursor_in_both_orders_and_filters_by_purpose() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for (number, purpose) in ["batch", "vision", "batch", "evals", "batch"].iter().enumerate() {
        let name = format!("f{number}");
        let fields: &[(&str, Option<&str>, &[u8])] =
            &[("purpose", None, purpose.as_bytes()), ("file", Some(&name), b"1")];
        ids.push(id(&rig.upload_form(form(fields)).await.json()).to_owned());
    }
    let names = |list: &Value| -> Vec<String> {
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["filename"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = rig.get("/openai/v1/files").await.json();
    assert_eq!(names(&all), ["f4", "f3", "f2", "f1", "f0"]);
    assert_eq!(
        (&all["object"], &all["has_more"]),
        (&json!("list"), &json!(false))
    );
    assert_eq!(
        (&all["first_id"], &all["last_id"]),
        (&json!(ids[4]), &json!(ids[0]))
    );
    let page = rig.get("/openai/v1/files?order=asc&limit=2").await.json();
    assert_eq!(
        (names(&page), &page["has_more"]),
        (vec!["f0".to_owned(), "f1".to_owned()], &json!(true))
    );
    let next = rig
        .get(&format!("/openai/v1/files?order=asc&limit=3&after={}", ids[1]))
        .await
        .json();
    assert_eq!((names(&next).len(), &next["has_more"]), (3, &json!(false)));
    let batch = rig.get("/openai/v1/files?purpose=batch&limit=2").await.json();
    assert_eq!(
        (names(&batch), &batch["has_more"]),
        (vec!["f4".to_owned(), "f2".to_owned()], &json!(true))
    );
    let rest = rig
        .get(&format!(
            "/openai/v1/files?purpose=batch&limit=2&after={}",
            ids[2]
        ))
        .await
        .json();
    assert_eq!(
        (names(&rest), &rest["has_more"]),
        (vec!["f0".to_owned()], &json!(false))
    );
    assert_eq!(
        names(&rig.get("/openai/v1/files?purpose=fine-tune").await.json()),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn two_uploads_of_one_name_are_two_files() {
    let rig = Rig::new().await;
    let (first, second) = (
        rig.upload("same.txt", b"1").await,
        rig.upload("same.txt", b"2").await,
    );
    assert_ne!(id(&first), id(&second));
    for (file, content) in [(&first, "1"), (&second, "2")] {
        assert_eq!(
            rig.get(&format!("/openai/v1/files/{}/content", id(file)))
                .await
                .body,
            content
        );
    }
}

#[tokio::test]
async fn a_name_that_plays_a_path_trick_is_only_a_name() {
    let rig = Rig::new().await;
    let outside = rig.folder.path().join("../escaped.txt");
    for name in [
        "../../../escaped.txt",
        "/etc/passwd",
        "C:\\\\x\\\\y",
        "..",
        "a/b",
        "naïve ☃.txt",
        "%2e%2e%2fx",
    ] {
        let file = rig.upload(name, b"hello").await;
        assert_eq!(
            file["filename"].as_str().unwrap().replace('\\', ""),
            name.replace('\\', "")
        );
        let answer = rig.get(&format!("/openai/v1/files/{}/content", id(&file))).await;
        let disposition = answer.header("content-disposition");
        assert!(
            disposition.starts_with("attachment; filename*=UTF-8''"),
            "{disposition}"
        );
        assert!(
            !disposition["attachment; ".len()..].contains(['/', '\\', '"', ' ', '\r', '\n']),
            "{disposition}"
        );
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let rig = Rig::new().await;
    let whole = form(&[
        ("purpose", None, b"batch"),
        ("file", Some("a"), &content(300_000)),
    ]);
    for length in [50, 150, 1_000, 200_000, whole.len() - 4] {
        let answer = rig.upload_form(whole[..length].to_vec()).await;
        assert_eq!(
            answer.error(),
            (400, "incomplete_body".to_owned(), None),
            "{length}"
        );
    }
    // The client goes away in the middle of a segment: the request is dropped.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let sending = rig.send(
        Method::POST,
        "/openai/v1/files",
        Body::from_stream(body),
        &[("content-type", FORM)],
    );
    let mut sending = Box::pin(sending);
    sender
        .send(Ok(Bytes::copy_from_slice(&whole[..250_000])))
        .await
        .unwrap();
    tokio::select! {
        biased;
        _ = &mut sending => panic!("the upload is not over"),
        permit = sender.reserve() => drop(permit.unwrap()),
    }
    drop(sending);
    assert_eq!(rig.get("/openai/v1/files").await.json()["data"], json!([]));
    rig.store.close().await;
    let left: Vec<_> = walk(&rig.folder.path().join("blobs"));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn nothing_of_a_file_reaches_the_disk_in_the_clear() {
    let rig = Rig::new().await;
    rig.upload("the-canary-of-names.txt", b"the-canary-of-contents")
        .await;
    rig.store.close().await;
    for path in walk(rig.folder.path()) {
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            memchr::memmem::find(&bytes, b"the-canary-of").is_none(),
            "{}",
            path.display()
        );
    }
}

#[tokio::test]
async fn a_download_is_handed_out_in_pieces() {
    let rig = Rig::new().await;
    let file = rig.upload("big", &content(2_500_000)).await;
    let path = format!("/openai/v1/files/{}/content", id(&file));
    let mut body = rig.send(Method::GET, &path, Body::empty(), &[]).await.into_body();
    let mut pieces = 0;
    while let Some(frame) = body.frame().await {
        assert!(
            frame
                .unwrap()
                .data_ref()
                .is_some_and(|piece| piece.len() <= crate::limits::PIECE_BYTES)
        );
        pieces += 1;
    }
    assert!(pieces >= 20, "{pieces}");
}

#[tokio::test]
async fn a_transfer_that_finds_no_room_waits_for_its_turn_and_not_for_ever() {
    let small = || form(&[("purpose", None, b"batch"), ("file", Some("a"), b"1")]);
    for (wait, is_patient) in [(Duration::from_secs(600), true), (Duration::ZERO, false)] {
        let rig = Rig::with(crate::Limits {
            transfers_held: 1024 * 1024,
            transfer_wait: wait,
            ..crate::Limits::default()
        })
        .await;
        let big = rig.upload("big", &content(2_000_000)).await;
        let path = format!("/openai/v1/files/{}/content", id(&big));
        let open = rig.send(Method::GET, &path, Body::empty(), &[]).await;
        let mut second = std::pin::pin!(rig.get(&path));
        if is_patient {
            assert!(futures::poll!(second.as_mut()).is_pending());
            drop(open);
            assert_eq!(second.await.status, 200);
        } else {
            let refused = second.await;
            assert_eq!(refused.error().0, 429);
            assert!(!refused.header("retry-after").is_empty());
            // What is small needs little room, but some.
            assert_eq!(rig.upload_form(small()).await.status, 429);
            drop(open);
            assert_eq!(rig.upload_form(small()).await.status, 200);
        }
    }
}

#[tokio::test]
async fn more_transfers_than_the_limit_are_told_to_come_again() {
    let rig = Rig::with(crate::Limits {
        transfers: 1,
        ..crate::Limits::default()
    })
    .await;
    let file = rig.upload("big", &content(500_000)).await;
    let path = format!("/openai/v1/files/{}/content", id(&file));
    let open = rig.send(Method::GET, &path, Body::empty(), &[]).await;
    assert_eq!(
        rig.get(&path).await.error(),
        (429, "rate_limit_exceeded".to_owned(), None)
    );
    let form = form(&[("purpose", None, b"batch"), ("file", Some("a"), b"1")]);
    assert_eq!(rig.upload_form(form).await.error().0, 429);
    drop(open);
    assert_eq!(rig.get(&path).await.status, 200);
}
