//! From a method and a path to an operation: the one table of what is served.

use http::Method;

use crate::access::KeyAction;
use crate::limits::{MAX_BODY, MAX_KEY_NAME, MAX_KEY_VERSION, MAX_RESTORE_BODY};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    BackupKey,
    CreateKey,
    Decrypt,
    DeleteKey,
    Encrypt,
    GetDeletedKey,
    GetKey,
    GetRotationPolicy,
    ImportKey,
    ListDeletedKeys,
    ListKeys,
    ListVersions,
    PurgeKey,
    Random,
    RecoverKey,
    ReleaseKey,
    RestoreKey,
    RotateKey,
    SetRotationPolicy,
    Sign,
    UnwrapKey,
    UpdateKey,
    Verify,
    WrapKey,
}

impl Operation {
    /// The permission it needs. Azure has none of its own for random bytes, which tell nothing: they go with reading.
    pub(crate) const fn action(self) -> KeyAction {
        match self {
            Self::BackupKey => KeyAction::Backup,
            Self::CreateKey => KeyAction::Create,
            Self::Decrypt => KeyAction::Decrypt,
            Self::DeleteKey => KeyAction::Delete,
            Self::Encrypt => KeyAction::Encrypt,
            Self::GetDeletedKey
            | Self::GetKey
            | Self::ListDeletedKeys
            | Self::ListKeys
            | Self::ListVersions
            | Self::Random => KeyAction::Read,
            Self::GetRotationPolicy => KeyAction::ReadRotationPolicy,
            Self::ImportKey => KeyAction::Import,
            Self::PurgeKey => KeyAction::Purge,
            Self::RecoverKey => KeyAction::Recover,
            Self::ReleaseKey => KeyAction::Release,
            Self::RestoreKey => KeyAction::Restore,
            Self::RotateKey => KeyAction::Rotate,
            Self::SetRotationPolicy => KeyAction::WriteRotationPolicy,
            Self::Sign => KeyAction::Sign,
            Self::UnwrapKey => KeyAction::Unwrap,
            Self::UpdateKey => KeyAction::Update,
            Self::Verify => KeyAction::Verify,
            Self::WrapKey => KeyAction::Wrap,
        }
    }

    /// Its name in the audit log.
    pub(crate) const fn audit_name(self) -> &'static str {
        match self {
            Self::BackupKey => "KeyBackup",
            Self::CreateKey => "KeyCreate",
            Self::Decrypt => "KeyDecrypt",
            Self::DeleteKey => "KeyDelete",
            Self::Encrypt => "KeyEncrypt",
            Self::GetDeletedKey => "KeyGetDeleted",
            Self::GetKey => "KeyGet",
            Self::GetRotationPolicy => "KeyRotationPolicyGet",
            Self::ImportKey => "KeyImport",
            Self::ListDeletedKeys => "KeyListDeleted",
            Self::ListKeys => "KeyList",
            Self::ListVersions => "KeyListVersions",
            Self::PurgeKey => "KeyPurge",
            Self::Random => "RandomBytesGet",
            Self::RecoverKey => "KeyRecover",
            Self::ReleaseKey => "KeyRelease",
            Self::RestoreKey => "KeyRestore",
            Self::RotateKey => "KeyRotate",
            Self::SetRotationPolicy => "KeyRotationPolicySet",
            Self::Sign => "KeySign",
            Self::UnwrapKey => "KeyUnwrap",
            Self::UpdateKey => "KeyUpdate",
            Self::Verify => "KeyVerify",
            Self::WrapKey => "KeyWrap",
        }
    }

    /// How much of a body it takes; `None` if its requests have none, or none that is read.
    pub(crate) const fn longest_body(self) -> Option<usize> {
        match self {
            Self::RestoreKey => Some(MAX_RESTORE_BODY),
            Self::CreateKey
            | Self::Decrypt
            | Self::Encrypt
            | Self::ImportKey
            | Self::Random
            | Self::SetRotationPolicy
            | Self::Sign
            | Self::UnwrapKey
            | Self::UpdateKey
            | Self::Verify
            | Self::WrapKey => Some(MAX_BODY),
            Self::BackupKey
            | Self::DeleteKey
            | Self::GetDeletedKey
            | Self::GetKey
            | Self::GetRotationPolicy
            | Self::ListDeletedKeys
            | Self::ListKeys
            | Self::ListVersions
            | Self::PurgeKey
            | Self::RecoverKey
            | Self::ReleaseKey
            | Self::RotateKey => None,
        }
    }
}

