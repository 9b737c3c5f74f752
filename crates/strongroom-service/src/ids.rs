//! Ids of objects, in the official manner: a prefix, then 128 random bits.

use uuid::Uuid;

pub(crate) fn file() -> String {
    with_prefix("file-")
}

pub(crate) fn batch() -> String {
    with_prefix("batch_")
}

pub(crate) fn batch_request() -> String {
    with_prefix("batch_req_")
}

pub(crate) fn request() -> String {
    with_prefix("req_")
}

pub(crate) fn upload() -> String {
    with_prefix("upload_")
}

pub(crate) fn fine_tuning_job() -> String {
    with_prefix("ftjob-")
}

pub(crate) fn response() -> String {
    with_prefix("resp_")
}

pub(crate) fn completion() -> String {
    with_prefix("chatcmpl-")
}

/// The last part of a fine-tuned model's name.
pub(crate) fn fine_tuned() -> String {
    with_prefix("")
}

pub(crate) fn message() -> String {
    with_prefix("msg_")
}

pub(crate) fn function_call() -> String {
    with_prefix("fc_")
}

pub(crate) fn function_output() -> String {
    with_prefix("fco_")
}

fn with_prefix(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}
