//! The customer turns the key off: everything fails in the right words, what is in flight is cut, and all is back afterwards.

use std::time::Duration;

use axum::body::Body;
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use strongroom_seal::NoAnswer;

use super::completions::ids;
use super::rig::{FORM, KEY, Rig, chunk, form, said};
use crate::{AccountName, Carrier, ConnectionCut, ServiceEvent};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

fn ask(model: &str, stream: bool) -> Body {
    let message = json!({ "role": "user", "content": "hi" });
    json!({ "model": model, "messages": [message], "stream": stream })
        .to_string()
        .into()
}

/// What exists when the key goes.
struct Kept {
    file: String,
    response: String,
    completion: String,
    upload: String,
    part: String,
}

impl Kept {
    async fn make(rig: &Rig) -> Self {
        let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
        let input = json!({ "model": "tiny", "input": "x" });
        let mut kept = Self {
            file: id(&rig.upload("a.txt", b"hello").await),
            response: id(&rig.post("/openai/v1/responses", &input).await.json()),
            completion: id(
                &said(rig.send(Method::POST, CHAT, ask_to_keep(false), &JSON).await)
                    .await
                    .json(),
            ),
            upload: id(&rig.post("/openai/v1/uploads", &new_upload()).await.json()),
            part: String::new(),
        };
        let (path, headers) = (kept.parts(), [("content-type", FORM)]);
        let part = rig.send(
            Method::POST,
            &path,
            form(&[("data", Some("x"), b"1234")]).into(),
            &headers,
        );
        kept.part = id(&said(part.await).await.json());
        kept
    }

    fn parts(&self) -> String {
        format!("/openai/v1/uploads/{}/parts", self.upload)
    }
}

const CHAT: &str = "/openai/v1/chat/completions";

fn new_upload() -> Value {
    json!({ "filename": "a", "purpose": "assistants", "bytes": 4, "mime_type": "text/plain" })
}

fn ask_to_keep(stream: bool) -> Body {
    let message = json!({ "role": "user", "content": "hi" });
    json!({ "model": "goes-on", "messages": [message], "store": true, "stream": stream })
        .to_string()
        .into()
}

/// A request of each kind, for what exists.
fn requests(kept: &Kept) -> Vec<(Method, String, Body)> {
    let Kept {
        file,
        response,
        completion,
        upload,
        part,
    } = kept;
    let input = || Body::from(json!({ "model": "tiny", "input": "x" }).to_string());
    let get = |path: String| (Method::GET, path, Body::empty());
    let delete = |path: String| (Method::DELETE, path, Body::empty());
    let post = |path: &str, body| (Method::POST, format!("/openai/v1/{path}"), body);
    vec![
        get("/openai/v1/models".to_owned()),
        get("/openai/v1/files".to_owned()),
        get(format!("/openai/v1/files/{file}")),
        get(format!("/openai/files/{file}/content?api-version=2024-10-21")),
        delete(format!("/openai/v1/files/{file}")),
        post("chat/completions", ask("tiny", false)),
        post("chat/completions", ask("tiny", true)),
        post("chat/completions", ask("drains", false)),
        post("embeddings", input()),
        post("responses", input()),
        // A deployment that goes on goes on; what it says is not kept.
        post("chat/completions", ask_to_keep(false)),
        post("chat/completions", ask_to_keep(true)),
        get(CHAT.to_owned()),
        get(format!("{CHAT}/{completion}")),
        get(format!("{CHAT}/{completion}/messages")),
        delete(format!("{CHAT}/{completion}")),
        post(
            &format!("chat/completions/{completion}"),
            json!({ "metadata": {} }).to_string().into(),
        ),
        post("chat/completions/export", "{}".into()),
        post("uploads", new_upload().to_string().into()),
        post(
            &format!("uploads/{upload}/complete"),
            json!({ "part_ids": [part] }).to_string().into(),
        ),
        post(&format!("uploads/{upload}/cancel"), Body::empty()),
        get(format!("/openai/v1/responses/{response}")),
        get(format!("/openai/v1/responses/{response}/input_items")),
        delete(format!("/openai/v1/responses/{response}")),
    ]
}

