//! The walk over a package.

use std::io::{Read, Seek};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::completeness::{Completeness, Document};
use crate::defect::{Defect, PackageError};
use crate::dsse::Envelope;
use crate::keys::TrustedKey;
use crate::limits;
use crate::manifest::{self, Manifest};
use crate::note::{Note, Proof, parse_log};
use crate::package::Package;
use crate::tree::{Hash, finish, leaf_hash, root, root_from_path, sha256};
use crate::verdict::{LogVerdict, Pinned, Verdict, Word};

/// The types of the two statements.
const RUN_TYPE: &str = "urn:strongroom:evidence:run:1";
const COMPLETENESS_TYPE: &str = "urn:strongroom:evidence:completeness:1";

/// What the verifier brings along. Nothing of it comes from the package.
#[derive(Debug, Default)]
pub struct Trust {
    /// Keys that may sign. Without any, the verdict is at best "intact".
    pub keys: Vec<TrustedKey>,
    /// A checkpoint that was taken earlier, or later: the note, or a whole `checkpoint.txt`.
    pub checkpoint: Option<String>,
    /// A `log.txt` of a later package of the same log, for a pinned checkpoint that is later than this package.
    pub later_log: Option<String>,
}

/// Verifies a folder or a zip.
pub fn verify(path: &Path, trust: &Trust) -> Result<Verdict, PackageError> {
    let (package, defects) = Package::open(path)?;
    run(package, defects, trust)
}

/// Verifies a zip that is already open.
pub fn verify_zip(zip: impl Read + Seek, trust: &Trust) -> Result<Verdict, PackageError> {
    let (package, defects) = Package::open_zip(zip)?;
    run(package, defects, trust)
}

fn run<R: Read + Seek>(
    package: Package<R>,
    defects: Vec<Defect>,
    trust: &Trust,
) -> Result<Verdict, PackageError> {
    let verdict = Verdict {
        files: package.files().len() as u64,
        bytes: package.files().iter().map(|listed| listed.size).sum(),
        manifest: String::new(),
        tool: String::new(),
        rules: String::new(),
        redacted: Vec::new(),
        statement: Word::Nobody,
        log: None,
        pinned: Pinned::NotGiven,
        completeness: None,
        defects: Vec::new(),
        defect_count: 0,
    };
    let mut walk = Walk {
        package,
        trust,
        verdict,
    };
    let is_readable = !defects.iter().any(|defect| matches!(defect, Defect::Zip { .. }));
    defects.into_iter().for_each(|defect| walk.defect(defect));
    if is_readable {
        walk.all()?;
    }
    Ok(walk.verdict)
}

struct Walk<'a, R> {
    package: Package<R>,
    trust: &'a Trust,
    verdict: Verdict,
}

