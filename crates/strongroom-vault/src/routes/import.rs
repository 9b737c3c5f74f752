//! What an import brings: a private key as a JSON Web Key. Its numbers are decoded into memory that is wiped.

use std::borrow::Cow;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::engine::fault::VaultFault;
use crate::engine::keys::{ForeignKey, ForeignRsa};
use crate::engine::kinds::KeySpec;
use crate::engine::settings::{NewKey, Tags};
use crate::routes::body::{AttributesBody, NOT_THE_BODY, curve, decode, new_key, refused_kind};

#[derive(Deserialize)]
struct ImportBody<'a> {
    #[serde(borrow)]
    key: JsonWebKey<'a>,
    #[serde(rename = "Hsm", alias = "hsm")]
    hsm: Option<bool>,
    attributes: Option<AttributesBody>,
    tags: Option<Tags>,
    release_policy: Option<serde_json::Value>,
}

/// Numbers are borrowed, so that no copy of them is made that nobody wipes. Base64url needs no escapes.
#[derive(Deserialize)]
struct JsonWebKey<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    key_ops: Option<Vec<String>>,
    #[serde(borrow)]
    crv: Option<Cow<'a, str>>,
    n: Option<&'a str>,
    e: Option<&'a str>,
    d: Option<&'a str>,
    p: Option<&'a str>,
    q: Option<&'a str>,
    dp: Option<&'a str>,
    dq: Option<&'a str>,
    qi: Option<&'a str>,
    x: Option<&'a str>,
    y: Option<&'a str>,
    key_hsm: Option<&'a str>,
}

/// Reads the body of an import.
pub(crate) fn import(body: &[u8]) -> Result<(NewKey, ForeignKey), VaultFault> {
    let body: ImportBody<'_> = serde_json::from_slice(body).map_err(|_| NOT_THE_BODY)?;
    if body.hsm == Some(true) || body.key.key_hsm.is_some() {
        return Err(VaultFault::BadParameter(
            "this vault has no HSM; keys are imported with kty RSA or EC and their numbers",
        ));
    }
    let (spec, foreign) = match &*body.key.kty {
        "RSA" => rsa(&body.key)?,
        "EC" => ec(&body.key)?,
        other => return Err(refused_kind(other)),
    };
    let release = body.release_policy.is_some();
    let new = new_key(spec, body.attributes, body.key.key_ops, body.tags, release)?;
    Ok((new, foreign))
}

fn rsa(key: &JsonWebKey<'_>) -> Result<(KeySpec, ForeignKey), VaultFault> {
    let foreign = ForeignRsa {
        n: number(key.n)?.to_vec(),
        e: number(key.e)?.to_vec(),
        d: number(key.d)?,
        p: number(key.p)?,
        q: number(key.q)?,
        dp: number(key.dp)?,
        dq: number(key.dq)?,
        qi: number(key.qi)?,
    };
    let modulus = foreign.n.iter().skip_while(|byte| **byte == 0).count();
    let bits = u32::try_from(modulus * 8).unwrap_or_default();
    let spec = KeySpec::rsa(bits).ok_or(VaultFault::BadParameter(
        "the modulus of an RSA key has 2048, 3072 or 4096 bits",
    ))?;
    Ok((spec, ForeignKey::Rsa(Box::new(foreign))))
}

fn ec(key: &JsonWebKey<'_>) -> Result<(KeySpec, ForeignKey), VaultFault> {
    let spec = curve(key.crv.as_deref().unwrap_or_default())?;
    let foreign = ForeignKey::Ec {
        spec,
        d: number(key.d)?,
        x: number(key.x)?.to_vec(),
        y: number(key.y)?.to_vec(),
    };
    Ok((spec, foreign))
}

fn number(text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, VaultFault> {
    decode(text.ok_or(VaultFault::NotAKey)?)
}