#[tokio::test]
async fn each_no_of_the_vault_has_its_own_status_and_code_everywhere() {
    let rig = Rig::new().await;
    let kept = Kept::make(&rig).await;
    for (answer, code) in [
        (NoAnswer::Refused, "customer_key_refused"),
        (NoAnswer::Gone, "customer_key_gone"),
    ] {
        rig.turn_key_off(answer).await;
        for (method, path, body) in requests(&kept) {
            let said = said(rig.send(method.clone(), &path, body, &JSON).await).await;
            assert_eq!(said.error(), (403, code.to_owned(), None), "{method} {path}");
            assert_eq!(said.json()["error"]["innererror"]["code"], code);
            assert_eq!(said.header("retry-after"), "");
            assert!(!said.text().contains("secret-detail"), "{}", said.text());
        }
        let upload = form(&[("purpose", None, b"batch"), ("file", Some("a"), b"1")]);
        assert_eq!(rig.upload_form(upload).await.error().1, code);
        let part = form(&[("data", Some("x"), b"1")]).into();
        let part = rig
            .send(Method::POST, &kept.parts(), part, &[("content-type", FORM)])
            .await;
        assert_eq!(said(part).await.error().1, code);
        rig.turn_key_on().await;
        let content = rig.get(&format!("/openai/v1/files/{}/content", kept.file)).await;
        assert_eq!(content.body, "hello", "it is back without a restart");
        for there in [
            format!("/openai/v1/responses/{}", kept.response),
            format!("{CHAT}/{}", kept.completion),
        ] {
            assert_eq!(rig.get(&there).await.status, 200);
        }
        assert_eq!(
            ids(&rig.get(CHAT).await.json()),
            [kept.completion.as_str()],
            "nothing was kept meanwhile"
        );
    }
    let path = format!("/openai/v1/uploads/{}/complete", kept.upload);
    let done = rig.post(&path, &json!({ "part_ids": [kept.part] })).await;
    assert_eq!(
        done.json()["status"],
        "completed",
        "what was acknowledged is there"
    );
}

#[tokio::test]
async fn a_silent_or_throttling_vault_is_answered_with_503_and_when_to_come_again() {
    let soon = Some(Duration::from_secs(17));
    let cases = [
        (NoAnswer::Unreachable, "customer_key_unreachable"),
        (
            NoAnswer::Throttled { retry_after: soon },
            "customer_key_throttled",
        ),
    ];
    for (answer, code) in cases {
        let rig = Rig::new().await;
        // No lease is held yet, so that there is no grace to wait for.
        *rig.vault.answer.lock().unwrap() = Some(answer);
        let said = rig.get("/openai/v1/files").await;
        assert_eq!(said.error(), (503, code.to_owned(), None));
        assert!(said.header("retry-after").parse::<u64>().unwrap() >= 1);
        assert!(!said.text().contains("secret-detail"), "{}", said.text());
    }
}

#[tokio::test]
async fn a_download_in_flight_ends_with_an_error_and_not_with_an_end() {
    let rig = Rig::new().await;
    let file = rig.upload("big", &vec![7; 4_000_000]).await;
    let path = format!("/openai/v1/files/{}/content", file["id"].as_str().unwrap());
    let mut body = rig.send(Method::GET, &path, Body::empty(), &[]).await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    rig.turn_key_off(NoAnswer::Refused).await;
    assert!(
        body.frame().await.unwrap().is_err(),
        "nothing more, not even what was opened already"
    );
    assert!(body.frame().await.is_none());
    let lines = rig.journal.0.lock().unwrap();
    let cuts = lines.iter().filter(|line| {
        matches!(
            line,
            ServiceEvent::Cut {
                route: "/files/{id}/content",
                ..
            }
        )
    });
    assert_eq!(cuts.count(), 1);
}