/// An operation with the key it is about; `name` is empty where no one key is meant, an empty version in the path means the latest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) operation: Operation,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

/// The path leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathFault {
    /// Nothing is served there.
    Unknown,
    /// Something is, but not by this method.
    Method,
    /// The key's name is not acceptable.
    Name,
    /// The key's version is not acceptable.
    Version,
    /// An HSM would vouch for a key, and there is none.
    Attestation,
}

impl Target {
    /// Reads a path. Empty segments count where a version may stand, and are ignored at both ends.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, PathFault> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (collection, rest) = segments.split_first().ok_or(PathFault::Unknown)?;
        if collection.eq_ignore_ascii_case("keys") {
            below_keys(method, rest)
        } else if collection.eq_ignore_ascii_case("deletedkeys") {
            below_deleted(method, rest)
        } else if collection.eq_ignore_ascii_case("rng") && rest.is_empty() {
            match *method {
                Method::POST => Ok(Self::all(Operation::Random)),
                _ => Err(PathFault::Method),
            }
        } else {
            Err(PathFault::Unknown)
        }
    }

    fn of(operation: Operation, name: &str, version: Option<&str>) -> Result<Self, PathFault> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if name.is_empty() || name.len() > MAX_KEY_NAME || !name.bytes().all(is_name) {
            return Err(PathFault::Name);
        }
        let version = version.filter(|version| !version.is_empty());
        if version.is_some_and(|v| v.len() > MAX_KEY_VERSION || !v.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(PathFault::Version);
        }
        Ok(Self {
            operation,
            name: name.to_owned(),
            version: version.map(ToOwned::to_owned),
        })
    }

    const fn all(operation: Operation) -> Self {
        Self {
            operation,
            name: String::new(),
            version: None,
        }
    }
}

fn below_keys(method: &Method, rest: &[&str]) -> Result<Target, PathFault> {
    match (method, rest) {
        (&Method::GET, []) => Ok(Target::all(Operation::ListKeys)),
        (_, []) => Err(PathFault::Method),
        (&Method::GET, [name, verb]) if verb.eq_ignore_ascii_case("versions") => {
            Target::of(Operation::ListVersions, name, None)
        }
        (&Method::GET, [name, verb]) if verb.eq_ignore_ascii_case("rotationpolicy") => {
            Target::of(Operation::GetRotationPolicy, name, None)
        }
        (&Method::PUT, [name, verb]) if verb.eq_ignore_ascii_case("rotationpolicy") => {
            Target::of(Operation::SetRotationPolicy, name, None)
        }
        (&Method::GET, [_, _, verb]) if verb.eq_ignore_ascii_case("attestation") => {
            Err(PathFault::Attestation)
        }
        (&Method::PUT, [name]) => Target::of(Operation::ImportKey, name, None),
        (&Method::POST, [verb]) if verb.eq_ignore_ascii_case("restore") => {
            Ok(Target::all(Operation::RestoreKey))
        }
        (&Method::GET, [name]) => Target::of(Operation::GetKey, name, None),
        (&Method::GET, [name, version]) => Target::of(Operation::GetKey, name, Some(version)),
        (&Method::PATCH, [name]) => Target::of(Operation::UpdateKey, name, None),
        (&Method::PATCH, [name, version]) => Target::of(Operation::UpdateKey, name, Some(version)),
        (&Method::DELETE, [name]) => Target::of(Operation::DeleteKey, name, None),
        (&Method::POST, [name, verb]) => posted(name, None, verb),
        (&Method::POST, [name, version, verb]) => posted(name, Some(version), verb),
        (_, [_] | [_, _] | [_, _, _]) => Err(PathFault::Method),
        _ => Err(PathFault::Unknown),
    }
}

