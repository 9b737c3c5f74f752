//! What requests say in their bodies.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::kinds::{EncryptionAlgorithm, KeySpec, SignatureAlgorithm};
use crate::engine::period::Period;
use crate::engine::policy::{RotationPolicy, Trigger};
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
    crv: Option<String>,
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
pub(super) struct AttributesBody {
    enabled: Option<bool>,
    nbf: Option<u64>,
    exp: Option<u64>,
    exportable: Option<bool>,
}

impl NewKey {
    /// A key as the body of the vault's own request to make one describes it.
    pub fn read(body: &[u8]) -> Result<Self, VaultFault> {
        create(body)
    }
}

/// Reads the body of a create.
pub(crate) fn create(body: &[u8]) -> Result<NewKey, VaultFault> {
    let body: CreateBody = json(body)?;
    let spec = spec(&body.kty, body.key_size, body.crv.as_deref())?;
    if body.public_exponent.is_some_and(|exponent| exponent != EXPONENT) {
        return Err(VaultFault::BadParameter(
            "the public exponent of RSA keys is 65537",
        ));
    }
    let release = body.release_policy.is_some();
    new_key(spec, body.attributes, body.key_ops, body.tags, release)
}

/// A key to be made or brought in, from what requests say of it.
pub(super) fn new_key(
    spec: KeySpec,
    attributes: Option<AttributesBody>,
    key_ops: Option<Vec<String>>,
    tags: Option<Tags>,
    release_policy: bool,
) -> Result<NewKey, VaultFault> {
    let attributes = attributes.unwrap_or_default();
    attributes.check(release_policy)?;
    Ok(NewKey {
        enabled: attributes.enabled.unwrap_or(true),
        not_before: attributes.nbf,
        expires: attributes.exp,
        operations: key_ops.map_or_else(|| Ok(spec.operations().to_vec()), operations)?,
        tags: tags.unwrap_or_default(),
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

/// Reads the body of an encryption, decryption, wrap or unwrap. The value is decoded into memory that is wiped.
pub(crate) fn operation(body: &[u8]) -> Result<(EncryptionAlgorithm, Zeroizing<Vec<u8>>), VaultFault> {
    /// Borrowed, so that no copy of the value is made that nobody wipes. Base64url needs no escapes.
    #[derive(Deserialize)]
    struct Body<'a> {
        alg: &'a str,
        value: &'a str,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)?;
    let algorithm = EncryptionAlgorithm::from_name(body.alg).ok_or(VaultFault::BadParameter(
        "alg is not supported; RSA keys here encrypt and wrap with RSA-OAEP-256, RSA-OAEP or RSA1_5",
    ))?;
    Ok((algorithm, decode(body.value)?))
}

/// Reads the body of a signing: the algorithm and the digest.
pub(crate) fn sign(body: &[u8]) -> Result<(SignatureAlgorithm, Vec<u8>), VaultFault> {
    #[derive(Deserialize)]
    struct Body {
        alg: String,
        value: String,
    }
    let body: Body = json(body)?;
    Ok((signature_algorithm(&body.alg)?, decode(&body.value)?.to_vec()))
}

/// Reads the body of a verification: the algorithm, the digest and the signature.
pub(crate) fn verify(body: &[u8]) -> Result<(SignatureAlgorithm, Vec<u8>, Vec<u8>), VaultFault> {
    #[derive(Deserialize)]
    struct Body {
        alg: String,
        digest: String,
        value: String,
    }
    let body: Body = json(body)?;
    let algorithm = signature_algorithm(&body.alg)?;
    Ok((
        algorithm,
        decode(&body.digest)?.to_vec(),
        decode(&body.value)?.to_vec(),
    ))
}

fn signature_algorithm(name: &str) -> Result<SignatureAlgorithm, VaultFault> {
    SignatureAlgorithm::from_name(name).ok_or(VaultFault::BadParameter(
        "alg is not supported; keys here sign with PS256, PS384, PS512, RS256, RS384, RS512, ES256, ES384, ES512 or ES256K",
    ))
}

/// Reads the body of a restore.
pub(crate) fn backup(body: &[u8]) -> Result<Vec<u8>, VaultFault> {
    #[derive(Deserialize)]
    struct Body<'a> {
        value: &'a str,
    }
    let body: Body<'_> = serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)?;
    Ok(decode(body.value)?.to_vec())
}

/// Reads the body of a request for random bytes: how many.
pub(crate) fn random(body: &[u8]) -> Result<usize, VaultFault> {
    #[derive(Deserialize)]
    struct Body {
        count: usize,
    }
    Ok(json::<Body>(body)?.count)
}

#[derive(Deserialize)]
struct PolicyBody {
    #[serde(rename = "lifetimeActions")]
    lifetime_actions: Option<Vec<LifetimeAction>>,
    attributes: Option<PolicyAttributes>,
}

#[derive(Deserialize)]
struct LifetimeAction {
    trigger: TriggerBody,
    action: ActionBody,
}

#[derive(Deserialize)]
struct TriggerBody {
    #[serde(rename = "timeAfterCreate")]
    time_after_create: Option<String>,
    #[serde(rename = "timeBeforeExpiry")]
    time_before_expiry: Option<String>,
}

#[derive(Deserialize)]
struct ActionBody {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct PolicyAttributes {
    #[serde(rename = "expiryTime")]
    expiry_time: Option<String>,
}

/// Reads a rotation policy. Without a Notify, the usual notice is given.
pub(crate) fn policy(body: &[u8]) -> Result<RotationPolicy, VaultFault> {
    let body: PolicyBody = json(body)?;
    let (mut rotate, mut notify) = (None, None);
    for LifetimeAction { trigger, action } in body.lifetime_actions.unwrap_or_default() {
        let trigger = match (trigger.time_after_create, trigger.time_before_expiry) {
            (Some(text), None) => Trigger::AfterCreate(period(&text)?),
            (None, Some(text)) => Trigger::BeforeExpiry(period(&text)?),
            _ => {
                return Err(VaultFault::BadParameter(
                    "a trigger has either timeAfterCreate or timeBeforeExpiry",
                ));
            }
        };
        let before = match (action.kind.to_ascii_lowercase().as_str(), trigger) {
            ("rotate", trigger) => rotate.replace(trigger).map(drop),
            ("notify", Trigger::BeforeExpiry(period)) => notify.replace(period).map(drop),
            ("notify", Trigger::AfterCreate(_)) => {
                return Err(VaultFault::BadParameter("Notify goes with timeBeforeExpiry"));
            }
            _ => return Err(VaultFault::BadParameter("an action's type is Rotate or Notify")),
        };
        if before.is_some() {
            return Err(VaultFault::BadParameter(
                "a policy has at most one Rotate and one Notify",
            ));
        }
    }
    let expiry = body.attributes.and_then(|attributes| attributes.expiry_time);
    Ok(RotationPolicy {
        rotate,
        notify: notify.unwrap_or_else(RotationPolicy::usual_notice),
        expiry: expiry.as_deref().map(period).transpose()?,
        set: None,
    })
}

fn period(text: &str) -> Result<Period, VaultFault> {
    Period::parse(text).ok_or(VaultFault::BadParameter(
        "a period is an ISO 8601 duration of whole numbers, such as P90D, P3M or P1Y10D",
    ))
}

/// Decodes base64url into memory that is wiped.
pub(super) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    let mut value = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = BASE64URL
        .decode_slice(text.as_bytes(), &mut value)
        .map_err(|_| VaultFault::BadParameter("value is not base64url"))?;
    value.truncate(length);
    Ok(value)
}

/// Encodes as Azure does.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

pub(super) const NOT_THE_BODY: VaultFault =
    VaultFault::BadParameter("the request's body is not the JSON that this operation takes");

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, VaultFault> {
    serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)
}

fn spec(kty: &str, size: Option<u32>, crv: Option<&str>) -> Result<KeySpec, VaultFault> {
    match kty {
        "RSA" => KeySpec::rsa(size.unwrap_or(2048)).ok_or(VaultFault::BadParameter(
            "key_size of an RSA key is 2048, 3072 or 4096",
        )),
        "EC" => curve(crv.unwrap_or(KeySpec::P256.name())),
        other => Err(refused_kind(other)),
    }
}

/// The curve of this name.
pub(super) fn curve(name: &str) -> Result<KeySpec, VaultFault> {
    KeySpec::curve(name).ok_or(VaultFault::BadParameter(
        "crv of an EC key is P-256, P-384, P-521 or P-256K",
    ))
}

/// Why a kind of key is not served.
pub(super) fn refused_kind(kty: &str) -> VaultFault {
    VaultFault::BadParameter(match kty {
        "RSA-HSM" | "EC-HSM" => "this vault has no HSM; it keeps keys with kty RSA and EC",
        "oct" | "oct-HSM" => "symmetric keys need a managed HSM; this vault keeps keys with kty RSA and EC",
        _ => "kty is not a key type; this vault keeps keys with kty RSA and EC",
    })
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
            (json!({"kty": "EC", "crv": "P-999"}), "P-256"),
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
        let other = json!({"alg": "A256KW", "value": "AA"}).to_string();
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
            prop_assert_eq!(algorithm, EncryptionAlgorithm::RsaOaep);
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
