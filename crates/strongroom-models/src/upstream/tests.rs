use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::StreamExt;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use zeroize::Zeroizing;

use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(80);

fn patient() -> Timeouts {
    Timeouts {
        connect: LONG,
        first_byte: LONG,
        idle: LONG,
        total: LONG,
    }
}

/// A real server on a port of its own, and an upstream that asks it.
async fn upstream(routes: Router, timeouts: Timeouts) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let base_url = format!("http://{}/v1", listener.local_addr().expect("address"));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let api_key = Some(ApiKey::new(Zeroizing::new("sk-test\n".into())));
    Upstream::new(UpstreamConfig {
        base_url,
        api_key,
        models: Vec::new(),
        timeouts,
    })
    .expect("configuration")
}

fn object(value: Value) -> Object {
    let Value::Object(object) = value else {
        panic!("not an object")
    };
    object
}

fn question() -> Object {
    object(json!({"model": "m", "messages": [{"role": "user", "content": "?"}], "stream": true}))
}

fn piece(text: &str, finish: Option<&str>) -> String {
    let chunk =
        json!({"id": "1", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]});
    format!("data: {chunk}\n\n")
}

/// A server whose stream says what the test sends it.
fn told() -> (mpsc::UnboundedSender<String>, Router) {
    let (teller, told) = mpsc::unbounded_channel::<String>();
    let told = Arc::new(Mutex::new(Some(told)));
    let handler = move || async move {
        let told = told.lock().expect("lock").take().expect("asked once");
        let body = UnboundedReceiverStream::new(told).map(Ok::<_, Infallible>);
        (
            [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")],
            Body::from_stream(body),
        )
    };
    (teller, Router::new().route("/v1/chat/completions", post(handler)))
}

fn answering(status: u16, headers: &'static [(&'static str, &'static str)], body: &'static str) -> Router {
    let handler = move || async move {
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(status).expect("status");
        for (name, value) in headers {
            response
                .headers_mut()
                .insert(*name, value.parse().expect("header"));
        }
        response
    };
    Router::new().route("/v1/{*path}", post(handler).get(handler))
}

async fn streamed(upstream: &Upstream) -> Vec<Result<Object, EngineError>> {
    upstream
        .chat_stream(question())
        .await
        .expect("stream")
        .collect()
        .await
}

#[tokio::test]
async fn a_question_goes_out_with_the_key_and_its_answer_comes_back() {
    async fn answer(headers: HeaderMap, body: Bytes) -> impl IntoResponse {
        assert_eq!(headers[header::AUTHORIZATION], "Bearer sk-test");
        let asked: Value = serde_json::from_slice(&body).expect("json");
        assert_eq!(asked.get("stream"), None);
        assert_eq!(asked["model"], "m");
        (
            StatusCode::OK,
            json!({"object": "chat.completion", "asked": asked}).to_string(),
        )
    }
    let upstream = upstream(
        Router::new().route("/v1/chat/completions", post(answer)),
        patient(),
    )
    .await;
    let answer = upstream.chat(question()).await.expect("answer");
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["asked"]["messages"][0]["content"], "?");
}

