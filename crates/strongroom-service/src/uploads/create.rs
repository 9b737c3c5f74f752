//! Creating an upload: everything that can be known of the file is checked before a byte of it comes.

use std::time::Duration;

use serde_json::{Map, Value};
use strongroom_store::NewObject;

use super::{KIND, State, Upload, UploadRecord, encode};
use crate::call::{Answer, Call};
use crate::fields::{self, Fields};
use crate::files::{self, Draft};
use crate::ids;
use crate::limits;
use crate::problem::Problem;

/// What a request may bring.
const KNOWN: [&str; 5] = ["bytes", "filename", "mime_type", "purpose", "expires_after"];
/// Purposes whose files are JSON, a line for each object, and the types under which such files are known.
const OF_LINES: [&str; 2] = ["batch", "fine-tune"];
const LINES: [&str; 8] = [
    "application/json",
    "application/jsonl",
    "application/json-lines",
    "application/octet-stream",
    "application/x-jsonlines",
    "application/x-ndjson",
    "text/jsonl",
    "text/plain",
];

/// `POST uploads`
pub(crate) async fn create(call: Call) -> Result<Answer, Problem> {
    let (head, request) = call.with_json().await?;
    let limits = head.service.limits;
    let now = head.service.seconds();
    let file = ids::file();
    let record = read(&request, &limits, now, file)?;
    let (store, write) = (&head.service.store, head.permits.write()?);
    let draft = Draft {
        store,
        read: head.permits.read()?,
        write,
        id: &record.file,
    };
    // The file first: left alone, it goes by itself.
    let begun = draft.begin(
        record.filename.clone(),
        record.purpose.clone(),
        limits.upload_life,
    );
    begun.await.map_err(Problem::from)?;
    let body = encode(&record)?;
    let new = NewObject {
        expires: Some(limits.upload_life + limits::UPLOAD_REMEMBERED),
        ..NewObject::new(KIND, ids::upload(), &body)
    };
    let meta = store.put(write, new).await?;
    Answer::json(&Upload { meta, record }.show("pending"))
}

fn read(
    request: &Map<String, Value>,
    limits: &limits::Limits,
    now: u64,
    file: String,
) -> Result<UploadRecord, Problem> {
    if let Some(unknown) = request.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let name = crate::service::shown(unknown);
        let message = format!("Unknown parameter: '{name}'.");
        return Err(Problem::coded("unknown_parameter", name, message));
    }
    let fields = Fields(request);
    let filename = fields.required_string("filename")?;
    files::check_name(filename, "filename")?;
    let purpose = fields.required_string("purpose")?;
    files::check_purpose(purpose)?;
    check_type(purpose, fields.required_string("mime_type")?)?;
    let bytes = fields
        .integer("bytes", 1)?
        .ok_or_else(|| fields::missing("bytes"))?;
    if bytes > limits.upload_bytes {
        let message = format!("Invalid 'bytes': an upload has at most {}.", limits.upload_bytes);
        return Err(Problem::coded("integer_above_max_value", "bytes", message));
    }
    Ok(UploadRecord {
        filename: filename.to_owned(),
        purpose: purpose.to_owned(),
        bytes,
        file,
        expires: now.saturating_add(limits.upload_life.as_secs()),
        life: life(fields, purpose)?.map(|life| life.as_secs()),
        state: State::Pending,
    })
}

fn check_type(purpose: &str, mime_type: &str) -> Result<(), Problem> {
    let essence = mime_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    let is_type = mime_type.len() <= limits::MIME_BYTES
        && essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    if !is_type {
        let message = "Invalid 'mime_type': it must be a media type, such as 'text/jsonl'.";
        return Err(Problem::invalid("mime_type", message));
    }
    let fits = match purpose {
        _ if OF_LINES.contains(&purpose) => LINES.contains(&essence.as_str()),
        "vision" => essence.starts_with("image/"),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    let message = format!("Invalid 'mime_type': a file for '{purpose}' is of another type.");
    Err(Problem::coded("unsupported_mime_type", "mime_type", message))
}

fn life(fields: Fields<'_>, purpose: &str) -> Result<Option<Duration>, Problem> {
    let Some(after) = fields.object("expires_after")? else {
        return files::life(None, None, purpose);
    };
    let seconds = match Fields(after).value("seconds") {
        Some(Value::Number(seconds)) => Some(seconds.to_string()),
        Some(other) => return Err(fields::wrong_type("expires_after.seconds", "an integer", other)),
        None => None,
    };
    let anchor = match Fields(after).value("anchor") {
        Some(Value::String(anchor)) => Some(anchor.as_str()),
        Some(other) => return Err(fields::wrong_type("expires_after.anchor", "a string", other)),
        None => return Err(fields::missing("expires_after.anchor")),
    };
    files::life(anchor, seconds.as_deref(), purpose)
}
