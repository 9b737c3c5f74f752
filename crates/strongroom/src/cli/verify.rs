//! `strongroom verify`: the second reader over the `service` folder.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_operator::{Anchor, Class, Report, Unwrap, Verification, verify};
use strongroom_seal::{
    AccountId, BranchVersion, KeyId, KeyName, NoAnswer, Secret, VaultError, WrapAlgorithm, WrappedSeed,
};
use zeroize::Zeroizing;

use super::client::Instance;
use super::table::{self, Table};
use super::{CliError, Failure, Output, VerifyArgs};
use crate::folder::DataFolder;
use crate::status::Pinned;

pub(super) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let (report, refused) = report(args.instance.folder.folder()?, args.blind)?;
    match args.instance.output {
        Output::Json => table::json(&report)?,
        Output::Table => print(&report)?,
    }
    match refused {
        // What could not be checked is neither clean nor found wrong.
        Some(refused) => Err(refused),
        None if report.is_clean() => Ok(()),
        None => Err(CliError::NotClean(report.fault_count)),
    }
}

/// Reads everything; with keys, unless `blind`. Beside the report, the first time that the vault did not let a key be used.
pub(super) fn report(folder: DataFolder, blind: bool) -> Result<(Report, Option<CliError>), CliError> {
    let service = folder.service();
    let mut vault = if blind {
        None
    } else {
        Some(Vault::of(Instance::find(folder)?)?)
    };
    let verification = Verification {
        folder: &service,
        keys: vault.as_mut().map(|vault| vault as &mut dyn Unwrap),
    };
    let report = verify(verification).map_err(|error| Failure::Verify(error.to_string()))?;
    Ok((report, vault.and_then(|vault| vault.refused)))
}

/// The vault and the pins, as the running instance has them.
struct Vault {
    instance: Instance,
    bound: Bound,
    /// The first time that the vault did not let a key be used.
    refused: Option<CliError>,
}

impl Vault {
    fn of(instance: Instance) -> Result<Self, CliError> {
        let bound = bound(&instance)?;
        Ok(Self {
            instance,
            bound,
            refused: None,
        })
    }

    fn ask(&self, key: &KeyId, seed: &WrappedSeed) -> Result<Secret<32>, CliError> {
        let body = json!({
            "alg": WrapAlgorithm::RsaOaep256.as_str(),
            "value": URL_SAFE_NO_PAD.encode(seed.as_bytes()),
        });
        let answer = self
            .instance
            .vault(Method::POST, &format!("{key}/unwrapkey"), Some(&body))?;
        let value = answer
            .get("value")
            .and_then(Value::as_str)
            .ok_or(Failure::Protocol("an unwrapped seed"))?;
        let bytes = URL_SAFE_NO_PAD
            .decode(value)
            .map_err(|_| Failure::Protocol("an unwrapped seed"))?;
        let bytes = Zeroizing::new(bytes);
        Secret::try_build(|seed| {
            if bytes.len() != seed.len() {
                return Err(Failure::Protocol("an unwrapped seed").into());
            }
            seed.copy_from_slice(&bytes);
            Ok(())
        })
    }
}

/// A key that is gone is away like one that is refused: nothing else failed.
fn no_key(error: CliError) -> CliError {
    match error {
        CliError::Answered { code, message } if code == "KeyNotFound" => CliError::Refused { code, message },
        other => other,
    }
}

impl Unwrap for Vault {
    fn unwrap(&mut self, key: &KeyId, seed: &WrappedSeed) -> Result<Secret<32>, VaultError> {
        self.ask(key, seed).map_err(|error| {
            let answer = match &error {
                CliError::Refused { .. } => NoAnswer::Refused,
                CliError::Answered { code, .. } if code == "KeyNotFound" => NoAnswer::Gone,
                _ => NoAnswer::Unreachable,
            };
            let told = VaultError::new(answer, error.to_string());
            // A vault that says that it wrapped no such thing has checked the seed: the report has it as a fault.
            if !matches!(&error, CliError::Answered { code, .. } if code == "BadParameter") {
                self.refused.get_or_insert(no_key(error));
            }
            told
        })
    }

