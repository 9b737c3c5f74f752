//! What a chat completion is kept with, from the request until the commit.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use strongroom_store::{NewObject, Permit};

use super::{CompletionRecord, KIND, MESSAGES};
use crate::auth::{Act, Permits, Right};
use crate::call::CallHead;
use crate::fields::Fields;
use crate::ids;
use crate::limits;
use crate::problem::Problem;
use crate::service::Service;

/// What is shown of a request beside the completion, each under the name that it has there.
const SHOWN: [(&str, &str); 10] = [
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("seed", "seed"),
    ("tools", "tools"),
    ("tool_choice", "tool_choice"),
    ("response_format", "response_format"),
    ("service_tier", "service_tier"),
    ("user", "input_user"),
];

/// Holds what a completion will be kept with, and the leave to keep it.
pub(crate) struct Keeper {
    service: Arc<Service>,
    permits: Permits,
    id: String,
    deployment: String,
    messages: Vec<Value>,
    asked: Map<String, Value>,
    metadata: Map<String, Value>,
}

impl Keeper {
    /// A keeper, if the request wants one. Whether the caller may keep anything, and whether the key lets them, is asked before the model.
    pub(crate) async fn of(head: &CallHead, request: &Map<String, Value>) -> Result<Option<Self>, Problem> {
        let fields = Fields(request);
        if fields.boolean("store")? != Some(true) {
            return Ok(None);
        }
        let needs = [Right::Completions(Act::Write)];
        let permits = Permits::grant(&head.service.permits, &head.caller, &needs)?;
        head.service.store.lease(head.account()).await?;
        let asked = SHOWN.map(|(name, shown)| {
            let value = fields.value(name).cloned().unwrap_or(Value::Null);
            (shown.to_owned(), value)
        });
        let deployment = match head.deployment() {
            Some(name) => name,
            None => fields.required_string("model")?,
        };
        Ok(Some(Self {
            service: Arc::clone(&head.service),
            permits,
            id: ids::completion(),
            deployment: deployment.to_owned(),
            messages: fields.array("messages")?.cloned().unwrap_or_default(),
            asked: asked.into_iter().collect(),
            metadata: fields.metadata()?,
        }))
    }

    /// Under which id it will be found. What an engine calls it need not be unique.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Commits a completion, durably.
    pub(crate) async fn keep(
        self,
        mut completion: Map<String, Value>,
    ) -> Result<Map<String, Value>, Problem> {
        completion.insert("id".to_owned(), Value::String(self.id.clone()));
        let write = self.permits.write()?;
        let messages = self.stage(write).await?;
        let record = CompletionRecord {
            completion,
            asked: self.asked,
            deployment: self.deployment,
            metadata: self.metadata,
        };
        let body = record.write()?;
        let life = self.service.retention(write.account()).completions;
        let new = NewObject {
            expires: Some(life.unwrap_or(limits::RESPONSE_LIFE)),
            blobs: vec![messages],
            ..NewObject::new(KIND, self.id, &body)
        };
        self.service.store.put(write, new).await?;
        Ok(record.completion)
    }

    async fn stage(&self, write: &Permit) -> Result<strongroom_store::StagedBlob, Problem> {
        let messages =
            serde_json::to_vec(&self.messages).map_err(|error| Problem::Internal(error.to_string()))?;
        let messages = Bytes::from_owner(zeroize::Zeroizing::new(messages));
        let mut writer = self.service.store.stage(write, KIND, &self.id, MESSAGES).await?;
        writer.write(messages).await?;
        Ok(writer.finish().await?)
    }
}
