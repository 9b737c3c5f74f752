//! Completions as a training set: a file for fine-tuning, each line a conversation that ends with what the model answered. Read, sealed
//! anew and written as one stream, so that memory does not grow with it.

use bytes::Bytes;
use serde_json::{Map, Value};
use strongroom_store::{BlobWriter, Order, Permit};

use super::list::{Filter, Walk};
use super::{CompletionRecord, read_messages};
use crate::call::{Answer, Call, CallHead};
use crate::fields::Fields;
use crate::files::{self, Whole};
use crate::ids;
use crate::problem::Problem;
use crate::service::shown;

const KNOWN: [&str; 5] = ["model", "metadata", "after", "limit", "filename"];
const PURPOSE: &str = "fine-tune";

/// `POST chat/completions/export`
pub(crate) async fn export(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    if let Some(unknown) = request.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let name = shown(unknown);
        let message = format!("Unknown parameter: '{name}'.");
        return Err(Problem::coded("unknown_parameter", name, message));
    }
    let fields = Fields(&request);
    let filename = fields.string("filename")?.unwrap_or("completions.jsonl");
    files::check_name(filename, "filename")?;
    let filter = Filter::new(fields.string("model")?, &fields.metadata()?);
    let most = fields.integer("limit", 1)?.unwrap_or(u64::MAX);
    let after = fields.string("after")?.map(str::to_owned);
    if after.as_ref().is_some_and(|after| !crate::call::is_id(after)) {
        return Err(Problem::invalid(
            "after",
            "Invalid 'after': it is not an object's id.",
        ));
    }
    let _slot = head.service.transfer_slot(None).await?;
    let id = ids::file();
    let store = &head.service.store;
    let mut whole = Whole::begin(store, head.permits.write()?, &id).await?;
    let lines = write_lines(&head, &filter, (after, most), whole.writer()).await?;
    if lines == 0 {
        let message = "No stored completion fits: there is nothing to export.";
        return Err(Problem::malformed("nothing_to_export", message));
    }
    let file = whole.put(filename.to_owned(), PURPOSE.to_owned(), None).await?;
    Answer::json(&file.show())
}

/// A line for each completion that fits. How many there are.
async fn write_lines(
    head: &CallHead,
    filter: &Filter,
    (after, most): (Option<String>, u64),
    file: &mut BlobWriter,
) -> Result<u64, Problem> {
    let (store, read) = (&head.service.store, head.permits.read()?);
    let limit = head.service.limits.file_bytes;
    let mut walk = Walk::new(after, Order::Asc);
    let mut lines = 0;
    while let Some((id, record, _)) = walk.next(store, read).await? {
        if !filter.fits(&record) {
            continue;
        }
        if lines == most {
            break;
        }
        let line = match line(head, read, &id, &record).await {
            Ok(Some(line)) => line,
            // Nothing to learn from, or deleted meanwhile.
            Ok(None) | Err(Problem::NotFound { .. }) => continue,
            Err(problem) => return Err(problem),
        };
        file.write(line).await?;
        if file.len() > limit {
            let what = "The export";
            return Err(Problem::TooLarge { what, limit });
        }
        lines += 1;
    }
    Ok(lines)
}

/// The conversation and the tools of one completion; none if it was cut short or has no answer.
async fn line(
    head: &CallHead,
    read: &Permit,
    id: &str,
    record: &CompletionRecord,
) -> Result<Option<Bytes>, Problem> {
    let choice = record
        .completion
        .get("choices")
        .and_then(|choices| choices.get(0));
    let answer = choice
        .filter(|choice| {
            let why = choice.get("finish_reason").and_then(Value::as_str);
            matches!(why, Some("stop" | "tool_calls" | "function_call"))
        })
        .and_then(|choice| choice.get("message")?.as_object());
    let Some(answer) = answer else { return Ok(None) };
    let said = ["role", "content", "name", "tool_calls", "function_call"].into_iter();
    let said = said.filter_map(|name| {
        let value = answer.get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    });
    let mut messages = read_messages(&head.service.store, read, id).await?;
    messages.push(Value::Object(said.collect()));
    let mut line = Map::new();
    line.insert("messages".to_owned(), Value::Array(messages));
    if let Some(tools) = record.asked.get("tools").filter(|tools| tools.is_array()) {
        line.insert("tools".to_owned(), tools.clone());
    }
    let mut bytes = serde_json::to_vec(&line).map_err(|error| Problem::Internal(error.to_string()))?;
    bytes.push(b'\n');
    Ok(Some(Bytes::from_owner(zeroize::Zeroizing::new(bytes))))
}
