//! Asking one line of a batch, as if it had come by itself.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use strongroom_models::EngineError;
use strongroom_store::AccountId;

use super::record::LineRights;
use super::task::{self, Endpoint, LineFault, Task};
use crate::auth::{Caller, Crud, Permits, Rights};
use crate::call::{Answer, AnswerBody, CallHead};
use crate::problem::{Form, Problem};
use crate::service::Service;
use crate::{chat, embeddings, ids, limits, responses};

/// Asks the lines of one batch.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) service: Arc<Service>,
    pub(super) account: AccountId,
    pub(super) batch: String,
    pub(super) endpoint: Endpoint,
    /// How long the batch may take, from when it was made.
    pub(super) window: Duration,
    pub(super) rights: LineRights,
}

/// What came of a line.
pub(super) struct Asked {
    pub(super) is_success: bool,
    /// The line for the file with the results, with its end.
    pub(super) line: Vec<u8>,
}

impl Asker {
    /// Asks a line. An error is one that stops the whole batch for now.
    pub(super) async fn ask(&self, text: &[u8]) -> Result<Asked, Problem> {
        let task = match task::read(text, self.endpoint) {
            Ok(task) => task,
            // It was looked at before; the file has changed under us, which a file does not do.
            Err(LineFault { code, .. }) => {
                return Err(Problem::Internal(format!("a line was valid: {code}")));
            }
        };
        let Task { custom_id, body, .. } = task;
        let (status, body) = self.answer(body).await?;
        let is_success = (200..300).contains(&status);
        let response = json!({ "status_code": status, "request_id": ids::request(), "body": body });
        Ok(Asked {
            is_success,
            line: result(&custom_id, &response, &Value::Null)?,
        })
    }

    /// The status and the body. An engine that is busy or away for a moment is asked again.
    async fn answer(&self, body: Map<String, Value>) -> Result<(u16, Value), Problem> {
        let mut wait = limits::BATCH_RETRY;
        for _ in 1..limits::BATCH_TRIES {
            match self.answer_once(body.clone()).await {
                Err(problem) if is_passing(&problem) => {
                    tokio::time::sleep(wait_of(&problem).unwrap_or(wait)).await;
                    wait *= 2;
                }
                answer => return settled(answer),
            }
        }
        settled(self.answer_once(body).await)
    }

    async fn answer_once(&self, body: Map<String, Value>) -> Result<Value, Problem> {
        let head = self.head()?;
        let asked = async {
            match self.endpoint {
                Endpoint::Chat => chat::answer(head, body).await,
                Endpoint::Responses => responses::answer(head, body).await,
                Endpoint::Embeddings => embeddings::answer(head, body).await,
            }
        };
        let answer = tokio::time::timeout(limits::INFERENCE_TIME, asked)
            .await
            .map_err(|_| Problem::TimedOut)??;
        let Answer { body, guard, .. } = answer;
        if let Some(lease) = guard {
            lease.check()?;
        }
        match body {
            AnswerBody::Whole(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| Problem::Internal(error.to_string()))
            }
            AnswerBody::Pieces { .. } => Err(Problem::Internal("a line was answered as a stream".to_owned())),
        }
    }

    fn head(&self) -> Result<CallHead, Problem> {
        let is_responses = self.endpoint == Endpoint::Responses;
        let rights = Rights {
            responses: Crud {
                read: is_responses,
                write: is_responses,
                delete: false,
            },
            completions: Crud {
                read: false,
                write: self.rights.keeps_completions,
                delete: false,
            },
            chat: self.endpoint == Endpoint::Chat,
            embeddings: self.endpoint == Endpoint::Embeddings,
            ..Rights::NONE
        };
        let caller = Caller {
            account: self.account,
            account_name: String::new(),
            name: self.batch.clone(),
            rights,
        };
        let permits = Permits::grant(&self.service.permits, &caller, self.endpoint.needs())?;
        Ok(CallHead::inside(Arc::clone(&self.service), caller, permits))
    }
}

/// The line that says that there was no time for a request.
pub(super) fn expired(text: &[u8], endpoint: Endpoint) -> Result<Asked, Problem> {
    let custom_id = task::read(text, endpoint).map(|task| task.custom_id);
    let error = json!({
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    });
    Ok(Asked {
        is_success: false,
        line: result(&custom_id.unwrap_or_default(), &Value::Null, &error)?,
    })
}

fn result(custom_id: &str, response: &Value, error: &Value) -> Result<Vec<u8>, Problem> {
    let result =
        json!({ "id": ids::batch_request(), "custom_id": custom_id, "response": response, "error": error });
    let mut line = serde_json::to_vec(&result).map_err(|error| Problem::Internal(error.to_string()))?;
    line.push(b'\n');
    Ok(line)
}

/// What is the line's own fault, or its engine's for good, is its result. What is the key's or the disk's stops the batch.
fn settled(answer: Result<Value, Problem>) -> Result<(u16, Value), Problem> {
    match answer {
        Ok(body) => Ok((200, body)),
        Err(problem @ (Problem::Key(_) | Problem::Full | Problem::Busy)) => Err(problem),
        Err(problem) => {
            if let Some(detail) = problem.for_the_log() {
                tracing::error!(detail, "a line of a batch failed");
            }
            let status = problem.answer(Form::V1).status().as_u16();
            Ok((status, json!({ "error": problem.object(Form::V1) })))
        }
    }
}

fn is_passing(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Crowded
            | Problem::Busy
            | Problem::TimedOut
            | Problem::Engine(
                EngineError::Overloaded { .. }
                    | EngineError::TimedOut
                    | EngineError::Unavailable
                    | EngineError::Stopped
            )
    )
}

fn wait_of(problem: &Problem) -> Option<Duration> {
    match problem {
        Problem::Engine(EngineError::Overloaded { retry_after }) => {
            retry_after.map(|wait| wait.min(limits::BATCH_RETRY_MOST))
        }
        _ => None,
    }
}
