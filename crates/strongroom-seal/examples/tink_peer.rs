//! One side of the interoperability test with Google Tink (`clients/tink/test_tink.py` is the other).
//!
//! `tink_peer new ACCOUNT KIND ID PART` makes a key and prints it as one JSON object: `seed` and `wrapped` (hexadecimal, to be
//! given back below), `keyset` and `associated_data` (hexadecimal) for Tink.
//! `tink_peer seal|open SEED WRAPPED ACCOUNT KIND ID PART` seals or opens standard input to standard output.

use std::error::Error;
use std::io::{self, Read, Write};

use serde_json::json;
use strongroom_seal::{
    AccountId, BranchKey, BranchVersion, Context, ObjectKey, Secret, WrappedKey, open_stream, seal_stream,
};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["new", context @ ..] => new(&parse_context(context)?),
        ["seal", seed, wrapped, context @ ..] => seal(seed, wrapped, &parse_context(context)?),
        ["open", seed, wrapped, context @ ..] => open(seed, wrapped, &parse_context(context)?),
        _ => Err("usage: tink_peer new|seal|open [SEED WRAPPED] ACCOUNT KIND ID PART".into()),
    }
}

fn new(context: &Context<'_>) -> Result<(), Failure> {
    let seed = Secret::random()?;
    let key = ObjectKey::generate()?;
    let wrapped = BranchKey::derive(&seed, context.account(), BranchVersion::FIRST)?.wrap(context, &key)?;
    let export = key.export(context);
    let keyset: serde_json::Value = serde_json::from_str(export.json())?;
    let peer = json!({
        "seed": hex::encode(seed.expose_secret()),
        "wrapped": hex::encode(wrapped.as_bytes()),
        "keyset": keyset,
        "associated_data": hex::encode(export.associated_data()),
    });
    Ok(writeln!(io::stdout(), "{peer}")?)
}

fn seal(seed: &str, wrapped: &str, context: &Context<'_>) -> Result<(), Failure> {
    let sealer = object_key(seed, wrapped, context)?.blob_sealer(context)?;
    seal_stream(sealer, io::stdin().lock(), io::stdout().lock())?;
    Ok(())
}

fn open(seed: &str, wrapped: &str, context: &Context<'_>) -> Result<(), Failure> {
    let mut stored = Vec::new();
    io::stdin().lock().read_to_end(&mut stored)?;
    let key = object_key(seed, wrapped, context)?;
    open_stream(
        &key,
        context,
        stored.len().try_into()?,
        stored.as_slice(),
        io::stdout().lock(),
    )?;
    Ok(())
}

fn object_key(seed: &str, wrapped: &str, context: &Context<'_>) -> Result<ObjectKey, Failure> {
    let seed = Secret::try_build(|place| hex::decode_to_slice(seed, place))?;
    let wrapped = WrappedKey::parse(&hex::decode(wrapped)?)?;
    let branch = BranchKey::derive(&seed, context.account(), wrapped.branch_version())?;
    Ok(branch.unwrap(context, &wrapped)?)
}

fn parse_context<'a>(arguments: &[&'a str]) -> Result<Context<'a>, Failure> {
    let [account, kind, id, part] = arguments else {
        return Err("a context is ACCOUNT KIND ID PART".into());
    };
    Ok(Context::new(
        account.parse::<AccountId>()?,
        kind,
        id,
        part.parse()?,
    )?)
}