    fn admits(&self, account: AccountId, key: &KeyId) -> bool {
        let bound = self.bound.get(&account);
        bound.is_some_and(|(names, _)| names.contains(key.key_name()))
    }

    fn anchor(&self, account: AccountId) -> Option<Anchor> {
        self.bound.get(&account).and_then(|(_, anchor)| *anchor)
    }

    fn refresh(&mut self) -> bool {
        match bound(&self.instance) {
            Ok(now) => {
                let is_moved = now != self.bound;
                self.bound = now;
                is_moved
            }
            Err(error) => {
                self.refused.get_or_insert(error);
                false
            }
        }
    }
}

/// The keys that each account's seeds may be under, and what is pinned of it.
type Bound = BTreeMap<AccountId, Pins>;
type Pins = (Vec<KeyName>, Option<Anchor>);

fn bound(instance: &Instance) -> Result<Bound, CliError> {
    let pins = instance.admin(Method::GET, "pins", None)?;
    let pins: Vec<Pinned> = serde_json::from_value(pins).map_err(|_| Failure::Protocol("a list of pins"))?;
    let bound: Option<Bound> = pins.iter().map(read).collect();
    Ok(bound.ok_or(Failure::Protocol("a list of pins"))?)
}

fn read(pinned: &Pinned) -> Option<(AccountId, Pins)> {
    let account = pinned.account_id.parse().ok()?;
    let keys = pinned.keys.iter().map(|key| KeyName::parse(key).ok());
    let anchor = match &pinned.anchor {
        Some(pin) => Some(Anchor {
            version: BranchVersion::new(pin.branch),
            check: pin.check.parse().ok()?,
        }),
        None => None,
    };
    Some((account, (keys.collect::<Option<_>>()?, anchor)))
}

fn print(report: &Report) -> Result<(), CliError> {
    let mut sealed = Table::new(&[
        "Account",
        "Kind",
        "Branch",
        "Key version",
        "Objects",
        "Opened",
        "Bytes",
    ]);
    for row in &report.sealed {
        sealed.row([
            row.account.clone(),
            row.kind.clone(),
            row.branch.to_string(),
            row.key.rsplit('/').next().unwrap_or(&row.key).to_owned(),
            row.objects.to_string(),
            if report.blind {
                "-".to_owned()
            } else {
                row.opened.to_string()
            },
            table::bytes(row.bytes),
        ]);
    }
    sealed.print()?;
    table::line("")?;
    let mut bytes = Table::new(&["What the bytes are", "Bytes"]);
    for (class, count) in report.bytes.iter() {
        bytes.row([class_name(class).to_owned(), count.to_string()]);
    }
    bytes.row(["all".to_owned(), report.bytes.total().to_string()]);
    bytes.print()?;
    table::line("")?;
    for fault in &report.faults {
        table::line(&format!("FAULT  {}: {}", fault.place, fault.what))?;
    }
    let named = report.faults.len() as u64;
    if report.fault_count > named {
        table::line(&format!("       and {} more", report.fault_count - named))?;
    }
    if report.is_clean() {
        let how = if report.blind {
            "without any key"
        } else {
            "every object opened and authenticated"
        };
        table::line(&format!(
            "clean: every byte of {} files is accounted for, {how}",
            report.files
        ))?;
    }
    Ok(())
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Sealed => "sealed objects",
        Class::WrappedKey => "wrapped keys and seeds",
        Class::Clear => "documented clear columns",
        Class::Index => "index structure",
        Class::Erased => "erased",
        Class::Incoming => "blobs being written",
        Class::Unaccounted => "UNACCOUNTED",
    }
}
