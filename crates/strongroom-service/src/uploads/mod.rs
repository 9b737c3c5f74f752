//! Uploads: a large file that comes in parts, in any order and at once. An upload is a short record beside a file in the making, whose
//! state is the one that counts.

mod complete;
mod create;
mod parts;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_store::{Change, Meta, Permit, Store, StoreError};

use crate::auth::Permits;
use crate::call::{Answer, Call};
use crate::files::{Draft, DraftFault, File};
use crate::limits;
use crate::problem::Problem;

pub(crate) use complete::complete;
pub(crate) use create::create;
pub(crate) use parts::add;

/// The kind under which uploads are stored.
const KIND: &str = "upload";
/// What an error calls it.
const WHAT: &str = "Upload object";

/// An upload's record. It outlives the time for its parts a while, so that it can be told what became of it.
#[derive(Serialize, Deserialize)]
struct UploadRecord {
    filename: String,
    purpose: String,
    /// How long the file was announced to be.
    bytes: u64,
    /// The file in the making.
    file: String,
    /// Until when it takes parts, in seconds since the Unix epoch.
    expires: u64,
    /// For how many seconds the file is kept then.
    life: Option<u64>,
    state: State,
}

/// What was last asked of an upload.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    Completed,
    Cancelled,
}

/// An upload as it was found.
struct Upload {
    meta: Meta,
    record: UploadRecord,
}

/// `POST uploads/{id}/cancel`
pub(crate) async fn cancel(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?;
    let store = &call.service.store;
    let mut upload = Upload::find_pending(store, call.permits.read()?, id).await?;
    // Said first, so that nothing more is taken in; a completion that was faster counts for more.
    let (write, revision) = (call.permits.write()?, Some(upload.meta.revision));
    if !upload.note(store, write, State::Cancelled, revision).await? {
        // Whoever was faster says what it is now.
        Upload::find_pending(store, call.permits.read()?, id).await?;
        return Err(Problem::Busy);
    }
    let discarded = upload.draft(store, &call.permits)?.discard().await;
    match discarded {
        Ok(()) => Answer::json(&upload.show("cancelled")),
        Err(fault) => Err(upload.fault(fault)),
    }
}

impl Upload {
    /// Finds an upload that, as far as its own record knows, still takes parts.
    async fn find_pending(store: &Store, read: &Permit, id: &str) -> Result<Self, Problem> {
        let object = store.get(read, KIND, id).await;
        let object = object.map_err(|error| Problem::store(error, WHAT, id))?;
        let record = serde_json::from_slice(&object.body)
            .map_err(|_| Problem::Internal("an upload's record is not what it was".to_owned()))?;
        let meta = object.meta;
        let upload = Self { meta, record };
        match upload.record.state {
            State::Pending => Ok(upload),
            State::Completed => Err(upload.not_pending("completed")),
            State::Cancelled => Err(upload.not_pending("cancelled")),
        }
    }

    fn draft<'a>(&'a self, store: &'a Store, permits: &'a Permits) -> Result<Draft<'a>, Problem> {
        Ok(Draft {
            store,
            read: permits.read()?,
            write: permits.write()?,
            id: &self.record.file,
        })
    }

    fn not_pending(&self, status: &str) -> Problem {
        let message = format!(
            "The upload '{}' is {status}: only one that is pending takes parts and can be completed or cancelled.",
            self.meta.id
        );
        Problem::coded("upload_not_pending", "upload_id", message)
    }

    /// Why its file in the making was not to be had.
    fn fault(&self, fault: DraftFault) -> Problem {
        match fault {
            DraftFault::Closed => self.not_pending("completed"),
            // It was pending when the request came, and nothing else ends it.
            DraftFault::Gone => self.not_pending("expired"),
            DraftFault::TooLong { limit } => Problem::TooLarge {
                what: "What the parts of the upload hold together",
                limit,
            },
            DraftFault::TooMany => {
                let message = format!("An upload has at most {} parts.", Draft::PIECES);
                Problem::coded("too_many_parts", "data", message)
            }
            DraftFault::NoPiece(number) => no_part("part_ids", &self.part_id(number)),
            DraftFault::Other(problem) => problem,
        }
    }

    /// Notes what was asked; with a revision, only if the record still is at it. Whether it did.
    async fn note(
        &mut self,
        store: &Store,
        write: &Permit,
        state: State,
        revision: Option<u64>,
    ) -> Result<bool, Problem> {
        self.record.state = state;
        let body = encode(&self.record)?;
        let change = Change::keeping(&body);
        let noted = store.update(write, KIND, &self.meta.id, revision, change).await;
        match noted {
            Ok(_) => Ok(true),
            Err(StoreError::RevisionConflict { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A part is named by its piece's number and by the upload that it belongs to.
    fn part_id(&self, number: u32) -> String {
        format!("part_{number:08x}{}", self.own())
    }

    /// The number in the id of one of its parts.
    fn part_number(&self, id: &str) -> Option<u32> {
        let number = id.strip_prefix("part_")?.strip_suffix(self.own())?;
        let is_number = number.len() == 8
            && number
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_number.then(|| u32::from_str_radix(number, 16).ok())?
    }

    /// What its parts' ids have in common.
    fn own(&self) -> &str {
        const LENGTH: usize = 24;
        let id = self.meta.id.strip_prefix("upload_").unwrap_or(&self.meta.id);
        id.get(..LENGTH).unwrap_or(id)
    }

    /// The official upload object.
    fn show(&self, status: &str) -> Map<String, Value> {
        let shown = json!({
            "id": self.meta.id,
            "object": "upload",
            "bytes": self.record.bytes,
            "created_at": self.meta.created(),
            "expires_at": self.record.expires,
            "filename": self.record.filename,
            "purpose": self.record.purpose,
            "status": status,
            "file": null,
        });
        match shown {
            Value::Object(shown) => shown,
            _ => Map::new(),
        }
    }

    fn show_completed(&self, file: &File) -> Map<String, Value> {
        let mut shown = self.show("completed");
        shown.insert("file".to_owned(), file.show());
        shown
    }

    /// How much its parts may hold: a part whose answer was lost is sent again, and only completing tells which one counts.
    fn most(&self, part_bytes: u64) -> u64 {
        let spare = limits::SPARE_PARTS.saturating_mul(part_bytes);
        self.record.bytes.saturating_add(spare)
    }
}

fn encode(record: &UploadRecord) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    serde_json::to_vec(record)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| Problem::Internal(error.to_string()))
}

/// Whether it never was, or is another upload's, or another account's: the same words.
fn no_part(param: impl Into<std::borrow::Cow<'static, str>>, id: &str) -> Problem {
    let message = format!("No such part in this upload: '{}'.", crate::service::shown(id));
    Problem::coded("part_not_found", param, message)
}
