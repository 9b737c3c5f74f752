//! What requests say in their bodies.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use strongroom_seal::WrapAlgorithm;
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::keys::KeySpec;
use crate::engine::settings::{KeyChange, KeyOperation, NewKey, Tags};

/// Azure's base64url: without padding; clients that add it are understood.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The last second that a date with four digits for its year can name.
const LAST_SECOND: u64 = 253_402_300_799;
const EXPONENT: u64 = 65_537;

#[derive(Deserialize)]
struct CreateBody {
    kty: String,
    key_size: Option<u32>,
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesBody>,
    tags: Option<Tags>,
    public_exponent: Option<u64>,
    release_policy: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct UpdateBody {
    key_ops: Option<Vec<String>>,
    attributes: Option<AttributesBody>,
    tags: Option<Tags>,
    release_policy: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct AttributesBody {
    enabled: Option<bool>,
    nbf: Option<u64>,
    exp: Option<u64>,
    exportable: Option<bool>,
}

/// Reads the body of a create.
pub(crate) fn create(body: &[u8]) -> Result<NewKey, VaultFault> {
    let body: CreateBody = json(body)?;
    let spec = spec(&body.kty, body.key_size)?;
    if body.public_exponent.is_some_and(|exponent| exponent != EXPONENT) {
        return Err(VaultFault::BadParameter(
            "the public exponent of RSA keys is 65537",
        ));
    }
    let attributes = body.attributes.unwrap_or_default();
    attributes.check(body.release_policy.is_some())?;
    Ok(NewKey {
        enabled: attributes.enabled.unwrap_or(true),
        not_before: attributes.nbf,
        expires: attributes.exp,
        operations: body
            .key_ops
            .map_or_else(|| Ok(KeyOperation::ALL.to_vec()), operations)?,
        tags: body.tags.unwrap_or_default(),
        spec,
    })
}

/// Reads the body of an update. An empty one changes nothing.
pub(crate) fn update(body: &[u8]) -> Result<KeyChange, VaultFault> {
    let body: UpdateBody = if body.is_empty() {
        UpdateBody::default()
    } else {
        json(body)?
    };
    let attributes = body.attributes.unwrap_or_default();
    attributes.check(body.release_policy.is_some())?;
    Ok(KeyChange {
        enabled: attributes.enabled,
        not_before: attributes.nbf,
        expires: attributes.exp,
        operations: body.key_ops.map(operations).transpose()?,
        tags: body.tags,
    })
}

/// Reads the body of a wrap or unwrap. The value is decoded into memory that is wiped.
pub(crate) fn operation(body: &[u8]) -> Result<(WrapAlgorithm, Zeroizing<Vec<u8>>), VaultFault> {
    /// Borrowed, so that no copy of the value is made that nobody wipes. Base64url needs no escapes.
    #[derive(Deserialize)]
    struct Body<'a> {
        alg: &'a str,
        value: &'a str,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)?;
    let algorithm = WrapAlgorithm::from_name(body.alg).ok_or(VaultFault::BadParameter(
        "alg is not supported; RSA keys here wrap with RSA-OAEP-256 or RSA-OAEP",
    ))?;
    let mut value = Zeroizing::new(vec![0; base64::decoded_len_estimate(body.value.len())]);
    let length = BASE64URL
        .decode_slice(body.value.as_bytes(), &mut value)
        .map_err(|_| VaultFault::BadParameter("value is not base64url"))?;
    value.truncate(length);
    Ok((algorithm, value))
}

/// Encodes as Azure does.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

const NOT_THE_BODY: VaultFault =
    VaultFault::BadParameter("the request's body is not the JSON that this operation takes");

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, VaultFault> {
    serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)
}

fn spec(kty: &str, size: Option<u32>) -> Result<KeySpec, VaultFault> {
    match kty {
        "RSA" => KeySpec::from_bits(size.unwrap_or(KeySpec::Rsa2048.bits())).ok_or(VaultFault::BadParameter(
            "key_size of an RSA key is 2048, 3072 or 4096",
        )),
        "RSA-HSM" | "EC-HSM" | "oct-HSM" => Err(VaultFault::BadParameter(
            "this vault has no HSM; it makes keys with kty RSA",
        )),
        "oct" => Err(VaultFault::BadParameter(
            "symmetric keys need a managed HSM; this vault makes keys with kty RSA",
        )),
        "EC" => Err(VaultFault::BadParameter(
            "this vault makes keys with kty RSA; EC keys do not wrap",
        )),
        _ => Err(VaultFault::BadParameter(
            "kty is not a key type; this vault makes keys with kty RSA",
        )),
    }
}

fn operations(names: Vec<String>) -> Result<Vec<KeyOperation>, VaultFault> {
    let mut operations = names
        .iter()
        .map(|name| KeyOperation::from_name(name))
        .collect::<Option<Vec<_>>>()
        .ok_or(VaultFault::BadParameter(
            "key_ops holds encrypt, decrypt, sign, verify, wrapKey and unwrapKey",
        ))?;
    operations.sort_unstable();
    operations.dedup();
    Ok(operations)
}

impl AttributesBody {
    fn check(&self, release_policy: bool) -> Result<(), VaultFault> {
        if self.exportable == Some(true) || release_policy {
            return Err(VaultFault::BadParameter(
                "keys of this vault cannot be exported or released",
            ));
        }
        if self
            .nbf
            .into_iter()
            .chain(self.exp)
            .any(|second| second > LAST_SECOND)
        {
            return Err(VaultFault::BadParameter(
                "nbf and exp are Unix seconds before the year 10000",
            ));
        }
        if self.nbf.zip(self.exp).is_some_and(|(nbf, exp)| exp <= nbf) {
            return Err(VaultFault::BadParameter("exp must be later than nbf"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn created(body: serde_json::Value) -> Result<NewKey, VaultFault> {
        create(body.to_string().as_bytes())
    }

    #[test]
    fn what_clients_send_is_read() {
        let new = created(
            json!({"kty": "RSA", "key_size": 3072, "attributes": {"enabled": false, "exp": 9, "nbf": 3},
            "key_ops": ["unwrapKey", "wrapKey", "wrapkey"], "tags": {"a": "b"}}),
        )
        .unwrap();
        assert_eq!(
            (new.spec, new.enabled, new.not_before, new.expires),
            (KeySpec::Rsa3072, false, Some(3), Some(9))
        );
        assert_eq!(new.operations, [KeyOperation::WrapKey, KeyOperation::UnwrapKey]);
        assert_eq!(created(json!({"kty": "RSA"})).unwrap().spec, KeySpec::Rsa2048);
        assert!(update(b"").unwrap().enabled.is_none());
        assert_eq!(
            update(br#"{"attributes":{"enabled":true,"exp":null}}"#)
                .unwrap()
                .enabled,
            Some(true)
        );
    }

    #[test]
    fn keys_that_cannot_be_made_are_refused_with_a_reason() {
        for (body, reason) in [
            (json!({"kty": "RSA", "key_size": 1024}), "2048, 3072 or 4096"),
            (json!({"kty": "RSA-HSM"}), "no HSM"),
            (json!({"kty": "oct", "key_size": 256}), "managed HSM"),
            (json!({"kty": "EC", "crv": "P-256"}), "kty RSA"),
            (json!({"kty": "rsa"}), "not a key type"),
            (json!({"kty": "RSA", "public_exponent": 3}), "65537"),
            (json!({"kty": "RSA", "key_ops": ["fly"]}), "key_ops"),
            (
                json!({"kty": "RSA", "attributes": {"exportable": true}}),
                "exported",
            ),
            (
                json!({"kty": "RSA", "attributes": {"exp": 1_u64 << 60}}),
                "year 10000",
            ),
            (json!({"kty": "RSA", "attributes": {"exp": 5, "nbf": 5}}), "later"),
            (json!({"kty": "RSA", "attributes": {"exp": -1}}), "JSON"),
            (json!({"kty": "RSA", "attributes": {"exp": "5"}}), "JSON"),
            (json!({"kty": "RSA", "tags": {"a": 1}}), "JSON"),
            (json!({"key_size": 2048}), "JSON"),
            (json!([]), "JSON"),
        ] {
            let refused = created(body.clone()).unwrap_err();
            assert!(refused.to_string().contains(reason), "{body}: {refused}");
        }
    }

    #[test]
    fn values_are_base64url_with_or_without_padding() {
        let read = |value: &str| {
            operation(
                json!({"alg": "RSA-OAEP-256", "value": value})
                    .to_string()
                    .as_bytes(),
            )
        };
        assert_eq!(*read("-_8").unwrap().1, [0xfb, 0xff]);
        assert_eq!(*read("-_8=").unwrap().1, [0xfb, 0xff]);
        for wrong in ["+/8", "-_8==", "-", "- _8", "-_9"] {
            assert!(matches!(read(wrong), Err(VaultFault::BadParameter(_))), "{wrong}");
        }
        let other = json!({"alg": "RSA1_5", "value": "AA"}).to_string();
        assert!(matches!(
            operation(other.as_bytes()),
            Err(VaultFault::BadParameter(_))
        ));
    }

    proptest! {
        #[test]
        fn any_value_comes_back_as_it_was(value in proptest::collection::vec(any::<u8>(), 0..600)) {
            let body = json!({"alg": "RSA-OAEP", "value": base64url(&value)}).to_string();
            let (algorithm, read) = operation(body.as_bytes()).unwrap();
            prop_assert_eq!(algorithm, WrapAlgorithm::RsaOaep);
            prop_assert_eq!(&*read, &value);
        }

        #[test]
        fn any_bytes_are_read_without_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = create(&body);
            let _ = update(&body);
            let _ = operation(&body);
        }
    }
}
