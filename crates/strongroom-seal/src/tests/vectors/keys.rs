//! The vectors about branch keys, wrapped keys, contexts, records and key identifiers.

use super::run::{branch_key, secret};
use super::{Branch, Case, Hex, Named, Vector};
use crate::context::Purpose;
use crate::{BranchVersion, CheckValue, ObjectKey};

pub(super) const ACCOUNT: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
pub(super) const OTHER_ACCOUNT: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";

pub(super) fn all() -> Vec<(String, Vector)> {
    [
        branches(),
        endorsements(),
        wrapped_keys(),
        contexts(),
        records(),
        key_ids(),
        exports(),
    ]
    .concat()
}

pub(super) fn vector(
    form: &str,
    name: &str,
    description: &str,
    expect: &str,
    case: Case,
) -> (String, Vector) {
    let vector = Vector {
        description: description.to_owned(),
        expect: expect.to_owned(),
        case,
    };
    (format!("{form}/{name}.json"), vector)
}

/// Bytes that count up from `first`: plainly not random, and different wherever a vector needs a difference.
pub(super) fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|at| first.wrapping_add(u8::try_from(at).unwrap()))
}

pub(super) fn object_key() -> Hex {
    Hex::of(&counting::<32>(0x40))
}

pub(super) fn named(id: &str, part: u32) -> Named {
    Named {
        account: ACCOUNT.to_owned(),
        kind: "file".to_owned(),
        id: id.to_owned(),
        part,
    }
}

fn branch() -> Branch {
    Branch {
        seed: Hex::of(&counting::<32>(0)),
        account: ACCOUNT.to_owned(),
        version: 1,
    }
}

fn flipped(bytes: &[u8], at: usize, bit: u8) -> Hex {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << bit;
    Hex(bytes)
}

fn branches() -> Vec<(String, Vector)> {
    let check = branch_key(&branch()).check_value();
    let case = |name, description, expect, branch, check: &[u8]| {
        vector(
            "branch-key",
            name,
            description,
            expect,
            Case::DeriveBranchKey {
                branch,
                check_value: Hex::of(check),
            },
        )
    };
    let check = check.as_bytes();
    let mismatch = "OpenError::CheckMismatch";
    let other_account = Branch {
        account: OTHER_ACCOUNT.to_owned(),
        ..branch()
    };
    let planted = Branch {
        seed: Hex::of(&counting::<32>(1)),
        ..branch()
    };
    let second = Branch {
        version: 2,
        ..branch()
    };
    let second_check = *branch_key(&second).check_value().as_bytes();
    vec![
        case(
            "valid",
            "a seed yields the check value on record",
            "ok",
            branch(),
            check,
        ),
        case(
            "valid-second-version",
            "the same seed under version 2 has its own check value",
            "ok",
            second.clone(),
            &second_check,
        ),
        case(
            "moved-to-another-account",
            "a wrap of a seed moved to another account",
            mismatch,
            other_account,
            check,
        ),
        case(
            "moved-to-another-version",
            "a wrap of a seed moved to another branch version",
            mismatch,
            second,
            check,
        ),
        case(
            "planted",
            "a wrap planted by someone who knows the public half of the customer key",
            mismatch,
            planted,
            check,
        ),
        case(
            "flipped-check-value",
            "one bit of the check value on record is flipped",
            mismatch,
            branch(),
            &flipped(check, 31, 0).0,
        ),
    ]
}

fn endorsements() -> Vec<(String, Vector)> {
    let check = CheckValue::from_bytes(counting(0x80));
    let good = *branch_key(&branch())
        .endorse(BranchVersion::new(2), check)
        .as_bytes();
    let case = |name, description, expect, branch, next_version, check: &[u8], endorsement: &[u8]| {
        let case = Case::VerifyEndorsement {
            branch,
            next_version,
            next_check_value: Hex::of(check),
            endorsement: Hex::of(endorsement),
        };
        vector("endorsement", name, description, expect, case)
    };
    let check = check.as_bytes();
    let no = "OpenError::NotEndorsed";
    let other_seed = Branch {
        seed: Hex::of(&counting::<32>(1)),
        ..branch()
    };
    let other_account = Branch {
        account: OTHER_ACCOUNT.to_owned(),
        ..branch()
    };
    vec![
        case(
            "valid",
            "version 1 endorses the check value of version 2",
            "ok",
            branch(),
            2,
            check,
            &good,
        ),
        case(
            "wrong-version",
            "the endorsement is shown for another next version",
            no,
            branch(),
            3,
            check,
            &good,
        ),
        case(
            "wrong-key",
            "the endorsement was made under another seed",
            no,
            other_seed,
            2,
            check,
            &good,
        ),
        case(
            "wrong-account",
            "the endorsement was made for another account",
            no,
            other_account,
            2,
            check,
            &good,
        ),
        case(
            "flipped-check-value",
            "one bit of the endorsed check value is flipped",
            no,
            branch(),
            2,
            &flipped(check, 0, 7).0,
            &good,
        ),
        case(
            "flipped-endorsement",
            "one bit of the endorsement is flipped",
            no,
            branch(),
            2,
            check,
            &flipped(&good, 0, 0).0,
        ),
    ]
}

