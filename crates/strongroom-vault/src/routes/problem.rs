//! From what went wrong to what the client is told: the one place that maps it.

use std::net::IpAddr;

use http::StatusCode;
use strongroom_azure::{ApiVersionError, ErrorStatus, Problem};

use crate::access::{Caller, KeyAction};
use crate::audit::AuditError;
use crate::engine::fault::VaultFault;
use crate::engine::settings::VaultSettings;
use crate::policy::KeyPermission;
use crate::routes::path::PathFault;

/// The request is not one that can be understood.
pub(super) fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(ErrorStatus::BAD_REQUEST, "BadParameter", message)
}

/// The token is missing or not acceptable. Which check failed is for the log alone.
pub(super) fn unauthorized(reason: &str) -> Problem {
    Problem::new(ErrorStatus::UNAUTHORIZED, "Unauthorized", reason)
}

/// No role allows it.
pub(super) fn forbidden_by_rbac(
    caller: &Caller,
    vault: &VaultSettings,
    key: &str,
    action: KeyAction,
) -> Problem {
    let resource = if key.is_empty() {
        vault.resource_id.clone()
    } else {
        format!("{}/keys/{key}", vault.resource_id)
    };
    let message = format!(
        "Caller is not authorized to perform action on resource.\r\nCaller: {}\r\n\
         Action: '{}'\r\nResource: '{resource}'\r\nAssignment: (not found)\r\nVault: {}",
        named(caller),
        action.data_action(),
        placed(vault),
    );
    forbidden(message).with_inner("ForbiddenByRbac")
}

/// No access policy allows it.
pub(super) fn forbidden_by_policy(
    caller: &Caller,
    vault: &VaultSettings,
    permission: KeyPermission,
) -> Problem {
    let message = format!(
        "The user, group or application '{}' does not have keys {} permission on key vault '{}'.",
        named(caller),
        permission.name(),
        placed(vault),
    );
    forbidden(message).with_inner("AccessDenied")
}

/// No firewall rule lets the address through.
pub(super) fn forbidden_by_firewall(
    caller: &Caller,
    vault: &VaultSettings,
    address: Option<IpAddr>,
) -> Problem {
    let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let message = format!(
        "Client address is not authorized and caller is not a trusted service.\r\nClient address: {address}\r\n\
         Caller: {}\r\nVault: {}",
        named(caller),
        placed(vault),
    );
    forbidden(message).with_inner("ForbiddenByFirewall")
}

/// The vault is not to be asked over the network.
pub(super) fn forbidden_by_connection(caller: &Caller, vault: &VaultSettings) -> Problem {
    let message = format!(
        "Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\n\
         Caller: {}\r\nVault: {}",
        named(caller),
        placed(vault),
    );
    forbidden(message).with_inner("ForbiddenByConnection")
}

/// The limits leave no room now.
pub(super) fn throttled(retry_after: u64) -> Problem {
    let message = "Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached";
    Problem::new(ErrorStatus::TOO_MANY_REQUESTS, "Throttled", message)
        .with_inner("VaultRequestTypeLimitReached")
        .with_retry_after(retry_after)
}

/// A caller, as refusals name it.
fn named(caller: &Caller) -> String {
    let app = caller.app_id.as_deref().unwrap_or("none");
    format!("appid={app};oid={};iss={}", caller.object_id, caller.issuer)
}

/// A vault, as refusals name it.
fn placed(vault: &VaultSettings) -> String {
    format!("{};location={}", vault.name, vault.location)
}

/// The body did not come.
pub(super) fn body_too_slow() -> Problem {
    let status = ErrorStatus::new(StatusCode::REQUEST_TIMEOUT).unwrap_or(ErrorStatus::BAD_REQUEST);
    Problem::new(
        status,
        "RequestTimeout",
        "The request's body did not arrive in time.",
    )
}

/// Which version of the protocol is meant is not clear.
pub(super) fn api_version(error: ApiVersionError) -> Problem {
    bad_request(sentence(&error.to_string()))
}

/// An api-version from before those that are served.
pub(super) fn old_api_version(version: &str) -> Problem {
    bad_request(format!(
        "The specified api-version ({version}) is not supported. Use 7.0 or a later one."
    ))
}

/// A path that leads nowhere.
pub(super) fn path(fault: PathFault) -> Problem {
    match fault {
        PathFault::Unknown => Problem::new(
            ErrorStatus::NOT_FOUND,
            "ResourceNotFound",
            "This vault serves nothing at this path.",
        ),
        PathFault::Method => Problem::new(
            ErrorStatus::METHOD_NOT_ALLOWED,
            "HttpMethodNotAllowed",
            "This vault does not serve this method at this path.",
        ),
        PathFault::Name => bad_request("A key's name has 1 to 127 letters, digits and hyphens."),
        PathFault::Version => bad_request("A key's version has letters and digits only."),
        PathFault::Attestation => bad_request("A key of this vault has no attestation: it is not in an HSM."),
    }
}

