//! Where roles can be assigned.

use strongroom_azure::ResourceId;

use crate::error::ControlError;
use crate::state::State;

/// Reads a scope.
pub(crate) fn parse(text: &str) -> Result<ResourceId, ControlError> {
    text.parse().map_err(|_| invalid(text, "it is no resource id"))
}

/// Fails unless the scope is our subscription, a resource group in it, or a resource that is there. `there` is what Resource
/// Manager says of it, where there is one: it knows groups, and resources that nobody else keeps.
pub(crate) fn check(state: &State, scope: &ResourceId, there: Option<bool>) -> Result<(), ControlError> {
    let text = scope.as_str();
    let segments: Vec<&str> = text.split('/').skip(1).collect();
    let ours = state.tenant.subscription.to_string();
    let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
    let below = match segments.as_slice() {
        [subscriptions, id, below @ ..] if is(subscriptions, "subscriptions") && is(id, &ours) => below,
        _ => return Err(invalid(text, "it is not in this subscription")),
    };
    match below {
        [] => Ok(()),
        [groups, name] if is(groups, "resourceGroups") => match there {
            Some(false) => Err(ControlError::NotFound {
                what: "resource group",
                name: (*name).to_owned(),
            }),
            _ => Ok(()),
        },
        // What Resource Manager says was so before the turn; of a vault that is being deleted that is too old.
        [groups, _, providers, provider, kind, name]
            if is(groups, "resourceGroups")
                && is(providers, "providers")
                && is(provider, "Microsoft.KeyVault")
                && is(kind, "vaults") =>
        {
            resource(state, scope, &[provider, kind, name])
        }
        _ if there == Some(true) => Ok(()),
        [groups, _, providers, kind @ ..] if is(groups, "resourceGroups") && is(providers, "providers") => {
            resource(state, scope, kind)
        }
        _ => Err(invalid(text, "it is no subscription, resource group or resource")),
    }
}

/// The resource itself, or one key of a vault.
fn resource(state: &State, scope: &ResourceId, segments: &[&str]) -> Result<(), ControlError> {
    let missing = || ControlError::NotFound {
        what: "resource",
        name: scope.to_string(),
    };
    let (kind, name, below) = match segments {
        [provider, kind, name, below @ ..] => {
            (format!("{provider}/{kind}").to_ascii_lowercase(), *name, below)
        }
        _ => return Err(invalid(scope.as_str(), "it names no resource")),
    };
    let known = match kind.as_str() {
        "microsoft.keyvault/vaults" => {
            let known = state.vaults.vault(name).ok();
            known.and_then(|vault| vault.resource_id.parse().ok())
        }
        "microsoft.cognitiveservices/accounts" => {
            state.accounts.get(name).and_then(|account| account.scope())
        }
        "microsoft.managedidentity/userassignedidentities" => {
            let resources = state.directory.all().filter_map(|known| known.resource());
            let ids = resources.filter_map(|id| id.parse::<ResourceId>().ok());
            ids.into_iter().find(|id| id == scope)
        }
        _ => None,
    };
    let known = known.filter(|known| known.contains(scope)).ok_or_else(missing)?;
    let one_key = kind == "microsoft.keyvault/vaults"
        && matches!(below, [keys, _] if keys.eq_ignore_ascii_case("keys"));
    if known == *scope || one_key {
        return Ok(());
    }
    Err(invalid(
        scope.as_str(),
        "below a resource, only the keys of a vault can have roles",
    ))
}

fn invalid(scope: &str, reason: &'static str) -> ControlError {
    ControlError::InvalidScope {
        scope: scope.to_owned(),
        reason,
    }
}
