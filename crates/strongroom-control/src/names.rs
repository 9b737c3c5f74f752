//! What things may be called.

use crate::error::ControlError;
use crate::limits::{DEPLOYMENT_NAME, HOST_LABEL, IDENTITY_NAME, LABEL};

/// A name that is also a host's: letters, digits and hyphens, not at either end.
pub(crate) fn host_label(what: &'static str, name: &str) -> Result<(), ControlError> {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let fits = HOST_LABEL.contains(&name.len()) && name.starts_with(ends) && name.ends_with(ends);
    check(what, name, fits, b"-")
}

/// A resource group or a region.
pub(crate) fn label(what: &'static str, name: &str) -> Result<(), ControlError> {
    let fits = LABEL.contains(&name.len()) && !name.ends_with('.');
    check(what, name, fits, b"-_.()")
}

/// A deployment: often the model's own name, which may have slashes and colons.
pub(crate) fn deployment(name: &str) -> Result<(), ControlError> {
    let fits = DEPLOYMENT_NAME.contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    check("deployment", name, fits, b"-_.:/@+")
}

/// A user-assigned identity.
pub(crate) fn identity(name: &str) -> Result<(), ControlError> {
    let fits = IDENTITY_NAME.contains(&name.len()) && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    check("identity", name, fits, b"-_")
}

fn check(what: &'static str, name: &str, fits: bool, beside: &[u8]) -> Result<(), ControlError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || beside.contains(&byte);
    if fits && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(ControlError::BadName {
            what,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_deployments_and_groups_have_their_own_rules() {
        assert!(host_label("vault", "customer-vault").is_ok());
        assert!(deployment("meta-llama/Llama-3.2:1b").is_ok());
        assert!(label("resource group", "rg_1.(a)").is_ok());
        for name in ["a_b", "a.b", "-a", "a-", "a", "n\u{e4}me", "../x"] {
            assert!(host_label("vault", name).is_err(), "{name}");
        }
        assert!(deployment("../x").is_err());
        assert!(deployment("a b").is_err());
    }
}
