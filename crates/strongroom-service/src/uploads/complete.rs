//! Completing an upload: the order of its parts is written down, and the parts stay as they are.

use std::collections::HashSet;
use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::{State, Upload, WHAT, no_part};
use crate::call::{Answer, Call, CallHead};
use crate::fields::{self, Fields};
use crate::files::{Draft, DraftFault};
use crate::limits;
use crate::parts::shorter;
use crate::problem::Problem;

/// What a request says.
struct Wish {
    /// The pieces, in order.
    order: Vec<u32>,
    md5: Option<[u8; 16]>,
}

/// `POST uploads/{id}/complete`
pub(crate) async fn complete(call: Call) -> Result<Answer, Problem> {
    let id = call.id(WHAT)?.to_owned();
    let (head, request) = call.with_json().await?;
    let store = &head.service.store;
    let mut upload = Upload::find_pending(store, head.permits.read()?, &id).await?;
    let wish = Wish::read(&request, &upload)?;
    let draft = upload.draft(store, &head.permits)?;
    let checked = check(&head, draft, &upload, &wish).await;
    checked.map_err(|fault| upload.fault(fault))?;
    let asked = upload.record.life.map(Duration::from_secs);
    let life = shorter(asked, head.service.retention(head.account()).files);
    let closed = draft.close(&wish.order, life, head.service.seconds()).await;
    let file = closed.map_err(|fault| upload.fault(fault))?;
    // The file is there, whatever becomes of this note: without it the upload is found to be completed all the same.
    upload
        .note(store, head.permits.write()?, State::Completed, None)
        .await?;
    Answer::json(&upload.show_completed(&file))
}

impl Wish {
    fn read(request: &Map<String, Value>, upload: &Upload) -> Result<Self, Problem> {
        let fields = Fields(request);
        let ids = fields
            .array("part_ids")?
            .ok_or_else(|| fields::missing("part_ids"))?;
        if ids.is_empty() || ids.len() > Draft::PIECES {
            let message = format!("Invalid 'part_ids': 1 to {} ids are taken.", Draft::PIECES);
            return Err(Problem::invalid("part_ids", message));
        }
        let mut seen = HashSet::new();
        let mut order = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            let name = format!("part_ids[{index}]");
            let id = id
                .as_str()
                .ok_or_else(|| fields::wrong_type(name.clone(), "a string", id))?;
            let number = upload.part_number(id).ok_or_else(|| no_part(name.clone(), id))?;
            if !seen.insert(number) {
                let message = format!("Invalid '{name}': the part '{id}' stands there twice.");
                return Err(Problem::coded("duplicate_part", name, message));
            }
            order.push(number);
        }
        let md5 = fields.string("md5")?.map(checksum).transpose()?;
        Ok(Self { order, md5 })
    }
}

fn checksum(text: &str) -> Result<[u8; 16], Problem> {
    let digits = u128::from_str_radix(text, 16).ok();
    digits
        .filter(|_| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(u128::to_be_bytes)
        .ok_or_else(|| Problem::invalid("md5", "Invalid 'md5': it must have 32 hexadecimal digits."))
}

/// Compares length and, where it was given, checksum with what was announced. Parts come in any order, so that the checksum of the
/// whole is known only now: it costs reading all of it once, and is worked out only for those who ask.
async fn check(head: &CallHead, draft: Draft<'_>, upload: &Upload, wish: &Wish) -> Result<(), DraftFault> {
    let sizes = draft.pieces().await?;
    let mut bytes = 0_u64;
    for (index, part) in wish.order.iter().enumerate() {
        let size = sizes.iter().find(|size| size.part == *part);
        let missing = || no_part(format!("part_ids[{index}]"), &upload.part_id(*part));
        bytes = bytes.saturating_add(size.ok_or_else(missing)?.size);
    }
    if bytes != upload.record.bytes {
        let message = format!(
            "The parts have {bytes} bytes together; the upload was created for {}.",
            upload.record.bytes
        );
        return Err(Problem::coded("upload_bytes_mismatch", "part_ids", message).into());
    }
    let Some(expected) = wish.md5 else { return Ok(()) };
    let _slot = head.service.transfer_slot(Some(bytes)).await?;
    let mut content = draft.read(&wish.order).await?;
    let mut hash = Md5::new();
    while let Some(bytes) = content.next_chunk().await {
        let bytes = bytes?;
        // A little at a time, so that others on this thread are not held up.
        for bytes in bytes.chunks(limits::HASH_BYTES) {
            hash.update(bytes);
            tokio::task::yield_now().await;
        }
    }
    if hash.finalize()[..] == expected {
        return Ok(());
    }
    let message = "The checksum of the parts in this order is another than 'md5'.";
    Err(Problem::coded("checksum_mismatch", "md5", message).into())
}
