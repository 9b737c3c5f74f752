//! A batch as it is kept, and as it is shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use strongroom_store::{Object, Wish};
use zeroize::Zeroizing;

use super::results::Results;
use super::task::{Endpoint, LineFault};
use super::{WINDOW, shown_metadata};
use crate::limits;
use crate::problem::Problem;

/// Seconds since the Unix epoch.
pub(super) type When = u64;

/// Where a batch stands. That it is being cancelled says its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Validating,
    InProgress,
    /// All that is to be asked was asked; the end is this.
    Finalizing(End),
    Ended(End),
    /// Its lines cannot be asked.
    Failed,
}

/// How a batch ends whose lines were asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    Completed,
    Cancelled,
    Expired,
}

impl Status {
    pub(super) fn is_end(self) -> bool {
        matches!(self, Self::Ended(_) | Self::Failed)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Validating => "validating",
            Self::InProgress => "in_progress",
            Self::Finalizing(End::Cancelled) => "cancelling",
            Self::Finalizing(_) => "finalizing",
            Self::Ended(End::Completed) => "completed",
            Self::Ended(End::Cancelled) => "cancelled",
            Self::Ended(End::Expired) => "expired",
            Self::Failed => "failed",
        }
    }
}

/// When a batch came to where it was and is.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) in_progress: Option<When>,
    pub(super) finalizing: Option<When>,
    pub(super) completed: Option<When>,
    pub(super) failed: Option<When>,
    pub(super) expired: Option<When>,
    pub(super) cancelling: Option<When>,
    pub(super) cancelled: Option<When>,
}

/// What is wrong with a line, or with the whole file.
#[derive(Serialize, Deserialize)]
pub(super) struct Fault {
    code: String,
    message: String,
    param: Option<String>,
    line: Option<u64>,
}

impl Fault {
    pub(super) fn new(fault: LineFault, line: Option<u64>) -> Self {
        Self {
            code: fault.code.to_owned(),
            message: fault.message,
            param: fault.param.map(str::to_owned),
            line,
        }
    }
}

/// How far a batch is: everything up to here was asked, and the answers are in its results.
#[derive(Default, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Position {
    /// Where in the file the next line begins.
    pub(super) offset: u64,
    /// Lines before it, empty ones included.
    pub(super) lines: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

impl Position {
    pub(super) fn done(self) -> u64 {
        self.completed + self.failed
    }
}

/// What the maker of a batch may do beyond asking.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct LineRights {
    pub(super) keeps_completions: bool,
}

/// A batch's record.
#[derive(Serialize, Deserialize)]
pub(super) struct BatchRecord {
    pub(super) endpoint: Endpoint,
    pub(super) input: String,
    pub(super) metadata: Map<String, Value>,
    /// How long it may take.
    pub(super) window: Duration,
    pub(super) output_life: Duration,
    pub(super) rights: LineRights,
    pub(super) status: Status,
    pub(super) times: Times,
    pub(super) faults: Vec<Fault>,
    /// Lines in all, once they were validated.
    pub(super) total: u64,
    pub(super) position: Position,
    pub(super) output: Results,
    pub(super) errors: Results,
}

/// What a batch is made of.
pub(super) struct Made {
    pub(super) endpoint: Endpoint,
    pub(super) input: String,
    pub(super) metadata: Map<String, Value>,
    pub(super) window: Duration,
    pub(super) output_life: Duration,
    pub(super) rights: LineRights,
    /// The ids of its output file and its error file, should there be any.
    pub(super) files: (String, String),
}

impl BatchRecord {
    pub(super) fn new(made: Made) -> Self {
        Self {
            endpoint: made.endpoint,
            input: made.input,
            metadata: made.metadata,
            window: made.window,
            output_life: made.output_life,
            rights: made.rights,
            status: Status::Validating,
            times: Times::default(),
            faults: Vec::new(),
            total: 0,
            position: Position::default(),
            output: Results::new(made.files.0),
            errors: Results::new(made.files.1),
        }
    }

    pub(super) fn read(object: &Object) -> Result<Self, Problem> {
        serde_json::from_slice(&object.body)
            .map_err(|_| Problem::Internal("a batch's record is not what it was".to_owned()))
    }

    pub(super) fn write(&self) -> Result<Zeroizing<Vec<u8>>, Problem> {
        serde_json::to_vec(self)
            .map(Zeroizing::new)
            .map_err(|error| Problem::Internal(error.to_string()))
    }

    /// Notes a fault, unless there are enough already.
    pub(super) fn fault(&mut self, fault: LineFault, line: Option<u64>) {
        if self.faults.len() < limits::BATCH_FAULTS {
            self.faults.push(Fault::new(fault, line));
        }
    }

    /// The official batch object. `asked` is what its job was asked and has not yet heard.
    pub(super) fn show(&self, id: &str, created: When, asked: Option<Wish>) -> Value {
        let is_cancelling = asked == Some(Wish::Cancel) && !self.status.is_end();
        let status = if is_cancelling {
            "cancelling"
        } else {
            self.status.as_str()
        };
        let errors = (!self.faults.is_empty()).then(|| json!({ "object": "list", "data": self.faults }));
        let Times {
            in_progress,
            finalizing,
            completed,
            failed,
            expired,
            cancelling,
            cancelled,
        } = self.times;
        json!({
            "id": id,
            "object": "batch",
            "endpoint": self.endpoint.path(),
            "errors": errors,
            "input_file_id": self.input,
            "completion_window": WINDOW,
            "status": status,
            "output_file_id": self.output.shown(self.status),
            "error_file_id": self.errors.shown(self.status),
            "created_at": created,
            "in_progress_at": in_progress,
            "expires_at": created + self.window.as_secs(),
            "finalizing_at": finalizing,
            "completed_at": completed,
            "failed_at": failed,
            "expired_at": expired,
            "cancelling_at": cancelling,
            "cancelled_at": cancelled,
            "request_counts": {
                "total": self.total,
                "completed": self.position.completed,
                "failed": self.position.failed,
            },
            "metadata": shown_metadata(&self.metadata),
        })
    }
}
