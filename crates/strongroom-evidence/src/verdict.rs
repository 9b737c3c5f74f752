//! What a look at a package came to, and whose word that rests on.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::completeness::Completeness;
use crate::defect::Defect;
use crate::keys::TrustedKey;

/// Whose word a signature is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Word {
    /// A key that the verifier was told to trust made it.
    Trusted {
        /// The key, as it was given.
        key: TrustedKey,
    },
    /// The key that the package itself names made it, and nobody said that it may be trusted: whoever changes a package can sign it anew with
    /// a key of their own.
    PackageOnly {
        /// The key in the package.
        key: TrustedKey,
    },
    /// A trusted key signed the statement, and what it signed names this key as that of the log.
    Vouched {
        /// The key in the package.
        key: TrustedKey,
    },
    /// No key made it.
    Nobody,
}

/// What is known of the evidence log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LogVerdict {
    /// The log's name.
    pub origin: String,
    /// Entries that the checkpoint covers.
    pub size: u64,
    /// Which of them this package is, counted from 0.
    pub index: u64,
    /// Who signed the checkpoint.
    pub word: Word,
}

/// How the log stands to a checkpoint that was pinned earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pinned {
    /// None was given: nothing speaks against the log's keeper having rewritten it.
    NotGiven,
    /// The pinned one is of this log, and of the same history.
    Consistent {
        /// Entries that the pinned checkpoint covers.
        size: u64,
    },
    /// It is of the same history or not: what was given does not reach far enough to tell.
    CannotTell {
        /// Entries that the pinned checkpoint covers.
        size: u64,
    },
    /// It is not.
    Inconsistent,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Files that were looked at, the five outside the manifest among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// SHA-256 of the manifest, in hex: it names the package.
    pub manifest: String,
    /// The program that made the package, and its version.
    pub tool: String,
    /// SHA-256 of the rules that were applied.
    pub rules: String,
    /// Classes of names that are replaced by pseudonyms; none in a package that is as it was read.
    pub redacted: Vec<String>,
    /// Who signed the statement.
    pub statement: Word,
    /// The log and the package's place in it; none if that could not be read.
    pub log: Option<LogVerdict>,
    /// Against the checkpoint that was pinned.
    pub pinned: Pinned,
    /// What the package says of its completeness, if that is signed by the same key as the statement.
    pub completeness: Option<Completeness>,
    /// What is not as it was signed; at most 200 are named.
    #[serde(serialize_with = "as_text")]
    pub defects: Vec<Defect>,
    /// How many there are.
    pub defect_count: u64,
}

impl Word {
    /// Whether it leads to a key that was given by the verifier.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        matches!(self, Self::Trusted { .. } | Self::Vouched { .. })
    }

    pub(crate) fn key(&self) -> Option<&TrustedKey> {
        match self {
            Self::Trusted { key } | Self::PackageOnly { key } | Self::Vouched { key } => Some(key),
            Self::Nobody => None,
        }
    }
}

impl Verdict {
    /// Whether nothing was changed since it was signed, whoever signed it.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.defect_count == 0
    }

    /// Whether it is intact and trusted keys say so, and no pinned checkpoint is left unanswered.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let log = self.log.as_ref().is_some_and(|log| log.word.is_trusted());
        let pinned = matches!(self.pinned, Pinned::NotGiven | Pinned::Consistent { .. });
        self.is_intact() && self.statement.is_trusted() && log && pinned
    }

    /// 0: proven. 3: something was changed. 4: intact, and what would prove it was not given.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.is_intact(), self.is_proven()) {
            (false, _) => 3,
            (true, true) => 0,
            (true, false) => 4,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trusted { key } => write!(out, "by a key that you trust: {key}"),
            Self::Vouched { key } => write!(out, "by the key that the trusted statement names: {key}"),
            Self::PackageOnly { key } => write!(
                out,
                "NOT PROVEN: by the key in the package itself, which anybody can put there: {key}"
            ),
            Self::Nobody => out.write_str("BY NO KEY"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for defect in &self.defects {
            writeln!(out, "DEFECT        {}", printable(&defect.to_string()))?;
        }
        let named = self.defects.len() as u64;
        if self.defect_count > named {
            writeln!(out, "              and {} more", self.defect_count - named)?;
        }
        writeln!(
            out,
            "package       {} files, {} bytes; manifest {}",
            self.files, self.bytes, self.manifest
        )?;
        writeln!(
            out,
            "made by       {}, rules {}",
            printable(&self.tool),
            self.rules
        )?;
        writeln!(out, "signed        {}", printable(&self.statement.to_string()))?;
        if let Some(log) = &self.log {
            writeln!(
                out,
                "log           {}: entry {} of {}; checkpoint {}",
                printable(&log.origin),
                log.index,
                log.size,
                printable(&log.word.to_string())
            )?;
        }
        writeln!(out, "pinned        {}", self.pinned)?;
        if !self.redacted.is_empty() {
            writeln!(out, "redacted      {}", printable(&self.redacted.join(", ")))?;
        }
        match &self.completeness {
            Some(told) => writeln!(
                out,
                "completeness  {}: {} of {} questions answered, {} findings could not be checked",
                if told.complete { "complete" } else { "INCOMPLETE" },
                told.answered,
                told.asked,
                told.could_not_check
            )?,
            None => writeln!(out, "completeness  no statement that holds")?,
        }
        let verdict = match (self.is_intact(), self.is_proven()) {
            (false, _) => "CHANGED: this is not what was signed",
            (true, true) => "verified",
            (true, false) => "intact, NOT PROVEN: see above for what was not given",
        };
        write!(out, "verdict       {verdict}")
    }
}

impl fmt::Display for Pinned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven => out.write_str(
                "no checkpoint given: a log that only its producer keeps does not show what was left out or rewritten",
            ),
            Self::Consistent { size } => write!(out, "the log still holds the {size} entries of the pinned checkpoint"),
            Self::CannotTell { size } => write!(
                out,
                "CANNOT TELL: the pinned checkpoint covers {size} entries, more than this package's log; give a later log.txt"
            ),
            Self::Inconsistent => out.write_str("INCONSISTENT: the log was rewritten, or it is another one"),
        }
    }
}

fn as_text<S: Serializer>(defects: &[Defect], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(defects.iter().map(ToString::to_string))
}

/// Without what would steer a terminal: the text may come from a package that somebody made to deceive.
fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .take(2000)
        .collect()
}