#[tokio::test]
async fn a_token_stream_in_flight_is_cut_while_it_waits_for_the_next_token() {
    let rig = Rig::new().await;
    for (path, stream_of) in [
        ("/openai/v1/chat/completions", ask("tiny", true)),
        (
            "/openai/v1/responses",
            json!({ "model": "tiny", "input": "x", "stream": true })
                .to_string()
                .into(),
        ),
    ] {
        let chunks = rig.engine.by_hand();
        chunks
            .send(Ok(chunk(&json!({ "content": "a" }), None)))
            .await
            .unwrap();
        let mut body = rig.send(Method::POST, path, stream_of, &JSON).await.into_body();
        let mut told = Vec::new();
        while memchr::memmem::find(&told, b"\"a\"").is_none() {
            told.extend_from_slice(body.frame().await.unwrap().unwrap().data_ref().unwrap());
        }
        rig.turn_key_off(NoAnswer::Gone).await;
        assert!(body.frame().await.unwrap().is_err(), "{path}");
        rig.turn_key_on().await;
    }
}

#[tokio::test]
async fn a_stream_whose_response_cannot_be_kept_does_not_end_well() {
    let rig = Rig::new().await;
    let chunks = rig.engine.by_hand();
    let body = json!({ "model": "goes-on", "input": "x", "stream": true }).to_string();
    let mut body = rig
        .send(Method::POST, "/openai/v1/responses", body.into(), &JSON)
        .await
        .into_body();
    rig.turn_key_off(NoAnswer::Refused).await;
    chunks
        .send(Ok(chunk(&json!({ "content": "a" }), Some("stop"))))
        .await
        .unwrap();
    drop(chunks);
    let mut ended = None;
    while let Some(frame) = body.frame().await {
        if let Ok(frame) = &frame {
            let text = String::from_utf8_lossy(frame.data_ref().unwrap());
            assert!(!text.contains("response.completed"), "{text}");
        }
        ended = Some(frame.is_err());
    }
    assert_eq!(ended, Some(true));
}

#[tokio::test]
async fn a_request_that_waits_for_its_answer_is_told_at_once() {
    let rig = Rig::new().await;
    let chunks = rig.engine.by_hand();
    let (first, ()) = tokio::join!(
        rig.send(Method::POST, "/openai/v1/responses", ask_response(), &JSON),
        async {
            rig.turn_key_off(NoAnswer::Refused).await;
        }
    );
    // Either the stream had begun and is cut, or it never begins.
    match first.status().as_u16() {
        200 => assert!(first.into_body().collect().await.is_err()),
        status => assert_eq!(status, 403),
    }
    drop(chunks);
}

fn ask_response() -> Body {
    json!({ "model": "tiny", "input": "x", "stream": true })
        .to_string()
        .into()
}

#[tokio::test]
async fn under_drain_what_runs_finishes_and_under_prevent_new_everything_goes_on() {
    let rig = Rig::new().await;
    let path = "/openai/v1/chat/completions";
    for model in ["drains", "goes-on"] {
        let chunks = rig.engine.by_hand();
        let body = rig
            .send(Method::POST, path, ask(model, true), &JSON)
            .await
            .into_body();
        rig.turn_key_off(NoAnswer::Refused).await;
        chunks
            .send(Ok(chunk(&json!({ "content": "a" }), Some("stop"))))
            .await
            .unwrap();
        drop(chunks);
        let told = body.collect().await.unwrap().to_bytes();
        assert!(told.ends_with(b"data: [DONE]\n\n"), "{model}");
        let again = said(rig.send(Method::POST, path, ask(model, false), &JSON).await).await;
        assert_eq!(again.status == 200, model == "goes-on", "{model}");
        rig.turn_key_on().await;
    }
}

#[tokio::test]
async fn an_upload_that_stalls_is_refused_at_once_and_not_when_it_goes_on() {
    let rig = Rig::new().await;
    let whole = form(&[
        ("purpose", None, b"batch"),
        ("file", Some("a"), &vec![1; 3_000_000]),
    ]);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let headers = [("content-type", FORM)];
    let sending = rig.send(
        Method::POST,
        "/openai/v1/files",
        Body::from_stream(body),
        &headers,
    );
    let stalling = async {
        let half = bytes::Bytes::copy_from_slice(&whole[..1_500_000]);
        sender.send(Ok(half)).await.unwrap();
        rig.turn_key_off(NoAnswer::Refused).await;
    };
    let (answer, ()) = tokio::join!(sending, stalling);
    assert_eq!(said(answer).await.error().1, "customer_key_refused");
    // Only now: until here the client had neither gone on nor given up.
    drop(sender);
}