fn wrapped_keys() -> Vec<(String, Vector)> {
    let context = named("file-1", 1);
    let key = ObjectKey::from_secret(secret(&object_key()));
    let wrapped = branch_key(&branch())
        .wrap_with_nonce(&context.context().unwrap(), &key, &counting(0xa0))
        .unwrap();
    let good = wrapped.as_bytes();
    let case = |name, description, expect: &str, branch, context, wrapped: &[u8]| {
        let case = Case::UnwrapObjectKey {
            branch,
            context,
            wrapped_key: Hex::of(wrapped),
            object_key: (expect == "ok").then(object_key),
        };
        vector("wrapped-key", name, description, expect, case)
    };
    let same = |name, description, expect, wrapped: &[u8]| {
        case(name, description, expect, branch(), named("file-1", 1), wrapped)
    };
    let forged = "OpenError::NotAuthentic";
    let mut future = good.to_vec();
    future[4] = 2;
    let elsewhere = Named {
        account: OTHER_ACCOUNT.to_owned(),
        ..context.clone()
    };
    let other_kind = Named {
        kind: "batch".to_owned(),
        ..context.clone()
    };
    let other_branch = Branch {
        account: OTHER_ACCOUNT.to_owned(),
        ..branch()
    };
    let wrong_seed = Branch {
        seed: Hex::of(&counting::<32>(1)),
        ..branch()
    };
    vec![
        same(
            "valid",
            "an object key wrapped for one part of one file",
            "ok",
            good,
        ),
        same("empty", "no bytes at all", "OpenError::Truncated", &[]),
        same(
            "magic-only",
            "nothing follows the magic",
            "OpenError::Truncated",
            &good[..4],
        ),
        same(
            "truncated",
            "the last byte is missing",
            "OpenError::Truncated",
            &good[..good.len() - 1],
        ),
        same(
            "trailing-byte",
            "a byte follows the end",
            "OpenError::TrailingBytes",
            &[good, &[0]].concat(),
        ),
        same(
            "future-version",
            "the header of a later format version",
            "OpenError::FutureVersion",
            &future,
        ),
        same(
            "flipped-magic",
            "one bit of the magic is flipped",
            "OpenError::NotOurs",
            &flipped(good, 0, 0).0,
        ),
        same(
            "flipped-format-version",
            "one bit of the format version is flipped, giving 0",
            "OpenError::NotOurs",
            &flipped(good, 4, 0).0,
        ),
        same(
            "flipped-branch-version",
            "one bit of the branch version is flipped",
            "OpenError::WrongBranch",
            &flipped(good, 8, 1).0,
        ),
        same(
            "flipped-nonce",
            "one bit of the nonce is flipped",
            forged,
            &flipped(good, 9, 3).0,
        ),
        same(
            "flipped-key",
            "one bit of the wrapped key is flipped",
            forged,
            &flipped(good, 33, 0).0,
        ),
        same(
            "flipped-tag",
            "one bit of the tag is flipped",
            forged,
            &flipped(good, 80, 7).0,
        ),
        case(
            "moved-to-another-id",
            "the wrap is moved to another object",
            forged,
            branch(),
            named("file-2", 1),
            good,
        ),
        case(
            "moved-to-another-part",
            "the wrap is moved to another part",
            forged,
            branch(),
            named("file-1", 2),
            good,
        ),
        case(
            "moved-to-another-kind",
            "the wrap is moved to another kind",
            forged,
            branch(),
            other_kind,
            good,
        ),
        case(
            "moved-to-another-account",
            "the wrap is moved to another account, and to its branch key",
            forged,
            other_branch,
            elsewhere.clone(),
            good,
        ),
        case(
            "context-of-another-account",
            "the context names another account than the branch key",
            "OpenError::WrongAccount",
            branch(),
            elsewhere,
            good,
        ),
        case(
            "wrong-key",
            "the branch key comes from another seed",
            forged,
            wrong_seed,
            context.clone(),
            good,
        ),
        case(
            "another-branch-version",
            "the branch key has another version than the wrap names",
            "OpenError::WrongBranch",
            Branch {
                version: 2,
                ..branch()
            },
            context,
            good,
        ),
    ]
}

