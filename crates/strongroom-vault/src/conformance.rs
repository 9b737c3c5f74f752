//! What every way to ask a vault must do, whatever lies between: one suite for the embedded engine called directly, for the
//! client over the wire, and for whatever comes later.

use strongroom_seal::{
    BoxFuture, KeyDescription, KeyId, KeyName, KeyWrap, NoAnswer, Secret, VaultError, WrappedSeed,
};
use zeroize::Zeroizing;

use crate::engine::VaultEngine;
use crate::engine::fault::VaultFault;
use crate::engine::kinds::{EncryptionAlgorithm, KeySpec};
use crate::engine::settings::{KeyChange, NewKey};
use crate::engine::uses::Using;

pub use crate::routes::reading::{ReadRequest, read_request};

/// Asks an engine in the same process. For tests: the service always asks over the wire.
pub struct InProcess {
    engine: VaultEngine,
    vault: String,
}

impl InProcess {
    /// Asks the vault of this name, whatever host the key ids name.
    pub fn new(engine: VaultEngine, vault: impl Into<String>) -> Self {
        Self {
            engine,
            vault: vault.into(),
        }
    }
}

impl KeyWrap for InProcess {
    fn describe<'a>(
        &'a self,
        key: &'a KeyName,
        version: Option<&'a str>,
    ) -> BoxFuture<'a, Result<KeyDescription, VaultError>> {
        Box::pin(async move {
            let found = self
                .engine
                .key(&self.vault, key.name(), version)
                .await
                .map_err(no_answer)?;
            let id = key.with_version(&found.version);
            Ok(KeyDescription {
                id: id.map_err(|error| VaultError::new(NoAnswer::Refused, error.to_string()))?,
                enabled: found.enabled,
                key_type: "RSA".to_owned(),
                bits: u32::try_from(found.spec.size() * 8).unwrap_or_default(),
                not_before: found.not_before,
                expires: found.expires,
            })
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a Secret<32>,
    ) -> BoxFuture<'a, Result<WrappedSeed, VaultError>> {
        Box::pin(async move {
            // The engine takes the value it wraps; it wipes it.
            let plain = Zeroizing::new(seed.expose_secret().to_vec());
            let using = Using {
                vault: &self.vault,
                name: key.name(),
                version: Some(key.version()),
            };
            let used = self
                .engine
                .wrap(using, EncryptionAlgorithm::RsaOaep256, plain)
                .await;
            WrappedSeed::new(used.map_err(no_answer)?.value)
                .map_err(|error| VaultError::new(NoAnswer::Refused, error.to_string()))
        })
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a KeyId,
        seed: &'a WrappedSeed,
    ) -> BoxFuture<'a, Result<Secret<32>, VaultError>> {
        Box::pin(async move {
            let wrapped = seed.as_bytes().to_vec();
            let using = Using {
                vault: &self.vault,
                name: key.name(),
                version: Some(key.version()),
            };
            let used = self
                .engine
                .unwrap(using, EncryptionAlgorithm::RsaOaep256, wrapped)
                .await;
            let plain = used.map_err(no_answer)?.value;
            Secret::try_build(|seed| {
                let plain: &[u8; 32] = plain.as_slice().try_into()?;
                seed.copy_from_slice(plain);
                Ok(())
            })
            .map_err(|_: std::array::TryFromSliceError| {
                VaultError::new(NoAnswer::Refused, "not 32 bytes long")
            })
        })
    }
}

fn no_answer(fault: VaultFault) -> VaultError {
    let answer = match fault {
        VaultFault::NoSuchVault(_) | VaultFault::KeyNotFound(_) => NoAnswer::Gone,
        VaultFault::Unusable | VaultFault::Database(_) | VaultFault::Library | VaultFault::Closed => {
            NoAnswer::Unreachable
        }
        _ => NoAnswer::Refused,
    };
    VaultError::new(answer, fault.to_string())
}

/// Runs the suite. `wrap` must reach `engine`'s vault `vault`, where `key` is a name that is not taken yet.
///
/// # Panics
/// When a rule is broken.
#[expect(clippy::unwrap_used, reason = "a suite for tests: a broken rule is a panic")]
pub async fn key_wrap_conforms(wrap: &dyn KeyWrap, engine: &VaultEngine, vault: &str, key: &KeyName) {
    let missing = wrap.describe(key, None).await;
    assert_eq!(
        missing.unwrap_err().answer,
        NoAnswer::Gone,
        "a key that is not there is gone"
    );
    let made = engine
        .create_key(vault, key.name(), NewKey::of(KeySpec::Rsa2048))
        .await
        .unwrap();
    let id = key.with_version(&made.version).unwrap();
    let described = wrap.describe(key, None).await.unwrap();
    assert_eq!(
        (&described.id, described.enabled, described.bits),
        (&id, true, 2048)
    );
    assert_eq!(described, wrap.describe(key, Some(id.version())).await.unwrap());

    let seed = Secret::<32>::random().unwrap();
    let wrapped = wrap.wrap(&id, &seed).await.unwrap();
    assert_eq!(wrapped.as_bytes().len(), 256);
    assert_ne!(
        wrapped,
        wrap.wrap(&id, &seed).await.unwrap(),
        "wraps are randomised"
    );
    let case = Case {
        wrap,
        engine,
        vault,
        key: id,
        wrapped,
        seed,
    };
    case.opens().await;
    case.rotated_and_altered().await;
    case.disabled_and_expired().await;
    case.deleted().await;
}

