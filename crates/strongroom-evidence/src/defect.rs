//! What may be wrong with a package, and what may keep it from being read at all.

use std::io;
use std::path::PathBuf;

/// One thing that is not as it was signed. A package with any of them proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The manifest, or the format, names a file that is not there.
    #[error("{path} is missing")]
    Missing {
        /// Its path in the package.
        path: String,
    },
    /// There is something that neither the manifest nor the format names.
    #[error("{path} does not belong to the package")]
    Unexpected {
        /// Its path in the package.
        path: String,
    },
    /// There is something that is neither file nor folder, such as a symbolic link: what it shows can change.
    #[error("{path} is not a plain file")]
    NotAFile {
        /// Its path in the package.
        path: String,
    },
    /// A file's bytes are not those that the manifest was made over.
    #[error("{path} was changed: {what}")]
    Changed {
        /// Its path in the package.
        path: String,
        /// What differs.
        what: &'static str,
    },
    /// A file is not in the one form that the format allows.
    #[error("{path} is not in its form: {what}")]
    Form {
        /// Its path in the package.
        path: &'static str,
        /// Which rule it broke.
        what: &'static str,
    },
    /// The zip is not in the one form that the format allows.
    #[error("the zip is not in its form at byte {at}: {what}")]
    Zip {
        /// Where.
        at: u64,
        /// Which rule it broke.
        what: &'static str,
    },
    /// No trusted key, or not the one that the package names, made this signature.
    #[error("{path}: {what}")]
    Signature {
        /// The signed file.
        path: &'static str,
        /// In what way it does not hold.
        what: &'static str,
    },
    /// The manifest is not in the log as the checkpoint says.
    #[error("the log does not hold: {what}")]
    Log {
        /// What does not follow.
        what: &'static str,
    },
    /// The log is not the one that the pinned checkpoint was taken of, or was rewritten since.
    #[error("against the pinned checkpoint: {what}")]
    Pinned {
        /// What does not follow.
        what: &'static str,
    },
    /// The signed statement of completeness is not about `completeness.json` as it is there.
    #[error("the statement of completeness does not hold: {what}")]
    Completeness {
        /// What differs.
        what: &'static str,
    },
}

/// Why no verdict could be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// There is neither a folder nor a file. Give the package's path.
    #[error("{}: there is no such package", path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// The operating system refused to show a file.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        cause: io::Error,
    },
    /// What was given as a trusted key is none.
    #[error("not a verifier key: {what}")]
    BadKey {
        /// Which rule it broke.
        what: &'static str,
    },
}

impl PackageError {
    pub(crate) fn io(path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { path, cause }
    }
}
