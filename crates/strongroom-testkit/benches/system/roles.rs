//! What this binary is when it is started as a helper.

use std::path::Path;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use strongroom_testkit::{InstantUpstream, PlainTwin};
use tokio::io::AsyncReadExt as _;

/// Plays the role until standard input ends. False if there is none of that name.
pub(crate) async fn play(role: &str, argument: &str) -> bool {
    match role {
        "twin" => {
            let twin = PlainTwin::start(Path::new(argument)).await.unwrap();
            let pem = twin.authority_pem();
            let (plain, tls) = (twin.base_url(), twin.tls_base_url());
            say(&json!({"plain": plain, "tls": tls, "pem": pem, "key": twin.key()}));
            until_left().await;
        }
        "upstream" => {
            let upstream = InstantUpstream::start().await.unwrap();
            say(&json!({"url": upstream.url()}));
            until_left().await;
        }
        "proxy" => {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let state = (client, argument.to_owned());
            let routes = Router::new()
                .route("/openai/v1/chat/completions", post(forward))
                .with_state(state);
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let plain = format!("http://{}/openai/v1", listener.local_addr().unwrap());
            say(&json!({"plain": plain, "key": "none"}));
            tokio::spawn(axum::serve(listener, routes).into_future());
            until_left().await;
        }
        _ => return false,
    }
    true
}

/// The least that somebody between a client and a model server does.
async fn forward(State((client, upstream)): State<(reqwest::Client, String)>, body: Body) -> Response {
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let request = client
        .post(format!("{upstream}/chat/completions"))
        .header(CONTENT_TYPE, "application/json");
    let answer = request.body(body).send().await.unwrap();
    (
        [(CONTENT_TYPE, "application/json")],
        answer.bytes().await.unwrap(),
    )
        .into_response()
}

#[expect(clippy::print_stdout, reason = "who started the helper reads it there")]
fn say(line: &Value) {
    println!("{line}");
}

async fn until_left() {
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}
