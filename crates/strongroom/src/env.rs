//! `DIR/env`: what a shell needs to talk to this instance, as `export NAME='value'` lines.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::folder::{DataFolder, FolderError, write_private};

/// The variables, in the order in which they are written. Values may be secrets: no `Debug`.
#[derive(Default)]
pub struct Environment {
    variables: Vec<(&'static str, Zeroizing<String>)>,
}

/// Every name that the file holds.
pub(crate) const NAMES: [&str; 22] = [
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "AZURE_OPENAI_API_KEY",
    "STRONGROOM_ACCOUNT",
    "STRONGROOM_RESOURCE_GROUP",
    "STRONGROOM_VAULT",
    "STRONGROOM_VAULT_URL",
    "STRONGROOM_KEY",
    "STRONGROOM_DEPLOYMENT",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_AUTHORITY_HOST",
    "ARM_ENDPOINT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "HTTPS_PROXY",
    "NO_PROXY",
    "AZURE_CONFIG_DIR",
];

impl Environment {
    /// Sets one variable; names outside [`NAMES`] are ours to add there first.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        debug_assert!(NAMES.contains(&name), "{name} is not in the list of names");
        self.variables.push((name, Zeroizing::new(value.into())));
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.variables.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Writes the shell file, readable by the owner alone.
    pub(crate) fn save(&self, folder: &DataFolder) -> Result<(), FolderError> {
        let mut text = Zeroizing::new(String::new());
        for (name, value) in self.iter() {
            text.push_str(&format!("export {name}='{}'\n", value.replace('\'', r"'\''")));
        }
        write_private(&folder.env_file(), text.as_bytes())
    }

    /// Reads the shell file that an instance wrote.
    pub fn load(folder: &DataFolder) -> Result<Self, EnvironmentError> {
        let path = folder.env_file();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(EnvironmentError::Missing {
                    folder: folder.root().to_owned(),
                });
            }
            Err(cause) => return Err(FolderError::at(&path, cause).into()),
        };
        let mut environment = Self::default();
        for line in text.lines() {
            let (name, value) =
                parse(line).ok_or_else(|| EnvironmentError::Damaged { path: path.clone() })?;
            environment.set(name, value);
        }
        Ok(environment)
    }
}

/// Why the shell file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No instance was ever started on this folder.
    #[error("there is no instance in {}", folder.display())]
    Missing {
        /// The data folder.
        folder: PathBuf,
    },
    /// A line is not what was written: the next start writes the file anew.
    #[error("{} is damaged; the next start of `strongroom up` writes it anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn parse(line: &str) -> Option<(&'static str, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    let name = NAMES.into_iter().find(|known| *known == name)?;
    let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
    Some((name, value.replace(r"'\''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_quotes_included() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        let mut environment = Environment::default();
        environment.set("AZURE_CONFIG_DIR", "/it's here");
        environment.set("STRONGROOM_ACCOUNT", "main");
        environment.save(&folder).unwrap();
        let read = Environment::load(&folder).unwrap();
        assert_eq!(read.get("AZURE_CONFIG_DIR"), Some("/it's here"));
        assert_eq!(read.iter().count(), 2);
    }

    #[test]
    fn a_folder_without_an_instance_says_so() {
        let place = tempfile::tempdir().unwrap();
        let folder = DataFolder::at(place.path()).unwrap();
        assert!(matches!(
            Environment::load(&folder),
            Err(EnvironmentError::Missing { .. })
        ));
    }
}