/// What the engine did not do.
pub(super) fn fault(fault: VaultFault) -> Problem {
    let message = sentence(&fault.to_string());
    match fault {
        VaultFault::NoSuchVault(_) => Problem::new(ErrorStatus::NOT_FOUND, "VaultNotFound", message),
        VaultFault::KeyNotFound(_) => Problem::new(
            ErrorStatus::NOT_FOUND,
            "KeyNotFound",
            format!("{message} If it was deleted a short while ago, it may be recoverable."),
        ),
        VaultFault::VaultExists(_) => Problem::new(ErrorStatus::CONFLICT, "VaultAlreadyExists", message),
        VaultFault::KeyExists(_) => Problem::new(ErrorStatus::CONFLICT, "Conflict", message),
        VaultFault::VaultHeld(_) => Problem::new(ErrorStatus::CONFLICT, "VaultAlreadyExists", message),
        VaultFault::NameHeld(_) => Problem::new(ErrorStatus::CONFLICT, "Conflict", message)
            .with_inner("ObjectIsDeletedButRecoverable"),
        VaultFault::Disabled(_) => forbidden(message).with_inner("KeyDisabled"),
        VaultFault::NotYetValid(_) => forbidden(message).with_inner("KeyNotYetValid"),
        VaultFault::Expired(_) => forbidden(message).with_inner("KeyExpired"),
        VaultFault::NotPermitted(_) | VaultFault::PurgeProtected | VaultFault::NotExportable => {
            forbidden(message)
        }
        VaultFault::BadParameter(_)
        | VaultFault::VaultName(_)
        | VaultFault::Fixed(_)
        | VaultFault::TooMany(_)
        | VaultFault::WrongLength
        | VaultFault::WrongAlgorithm
        | VaultFault::NotAuthentic
        | VaultFault::NotAKey
        | VaultFault::ForeignBackup => bad_request(message),
        VaultFault::Unusable | VaultFault::Database(_) | VaultFault::Library => {
            tracing::error!(%fault, "the vault failed");
            Problem::new(
                ErrorStatus::INTERNAL,
                "InternalServerError",
                "The vault could not complete the operation.",
            )
        }
        VaultFault::Closed => unavailable(),
    }
}

/// The operation could not be recorded.
pub(super) fn not_recorded(error: &AuditError) -> Problem {
    tracing::error!(%error, "an operation could not be recorded; its answer is withheld");
    unavailable()
}

fn forbidden(message: String) -> Problem {
    Problem::new(ErrorStatus::FORBIDDEN, "Forbidden", message)
}

fn unavailable() -> Problem {
    let message = "The vault cannot serve the request now. Try again.";
    Problem::new(ErrorStatus::UNAVAILABLE, "ServiceUnavailable", message).with_retry_after(1)
}

/// Our messages as sentences: a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::KeyOperation;

    #[test]
    fn each_fault_has_its_status_and_codes() {
        let unwrap = KeyOperation::UnwrapKey;
        for (asked, status, code, inner) in [
            (VaultFault::KeyNotFound("k".to_owned()), 404, "KeyNotFound", None),
            (
                VaultFault::NoSuchVault("v".to_owned()),
                404,
                "VaultNotFound",
                None,
            ),
            (
                VaultFault::VaultExists("v".to_owned()),
                409,
                "VaultAlreadyExists",
                None,
            ),
            (
                VaultFault::NameHeld("k".to_owned()),
                409,
                "Conflict",
                Some("ObjectIsDeletedButRecoverable"),
            ),
            (
                VaultFault::Disabled(unwrap),
                403,
                "Forbidden",
                Some("KeyDisabled"),
            ),
            (
                VaultFault::NotYetValid(unwrap),
                403,
                "Forbidden",
                Some("KeyNotYetValid"),
            ),
            (VaultFault::Expired(unwrap), 403, "Forbidden", Some("KeyExpired")),
            (VaultFault::NotPermitted(unwrap), 403, "Forbidden", None),
            (VaultFault::PurgeProtected, 403, "Forbidden", None),
            (VaultFault::BadParameter("p"), 400, "BadParameter", None),
            (VaultFault::TooMany("p"), 400, "BadParameter", None),
            (VaultFault::WrongLength, 400, "BadParameter", None),
            (VaultFault::NotAuthentic, 400, "BadParameter", None),
            (VaultFault::WrongAlgorithm, 400, "BadParameter", None),
            (VaultFault::NotAKey, 400, "BadParameter", None),
            (VaultFault::ForeignBackup, 400, "BadParameter", None),
            (VaultFault::KeyExists("k".to_owned()), 409, "Conflict", None),
            (VaultFault::NotExportable, 403, "Forbidden", None),
            (VaultFault::Unusable, 500, "InternalServerError", None),
            (VaultFault::Library, 500, "InternalServerError", None),
            (VaultFault::Closed, 503, "ServiceUnavailable", None),
        ] {
            let problem = fault(asked);
            let body = problem.body();
            assert_eq!(problem.status().code().as_u16(), status);
            assert_eq!((body.error.code.as_str(), body.inner_code()), (code, inner));
        }
    }

    #[test]
    fn what_is_for_the_log_is_not_told_to_the_client() {
        let problem = fault(VaultFault::Database("disk I/O error at /secret/path".to_owned()));
        assert!(!problem.to_string().contains("secret"));
        let problem = not_recorded(&AuditError::Failed("/secret/path".to_owned()));
        assert!(!problem.to_string().contains("secret"));
    }

    #[test]
    fn a_refusal_says_which_operation_was_refused() {
        let problem = fault(VaultFault::Disabled(KeyOperation::UnwrapKey));
        assert_eq!(
            problem.body().error.message,
            "Operation unwrapKey is not allowed on a disabled key."
        );
    }
}
