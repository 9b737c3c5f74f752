//! What an instance needs to be there: made at the first start, found at every other.

use std::sync::Arc;

use strongroom_control::{
    Account, BuiltInRole, Control, ControlError, Deployment, Encryption, NewAccount, RevocationPolicy,
};
use strongroom_vault::{KeySpec, NewKey, VaultEngine, VaultFault};
use zeroize::Zeroizing;

use crate::compose::vault_url;
use crate::start::StartError;

pub(crate) const GROUP: &str = "strongroom";
pub(crate) const ACCOUNT: &str = "main";
pub(crate) const VAULT: &str = "customer-vault";
pub(crate) const KEY: &str = "customer-key";
pub(crate) const LOCATION: &str = "local";

/// The vault: soft delete and purge protection are set and stay so. It is there before any role is granted on it.
pub(crate) fn vault(control: &Control) -> Result<(), ControlError> {
    if is_in_use(control) {
        return Ok(());
    }
    control.ensure_vault(VAULT, GROUP).map(drop)
}

/// Its RSA-2048 key.
pub(crate) async fn key(control: Control, engine: VaultEngine) -> Result<(), StartError> {
    if !is_in_use(&control)
        && matches!(
            engine.key(VAULT, KEY, None).await,
            Err(VaultFault::KeyNotFound(_))
        )
    {
        match engine.create_key(VAULT, KEY, NewKey::of(KeySpec::Rsa2048)).await {
            Ok(_) | Err(VaultFault::NameHeld(_)) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}

/// Whether something is sealed under the key: then a vault or a key that is missing was taken away, and is not made anew.
fn is_in_use(control: &Control) -> bool {
    let account = control.account(ACCOUNT);
    account.is_some_and(|account| account.anchor.is_some())
}

/// The account, who it is to the vault, and who administers both.
pub(crate) struct Identities {
    pub(crate) account: Arc<Account>,
    pub(crate) administrator_client: String,
    pub(crate) administrator_secret: Zeroizing<String>,
}

/// Makes or finds them. `known_secret` is the administrator's, from the last start.
pub(crate) fn identities(control: &Control, known_secret: Option<&str>) -> Result<Identities, StartError> {
    let vault = &control.vault_id(VAULT, GROUP)?;
    let account = control.ensure_account(&NewAccount {
        name: ACCOUNT.to_owned(),
        resource_group: GROUP.to_owned(),
        location: LOCATION.to_owned(),
        encryption: Encryption::customer(vault_url(VAULT), KEY, None),
    })?;
    let (administrator, renewed) = control.ensure_administrator(known_secret)?;
    let here = account
        .resource_id()
        .parse()
        .map_err(|_| StartError::Interrupted)?;
    let subscription = format!("/subscriptions/{}", control.subscription());
    let subscription = subscription.parse().map_err(|_| StartError::Interrupted)?;
    control.grant_once(|| {
        for (principal, role, scope) in [
            (
                account.identity.ok_or(StartError::Interrupted)?,
                "Key Vault Crypto Service Encryption User",
                vault,
            ),
            (administrator.object_id, "Owner", &subscription),
            (administrator.object_id, "Key Vault Administrator", vault),
            (
                administrator.object_id,
                "Cognitive Services OpenAI Contributor",
                &here,
            ),
            (administrator.object_id, "Strongroom Export Operator", &here),
        ] {
            let role = BuiltInRole::by_name(role).ok_or(StartError::Interrupted)?;
            control.ensure_assignment(principal, role, scope)?;
        }
        Ok::<_, StartError>(())
    })?;
    let secret = renewed.or_else(|| known_secret.map(|known| Zeroizing::new(known.to_owned())));
    Ok(Identities {
        account,
        administrator_client: administrator
            .client_id()
            .ok_or(StartError::Interrupted)?
            .to_string(),
        administrator_secret: secret.ok_or(StartError::Interrupted)?,
    })
}

/// A deployment of a model under its own name, once: one that was deleted stays away.
pub(crate) fn deploy(control: &Control, model: &str, now: u64) -> Result<(), ControlError> {
    // An account that was deleted stays as it was.
    if control.account(ACCOUNT).is_none() {
        return Ok(());
    }
    let deployment = Deployment::of(model, now, RevocationPolicy::Shutdown);
    control.offer_model(ACCOUNT, model, deployment)
}
