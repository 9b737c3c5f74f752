//! What the vaults' engine did not do, in the words of Azure's Resource Manager.

use strongroom_azure::ErrorStatus;
use strongroom_vault::VaultFault;

/// Status and code that clients know it by.
pub(crate) fn status_and_code(fault: &VaultFault) -> (ErrorStatus, &'static str) {
    match fault {
        VaultFault::NoSuchVault(_) => (ErrorStatus::NOT_FOUND, "VaultNotFound"),
        VaultFault::VaultName(_) => (ErrorStatus::BAD_REQUEST, "VaultNameNotValid"),
        VaultFault::VaultExists(_) => (ErrorStatus::CONFLICT, "VaultAlreadyExists"),
        VaultFault::VaultHeld(_) | VaultFault::KeyExists(_) | VaultFault::NameHeld(_) => {
            (ErrorStatus::CONFLICT, "ConflictError")
        }
        VaultFault::PurgeProtected => (ErrorStatus::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        VaultFault::KeyNotFound(_) => (ErrorStatus::NOT_FOUND, "KeyNotFound"),
        VaultFault::Unusable | VaultFault::Database(_) | VaultFault::Library => {
            (ErrorStatus::INTERNAL, "InternalServerError")
        }
        VaultFault::Closed => (ErrorStatus::UNAVAILABLE, "ServiceUnavailable"),
        _ => (ErrorStatus::BAD_REQUEST, "BadRequest"),
    }
}

/// The sentence for people.
pub(crate) fn message(fault: &VaultFault) -> String {
    match fault {
        VaultFault::VaultName(name) => format!(
            "The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name must \
             begin with a letter, end with a letter or digit, and not contain consecutive hyphens."
        ),
        VaultFault::VaultExists(name) => format!(
            "The vault name '{name}' is already in use. Vault names are globally unique so it is possible that the name is \
             already taken."
        ),
        VaultFault::VaultHeld(_) => {
            "A vault with the same name already exists in deleted state. You need to either recover \
             or purge existing key vault."
                .to_owned()
        }
        VaultFault::PurgeProtected => "Operation 'DeletedVaultPurge' is not allowed.".to_owned(),
        _ => {
            let text = fault.to_string();
            let mut letters = text.chars();
            let first = letters.next().map(|first| first.to_uppercase().to_string());
            format!("{}{}.", first.unwrap_or_default(), letters.as_str())
        }
    }
}
