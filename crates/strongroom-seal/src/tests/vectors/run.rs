//! Does what a file says and tells how it ended.

use std::fmt::Debug;
use std::io::Cursor;

use super::{Blob, Branch, Case, Digest, Edit, Hex, Named, account};
use crate::blob::BlobSealer;
use crate::blob::layout::{HEADER_LEN, SEGMENT_LEN};
use crate::context::Purpose;
use crate::{
    BranchKey, BranchVersion, CheckValue, Endorsement, KeyId, KeyName, ObjectKey, OpenError, Secret,
    StreamError, WrappedKey, blob_layout, open_range, open_stream,
};

/// `ok`, or the name of the error.
pub(super) fn outcome(case: &Case) -> String {
    match run(case) {
        Ok(()) => "ok".to_owned(),
        Err(name) => name,
    }
}

fn run(case: &Case) -> Result<(), String> {
    match case {
        Case::DeriveBranchKey { branch, check_value } => {
            let expected = CheckValue::from_bytes(check_value.array());
            let (seed, version) = (secret(&branch.seed), BranchVersion::new(branch.version));
            BranchKey::derive_checked(&seed, account(&branch.account), version, expected).map_err(name_of)?;
        }
        Case::VerifyEndorsement {
            branch,
            next_version,
            next_check_value,
            endorsement,
        } => {
            let check = CheckValue::from_bytes(next_check_value.array());
            let endorsement = Endorsement::from_bytes(endorsement.array());
            let next = BranchVersion::new(*next_version);
            branch_key(branch)
                .verify_endorsement(next, check, &endorsement)
                .map_err(name_of)?;
        }
        Case::UnwrapObjectKey {
            branch,
            context,
            wrapped_key,
            object_key,
        } => {
            let wrapped = WrappedKey::parse(&wrapped_key.0).map_err(name_of)?;
            let key = branch_key(branch)
                .unwrap(&context.context().unwrap(), &wrapped)
                .map_err(name_of)?;
            assert_eq!(Some(Hex::of(key.secret().expose_secret())), *object_key);
        }
        Case::EncodeContext {
            context,
            object_key,
            record,
            blob,
        } => {
            let context = context
                .context()
                .map_err(|error| format!("ContextError::{error:?}"))?;
            let encoded = |purpose| Some(Hex::of(&context.encode(purpose)));
            assert_eq!(&encoded(Purpose::ObjectKey), object_key);
            assert_eq!(&encoded(Purpose::Record), record);
            assert_eq!(&encoded(Purpose::Blob), blob);
        }
        Case::OpenRecord {
            object_key,
            context,
            record,
            plaintext,
        } => {
            let key = ObjectKey::from_secret(secret(object_key));
            let opened = key
                .open_record(&context.context().unwrap(), &record.0)
                .map_err(name_of)?;
            assert_eq!(Some(Hex::of(&opened)), *plaintext);
        }
        Case::OpenBlob { .. } | Case::OpenRange { .. } => run_blob(case)?,
        _ => run_plain(case)?,
    }
    Ok(())
}

