//! What an instance is told at its start, and whether it makes sense.

use std::path::PathBuf;
use std::time::Duration;

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
    /// The program that runs a built-in model when started with `worker`: this one.
    pub worker_program: PathBuf,
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
            worker_program,
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
