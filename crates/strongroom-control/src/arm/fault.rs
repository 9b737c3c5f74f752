//! Why a request to Resource Manager was not done.

use http::StatusCode;
use strongroom_azure::{ErrorStatus, Problem, ResourceId};
use strongroom_journal::JournalError;
use strongroom_vault::AuditError;

/// What a handler gives back.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The caller is told what to do otherwise.
    #[error(transparent)]
    Refused(#[from] Box<Problem>),
    /// The database failed.
    #[error("resources.db: {0}")]
    Database(#[from] rusqlite::Error),
    /// A row of the database does not have the form that it must have.
    #[error("resources.db holds a malformed row: {0}")]
    Row(#[from] serde_json::Error),
    /// The activity log does not take entries.
    #[error("the activity log: {0}")]
    Activity(#[from] JournalError),
    /// The vaults' log does not take entries.
    #[error("the vaults' log: {0}")]
    Unrecorded(#[from] AuditError),
    /// The work broke off.
    #[error("the work was interrupted")]
    Interrupted,
    /// The program is stopping; the work goes on at its next start.
    #[error("the program is stopping")]
    Stopping,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Refused(Box::new(problem))
    }
}

impl From<crate::error::ControlError> for Fault {
    fn from(error: crate::error::ControlError) -> Self {
        let problem = error.problem();
        if problem.status() == ErrorStatus::INTERNAL {
            tracing::error!(%error, "the control plane failed");
            return Self::Interrupted;
        }
        problem.into()
    }
}

impl Fault {
    /// What the caller is told; the rest goes to the program's log.
    pub(crate) fn into_problem(self) -> Problem {
        match self {
            Self::Refused(problem) => *problem,
            Self::Activity(error) => {
                tracing::error!(%error, "a request was not done or not confirmed");
                no_log("The activity log does not take entries now. Please try again.")
            }
            Self::Unrecorded(error) => {
                tracing::error!(%error, "a request was done and not confirmed");
                no_log("The log of the vaults does not take entries now. Please try again.")
            }
            other => {
                tracing::error!(error = %other, "a request of Resource Manager failed");
                let message = "The server encountered an internal error. Please retry the request.";
                Problem::new(ErrorStatus::INTERNAL, "InternalServerError", message)
            }
        }
    }
}

fn no_log(message: &str) -> Problem {
    Problem::new(ErrorStatus::UNAVAILABLE, "ServiceUnavailable", message).with_retry_after(1)
}

pub(crate) fn bad(code: &str, message: impl Into<String>) -> Fault {
    Problem::new(ErrorStatus::BAD_REQUEST, code, message).into()
}

pub(crate) fn conflict(code: &str, message: impl Into<String>) -> Fault {
    Problem::new(ErrorStatus::CONFLICT, code, message).into()
}

pub(crate) fn missing(code: &str, message: impl Into<String>) -> Fault {
    Problem::new(ErrorStatus::NOT_FOUND, code, message).into()
}

pub(crate) fn no_resource(id: &ResourceId, kind: &str, name: &str, group: Option<&str>) -> Fault {
    let message = match group {
        Some(group) => format!(
            "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
        ),
        None => format!("The Resource '{id}' was not found."),
    };
    missing("ResourceNotFound", message)
}

pub(crate) fn no_group(group: &str) -> Fault {
    missing(
        "ResourceGroupNotFound",
        format!("Resource group '{group}' could not be found."),
    )
}

pub(crate) fn precondition(message: &str) -> Fault {
    Problem::new(ErrorStatus::PRECONDITION_FAILED, "PreconditionFailed", message).into()
}

/// The code for programs that a status without a body of ours stands for.
pub(crate) fn sub_status(status: StatusCode) -> String {
    let reason: String = status.canonical_reason().unwrap_or_default().split(' ').collect();
    format!("{reason} (HTTP Status Code: {})", status.as_u16())
}
