//! What an instance is told at its start, and whether it makes sense.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use strongroom_control::LogSink;
use strongroom_vault::Throttling;
use uuid::Uuid;

use crate::folder::DataFolder;
use crate::limits;

/// The settings of one instance.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything is kept.
    pub folder: DataFolder,
    /// Port of the TLS door; 0 picks a free one.
    pub https_port: u16,
    /// Port of the plain door; 0 picks a free one.
    pub http_port: u16,
    /// What answers beside the rehearsal model.
    pub model: Model,
    /// How long after the vault's last yes the key may be used.
    pub revocation_bound: Duration,
    /// How long a silent vault is put up with.
    pub outage_grace: Duration,
    /// Deleted content is erased within this time.
    pub erase_within: Duration,
    /// How much may be asked of each vault.
    pub throttling: Throttling,
    /// Another tenant whose tokens count too.
    pub entra: Option<EntraTenant>,
    /// Where the keys of external issuers may be fetched.
    pub keys: KeyFetching,
    /// Where the logs of diagnostic settings go, by the id of the destination in small letters; any other goes to a folder of its
    /// own.
    pub log_sinks: BTreeMap<String, LogSink>,
    /// The program that runs a built-in model when started with `worker`, and trains one with `trainer`: this one.
    pub worker_program: PathBuf,
    /// What trains in place of the built-in trainer.
    pub trainer: Option<TrainerCommand>,
}

/// A program of the user's that trains models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainerCommand {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Whether it may use the network.
    pub network: bool,
    /// Whether it runs without a cage.
    pub insecure: bool,
    /// How long it may be silent.
    pub silence: Duration,
}

/// A tenant of Microsoft Entra: who issues its tokens, and for what they count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraTenant {
    /// The tenant's GUID.
    pub tenant: Uuid,
    /// The issuer's names; those of the public cloud, if there are none.
    pub issuers: Vec<String>,
    /// The audiences for which its tokens count.
    pub audiences: Vec<String>,
    /// Where it publishes its keys; the public cloud's place, if there is none.
    pub jwks_url: Option<String>,
}

impl EntraTenant {
    /// The names that tokens give the issuer.
    pub(crate) fn names(&self) -> Vec<String> {
        if !self.issuers.is_empty() {
            return self.issuers.clone();
        }
        let tenant = self.tenant;
        vec![
            format!("https://login.microsoftonline.com/{tenant}/v2.0"),
            format!("https://sts.windows.net/{tenant}/"),
        ]
    }

    /// Where the keys are.
    pub(crate) fn keys_at(&self) -> String {
        let public = || {
            format!(
                "https://login.microsoftonline.com/{}/discovery/v2.0/keys",
                self.tenant
            )
        };
        self.jwks_url.clone().unwrap_or_else(public)
    }
}

/// How published keys are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFetching {
    /// Hosts (`host` or `host:port`) from which keys for federated credentials may be fetched.
    pub hosts: Vec<String>,
    /// A file with the certificates that alone are trusted for that; without it, the system's.
    pub roots: Option<PathBuf>,
}

/// What answers beside the rehearsal model.
#[derive(Clone, Debug, Default)]
pub enum Model {
    /// Nothing else.
    #[default]
    RehearsalOnly,
    /// A model server; each of its models is deployed under its own name.
    Upstream {
        /// Its base URL, such as `http://127.0.0.1:8000/v1`.
        url: String,
        /// A file with its API key.
        key_file: Option<PathBuf>,
    },
    /// A Hugging Face folder, deployed under the folder's name.
    Folder(PathBuf),
}

impl Settings {
    /// The defaults, with free ports.
    pub fn new(folder: DataFolder, worker_program: PathBuf) -> Self {
        Self {
            folder,
            https_port: 0,
            http_port: 0,
            model: Model::default(),
            revocation_bound: Duration::from_secs(10),
            outage_grace: Duration::from_secs(300),
            erase_within: limits::ERASE_WITHIN,
            throttling: Throttling::default(),
            entra: None,
            keys: KeyFetching::default(),
            log_sinks: BTreeMap::new(),
            worker_program,
            trainer: None,
        }
    }

    /// Everything that is wrong, in one report.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        if !limits::REVOCATION_BOUND.contains(&self.revocation_bound) {
            mistakes.push("--revocation-bound must be from 1s to 1h".to_owned());
        }
        if self.outage_grace > limits::OUTAGE_GRACE {
            mistakes.push("--outage-grace must be at most 24h".to_owned());
        }
        if !limits::ERASURE.contains(&self.erase_within) {
            mistakes.push("--erase-within must be from 1s to 24h".to_owned());
        }
        if self.https_port != 0 && self.https_port == self.http_port {
            mistakes.push("--https-port and --http-port must differ".to_owned());
        }
        self.trust_mistakes(&mut mistakes);
        match &self.model {
            Model::RehearsalOnly => {}
            Model::Upstream { url, key_file } => {
                let usable = url::Url::parse(url)
                    .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
                if !usable {
                    mistakes.push("--upstream must be an http or https URL".to_owned());
                }
                if let Some(file) = key_file.as_ref().filter(|file| !file.is_file()) {
                    mistakes.push(format!("--upstream-key-file {} is not a file", file.display()));
                }
            }
            Model::Folder(folder) if !folder.is_dir() => {
                mistakes.push(format!("--model {} is not a folder", folder.display()));
            }
            Model::Folder(folder) if !folder.join("config.json").is_file() => {
                mistakes.push(format!(
                    "--model {} holds no model: there is no config.json",
                    folder.display()
                ));
            }
            Model::Folder(_) => {}
        }
        mistakes
    }

    fn trust_mistakes(&self, mistakes: &mut Vec<String>) {
        let is_host = |host: &String| {
            let url = url::Url::parse(&format!("https://{host}/"));
            url.is_ok_and(|url| url.path() == "/" && url.username().is_empty() && url.query().is_none())
        };
        if let Some(host) = self.keys.hosts.iter().find(|host| !is_host(host)) {
            mistakes.push(format!("--key-host {host} must be a host with an optional port"));
        }
        if let Some(file) = self.keys.roots.as_ref().filter(|file| !file.is_file()) {
            mistakes.push(format!("--key-roots {} is not a file", file.display()));
        }
        let Some(entra) = &self.entra else { return };
        if entra.audiences.is_empty() {
            mistakes.push("--entra-tenant needs at least one --entra-audience".to_owned());
        }
        let plain = |url: &str| {
            url::Url::parse(url).is_ok_and(|url| {
                url.scheme() == "https" && url.username().is_empty() && url.query().is_none()
            })
        };
        if !plain(&entra.keys_at()) {
            mistakes.push("--entra-jwks-url must be an https URL without user and query".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_at_once() {
        let folder = DataFolder::at(std::path::Path::new("data")).unwrap();
        let mut settings = Settings::new(folder, PathBuf::from("strongroom"));
        assert!(settings.mistakes().is_empty());
        settings.revocation_bound = Duration::from_millis(500);
        settings.https_port = 8080;
        settings.http_port = 8080;
        settings.model = Model::Upstream {
            url: "ftp://x".to_owned(),
            key_file: None,
        };
        assert_eq!(settings.mistakes().len(), 3);
    }
}