/// Operations are written in lower case by some clients and in mixed case by others.
fn posted(name: &str, version: Option<&str>, verb: &str) -> Result<Target, PathFault> {
    let operation = match (verb.to_ascii_lowercase().as_str(), version) {
        ("backup", None) => Operation::BackupKey,
        ("create", None) => Operation::CreateKey,
        ("decrypt", _) => Operation::Decrypt,
        ("encrypt", _) => Operation::Encrypt,
        ("release", _) => Operation::ReleaseKey,
        ("rotate", None) => Operation::RotateKey,
        ("sign", _) => Operation::Sign,
        ("unwrapkey", _) => Operation::UnwrapKey,
        ("verify", _) => Operation::Verify,
        ("wrapkey", _) => Operation::WrapKey,
        _ => return Err(PathFault::Unknown),
    };
    Target::of(operation, name, version)
}

fn below_deleted(method: &Method, rest: &[&str]) -> Result<Target, PathFault> {
    match (method, rest) {
        (&Method::GET, []) => Ok(Target::all(Operation::ListDeletedKeys)),
        (&Method::GET, [name]) => Target::of(Operation::GetDeletedKey, name, None),
        (&Method::DELETE, [name]) => Target::of(Operation::PurgeKey, name, None),
        (&Method::POST, [name, verb]) if verb.eq_ignore_ascii_case("recover") => {
            Target::of(Operation::RecoverKey, name, None)
        }
        (_, [] | [_]) => Err(PathFault::Method),
        _ => Err(PathFault::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(method: Method, path: &str) -> Parsed {
        Target::parse(&method, path).map(|target| (target.operation, target.name, target.version))
    }

    type Parsed = Result<(Operation, String, Option<String>), PathFault>;

    fn key(operation: Operation, version: &str) -> Parsed {
        let version = Some(version.to_owned()).filter(|version| !version.is_empty());
        Ok((operation, "N".to_owned(), version))
    }

    fn all(operation: Operation) -> Parsed {
        Ok((operation, String::new(), None))
    }

    #[test]
    fn each_path_of_the_later_operations_leads_to_its_operation() {
        for (method, path, expected) in [
            (Method::POST, "/keys/N/encrypt", key(Operation::Encrypt, "")),
            (
                Method::POST,
                "/keys/N/ab12/decrypt",
                key(Operation::Decrypt, "ab12"),
            ),
            (Method::POST, "/keys/N/ab12/sign", key(Operation::Sign, "ab12")),
            (
                Method::POST,
                "/keys/N/ab12/verify",
                key(Operation::Verify, "ab12"),
            ),
            (Method::POST, "/keys/N//release", key(Operation::ReleaseKey, "")),
            (Method::PUT, "/keys/N", key(Operation::ImportKey, "")),
            (Method::POST, "/keys/N/backup", key(Operation::BackupKey, "")),
            (Method::POST, "/keys/restore", all(Operation::RestoreKey)),
            (
                Method::GET,
                "//keys/N/rotationpolicy",
                key(Operation::GetRotationPolicy, ""),
            ),
            (
                Method::PUT,
                "/keys/N/rotationPolicy",
                key(Operation::SetRotationPolicy, ""),
            ),
            (Method::POST, "/rng", all(Operation::Random)),
        ] {
            assert_eq!(parse(method, path), expected, "{path}");
        }
    }

    #[test]
    fn each_path_that_clients_send_leads_to_its_operation() {
        for (method, path, expected) in [
            (Method::POST, "/keys/N/create", key(Operation::CreateKey, "")),
            (Method::GET, "/keys/N", key(Operation::GetKey, "")),
            (Method::GET, "/keys/N/", key(Operation::GetKey, "")),
            (Method::GET, "/keys/N/ab12", key(Operation::GetKey, "ab12")),
            (Method::GET, "//keys/N/ab12", key(Operation::GetKey, "ab12")),
            (Method::GET, "/keys", all(Operation::ListKeys)),
            (Method::GET, "/keys/", all(Operation::ListKeys)),
            (Method::GET, "/keys/N/versions", key(Operation::ListVersions, "")),
            (Method::POST, "/keys/N/rotate", key(Operation::RotateKey, "")),
            (Method::PATCH, "/keys/N/", key(Operation::UpdateKey, "")),
            (Method::PATCH, "/keys/N/ab12", key(Operation::UpdateKey, "ab12")),
            (
                Method::POST,
                "/keys/N/ab12/wrapkey",
                key(Operation::WrapKey, "ab12"),
            ),
            (Method::POST, "/keys/N//wrapkey", key(Operation::WrapKey, "")),
            (Method::POST, "/keys/N/wrapKey", key(Operation::WrapKey, "")),
            (
                Method::POST,
                "/Keys/N/ab12/unwrapKey",
                key(Operation::UnwrapKey, "ab12"),
            ),
            (Method::POST, "/keys/N//UNWRAPKEY", key(Operation::UnwrapKey, "")),
            (Method::DELETE, "/keys/N", key(Operation::DeleteKey, "")),
            (Method::GET, "/deletedkeys", all(Operation::ListDeletedKeys)),
            (Method::GET, "/deletedkeys/N", key(Operation::GetDeletedKey, "")),
            (
                Method::POST,
                "/deletedkeys/N/recover",
                key(Operation::RecoverKey, ""),
            ),
            (Method::DELETE, "/deletedkeys/N", key(Operation::PurgeKey, "")),
        ] {
            assert_eq!(parse(method, path), expected, "{path}");
        }
    }

    #[test]
    fn other_paths_methods_and_names_are_told_apart() {
        for (method, path, expected) in [
            (Method::GET, "/", PathFault::Unknown),
            (Method::GET, "/keys/cmk/abc/attestation", PathFault::Attestation),
            (Method::GET, "/secrets/N", PathFault::Unknown),
            (Method::POST, "/keys/N/sing", PathFault::Unknown),
            (Method::POST, "/keys/N/ab12/create", PathFault::Unknown),
            (Method::GET, "/keys/N/ab12/x/y", PathFault::Unknown),
            (Method::PUT, "/keys/N/ab12", PathFault::Method),
            (Method::POST, "/keys/N", PathFault::Method),
            (Method::GET, "/rng", PathFault::Method),
            (Method::POST, "/rng/x", PathFault::Unknown),
            (Method::POST, "/keys/N/ab12/backup", PathFault::Unknown),
            (Method::DELETE, "/keys/N/ab12", PathFault::Method),
            (Method::POST, "/deletedkeys/N", PathFault::Method),
            (Method::GET, "/keys//ab12", PathFault::Name),
            (Method::GET, "/keys/..", PathFault::Name),
            (Method::GET, "/keys/%2e%2e", PathFault::Name),
            (Method::GET, "/keys/a_b", PathFault::Name),
            (Method::GET, "/keys/N/..", PathFault::Version),
            (Method::GET, "/keys/N/ab%2F12", PathFault::Version),
        ] {
            assert_eq!(parse(method, path), Err(expected), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_brings_a_name_or_version_with_other_characters(path in "/(keys|deletedkeys)(/[ -~]{0,12}){0,4}") {
            for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
                if let Ok(target) = Target::parse(&method, &path) {
                    prop_assert!(target.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
                    let version = target.version.unwrap_or_default();
                    prop_assert!(version.bytes().all(|b| b.is_ascii_alphanumeric()));
                }
            }
        }

        #[test]
        fn any_text_is_read_without_harm(path in "\\PC{0,80}") {
            let _ = Target::parse(&Method::GET, &path);
        }
    }
}
