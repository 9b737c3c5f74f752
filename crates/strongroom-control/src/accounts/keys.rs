//! The two keys of an account. They are derived whenever they are needed and stored nowhere.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Account;

const LABEL: &[u8] = b"strongroom/account-key/v1";

/// Derives account keys from the control plane's secret.
pub(crate) struct AccountKeys {
    key: hmac::Key,
}

impl AccountKeys {
    pub(crate) fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// The key in a slot: HMAC-SHA256 over label, account GUID, slot and generation.
    pub(crate) fn derive(&self, account: &Account, slot: usize) -> Zeroizing<String> {
        let generation = account.key_generations.get(slot).copied().unwrap_or(0);
        let mut context = hmac::Context::with_key(&self.key);
        context.update(LABEL);
        context.update(account.id.as_bytes());
        context.update(&[u8::try_from(slot).unwrap_or(u8::MAX)]);
        context.update(&generation.to_be_bytes());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(context.sign()))
    }

    /// The slot whose key this is. Both are compared, so that the time taken does not tell which one came close.
    pub(crate) fn slot_of(&self, account: &Account, presented: &str) -> Option<usize> {
        let is = |slot| {
            verify_slices_are_equal(self.derive(account, slot).as_bytes(), presented.as_bytes()).is_ok()
        };
        match (is(0), is(1)) {
            (true, _) => Some(0),
            (_, true) => Some(1),
            _ => None,
        }
    }
}
