//! A package, from beginning to end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::answers::{ANSWERS, count};
use super::completeness::{COMPLETENESS_TYPE, Document, Seen, Verdict};
use super::error::PackageError;
use super::key::Signer;
use super::log::EvidenceLog;
use super::manifest::{self, RUN_TYPE};
use super::redact::Redacted;
use super::staging::Staging;
use super::{csv, findings, html, oscal, readme, statement, zip};
use crate::fact::{FactId, decode};
use crate::facts::FactsError;
use crate::finding::{Control, Judgement};
use crate::run::{Caller, Run};

/// The files that the manifest does not name: it cannot name itself, and the others are made over it or are signatures, which need not be the
/// same each time.
const OUTSIDE: [&str; 5] = [
    "checkpoint.txt",
    "completeness.dsse.json",
    "log.txt",
    "manifest.json",
    "statement.dsse.json",
];

/// What a package is made of.
pub struct Contents<'a, F> {
    /// The run.
    pub run: &'a Run,
    /// Its facts with their bytes, in the order of their ids, each once.
    pub facts: F,
    /// What was judged of them.
    pub judgement: &'a Judgement,
    /// The controls, of which every finding is.
    pub catalogue: &'a [Control],
    /// How the facts and the judgement were redacted, where they were.
    pub redaction: Option<&'a Redacted>,
}

/// A package that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Where.
    pub path: PathBuf,
    /// SHA-256 of its manifest, which names it.
    pub manifest: String,
    /// Files in it.
    pub files: usize,
    /// The signed tree head and the proof, as `checkpoint.txt` has them: to be kept elsewhere.
    pub checkpoint: String,
    /// Whether every question was answered and every finding checked.
    pub is_complete: bool,
}

/// Writes a package to `target`: a zip if it ends in `.zip`, else a folder. There may be nothing yet; it comes there whole or not at all.
///
/// From the same contents, signer and log the same bytes come, whenever it is done: the log hands out the entry's place as it was when the
/// entry was new. Only the signatures of an ECDSA signer differ each time, and nothing else depends on them.
pub fn write<F>(
    target: &Path,
    contents: Contents<'_, F>,
    signer: &dyn Signer,
    log: &EvidenceLog,
) -> Result<Written, PackageError>
where
    F: Iterator<Item = Result<(FactId, Vec<u8>), FactsError>>,
{
    let mut staging = Staging::begin(target)?;
    let Contents {
        run,
        facts,
        judgement,
        catalogue,
        redaction,
    } = contents;
    let by_id: BTreeMap<&str, &Control> = catalogue.iter().map(|control| (control.id, control)).collect();
    let seen = write_facts(&mut staging, facts, judgement)?;
    let completeness = seen.document(run, judgement)?;
    let rules = manifest::rules(catalogue).map_err(json_failed("manifest.json"))?;
    let maker = Maker {
        run,
        judgement,
        by_id: &by_id,
        rules: &rules,
        redaction,
        log: log.verifier(),
    };
    maker.reports(&mut staging, &completeness)?;
    let completeness_statement = maker.completeness(&mut staging, &completeness, signer)?;
    let about = manifest::About {
        redaction,
        rules: rules.clone(),
        signer: &signer.public_key()?,
        log: log.verifier(),
    };
    let manifest = manifest::to_bytes(staging.entries(), &about).map_err(json_failed("manifest.json"))?;
    let digest = manifest::sha256(&manifest);
    let statement = statement::sign(
        ("manifest.json", &digest),
        RUN_TYPE,
        &maker.predicate(&completeness),
        signer,
    )?;
    // Last: what is in the log was ready to be handed over.
    let place = log.enter(manifest::log_entry(&manifest).as_bytes())?;
    for (path, bytes) in [
        ("completeness.dsse.json", completeness_statement.as_slice()),
        ("manifest.json", &manifest),
        ("statement.dsse.json", &statement),
        ("checkpoint.txt", place.checkpoint.as_bytes()),
        ("log.txt", place.leaves.as_bytes()),
    ] {
        staging.write_outside(path, bytes)?;
    }
    let written = Written {
        path: target.to_owned(),
        manifest: digest,
        files: staging.entries().len() + OUTSIDE.len(),
        checkpoint: place.checkpoint,
        is_complete: completeness.verdict.complete,
    };
    settle(staging, target)?;
    Ok(written)
}

fn settle(mut staging: Staging, target: &Path) -> Result<(), PackageError> {
    if target.extension().is_none_or(|extension| extension != "zip") {
        return staging.settle();
    }
    let mut paths: Vec<String> = staging.entries().iter().map(|entry| entry.path.clone()).collect();
    paths.extend(OUTSIDE.map(str::to_owned));
    paths.sort();
    let file = staging.folder().join("package.zip");
    zip::write(staging.folder(), &paths, &file)?;
    staging.settle_file(&file)
}