#[tokio::test]
async fn embeddings_are_passed_through() {
    let upstream = upstream(answering(200, &[], r#"{"object":"list","data":[]}"#), patient()).await;
    assert_eq!(
        upstream
            .embed(object(json!({"model": "m", "input": "x"})))
            .await
            .expect("list")["object"],
        "list"
    );
}

#[tokio::test]
async fn connections_are_used_again() {
    async fn peer(State(peers): State<Arc<Mutex<Vec<String>>>>, headers: HeaderMap) -> &'static str {
        peers
            .lock()
            .expect("lock")
            .push(headers["x-peer"].to_str().expect("text").into());
        "{}"
    }
    let peers = Arc::<Mutex<Vec<String>>>::default();
    let routes = Router::new()
        .route("/v1/chat/completions", post(peer))
        .with_state(peers.clone());
    // The address of the connection's other end is put into a header by a small layer of the test's own.
    let routes = routes.layer(axum::middleware::from_fn(
        |mut request: axum::extract::Request, next: axum::middleware::Next| async move {
            let peer = request
                .extensions()
                .get::<axum::extract::ConnectInfo<std::net::SocketAddr>>();
            let peer = peer.expect("peer").0.to_string().parse().expect("header");
            request.headers_mut().insert("x-peer", peer);
            next.run(request).await
        },
    ));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let base_url = format!("http://{}/v1/", listener.local_addr().expect("address"));
    let service = routes.into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let upstream = Upstream::new(UpstreamConfig::new(base_url)).expect("configuration");
    for _ in 0..3 {
        upstream.chat(question()).await.expect("answer");
    }
    let peers = peers.lock().expect("lock");
    assert!(
        peers.len() == 3 && peers.iter().all(|peer| *peer == peers[0]),
        "{peers:?}"
    );
}

#[tokio::test]
async fn chunks_come_through_one_by_one_as_they_are_sent() {
    let (teller, routes) = told();
    let upstream = upstream(routes, patient()).await;
    let mut stream = upstream.chat_stream(question()).await.expect("stream");
    for text in ["one", "two"] {
        teller.send(piece(text, None)).expect("sent");
        let chunk = stream.next().await.expect("chunk").expect("chunk");
        assert_eq!(chunk["choices"][0]["delta"]["content"], text);
    }
    teller.send("data: [DONE]\n\n".into()).expect("sent");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn an_event_cut_anywhere_is_put_together_again() {
    let (teller, routes) = told();
    let upstream = upstream(routes, patient()).await;
    let mut stream = upstream.chat_stream(question()).await.expect("stream");
    let text = piece("tést", None).replace('é', "e");
    let (one, other) = text.split_at(19);
    teller.send(one.into()).expect("sent");
    teller.send(other.into()).expect("sent");
    assert_eq!(
        stream.next().await.expect("chunk").expect("chunk")["choices"][0]["delta"]["content"],
        "test"
    );
}

#[tokio::test]
async fn a_stream_cut_before_its_end_is_an_error_and_after_it_none() {
    for (finish, wanted) in [(None, 2), (Some("stop"), 1)] {
        let (teller, routes) = told();
        let upstream = upstream(routes, patient()).await;
        teller.send(piece("one", finish)).expect("sent");
        drop(teller);
        let all = streamed(&upstream).await;
        assert_eq!(all.len(), wanted);
        assert_eq!(all.last().expect("last").is_err(), finish.is_none());
    }
}

#[tokio::test]
async fn what_is_no_chunk_ends_the_stream_with_a_protocol_error() {
    for wrong in [
        "data: {\n\n",
        "data: []\n\n",
        "data: {\"a\":1}\n\n",
        "data: \u{0}\n\n",
    ] {
        let (teller, routes) = told();
        let upstream = upstream(routes, patient()).await;
        teller
            .send(piece("one", None) + wrong + &piece("two", None))
            .expect("sent");
        let all = streamed(&upstream).await;
        assert_eq!(all.len(), 2, "{wrong}");
        assert_eq!(all[1], Err(EngineError::Protocol), "{wrong}");
    }
}

#[tokio::test]
async fn a_giant_line_is_a_protocol_error() {
    let (teller, routes) = told();
    let upstream = upstream(routes, patient()).await;
    teller
        .send("data: ".to_owned() + &"x".repeat(2 * limits::SSE_LINE))
        .expect("sent");
    assert_eq!(streamed(&upstream).await, [Err(EngineError::Protocol)]);
}

#[tokio::test]
async fn an_error_within_a_stream_ends_it() {
    let (teller, routes) = told();
    let upstream = upstream(routes, patient()).await;
    teller
        .send("data: {\"error\":{\"message\":\"no\"}}\n\n".into())
        .expect("sent");
    assert_eq!(streamed(&upstream).await, [Err(EngineError::Unavailable)]);
}

#[tokio::test]
async fn a_stream_that_is_no_event_stream_is_refused() {
    let upstream = upstream(
        answering(200, &[("content-type", "application/json")], "{}"),
        patient(),
    )
    .await;
    assert_eq!(
        upstream.chat_stream(question()).await.err(),
        Some(EngineError::Protocol)
    );
}

#[tokio::test]
async fn silence_at_each_step_times_out() {
    let silent = || async { std::future::pending::<&'static str>().await };
    let slow_head = upstream(
        Router::new().route("/v1/chat/completions", post(silent)),
        Timeouts {
            first_byte: SHORT,
            ..patient()
        },
    )
    .await;
    assert_eq!(slow_head.chat(question()).await, Err(EngineError::TimedOut));

    for timeouts in [
        Timeouts {
            idle: SHORT,
            ..patient()
        },
        Timeouts {
            total: SHORT,
            ..patient()
        },
    ] {
        let (teller, routes) = told();
        let upstream = upstream(routes, timeouts).await;
        teller.send(piece("one", None)).expect("sent");
        let mut stream = upstream.chat_stream(question()).await.expect("stream");
        assert!(stream.next().await.expect("chunk").is_ok());
        assert_eq!(stream.next().await, Some(Err(EngineError::TimedOut)));
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn refusals_say_what_the_caller_can_do() {
    let busy = upstream(answering(429, &[("retry-after", "7")], "{}"), patient()).await;
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(
        busy.chat(question()).await,
        Err(EngineError::Overloaded { retry_after })
    );

    let ill = upstream(answering(500, &[], "sk-test at /opt"), patient()).await;
    assert_eq!(
        ill.chat_stream(question()).await.err(),
        Some(EngineError::Unavailable)
    );

    let moved = upstream(
        answering(307, &[("location", "http://127.0.0.1:1/")], ""),
        patient(),
    )
    .await;
    assert_eq!(moved.chat(question()).await, Err(EngineError::Protocol));

    let picky = upstream(
        answering(422, &[], r#"{"error":{"message":"no sk-test"}}"#),
        patient(),
    )
    .await;
    let wanted = EngineError::Upstream {
        status: 422,
        message: "no [key]".into(),
    };
    assert_eq!(picky.chat(question()).await, Err(wanted));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
    let base_url = format!("http://{}", listener.local_addr().expect("address"));
    drop(listener);
    let upstream = Upstream::new(UpstreamConfig::new(base_url)).expect("configuration");
    assert_eq!(upstream.chat(question()).await, Err(EngineError::Unavailable));
}

#[tokio::test]
async fn a_stop_ends_work_in_flight_and_the_next_request_starts_afresh() {
    let (teller, routes) = told();
    let routes = routes.merge(answering(200, &[], r#"{"object":"list"}"#));
    let upstream = upstream(routes, patient()).await;
    teller.send(piece("one", None)).expect("sent");
    let mut stream = upstream.chat_stream(question()).await.expect("stream");
    assert!(stream.next().await.expect("chunk").is_ok());
    upstream.stop().await;
    assert_eq!(stream.next().await, Some(Err(EngineError::Stopped)));
    assert!(stream.next().await.is_none());
    assert!(upstream.embed(question()).await.is_ok());
}

#[tokio::test]
async fn dropping_the_engine_lets_its_streams_finish() {
    let (teller, routes) = told();
    let upstream = upstream(routes, patient()).await;
    let mut stream = upstream.chat_stream(question()).await.expect("stream");
    drop(upstream);
    teller
        .send(piece("one", Some("stop")) + "data: [DONE]\n\n")
        .expect("sent");
    assert!(stream.next().await.expect("chunk").is_ok());
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn models_are_listed_from_the_server_or_as_configured() {
    async fn list() -> &'static str {
        r#"{"object":"list","data":[{"id":"a","created":5,"owned_by":"them"},{"id":"b"}]}"#
    }
    let upstream = upstream(Router::new().route("/v1/models", get(list)), patient()).await;
    assert!(upstream.models().is_empty());
    let listed = upstream.refresh_models().await.expect("list");
    assert_eq!(listed, [card("a", 5, "them"), card("b", 0, "upstream")]);
    assert_eq!(upstream.models(), listed);

    let config = UpstreamConfig {
        models: vec!["mine".into()],
        ..UpstreamConfig::new("https://models.invalid/v1")
    };
    let configured = Upstream::new(config).expect("configuration");
    assert_eq!(
        configured.refresh_models().await.expect("no request"),
        [card("mine", 0, "upstream")]
    );
}

#[tokio::test]
async fn a_list_of_models_that_is_none_changes_nothing() {
    for body in [
        r#"{"data":{}}"#,
        r#"{"data":[{"id":""}]}"#,
        r#"{"data":[{}]}"#,
        "[]",
        "<",
    ] {
        let upstream = upstream(answering(200, &[], body), patient()).await;
        assert_eq!(
            upstream.refresh_models().await,
            Err(EngineError::Protocol),
            "{body}"
        );
        assert!(upstream.models().is_empty());
    }
}

#[test]
fn addresses_and_keys_that_cannot_be_used_are_refused() {
    for address in [
        "",
        "models",
        "ftp://x/",
        "http://user@x/",
        "https://x/v1?key=1",
        "https://x/#a",
        "file:///x",
    ] {
        let refused = Upstream::new(UpstreamConfig::new(address));
        assert!(
            matches!(refused.err(), Some(UpstreamConfigError::Address)),
            "{address}"
        );
    }
    let api_key = Some(ApiKey::new(Zeroizing::new("a\nb".into())));
    let refused = Upstream::new(UpstreamConfig {
        api_key,
        ..UpstreamConfig::new("http://x")
    });
    assert!(matches!(refused.err(), Some(UpstreamConfigError::Key)));
}
