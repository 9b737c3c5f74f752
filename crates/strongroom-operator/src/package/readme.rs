//! `README.md`: what the package is, and how to verify it with and without the tool.

use super::answers::{ANSWERS, time};
use super::completeness::Verdict;
use super::error::PackageError;
use super::markdown::code;
use crate::run::Run;

/// What the text speaks of.
pub(super) struct About<'a> {
    pub(super) run: &'a Run,
    pub(super) counts: [u64; 6],
    pub(super) verdict: Verdict,
    pub(super) is_redacted: bool,
    pub(super) log: &'a str,
}

pub(super) fn to_text(about: &About<'_>) -> Result<String, PackageError> {
    let run = about.run;
    let ended = run.ended_ms.map(time).transpose()?;
    let verdict = &about.verdict;
    let mut text = String::from(
        "# Evidence\n\nWhat was read of a cloud's AI accounts, keys and vaults, and what was judged of it, question by question.\n\n",
    );
    let mut row = |name: &str, value: &str| text.push_str(&format!("| {name} | {value} |\n"));
    row("What", "Which");
    row("---", "---");
    row(
        "cloud, tenant",
        &format!("{}, {}", cell(&run.cloud), cell(&run.tenant)),
    );
    row("read from", &cell(&time(run.started_ms)?));
    row(
        "until",
        &ended.map_or_else(|| "**interrupted**".to_owned(), |ended| cell(&ended)),
    );
    row("made by", &cell(&run.tool));
    for (word, count) in ANSWERS.iter().zip(about.counts) {
        row(&format!("findings: {word}"), &count.to_string());
    }
    let complete = if verdict.complete {
        "complete"
    } else {
        "**incomplete**"
    };
    row(
        "completeness",
        &format!(
            "{complete}: {} of {} questions answered, {} findings could not be checked",
            verdict.answered, verdict.asked, verdict.could_not_check
        ),
    );
    if about.is_redacted {
        row(
            "redacted",
            "names are pseudonyms; whoever keeps the map can give the names back",
        );
    }
    text.push_str(FILES);
    text.push_str(VERIFY);
    text.push_str(&format!(
        "The log's name and key, for comparison with what you were given by another way: {}\n",
        code(about.log)
    ));
    text.push_str(BY_HAND);
    Ok(text)
}

/// Within a table a bar would end the cell, in code too.
fn cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

const FILES: &str = "
## What is here

| File | Content |
| --- | --- |
| `summary.html` | for people: opens in any browser, without a network and without scripts |
| `findings.csv`, `findings.json` | one row for each check and resource, those that could not be checked among them |
| `graph.json` | accounts, keys, identities, vaults and what depends on them |
| `completeness.json` | what was asked, what was not answered and why; the clock |
| `completeness.dsse.json` | the same verdict, signed: integrity is not completeness |
| `run.json` | who asked whom, when; every question with the fact that answers it |
| `raw/<sha256>.json` | the facts: each request and its answer as they were, named by their digest |
| `oscal/assessment-results.json` | the findings as OSCAL assessment results |
| `manifest.json` | path, size and SHA-256 of all of the above |
| `statement.dsse.json` | the signed statement about the manifest (in-toto in DSSE) |
| `checkpoint.txt`, `log.txt` | the proof that the manifest stands in the evidence log (C2SP tlog-proof), and the log's leaves |
";

const VERIFY: &str = "
## Verify

    strongroom-evidence-verify PACKAGE --key KEY [--checkpoint EARLIER]

`KEY` must come from elsewhere than this package: whoever changes a package can sign it anew and put their own key into it. Ask whoever ran the tool
for it on another way, and keep it. `EARLIER` is the `checkpoint.txt` of an earlier package of the same log, which you kept: with it, you also see that the log was not rewritten
since. A log that only its producer keeps proves little, so keep the `checkpoint.txt` of this one.

What a good verdict proves: these bytes are what the holder of the key signed. What it does not prove: that the holder told the truth, or that nothing was left out; for the latter see
`completeness.json`.

";

const BY_HAND: &str = "
## Verify without the tool

1. Compare each file with `manifest.json`, and see that there is none but those it names and itself, `statement.dsse.json`, `completeness.dsse.json`, `checkpoint.txt` and `log.txt`:

       python3 -c 'import hashlib,json;[print(f[\"path\"]) for f in json.load(open(\"manifest.json\"))[\"files\"] if hashlib.sha256(open(f[\"path\"],\"rb\").read()).hexdigest()!=f[\"sha256\"]]'

   It prints what differs: nothing.
2. `statement.dsse.json` is a DSSE envelope. Its payload, decoded from base64, is an in-toto statement whose subject is `manifest.json` with its SHA-256. The signature is over `DSSEv1 28 application/vnd.in-toto+json `, the
   payload's length in decimal, a space, and the payload.
3. `checkpoint.txt` is a C2SP tlog-proof. The entry is `{\"manifest\":{\"sha256\":\"<digest>\",\"size\":<bytes>},\"type\":\"urn:strongroom:evidence:run:1\"}` for `manifest.json`; the leaf is SHA-256 over a
   zero byte and the entry, and the tree is that of RFC 6962. The lines of `log.txt` are all leaves in base64; its first n make the root of any earlier checkpoint of n entries.

The formats are described to the letter in the project's `docs/evidence.md`.
";