/// A key version and something it has wrapped.
struct Case<'a> {
    wrap: &'a dyn KeyWrap,
    engine: &'a VaultEngine,
    vault: &'a str,
    key: KeyId,
    wrapped: WrappedSeed,
    seed: Secret<32>,
}

#[expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a suite for tests: a broken rule is a panic"
)]
impl Case<'_> {
    async fn rotated_and_altered(&self) {
        let name = self.key.key_name();
        let second = self.engine.rotate_key(self.vault, name.name()).await.unwrap();
        let second = name.with_version(&second.version).unwrap();
        assert_eq!(
            self.wrap.describe(name, None).await.unwrap().id,
            second,
            "the latest version is described"
        );
        self.opens().await;
        self.fails(
            &second,
            &self.wrapped,
            NoAnswer::Refused,
            "a wrap of another version is refused",
        )
        .await;
        let mut altered = self.wrapped.as_bytes().to_vec();
        altered.reverse();
        let altered = WrappedSeed::new(altered).unwrap();
        self.fails(
            &self.key,
            &altered,
            NoAnswer::Refused,
            "an altered wrap is refused",
        )
        .await;
        let short = WrappedSeed::new(vec![1; 255]).unwrap();
        self.fails(
            &self.key,
            &short,
            NoAnswer::Refused,
            "a wrap of a wrong length is refused",
        )
        .await;
        let nowhere = name.with_version("00000000000000000000000000000000").unwrap();
        self.fails(
            &nowhere,
            &self.wrapped,
            NoAnswer::Gone,
            "a version that is not there is gone",
        )
        .await;
    }

    async fn disabled_and_expired(&self) {
        let name = self.key.key_name();
        self.change(KeyChange {
            enabled: Some(false),
            ..KeyChange::default()
        })
        .await;
        self.fails(
            &self.key,
            &self.wrapped,
            NoAnswer::Refused,
            "a disabled version does not unwrap",
        )
        .await;
        self.does_not_wrap("a disabled version does not wrap").await;
        assert!(
            !self
                .wrap
                .describe(name, Some(self.key.version()))
                .await
                .unwrap()
                .enabled
        );
        assert!(
            self.wrap.describe(name, None).await.unwrap().enabled,
            "other versions are not touched"
        );
        self.change(KeyChange {
            enabled: Some(true),
            ..KeyChange::default()
        })
        .await;
        self.opens().await;
        self.change(KeyChange {
            expires: Some(1),
            ..KeyChange::default()
        })
        .await;
        self.opens().await;
        self.does_not_wrap("an expired version does not wrap").await;
    }

    async fn deleted(&self) {
        let name = self.key.key_name();
        self.engine.delete_key(self.vault, name.name()).await.unwrap();
        self.fails(&self.key, &self.wrapped, NoAnswer::Gone, "a deleted key is gone")
            .await;
        assert_eq!(
            self.wrap.describe(name, None).await.unwrap_err().answer,
            NoAnswer::Gone
        );
        self.engine.recover_key(self.vault, name.name()).await.unwrap();
        self.opens().await;
    }

    async fn change(&self, change: KeyChange) {
        let version = Some(self.key.version());
        self.engine
            .update_key(self.vault, self.key.name(), version, change)
            .await
            .unwrap();
    }

    async fn opens(&self) {
        match self.wrap.unwrap(&self.key, &self.wrapped).await {
            // Compared in a test; the suite's seeds protect nothing.
            Ok(opened) => assert_eq!(opened.expose_secret(), self.seed.expose_secret()),
            Err(error) => panic!("{} does not unwrap: {error}", self.key),
        }
    }

    async fn fails(&self, key: &KeyId, wrapped: &WrappedSeed, answer: NoAnswer, rule: &str) {
        match self.wrap.unwrap(key, wrapped).await {
            Ok(_) => panic!("{rule}: but it unwrapped"),
            Err(error) => assert_eq!(error.answer, answer, "{rule}: {error}"),
        }
    }

    async fn does_not_wrap(&self, rule: &str) {
        match self.wrap.wrap(&self.key, &self.seed).await {
            Ok(_) => panic!("{rule}: but it wrapped"),
            Err(error) => assert_eq!(error.answer, NoAnswer::Refused, "{rule}: {error}"),
        }
    }
}