fn contexts() -> Vec<(String, Vector)> {
    let case = |name, description, expect: &str, context: Named| {
        let encoded =
            |purpose| (expect == "ok").then(|| Hex::of(&context.context().unwrap().encode(purpose)));
        let (object_key, record, blob) = (
            encoded(Purpose::ObjectKey),
            encoded(Purpose::Record),
            encoded(Purpose::Blob),
        );
        vector(
            "context",
            name,
            description,
            expect,
            Case::EncodeContext {
                context,
                object_key,
                record,
                blob,
            },
        )
    };
    let kind = |kind: &str| Named {
        kind: kind.to_owned(),
        ..named("file-1", 1)
    };
    vec![
        case(
            "valid",
            "the encodings of one context for its three uses",
            "ok",
            named("file-1", 1),
        ),
        case(
            "longest",
            "the longest kind and id",
            "ok",
            Named {
                kind: "k".repeat(64),
                ..named(&"i".repeat(255), u32::MAX)
            },
        ),
        case(
            "empty-kind",
            "a kind is never empty",
            "ContextError::Kind",
            kind(""),
        ),
        case(
            "long-kind",
            "a kind has at most 64 bytes",
            "ContextError::Kind",
            kind(&"k".repeat(65)),
        ),
        case(
            "kind-in-capitals",
            "a kind has no capital letters",
            "ContextError::Kind",
            kind("File"),
        ),
        case(
            "empty-id",
            "an id is never empty",
            "ContextError::Id",
            named("", 1),
        ),
        case(
            "long-id",
            "an id has at most 255 bytes",
            "ContextError::Id",
            named(&"i".repeat(256), 1),
        ),
        case(
            "id-with-a-space",
            "an id has no spaces",
            "ContextError::Id",
            named("file 1", 1),
        ),
        case(
            "id-beyond-ascii",
            "an id is ASCII",
            "ContextError::Id",
            named("fil\u{e9}", 1),
        ),
    ]
}

fn records() -> Vec<(String, Vector)> {
    let context = named("file-1", 0);
    let plain = br#"{"filename":"notes.txt"}"#;
    let seal = |plain: &[u8]| {
        let key = ObjectKey::from_secret(secret(&object_key()));
        key.seal_record_with_nonce(&context.context().unwrap(), plain, &counting(0xc0))
            .unwrap()
    };
    let good = seal(plain);
    let case = |name, description, expect: &str, object_key, context, record: &[u8], plain: &[u8]| {
        let plaintext = (expect == "ok").then(|| Hex::of(plain));
        let case = Case::OpenRecord {
            object_key,
            context,
            record: Hex::of(record),
            plaintext,
        };
        vector("record", name, description, expect, case)
    };
    let same = |name, description, expect, record: &[u8]| {
        case(
            name,
            description,
            expect,
            object_key(),
            context.clone(),
            record,
            plain,
        )
    };
    let forged = "OpenError::NotAuthentic";
    let mut future = good.clone();
    future[4] = 2;
    let last = good.len() - 1;
    let elsewhere = Named {
        account: OTHER_ACCOUNT.to_owned(),
        ..context.clone()
    };
    vec![
        same("valid", "a record of some JSON", "ok", &good),
        case(
            "valid-empty",
            "an empty record",
            "ok",
            object_key(),
            context.clone(),
            &seal(b""),
            b"",
        ),
        same(
            "magic-only",
            "nothing follows the magic",
            "OpenError::Truncated",
            &good[..4],
        ),
        same(
            "no-room-for-a-tag",
            "shorter than header, nonce and tag",
            "OpenError::Truncated",
            &good[..44],
        ),
        same("truncated", "the last byte is missing", forged, &good[..last]),
        same(
            "trailing-byte",
            "a byte follows the end",
            forged,
            &[good.as_slice(), &[0]].concat(),
        ),
        same(
            "future-version",
            "the header of a later format version",
            "OpenError::FutureVersion",
            &future,
        ),
        same(
            "flipped-magic",
            "one bit of the magic is flipped",
            "OpenError::NotOurs",
            &flipped(&good, 3, 0).0,
        ),
        same(
            "flipped-format-version",
            "one bit of the format version is flipped, giving 0",
            "OpenError::NotOurs",
            &flipped(&good, 4, 0).0,
        ),
        same(
            "flipped-derivation-nonce",
            "one bit of the half of the nonce that derives the key is flipped",
            forged,
            &flipped(&good, 5, 0).0,
        ),
        same(
            "flipped-message-nonce",
            "one bit of the other half of the nonce is flipped",
            forged,
            &flipped(&good, 17, 0).0,
        ),
        same(
            "flipped-content",
            "one bit of the content is flipped",
            forged,
            &flipped(&good, 29, 0).0,
        ),
        same(
            "flipped-tag",
            "one bit of the tag is flipped",
            forged,
            &flipped(&good, last, 0).0,
        ),
        case(
            "wrong-key",
            "another object key",
            forged,
            Hex::of(&counting::<32>(0x41)),
            context.clone(),
            &good,
            plain,
        ),
        case(
            "moved-to-another-id",
            "the record is moved to another object",
            forged,
            object_key(),
            named("file-2", 0),
            &good,
            plain,
        ),
        case(
            "moved-to-another-account",
            "the record is moved to another account",
            forged,
            object_key(),
            elsewhere,
            &good,
            plain,
        ),
        case(
            "wrapped-key-in-its-place",
            "a wrapped key where a record should be",
            "OpenError::NotOurs",
            object_key(),
            context.clone(),
            b"SRwk\x01",
            plain,
        ),
    ]
}