impl<R: Read + Seek> Walk<'_, R> {
    fn all(&mut self) -> Result<(), PackageError> {
        let bytes = match self.package.whole("manifest.json", limits::MANIFEST_BYTES)? {
            Ok(bytes) => bytes,
            Err(defect) => {
                self.defect(defect);
                return Ok(());
            }
        };
        self.verdict.manifest = hex::encode(sha256(&[&bytes]));
        let manifest = match Manifest::parse(&bytes) {
            Ok(manifest) => manifest,
            Err(what) => {
                self.defect(Defect::Form {
                    path: "manifest.json",
                    what,
                });
                return Ok(());
            }
        };
        self.verdict.tool = format!("{} {}", manifest.tool.name, manifest.tool.version);
        self.verdict.rules.clone_from(&manifest.rules.sha256);
        if let Some(redaction) = &manifest.redaction {
            self.verdict.redacted = redaction.classes.clone();
            self.verdict.redacted.push(format!("key {}", redaction.key_id));
        }
        self.files(&manifest)?;
        self.statement(&manifest)?;
        self.completeness(&manifest)?;
        self.log(&manifest, bytes.len() as u64)
    }

    /// Every file is one that is named, and as it was named.
    fn files(&mut self, manifest: &Manifest) -> Result<(), PackageError> {
        for path in manifest.absent() {
            self.defect(Defect::Missing {
                path: path.to_owned(),
            });
        }
        let listed: Vec<(String, u64)> = self
            .package
            .files()
            .iter()
            .map(|file| (file.path.clone(), file.size))
            .collect();
        for file in &manifest.files {
            if listed.binary_search_by(|(path, _)| path.cmp(&file.path)).is_err() {
                self.defect(Defect::Missing {
                    path: file.path.clone(),
                });
            }
        }
        for (path, size) in listed {
            if manifest::OUTSIDE.contains(&path.as_str()) {
                continue;
            }
            let Some(named) = manifest.find(&path) else {
                self.defect(Defect::Unexpected { path });
                continue;
            };
            if named.size != size {
                self.defect(Defect::Changed {
                    path,
                    what: "it has another size",
                });
                continue;
            }
            let mut context = Context::new(&SHA256);
            let is_so = self.package.read(&path, |chunk| context.update(chunk))?;
            if !is_so || hex::encode(finish(context)) != named.sha256 {
                self.defect(Defect::Changed {
                    path,
                    what: "its bytes are others",
                });
            }
        }
        Ok(())
    }

    fn statement(&mut self, manifest: &Manifest) -> Result<(), PackageError> {
        let path = "statement.dsse.json";
        let digest = self.verdict.manifest.clone();
        if let Some((word, statement)) = self.signed(manifest, path, ("manifest.json", &digest))? {
            self.verdict.statement = word;
            if statement.predicate_type != RUN_TYPE {
                self.defect(Defect::Signature {
                    path,
                    what: "it states something else than a run",
                });
            }
        }
        Ok(())
    }

    /// The signed statement of completeness, and whether it says what `completeness.json` says.
    fn completeness(&mut self, manifest: &Manifest) -> Result<(), PackageError> {
        let path = "completeness.dsse.json";
        let Some(named) = manifest.find("completeness.json").map(|file| file.sha256.clone()) else {
            return Ok(());
        };
        let Some((word, statement)) = self.signed(manifest, path, ("completeness.json", &named))? else {
            return Ok(());
        };
        if statement.predicate_type != COMPLETENESS_TYPE || word != self.verdict.statement {
            self.defect(Defect::Completeness {
                what: "it is no such statement, or signed by another key",
            });
            return Ok(());
        }
        let told = serde_json::from_value::<Completeness>(statement.predicate);
        // Where it cannot be read it is named among the files already.
        let Ok(bytes) = self
            .package
            .whole("completeness.json", limits::COMPLETENESS_BYTES)?
        else {
            return Ok(());
        };
        match (told, serde_json::from_slice::<Document>(&bytes)) {
            (Ok(told), Ok(document)) if told == document.verdict && adds_up(&document) => {
                self.verdict.completeness = Some(told);
            }
            _ => self.defect(Defect::Completeness {
                what: "its numbers are not those of completeness.json",
            }),
        }
        Ok(())
    }

    /// An envelope that is about the file with the digest, and whose word it is.
    fn signed(
        &mut self,
        manifest: &Manifest,
        path: &'static str,
        (file, digest): (&str, &str),
    ) -> Result<Option<(Word, crate::dsse::Statement)>, PackageError> {
        let bytes = match self.package.whole(path, limits::STATEMENT_BYTES)? {
            Ok(bytes) => bytes,
            Err(defect) => {
                self.defect(defect);
                return Ok(None);
            }
        };
        let envelope = match Envelope::parse(&bytes) {
            Ok(envelope) => envelope,
            Err(what) => {
                self.defect(Defect::Form { path, what });
                return Ok(None);
            }
        };
        let word = self.word(&manifest.signers.statement, |keys| envelope.signer(keys).cloned());
        if word == Word::Nobody {
            self.defect(Defect::Signature {
                path,
                what: self.no_signer(),
            });
        } else if word.key().is_some_and(|key| key.name() != envelope.key_name()) {
            self.defect(Defect::Signature {
                path,
                what: "it names another key than the one that signed",
            });
        }
        match envelope.statement(file, digest) {
            Ok(statement) => Ok(Some((word, statement))),
            Err(what) => {
                self.defect(Defect::Signature { path, what });
                Ok(None)
            }
        }
    }

    /// Whose word a signature is: a trusted key's, or else, where none was given, that of the key in the package.
    fn word(&self, in_package: &str, signer: impl Fn(&[TrustedKey]) -> Option<TrustedKey>) -> Word {
        if let Some(key) = signer(&self.trust.keys) {
            return Word::Trusted { key };
        }
        if !self.trust.keys.is_empty() {
            return Word::Nobody;
        }
        let keys = TrustedKey::parse_all(in_package).unwrap_or_default();
        signer(&keys).map_or(Word::Nobody, |key| Word::PackageOnly { key })
    }

    fn no_signer(&self) -> &'static str {
        if self.trust.keys.is_empty() {
            "the key that the package names did not sign it"
        } else {
            "no key that you trust signed it"
        }
    }

    /// The manifest's digest is an entry of the log, at the place and under the root that the checkpoint says.
    fn log(&mut self, manifest: &Manifest, manifest_size: u64) -> Result<(), PackageError> {
        let Some(text) = self.text("checkpoint.txt", limits::CHECKPOINT_BYTES)? else {
            return Ok(());
        };
        let proof = match Proof::parse(&text) {
            Ok(proof) => proof,
            Err(what) => {
                self.defect(Defect::Form {
                    path: "checkpoint.txt",
                    what,
                });
                return Ok(());
            }
        };
        let word = self.log_word(manifest, &proof.note);
        if word == Word::Nobody {
            self.defect(Defect::Signature {
                path: "checkpoint.txt",
                what: self.no_signer(),
            });
        }
        let entry = entry(&self.verdict.manifest, manifest_size);
        let leaf = leaf_hash(entry.as_bytes());
        if root_from_path(&leaf, proof.index, proof.note.size, &proof.path) != Some(proof.note.root) {
            self.defect(Defect::Log {
                what: "the proof does not lead from this manifest to the checkpoint's root",
            });
        }
        let leaves = self.leaves(&proof)?;
        let index = usize::try_from(proof.index).ok();
        if leaves
            .as_ref()
            .is_some_and(|leaves| index.and_then(|index| leaves.get(index)) != Some(&leaf))
        {
            self.defect(Defect::Log {
                what: "log.txt has another entry in the place of this package",
            });
        }
        self.pinned(manifest, &proof.note, leaves.as_deref());
        self.verdict.log = Some(LogVerdict {
            origin: proof.note.origin,
            size: proof.note.size,
            index: proof.index,
            word,
        });
        Ok(())
    }

    fn log_word(&self, manifest: &Manifest, note: &Note) -> Word {
        let signer = |keys: &[TrustedKey]| keys.iter().find(|key| note.is_signed_by(key)).cloned();
        let word = self.word(&manifest.signers.log, signer);
        if word != Word::Nobody || !self.verdict.statement.is_trusted() {
            return word;
        }
        // What a trusted key signed says which key the log has.
        let named = TrustedKey::parse_all(&manifest.signers.log).unwrap_or_default();
        signer(&named).map_or(Word::Nobody, |key| Word::Vouched { key })
    }

    /// The log's leaves, if they are those that the checkpoint was made over.
    fn leaves(&mut self, proof: &Proof) -> Result<Option<Vec<Hash>>, PackageError> {
        let Some(text) = self.text("log.txt", limits::LOG_BYTES)? else {
            return Ok(None);
        };
        let leaves = match parse_log(&text) {
            Ok(leaves) => leaves,
            Err(what) => {
                self.defect(Defect::Form {
                    path: "log.txt",
                    what,
                });
                return Ok(None);
            }
        };
        if leaves.len() as u64 != proof.note.size || root(&leaves) != proof.note.root {
            self.defect(Defect::Log {
                what: "the entries of log.txt do not make the checkpoint's root",
            });
            return Ok(None);
        }
        Ok(Some(leaves))
    }

    /// Whether the pinned checkpoint and this one are two moments of one history.
    fn pinned(&mut self, manifest: &Manifest, note: &Note, leaves: Option<&[Hash]>) {
        let Some(text) = &self.trust.checkpoint else {
            return;
        };
        self.verdict.pinned = Pinned::Inconsistent;
        // Either the note alone, or a whole `checkpoint.txt` of another package.
        let pinned = Note::parse(text).or_else(|_| Proof::parse(text).map(|proof| proof.note));
        let Ok(pinned) = pinned else {
            return self.defect(Defect::Pinned {
                what: "it is not a checkpoint",
            });
        };
        if pinned.origin != note.origin {
            return self.defect(Defect::Pinned {
                what: "it is of another log",
            });
        }
        if self.log_word(manifest, &pinned) == Word::Nobody {
            return self.defect(Defect::Pinned {
                what: "it is not signed by the key of this log",
            });
        }
        let later = self.trust.later_log.as_deref().map(parse_log);
        let known = match (&later, leaves) {
            (Some(Err(_)), _) => {
                return self.defect(Defect::Pinned {
                    what: "the later log is not in its form",
                });
            }
            (Some(Ok(later)), _) => later.as_slice(),
            (None, Some(leaves)) => leaves,
            // What is wrong with the log has been told.
            (None, None) => return,
        };
        let root_at = |size: u64| {
            let size = usize::try_from(size).ok()?;
            known.get(..size).map(root)
        };
        match (root_at(pinned.size), root_at(note.size)) {
            (Some(then), Some(now)) if then == pinned.root && now == note.root => {
                self.verdict.pinned = Pinned::Consistent { size: pinned.size };
            }
            (Some(_), Some(_)) => {
                self.defect(Defect::Pinned {
                    what: "the log does not hold what it covers: it was rewritten",
                });
            }
            _ => self.verdict.pinned = Pinned::CannotTell { size: pinned.size },
        }
    }

    fn text(&mut self, path: &'static str, limit: u64) -> Result<Option<String>, PackageError> {
        let text = match self.package.whole(path, limit)? {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| Defect::Form {
                path,
                what: "it is not UTF-8",
            }),
            Err(defect) => Err(defect),
        };
        Ok(text.map_err(|defect| self.defect(defect)).ok())
    }

    fn defect(&mut self, defect: Defect) {
        self.verdict.defect_count += 1;
        if self.verdict.defects.len() < limits::NAMED_DEFECTS {
            self.verdict.defects.push(defect);
        }
    }
}

/// The log's entry for a manifest.
fn entry(digest: &str, size: u64) -> String {
    format!("{{\"manifest\":{{\"sha256\":\"{digest}\",\"size\":{size}}},\"type\":\"{RUN_TYPE}\"}}")
}

/// Whether the numbers of `completeness.json` follow from its lists.
fn adds_up(document: &Document) -> bool {
    let told = &document.verdict;
    let unanswered = document.unanswered.len() as u64;
    let is_whole = unanswered == 0 && told.could_not_check == 0 && !told.interrupted;
    told.asked.checked_sub(told.answered) == Some(unanswered) && told.complete == is_whole
}
