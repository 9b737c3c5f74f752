//! Puts questions to a cloud. Whatever becomes of one is a fact: an answer, or in what way there was none.
//!
//! Reads only. A token goes to a part of the cloud alone, an answer is bounded in size and time, a server that asks for patience
//! gets it, and no question is put more often than a few times.

mod answer;
mod pace;
mod page;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use strongroom_seal::Clock;
use url::Url;

pub use self::tally::{Count, Tally};

pub(crate) use self::page::{Next, next};

use self::answer::Heard;
use self::pace::Pace;
use crate::cloud::{Claims, Cloud, Connections, Credential, CredentialError};
use crate::fact::{Bytes, Fact, FactId, Failure, Outcome, Request, Source};
use crate::limits;

/// What an exchange may take, where it is not what it is by default.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Calls in flight at once.
    pub calls_in_flight: usize,
    /// From a request to the last byte of its answer.
    pub exchange: Duration,
    /// The wait before a question is put again, doubled each time, where the server names none.
    pub backoff: Duration,
    /// Bytes of an answer.
    pub answer: usize,
    /// Pages of a list.
    pub pages: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            calls_in_flight: limits::CALLS_IN_FLIGHT,
            exchange: limits::EXCHANGE,
            backoff: limits::BACKOFF,
            answer: limits::ANSWER_BYTES,
            pages: limits::PAGES,
        }
    }
}

/// One question, as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) source: Source,
    /// One of the words of [`question`](crate::question).
    pub(crate) question: &'static str,
    pub(crate) about: Option<String>,
    pub(crate) url: Url,
    /// With a body it is a POST, which here always reads too; without, a GET.
    pub(crate) body: Option<String>,
    /// Whether the answer is a list.
    pub(crate) is_list: bool,
}

impl Question {
    fn method(&self) -> &'static str {
        if self.body.is_some() { "POST" } else { "GET" }
    }

    /// Names what is sent.
    pub(crate) fn digest(&self) -> String {
        let body = self.body.as_deref().unwrap_or_default();
        FactId::of(format!("{} {}\n{body}", self.method(), self.url).as_bytes()).to_string()
    }

    fn request(&self) -> Request {
        let version = self.url.query_pairs().find(|(name, _)| name == "api-version");
        Request {
            method: self.method().to_owned(),
            url: self.url.to_string(),
            api_version: version.map(|(_, version)| version.into_owned()),
            body: self.body.as_ref().map(|body| Bytes(body.as_bytes().to_vec())),
        }
    }
}

/// Asks in the name of one credential, in one cloud.
pub struct Asker {
    cloud: Cloud,
    credential: Credential,
    client: reqwest::Client,
    clock: Arc<dyn Clock>,
    caller: String,
    claims: Claims,
    bounds: Bounds,
    pace: Pace,
    tally: Arc<Tally>,
}

impl Asker {
    /// Asks for a first token: what it says of its owner stands in the facts. Without one nothing can be asked.
    pub async fn new(
        cloud: Cloud,
        credential: Credential,
        connections: &Connections,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Result<Self, CredentialError> {
        let client = connections
            .client()
            .map_err(|error| CredentialError::Connections(error.to_string()))?;
        let claims = credential.claims(cloud.manager_audience()).await;
        let claims = claims.map_err(CredentialError::NoToken)?;
        let nobody = || format!("whoever {} names", credential.kind());
        Ok(Self {
            caller: claims.object_id.clone().unwrap_or_else(nobody),
            claims,
            cloud,
            credential,
            client,
            clock,
            pace: Pace::new(bounds.calls_in_flight.clamp(1, limits::CALLS_IN_FLIGHT_MOST)),
            bounds,
            tally: Arc::default(),
        })
    }

    /// The cloud.
    #[must_use]
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Who asks.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What the first token says of its owner.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// What was asked so far, in numbers.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Who asks, as facts name it.
    pub(crate) fn caller(&self) -> &str {
        &self.caller
    }

    /// How many questions may be out at once.
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.bounds.calls_in_flight.clamp(1, limits::CALLS_IN_FLIGHT_MOST)
    }

    /// How many pages a list may have.
    pub(crate) fn most_pages(&self) -> usize {
        self.bounds.pages
    }

    /// The time, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now().wall.as_millis()).unwrap_or(u64::MAX)
    }

    /// Puts one question.
    pub(crate) async fn ask(&self, question: &Question) -> Fact {
        let Some(audience) = self.cloud.admits(question.source, &question.url) else {
            let message = "the address is not one of the cloud's: nothing was sent there".to_owned();
            return self.failed(question, Failure::NotAsked, message);
        };
        let mut attempt = 1;
        loop {
            let heard = match self.credential.token(audience).await {
                Ok(token) => {
                    let slot = self.pace.turn(question.source).await;
                    self.tally.sent();
                    let heard = self.exchange(question, &token).await;
                    drop(slot);
                    heard
                }
                Err(message) => Heard::nothing(Failure::NoToken, message),
            };
            self.pace.heed(question.source, &heard);
            let Some(wait) = heard.again(attempt, self.bounds.backoff) else {
                return self.fact(question, heard);
            };
            attempt += 1;
            self.tally.repeats(wait);
            if heard.is_throttled() {
                self.pace.hold(question.source, wait);
            } else {
                tokio::time::sleep(wait).await;
            }
        }
    }

    async fn exchange(&self, question: &Question, token: &Secret) -> Heard {
        let mut request = match &question.body {
            Some(body) => self
                .client
                .post(question.url.clone())
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone()),
            None => self.client.get(question.url.clone()),
        };
        let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", token.secret())) else {
            return Heard::nothing(Failure::NoToken, "the token cannot stand in a header".to_owned());
        };
        bearer.set_sensitive(true);
        request = request.header(AUTHORIZATION, bearer);
        let work = answer::take_in(request, self.bounds.answer, question.is_list);
        match tokio::time::timeout(self.bounds.exchange, work).await {
            Ok(heard) => heard,
            Err(_) => {
                let message = format!("no whole answer within {} s", self.bounds.exchange.as_secs_f32());
                Heard::nothing(Failure::TimedOut, message)
            }
        }
    }

    /// A fact of a question that has no answer.
    pub(crate) fn failed(&self, question: &Question, failure: Failure, message: String) -> Fact {
        self.fact(question, Heard::nothing(failure, message))
    }

    fn fact(&self, question: &Question, heard: Heard) -> Fact {
        let received_ms = self.now_ms();
        let failed =
            !matches!(&heard.outcome, Outcome::Answered { status, .. } if (200..300).contains(status));
        self.tally.answered(failed);
        Fact {
            source: question.source,
            question: question.question.to_owned(),
            about: question.about.clone(),
            caller: self.caller.clone(),
            request: question.request(),
            clock_offset_ms: heard.clock_offset(received_ms),
            outcome: heard.outcome,
            received_ms,
        }
    }
}

/// The body of a successful answer to a request that carries no token, within the usual bounds.
pub(crate) async fn bare(request: reqwest::RequestBuilder) -> Result<Vec<u8>, String> {
    let work = answer::take_in(request, limits::METADATA_BYTES, false);
    let heard = tokio::time::timeout(limits::EXCHANGE, work).await;
    match heard.map_err(|_| "no answer in time".to_owned())?.outcome {
        Outcome::Answered { status, body, .. } if (200..300).contains(&status) => Ok(body.0),
        Outcome::Answered { status, .. } => Err(format!("it answered {status}")),
        Outcome::Failed { message, .. } => Err(message),
    }
}