/// What has nothing to open.
fn run_plain(case: &Case) -> Result<(), String> {
    match case {
        Case::BlobLength { stored, plaintext } => {
            assert_eq!(
                Some(blob_layout::plain_len(*stored).map_err(name_of)?),
                *plaintext
            );
            assert_eq!(blob_layout::stored_len(plaintext.unwrap()), Ok(*stored));
        }
        Case::ExportBlobKey {
            object_key,
            context,
            keyset,
            associated_data,
        } => {
            let export = ObjectKey::from_secret(secret(object_key)).export(&context.context().unwrap());
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(export.json()).unwrap(),
                *keyset
            );
            assert_eq!(export.associated_data(), associated_data.0);
        }
        Case::ParseKeyId { text } => drop(KeyId::parse(text).map_err(key_id_name)?),
        Case::AdmitKeyId { text, configured } => {
            let id = KeyId::parse(text).map_err(key_id_name)?;
            KeyName::parse(configured)
                .unwrap()
                .admit(&id)
                .map_err(key_id_name)?;
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

fn run_blob(case: &Case) -> Result<(), String> {
    let mut opened = Vec::new();
    let (result, plaintext) = match case {
        Case::OpenBlob {
            object_key,
            context,
            blob,
            recorded_length,
            plaintext,
        } => {
            let key = ObjectKey::from_secret(secret(object_key));
            let stored = stored(object_key, context, blob);
            let length = recorded_length.unwrap_or(stored.len() as u64);
            let context = context.context().unwrap();
            (
                open_stream(&key, &context, length, stored.as_slice(), &mut opened).map(drop),
                plaintext,
            )
        }
        Case::OpenRange {
            object_key,
            context,
            blob,
            start,
            end,
            plaintext,
        } => {
            let key = ObjectKey::from_secret(secret(object_key));
            let stored = stored(object_key, context, blob);
            let (length, context) = (stored.len() as u64, context.context().unwrap());
            (
                open_range(
                    &key,
                    &context,
                    length,
                    *start..*end,
                    Cursor::new(stored),
                    &mut opened,
                ),
                plaintext,
            )
        }
        _ => panic!("not about a blob"),
    };
    match result {
        Ok(()) => assert_eq!(Some(Digest::of(&opened)), *plaintext),
        Err(StreamError::Open(error)) => return Err(name_of(error)),
        Err(other) => panic!("{other}"),
    }
    Ok(())
}

/// The bytes of a blob as they would be stored, defect and all.
fn stored(object_key: &Hex, context: &Named, blob: &Blob) -> Vec<u8> {
    match blob {
        Blob::Bytes(bytes) => bytes.0.clone(),
        Blob::Made {
            plaintext_length,
            salt,
            nonce_prefix,
            sealed_for,
            sealed,
            then,
        } => {
            let sealed_for = sealed_for.as_ref().unwrap_or(context);
            let header = [salt.0.as_slice(), &nonce_prefix.0].concat().try_into().unwrap();
            let mut stored = seal(object_key, sealed_for, &header, *plaintext_length);
            assert_eq!(Digest::of(&stored), *sealed);
            for edit in then {
                apply(edit, &mut stored);
            }
            stored
        }
    }
}

/// A whole blob with chosen salt and nonce prefix.
pub(super) fn seal(object_key: &Hex, context: &Named, header: &[u8; HEADER_LEN - 1], length: u64) -> Vec<u8> {
    let associated_data = context.context().unwrap().encode(Purpose::Blob);
    let sealer = BlobSealer::with_header(&secret(object_key), &associated_data, header).unwrap();
    let mut stored = Vec::new();
    crate::seal_stream(sealer, plaintext(length).as_slice(), &mut stored).unwrap();
    stored
}

pub(super) fn plaintext(length: u64) -> Vec<u8> {
    (0..=250).cycle().take(usize::try_from(length).unwrap()).collect()
}

fn apply(edit: &Edit, stored: &mut Vec<u8>) {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let start = |segment: u64| at(segment) * SEGMENT_LEN;
    match edit {
        Edit::FlipBit { byte, bit } => stored[at(*byte)] ^= 1 << bit,
        Edit::Truncate { length } => stored.truncate(at(*length)),
        Edit::Append { bytes } => stored.extend_from_slice(&bytes.0),
        Edit::SwapSegments { first, second } => {
            let (low, high) = stored.split_at_mut(start(*second));
            low[start(*first)..][..SEGMENT_LEN].swap_with_slice(&mut high[..SEGMENT_LEN]);
        }
        Edit::DuplicateSegment { segment } => {
            let copy = stored[start(*segment)..][..SEGMENT_LEN].to_vec();
            stored.splice(start(*segment)..start(*segment), copy);
        }
        Edit::RemoveSegment { segment } => drop(stored.drain(start(*segment)..start(*segment + 1))),
    }
}

pub(super) fn secret(bytes: &Hex) -> Secret<32> {
    Secret::build(|place| *place = bytes.array())
}

pub(super) fn branch_key(branch: &Branch) -> BranchKey {
    let version = BranchVersion::new(branch.version);
    BranchKey::derive(&secret(&branch.seed), account(&branch.account), version).unwrap()
}

fn key_id_name(error: crate::KeyIdError) -> String {
    format!("KeyIdError::{error:?}")
}

/// The variant's name, without its fields.
pub(super) fn name_of(error: impl Debug) -> String {
    let text = format!("{error:?}");
    format!("OpenError::{}", text.split(' ').next().unwrap())
}

/// Every reason there is. The match fails to compile when one is added, until it is listed too.
pub(super) fn all_reasons() -> Vec<OpenError> {
    let version = BranchVersion::FIRST;
    let all = vec![
        OpenError::NotOurs,
        OpenError::FutureVersion { found: 2 },
        OpenError::Truncated,
        OpenError::TrailingBytes,
        OpenError::TooLarge,
        OpenError::OutOfRange,
        OpenError::WrongBranch {
            wrapped: version,
            held: version,
        },
        OpenError::WrongAccount,
        OpenError::CheckMismatch,
        OpenError::NotEndorsed,
        OpenError::NotAuthentic,
    ];
    for reason in &all {
        match reason {
            OpenError::NotOurs
            | OpenError::FutureVersion { .. }
            | OpenError::Truncated
            | OpenError::TrailingBytes
            | OpenError::TooLarge
            | OpenError::OutOfRange
            | OpenError::WrongBranch { .. }
            | OpenError::WrongAccount
            | OpenError::CheckMismatch
            | OpenError::NotEndorsed
            | OpenError::NotAuthentic => {}
        }
    }
    all
}