fn key_ids() -> Vec<(String, Vector)> {
    const CONFIGURED: &str = "https://team.vault.azure.net/keys/customer-key";
    let admit = |name, description, expect, text: &str| {
        let case = Case::AdmitKeyId {
            text: text.to_owned(),
            configured: CONFIGURED.to_owned(),
        };
        vector("key-id", name, description, expect, case)
    };
    let parse = |name, description, expect, text: &str| {
        vector(
            "key-id",
            name,
            description,
            expect,
            Case::ParseKeyId {
                text: text.to_owned(),
            },
        )
    };
    let foreign = "KeyIdError::Foreign";
    vec![
        admit(
            "valid",
            "a version of the configured key",
            "ok",
            "https://team.vault.azure.net/keys/customer-key/0123456789abcdef0123456789abcdef",
        ),
        admit(
            "valid-in-capitals",
            "letter case of the host and port 443 make no difference",
            "ok",
            "https://TEAM.vault.azure.net:443/keys/customer-key/1",
        ),
        admit(
            "foreign-vault",
            "a key of the same name in another vault",
            foreign,
            "https://evil.vault.azure.net/keys/customer-key/1",
        ),
        admit(
            "foreign-name",
            "another key of the same vault",
            foreign,
            "https://team.vault.azure.net/keys/other-key/1",
        ),
        admit(
            "foreign-port",
            "the same host on another port",
            foreign,
            "https://team.vault.azure.net:8443/keys/customer-key/1",
        ),
        parse(
            "not-https",
            "plain HTTP",
            "KeyIdError::NotHttps",
            "http://team.vault.azure.net/keys/customer-key/1",
        ),
        parse(
            "user-in-host",
            "a user name before the host",
            "KeyIdError::Host",
            "https://team.vault.azure.net@evil.example/keys/customer-key/1",
        ),
        parse(
            "fragment-in-host",
            "a fragment that hides the true host",
            "KeyIdError::Host",
            "https://evil.example#.vault.azure.net/keys/customer-key/1",
        ),
        parse(
            "no-version",
            "a key without a version",
            "KeyIdError::Path",
            CONFIGURED,
        ),
        parse(
            "a-secret",
            "not a key",
            "KeyIdError::Path",
            "https://team.vault.azure.net/secrets/customer-key/1",
        ),
        parse(
            "climbing-name",
            "dots for a name",
            "KeyIdError::Name",
            "https://team.vault.azure.net/keys/../1",
        ),
        parse(
            "trailing-bytes",
            "a query follows the version",
            "KeyIdError::Version",
            "https://team.vault.azure.net/keys/customer-key/1?x",
        ),
        parse(
            "too-long",
            "longer than any identifier",
            "KeyIdError::TooLong",
            &format!("{CONFIGURED}/{}", "1".repeat(512)),
        ),
    ]
}

fn exports() -> Vec<(String, Vector)> {
    let context = named("file-1", 1);
    let export = ObjectKey::from_secret(secret(&object_key())).export(&context.context().unwrap());
    let case = Case::ExportBlobKey {
        object_key: object_key(),
        keyset: serde_json::from_str(export.json()).unwrap(),
        associated_data: Hex::of(export.associated_data()),
        context,
    };
    vec![vector(
        "export",
        "valid",
        "the Tink keyset and the associated data that open one blob",
        "ok",
        case,
    )]
}
