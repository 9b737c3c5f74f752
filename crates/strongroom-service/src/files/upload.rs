//! An upload: the form's parts as they come, the content straight into the sealer.

use std::time::Duration;

use strongroom_store::{NewObject, StagedBlob};

use super::file::{File, FileRecord, WHOLE};
use super::{KIND, WHAT};
use crate::arriving::Arriving;
use crate::call::{Answer, Call};
use crate::fields;
use crate::ids;
use crate::limits;
use crate::multipart::{FormFault, Multipart, PartHead};
use crate::parts::shorter;
use crate::problem::Problem;

/// What a file may be for when a caller brings it.
const PURPOSES: [&str; 6] = ["fine-tune", "assistants", "batch", "user_data", "vision", "evals"];
/// Files for batches are kept 30 days where nothing else is said, as OpenAI does.
const BATCH_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the form brought so far.
#[derive(Default)]
struct Form {
    purpose: Option<String>,
    anchor: Option<String>,
    seconds: Option<String>,
    content: Option<Content>,
}

/// A file's content, sealed and staged, and its name.
struct Content {
    name: String,
    blob: StagedBlob,
}

/// `POST files`
pub(crate) async fn upload(call: Call) -> Result<Answer, Problem> {
    let boundary = call.boundary()?;
    call.body.check_announced()?;
    let _slot = call.service.transfer_slot(call.body.announced()).await?;
    let id = ids::file();
    let Call {
        service,
        permits,
        body,
        ..
    } = call;
    let intake = Intake {
        store: &service.store,
        permit: permits.write()?,
        id: &id,
        limit: service.limits.file_bytes,
    };
    let form = intake.take(Multipart::new(body, &boundary)).await?;
    let (record, blob, expires) = form.finish()?;
    let expires = shorter(expires, service.retention(permits.write()?.account()).files);
    let bytes = record.write()?;
    let new = NewObject {
        expires,
        blobs: vec![blob],
        ..NewObject::new(KIND, id.clone(), &bytes)
    };
    let meta = service
        .store
        .put(permits.write()?, new)
        .await
        .map_err(|error| Problem::store(error, WHAT, &id))?;
    Answer::json(&File { meta, record }.show())
}

/// Where an upload goes.
struct Intake<'a> {
    store: &'a strongroom_store::Store,
    permit: &'a strongroom_store::Permit,
    id: &'a str,
    limit: u64,
}

impl Intake<'_> {
    /// Takes the parts in whatever order they come.
    async fn take(&self, mut parts: Multipart<Arriving>) -> Result<Form, Problem> {
        let mut form = Form::default();
        while let Some(head) = parts.next_part().await? {
            match head.name.as_str() {
                "file" if form.content.is_some() => return Err(twice("file")),
                "file" => form.content = Some(self.take_content(head, &mut parts).await?),
                "purpose" => set(&mut form.purpose, "purpose", &mut parts).await?,
                "expires_after[anchor]" => set(&mut form.anchor, "expires_after[anchor]", &mut parts).await?,
                "expires_after[seconds]" => {
                    set(&mut form.seconds, "expires_after[seconds]", &mut parts).await?;
                }
                _ => {
                    return Err(Problem::coded(
                        "unknown_parameter",
                        "form",
                        "The form has a field that is not known here: file, purpose and expires_after are.",
                    ));
                }
            }
        }
        Ok(form)
    }

    async fn take_content(
        &self,
        head: PartHead,
        parts: &mut Multipart<Arriving>,
    ) -> Result<Content, Problem> {
        let name = head
            .file_name
            .ok_or_else(|| Problem::invalid("file", "'file' must be a file with a name."))?;
        check_name(&name, "file")?;
        let mut writer = self.store.stage(self.permit, KIND, self.id, WHOLE).await?;
        while let Some(piece) = parts.next_piece().await? {
            writer.write(piece).await?;
            if writer.len() > self.limit {
                return Err(Problem::TooLarge {
                    what: "The file",
                    limit: self.limit,
                });
            }
        }
        if writer.is_empty() {
            return Err(Problem::coded("empty_file", "file", "The file is empty."));
        }
        Ok(Content {
            name,
            blob: writer.finish().await?,
        })
    }
}