#[tokio::test]
async fn an_upload_in_flight_is_refused_and_leaves_nothing() {
    let rig = Rig::new().await;
    let whole = form(&[
        ("purpose", None, b"batch"),
        ("file", Some("a"), &vec![1; 3_000_000]),
    ]);
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<bytes::Bytes, std::io::Error>>(1);
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    });
    let sending = rig.send(
        Method::POST,
        "/openai/v1/files",
        Body::from_stream(body),
        &[("content-type", FORM)],
    );
    let feeding = async {
        sender
            .send(Ok(bytes::Bytes::copy_from_slice(&whole[..1_000_000])))
            .await
            .unwrap();
        drop(sender.reserve().await.unwrap());
        rig.turn_key_off(NoAnswer::Refused).await;
        let _ = sender
            .send(Ok(bytes::Bytes::copy_from_slice(&whole[1_000_000..])))
            .await;
        drop(sender);
    };
    let (answer, ()) = tokio::join!(sending, feeding);
    assert_eq!(said(answer).await.error().1, "customer_key_refused");
    rig.turn_key_on().await;
    assert_eq!(rig.get("/openai/v1/files").await.json()["data"], json!([]));
}

/// Notes that the connection was cut.
struct Noted {
    cut: tokio::sync::mpsc::UnboundedSender<()>,
    flushes: bool,
}

impl Carrier for Noted {
    fn cut(&self) {
        let _ = self.cut.send(());
    }

    fn flushed(&self) -> futures::future::BoxFuture<'static, ()> {
        if self.flushes {
            Box::pin(std::future::ready(()))
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// A download on a connection; its cuts arrive at the receiver, which ends when nobody can cut it any more.
async fn download(rig: &Rig, file: &str, flushes: bool) -> (Body, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let (cut, cuts) = tokio::sync::mpsc::unbounded_channel();
    let path = format!("/openai/v1/files/{file}/content");
    let mut request = http::Request::get(path)
        .header("api-key", KEY)
        .body(Body::empty())
        .unwrap();
    request.extensions_mut().insert(AccountName("contoso".to_owned()));
    request
        .extensions_mut()
        .insert(ConnectionCut::new(Noted { cut, flushes }));
    let response = tower::ServiceExt::oneshot(rig.router.clone(), request)
        .await
        .unwrap();
    (response.into_body(), cuts)
}

#[tokio::test]
async fn a_connection_that_still_holds_pieces_is_cut_even_when_nobody_asks_for_more() {
    let rig = Rig::new().await;
    let file = rig.upload("big", &vec![7; 400_000]).await;
    for read_all in [false, true] {
        let (mut body, mut cuts) = download(&rig, file["id"].as_str().unwrap(), false).await;
        // The connection took pieces, perhaps all of them, and cannot get rid of them.
        assert!(body.frame().await.unwrap().is_ok());
        while read_all && body.frame().await.is_some() {}
        rig.turn_key_off(NoAnswer::Refused).await;
        assert_eq!(cuts.recv().await, Some(()));
        rig.turn_key_on().await;
    }
}

#[tokio::test]
async fn a_connection_that_got_rid_of_everything_is_left_alone() {
    let rig = Rig::new().await;
    let file = rig.upload("big", &vec![7; 400_000]).await;
    let (body, mut cuts) = download(&rig, file["id"].as_str().unwrap(), true).await;
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 400_000);
    rig.turn_key_off(NoAnswer::Refused).await;
    assert_eq!(cuts.recv().await, None);
}

#[tokio::test]
async fn a_download_that_the_client_gives_up_leaves_its_connection_alone() {
    let rig = Rig::new().await;
    let file = rig.upload("big", &vec![7; 400_000]).await;
    let (mut body, mut cuts) = download(&rig, file["id"].as_str().unwrap(), false).await;
    assert!(body.frame().await.unwrap().is_ok());
    drop(body);
    assert_eq!(cuts.recv().await, None);
}
