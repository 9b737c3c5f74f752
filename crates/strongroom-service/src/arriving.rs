//! A request's body on its way in: bounded in size, and given up when it stalls.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http_body::Body as _;
use serde_json::{Map, Value};
use tokio::time::{Instant, Sleep};

use crate::limits;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// Yields the body's bytes as they come.
pub(crate) struct Arriving {
    body: Body,
    limit: u64,
    taken: u64,
    idle: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    metrics: Metrics,
}

/// Why a body ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is longer than it may be.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// How long it may be.
        limit: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came for too long")]
    Stalled,
    /// The connection broke or the framing is wrong.
    #[error("broke off")]
    Broken,
}

impl From<BodyFault> for Problem {
    fn from(fault: BodyFault) -> Self {
        match fault {
            BodyFault::TooLarge { limit } => Self::TooLarge {
                what: "The body of the request",
                limit,
            },
            BodyFault::Stalled => Self::SlowBody,
            BodyFault::Broken => Self::BrokenBody,
        }
    }
}

impl Arriving {
    pub(crate) fn new(body: Body, limit: u64, idle: Duration, metrics: Metrics) -> Self {
        Self {
            body,
            limit,
            taken: 0,
            idle,
            stalled: None,
            metrics,
        }
    }

    /// Refuses a body whose announced length is too great before any of it is read.
    pub(crate) fn check_announced(&self) -> Result<(), BodyFault> {
        if self.body.size_hint().lower() > self.limit {
            return Err(BodyFault::TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// How long the body will be, if it was said.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Takes what is left and lets it go: a connection that is closed while its client still sends is reset, and the client hears
    /// nothing of the answer.
    pub(crate) async fn pass_over(mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }

    /// Reads the whole body as one JSON object.
    pub(crate) async fn json(mut self) -> Result<Map<String, Value>, Problem> {
        self.check_announced()?;
        let read = async {
            let Some(first) = self.next().await.transpose()? else {
                return Ok(Bytes::new());
            };
            let Some(second) = self.next().await.transpose()? else {
                return Ok(first);
            };
            let mut whole = BytesMut::from(first);
            whole.extend_from_slice(&second);
            while let Some(piece) = self.next().await.transpose()? {
                whole.extend_from_slice(&piece);
            }
            Ok::<_, BodyFault>(whole.freeze())
        };
        let bytes = tokio::time::timeout(limits::JSON_BODY_TIME, read)
            .await
            .map_err(|_| Problem::SlowBody)??;
        parse(&bytes)
    }

    fn poll_stalled(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        self.stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)))
            .as_mut()
            .poll(context)
    }
}

impl Stream for Arriving {
    type Item = Result<Bytes, BodyFault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) else {
                ready!(this.poll_stalled(context));
                return Poll::Ready(Some(Err(BodyFault::Stalled)));
            };
            if let Some(stalled) = &mut this.stalled {
                stalled.as_mut().reset(Instant::now() + this.idle);
            }
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFault::Broken))),
                Some(Ok(frame)) => frame.into_data(),
            };
            // Trailers mean nothing here.
            let Ok(data) = data else { continue };
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            this.taken = this.taken.saturating_add(length);
            this.metrics.received(length);
            if this.taken > this.limit {
                return Poll::Ready(Some(Err(BodyFault::TooLarge { limit: this.limit })));
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(data)));
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    // The parser stops at 128 levels, so that depth costs no stack.
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Problem::malformed(
            "invalid_json",
            "The body of the request must be a JSON object.",
        )),
        Err(error) => Err(Problem::malformed(
            "invalid_json",
            // Line, column and kind of fault; the parser's own words can quote the body.
            format!(
                "The body of the request is not JSON that can be read ({} at line {}, column {}).",
                fault(bytes, &error),
                error.line(),
                error.column()
            ),
        )),
    }
}

fn fault(bytes: &[u8], error: &serde_json::Error) -> &'static str {
    if std::str::from_utf8(bytes).is_err() {
        "not UTF-8"
    } else if error.is_eof() {
        "it ends too early"
    } else if error.to_string().starts_with("recursion limit") {
        "nested too deeply"
    } else {
        "a syntax error"
    }
}
