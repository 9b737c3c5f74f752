//! Short requests, one after another, and an upload that never ends.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Body, Method, RequestBuilder, Response};
use serde_json::Value;
use strongroom_testkit::Instance;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::PATIENCE;

const PAUSE: Duration = Duration::from_millis(20);

/// The name of the upload that never ends.
pub(crate) const ENDLESS: &str = "endless.bin";

/// What a short request was told.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) sent: Instant,
    pub(crate) heard: Instant,
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) retry_after: Option<u64>,
    /// The id of what was made or read.
    pub(crate) id: Option<String>,
}

impl Answer {
    /// Sends one request and reads its answer.
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let sent = Instant::now();
        let answer = request.send().await.unwrap();
        let (status, retry_after) = (answer.status().as_u16(), retry_after(&answer));
        let body: Value = answer.json().await.unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            sent,
            heard: Instant::now(),
            status,
            code: text(&body["error"]["code"]).unwrap_or_default(),
            retry_after,
            id: text(&body["id"]),
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.status == 200
    }
}

fn retry_after(answer: &Response) -> Option<u64> {
    answer.headers().get("retry-after")?.to_str().ok()?.parse().ok()
}

/// What the short requests do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Asked {
    Read,
    Write,
    Infer,
    /// Asks a model and has the answer kept.
    Keep,
}

impl Asked {
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Infer, Self::Keep];

    pub(crate) fn request(self, instance: &Instance, file: &str) -> RequestBuilder {
        match self {
            Self::Read => instance.api_tls(Method::GET, &format!("/files/{file}")),
            Self::Write => instance.upload_request("short.txt", b"short".to_vec()),
            Self::Infer => instance.chat_request("Say it again.", false),
            Self::Keep => instance.kept_chat("Say it again."),
        }
    }
}

/// One kind of short request, again and again.
pub(crate) struct Asking {
    pub(crate) asked: Asked,
    stop: CancellationToken,
    task: JoinHandle<Vec<Answer>>,
}

impl Asking {
    pub(crate) fn start(asked: Asked, instance: &Instance, file: &str) -> Self {
        let stop = CancellationToken::new();
        let (stopped, request) = (stop.clone(), asked.request(instance, file));
        let task = tokio::spawn(async move {
            let mut answers = Vec::new();
            while !stopped.is_cancelled() {
                answers.push(Answer::to(request.try_clone().unwrap()).await);
                sleep(PAUSE).await;
            }
            answers
        });
        Self { asked, stop, task }
    }

    pub(crate) async fn answers(self) -> Vec<Answer> {
        self.stop.cancel();
        timeout(PATIENCE, self.task)
            .await
            .expect("a request must be answered")
            .unwrap()
    }
}

/// An upload that goes on until it is ended from outside.
pub(crate) struct Endless {
    sent: watch::Receiver<u64>,
    task: JoinHandle<Option<u16>>,
}

impl Endless {
    /// A file.
    pub(crate) fn start(instance: &Instance) -> Self {
        let head = format!(
            "--edge\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nassistants\r\n\
             --edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{ENDLESS}\"\r\n\r\n"
        );
        Self::send(instance, "/files", head)
    }

    /// A part of an upload.
    pub(crate) fn start_part(instance: &Instance, upload: &str) -> Self {
        let head = "--edge\r\nContent-Disposition: form-data; name=\"data\"; filename=\"part\"\r\n\r\n";
        Self::send(instance, &format!("/uploads/{upload}/parts"), head.to_owned())
    }

    fn send(instance: &Instance, path: &str, head: String) -> Self {
        let (sender, sent) = watch::channel(0_u64);
        let pieces = futures::stream::unfold(Some(Bytes::from(head)), move |next| {
            sender.send_modify(|pieces| *pieces += 1);
            async move {
                let piece = match next {
                    Some(head) => head,
                    None => {
                        sleep(PAUSE).await;
                        Bytes::from(vec![7; 256 << 10])
                    }
                };
                Some((Ok::<_, Infallible>(piece), None))
            }
        });
        let request = instance
            .api(Method::POST, path)
            .header("Content-Type", "multipart/form-data; boundary=edge")
            .body(Body::wrap_stream(pieces));
        let task =
            tokio::spawn(async move { request.send().await.ok().map(|answer| answer.status().as_u16()) });
        Self { sent, task }
    }

    pub(crate) async fn under_way(&mut self) {
        let under_way = timeout(PATIENCE, self.sent.wait_for(|pieces| *pieces > 8)).await;
        assert!(
            under_way.is_ok_and(|sent| sent.is_ok()),
            "the upload ended at once"
        );
    }

    /// The status it ended with; `None` if the connection was cut.
    pub(crate) async fn status(self) -> Option<u16> {
        timeout(PATIENCE, self.task)
            .await
            .expect("an upload must be ended")
            .unwrap()
    }
}