impl Form {
    fn finish(self) -> Result<(FileRecord, StagedBlob, Option<Duration>), Problem> {
        let purpose = self.purpose.ok_or_else(|| fields::missing("purpose"))?;
        check_purpose(&purpose)?;
        let expires = life(self.anchor.as_deref(), self.seconds.as_deref(), &purpose)?;
        let content = self.content.ok_or_else(|| fields::missing("file"))?;
        Ok((FileRecord::new(content.name, purpose), content.blob, expires))
    }
}

/// Whether files may be for this.
pub(crate) fn check_purpose(purpose: &str) -> Result<(), Problem> {
    if PURPOSES.contains(&purpose) {
        return Ok(());
    }
    let message = format!("Invalid 'purpose': it must be one of {}.", PURPOSES.join(", "));
    Err(Problem::invalid("purpose", message))
}

/// How long a file is kept: what `expires_after` says, or what its purpose does.
pub(crate) fn life(
    anchor: Option<&str>,
    seconds: Option<&str>,
    purpose: &str,
) -> Result<Option<Duration>, Problem> {
    match (anchor, seconds) {
        (None, None) => Ok((purpose == "batch").then_some(BATCH_LIFE)),
        (Some("created_at"), Some(seconds)) => {
            let seconds = seconds
                .parse()
                .ok()
                .filter(|seconds| limits::EXPIRES_AFTER.contains(seconds));
            seconds
                .map(|seconds| Some(Duration::from_secs(seconds)))
                .ok_or_else(|| {
                    let message = format!(
                        "Invalid 'expires_after.seconds': it must be from {} to {}.",
                        limits::EXPIRES_AFTER.start(),
                        limits::EXPIRES_AFTER.end()
                    );
                    Problem::invalid("expires_after.seconds", message)
                })
        }
        (Some("created_at"), None) => Err(fields::missing("expires_after.seconds")),
        (None, Some(_)) => Err(fields::missing("expires_after.anchor")),
        (Some(_), _) => Err(Problem::invalid(
            "expires_after.anchor",
            "Invalid 'expires_after.anchor': it must be 'created_at'.",
        )),
    }
}

/// A name is only ever data here: it is sealed, and no path is made of it. What no file system and no header takes is refused.
pub(crate) fn check_name(name: &str, param: &'static str) -> Result<(), Problem> {
    if name.is_empty() || name.len() > limits::FILE_NAME_BYTES || name.chars().any(char::is_control) {
        let message = format!(
            "Invalid file name: it must have 1 to {} bytes and no control characters.",
            limits::FILE_NAME_BYTES
        );
        return Err(Problem::coded("invalid_file_name", param, message));
    }
    Ok(())
}

pub(crate) async fn set(
    field: &mut Option<String>,
    name: &'static str,
    parts: &mut Multipart<Arriving>,
) -> Result<(), Problem> {
    if field.is_some() {
        return Err(twice(name));
    }
    let mut bytes = Vec::new();
    while let Some(piece) = parts.next_piece().await? {
        if bytes.len() + piece.len() > limits::FORM_FIELD_BYTES {
            let limit = limits::FORM_FIELD_BYTES;
            return Err(Problem::invalid(
                name,
                format!("Invalid '{name}': it is longer than {limit} bytes."),
            ));
        }
        bytes.extend_from_slice(&piece);
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::invalid(name, format!("Invalid '{name}': not UTF-8.")))?;
    *field = Some(text);
    Ok(())
}

pub(crate) fn twice(name: &'static str) -> Problem {
    Problem::invalid(name, format!("The form brings '{name}' more than once."))
}

impl From<FormFault> for Problem {
    fn from(fault: FormFault) -> Self {
        match fault {
            FormFault::Body(fault) => fault.into(),
            FormFault::Incomplete => Self::BrokenBody,
            FormFault::Boundary | FormFault::Head | FormFault::TooManyParts => {
                Self::malformed("invalid_multipart", format!("The form cannot be read: {fault}."))
            }
        }
    }
}