/// Writes the facts, and notes what they tell of answers and clocks.
fn write_facts(
    staging: &mut Staging,
    facts: impl Iterator<Item = Result<(FactId, Vec<u8>), FactsError>>,
    judgement: &Judgement,
) -> Result<Seen, PackageError> {
    let (mut seen, mut ids) = (Seen::default(), BTreeSet::new());
    for fact in facts {
        let (id, bytes) = fact?;
        let decoded = decode(&bytes).map_err(|cause| PackageError::Fact {
            id: id.clone(),
            cause,
        })?;
        seen.note(&id, &decoded);
        let path = format!("raw/{id}.json");
        staging.write(&path, |out| {
            out.write_all(&bytes).map_err(PackageError::io(&path))
        })?;
        ids.insert(id);
    }
    match used(judgement).find(|id| !ids.contains(id)) {
        Some(id) => Err(PackageError::NoSuchFact(id.clone())),
        None => Ok(seen),
    }
}

/// Every fact that something in the judgement stands on.
fn used(judgement: &Judgement) -> impl Iterator<Item = &FactId> {
    let findings = judgement.findings.iter().flat_map(|finding| &finding.facts);
    let hops = judgement
        .chains
        .iter()
        .flat_map(|chain| &chain.hops)
        .flat_map(|hop| &hop.facts);
    let coverage = judgement.coverage.iter().flat_map(|coverage| &coverage.facts);
    let timeline = judgement.timeline.iter().flat_map(|moment| &moment.facts);
    findings.chain(hops).chain(coverage).chain(timeline)
}

/// What the files are made from.
struct Maker<'a> {
    run: &'a Run,
    judgement: &'a Judgement,
    by_id: &'a BTreeMap<&'a str, &'a Control>,
    rules: &'a str,
    redaction: Option<&'a Redacted>,
    log: &'a str,
}

impl Maker<'_> {
    fn reports(&self, staging: &mut Staging, completeness: &Document<'_>) -> Result<(), PackageError> {
        staging.write("findings.csv", |out| {
            csv::write(out, &self.judgement.findings, self.by_id)
        })?;
        staging.write("findings.json", |out| findings::write(out, self.judgement))?;
        staging.write("graph.json", |out| findings::write_graph(out, self.judgement))?;
        self.json(staging, "run.json", self.run)?;
        let document = oscal::document(self.run, self.judgement, self.by_id, self.rules)?;
        self.json(staging, "oscal/assessment-results.json", &document)?;
        let redacted = self.redaction.map(Redacted::classes).unwrap_or_default();
        let report = html::to_text(&html::About {
            run: self.run,
            judgement: self.judgement,
            catalogue: self.by_id,
            completeness,
            rules: self.rules,
            redacted: &redacted,
            log: self.log,
        })?;
        text(staging, "summary.html", &report)?;
        let readme = readme::to_text(&readme::About {
            run: self.run,
            counts: count(self.judgement.findings.iter()),
            verdict: completeness.verdict,
            is_redacted: self.redaction.is_some(),
            log: self.log,
        })?;
        text(staging, "README.md", &readme)
    }

    fn completeness(
        &self,
        staging: &mut Staging,
        completeness: &Document<'_>,
        signer: &dyn Signer,
    ) -> Result<Vec<u8>, PackageError> {
        self.json(staging, "completeness.json", completeness)?;
        let entries = staging.entries();
        let digest = entries.iter().find(|entry| entry.path == "completeness.json");
        let digest = digest.map(|entry| entry.sha256.clone()).unwrap_or_default();
        let subject = ("completeness.json", digest.as_str());
        statement::sign(subject, COMPLETENESS_TYPE, &completeness.verdict, signer)
    }

    fn json(&self, staging: &mut Staging, path: &str, value: &impl Serialize) -> Result<(), PackageError> {
        staging.write(path, |out| {
            serde_json::to_writer_pretty(&mut *out, value).map_err(json_failed(path))?;
            out.write_all(b"\n").map_err(PackageError::io(path))
        })
    }

    /// The facts of the run that are signed with the manifest.
    fn predicate(&self, completeness: &Document<'_>) -> Predicate<'_> {
        let counts = count(self.judgement.findings.iter());
        Predicate {
            tool: &self.run.tool,
            rules: self.rules,
            cloud: &self.run.cloud,
            tenant: &self.run.tenant,
            subscriptions: &self.run.subscriptions,
            caller: &self.run.caller,
            started_ms: self.run.started_ms,
            ended_ms: self.run.ended_ms,
            findings: ANSWERS.into_iter().zip(counts).collect(),
            completeness: completeness.verdict,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    tool: &'a str,
    rules: &'a str,
    cloud: &'a str,
    tenant: &'a str,
    subscriptions: &'a [String],
    caller: &'a Caller,
    started_ms: u64,
    ended_ms: Option<u64>,
    findings: BTreeMap<&'static str, u64>,
    completeness: Verdict,
}

fn text(staging: &mut Staging, path: &str, text: &str) -> Result<(), PackageError> {
    staging.write(path, |out| {
        out.write_all(text.as_bytes()).map_err(PackageError::io(path))
    })
}

fn json_failed(path: &str) -> impl FnOnce(serde_json::Error) -> PackageError + '_ {
    move |error| PackageError::io(path)(error.into())
}
