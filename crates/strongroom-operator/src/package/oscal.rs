//! `oscal/assessment-results.json`: OSCAL assessment results, as far as they can say it. OSCAL knows `satisfied` and `not-satisfied` alone, so a
//! finding there is made only of what was judged either way; every answer stands as an observation with a property of ours.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{detail, framework, severity, time, word};
use super::csv::sources;
use super::error::PackageError;
use crate::finding::{Answer, Control, Finding, Framework, Judgement};
use crate::limits::{EVIDENCE_FRESH_MS, OSCAL_OBSERVATIONS, OSCAL_TEXT};
use crate::run::Run;

const VERSION: &str = "1.1.3";

/// The namespace of our properties, and of the UUIDs that follow from names (RFC 9562, version 5).
const NAMESPACE: &str = "urn:strongroom:oscal:1";

/// The document for a run; `rules` names the catalogue.
pub(super) fn document(
    run: &Run,
    judgement: &Judgement,
    catalogue: &BTreeMap<&str, &Control>,
    rules: &str,
) -> Result<Value, PackageError> {
    let end = time(run.ended_ms.unwrap_or(run.started_ms))?;
    let seed = super::manifest::json_sha256(&(run, &judgement.findings, rules))
        .map_err(|error| PackageError::io("oscal/assessment-results.json")(error.into()))?;
    let plan = name_uuid(&format!("plan {rules}"));
    let mut chosen: Vec<&Finding> = judgement.findings.iter().collect();
    let all = chosen.len();
    if all > OSCAL_OBSERVATIONS {
        // What asks for attention first; how many are left out is said.
        chosen.sort_by_key(|finding| super::answers::rank(&finding.answer));
        chosen.truncate(OSCAL_OBSERVATIONS);
    }
    let observations = chosen
        .iter()
        .map(|finding| observation(finding, catalogue, &seed));
    let observations = observations.collect::<Result<Vec<_>, _>>()?;
    let mut result = json!({
        "uuid": name_uuid(&format!("result {seed}")),
        "title": "Customer-managed keys of AI accounts",
        "description": "Each control asked of each resource that it applies to; the facts are in ../raw.",
        "start": time(run.started_ms)?,
        "end": end,
        "props": [property("observations-left-out", &(all - chosen.len()).to_string())],
        "reviewed-controls": reviewed(catalogue),
    });
    // OSCAL allows no empty lists.
    let lists = [
        ("observations", observations),
        ("findings", findings(judgement, &chosen, catalogue, &seed)),
    ];
    if let Some(result) = result.as_object_mut() {
        if let Some(items) = resources(&chosen) {
            result.insert("local-definitions".to_owned(), json!({"inventory-items": items}));
        }
        for (name, list) in lists {
            if !list.is_empty() {
                result.insert(name.to_owned(), list.into());
            }
        }
    }
    Ok(json!({"assessment-results": {
        "uuid": name_uuid(&format!("assessment-results {seed}")),
        "metadata": {
            "title": "Evidence of customer-managed keys",
            "last-modified": end,
            "version": seed.get(..16).unwrap_or_default(),
            "oscal-version": VERSION,
            "props": [property("tool", &run.tool), property("rules", rules)],
        },
        "import-ap": {"href": format!("#{plan}"), "remarks": "There is no assessment plan: the catalogue of controls is one."},
        "results": [result],
        "back-matter": {"resources": [{
            "uuid": plan,
            "title": "Catalogue of controls",
            "description": format!("The controls that were applied; the digest of the catalogue is {rules}."),
        }]},
    }}))
}

/// The NIST controls that the catalogue speaks to, which is what OSCAL means by controls.
fn reviewed(catalogue: &BTreeMap<&str, &Control>) -> Value {
    let mappings = catalogue.values().flat_map(|control| control.mappings);
    let nist: BTreeSet<String> = mappings
        .filter(|mapping| matches!(mapping.framework, Framework::Nist80053))
        .map(|mapping| token(&mapping.control.to_lowercase()))
        .collect();
    let selection = if nist.is_empty() {
        json!({"include-all": {}})
    } else {
        let ids: Vec<Value> = nist.iter().map(|id| json!({"control-id": id})).collect();
        json!({"include-controls": ids})
    };
    json!({"control-selections": [selection]})
}

/// What was looked at, as inventory.
fn resources(findings: &[&Finding]) -> Option<Vec<Value>> {
    let resources: BTreeSet<&str> = findings.iter().map(|finding| finding.resource.as_str()).collect();
    let items = resources
        .into_iter()
        .map(|resource| json!({"uuid": resource_uuid(resource), "description": line(resource)}));
    Some(items.collect()).filter(|items: &Vec<Value>| !items.is_empty())
}

fn observation(
    finding: &Finding,
    catalogue: &BTreeMap<&str, &Control>,
    seed: &str,
) -> Result<Value, PackageError> {
    let control = catalogue.get(finding.control.as_str());
    let control = control.ok_or_else(|| PackageError::NoSuchControl(finding.control.clone()))?;
    let mut props = vec![
        property("control", &finding.control),
        property("answer", word(&finding.answer)),
        property("severity", severity(finding.severity)),
        property("source", &sources(control)),
    ];
    let told = detail(&finding.answer);
    if !told.is_empty() {
        props.push(property("detail", &told));
    }
    if let Some(owner) = &finding.owner {
        props.push(property("owner", owner));
    }
    props.extend(control.mappings.iter().map(|mapping| {
        let mut mapped = property("mapping", mapping.control);
        if let Some(mapped) = mapped.as_object_mut() {
            mapped.insert("class".to_owned(), token(framework(mapping.framework)).into());
        }
        mapped
    }));
    let mut observation = json!({
        "uuid": observation_uuid(finding, seed),
        "title": line(&format!("{}: {}", finding.control, control.question)),
        "description": line(&finding.reason),
        "props": props,
        "methods": ["EXAMINE"],
        "subjects": [{"subject-uuid": resource_uuid(&finding.resource), "type": "inventory-item", "title": line(&finding.resource)}],
        "collected": time(finding.as_of_ms)?,
        "expires": time(finding.as_of_ms.saturating_add(EVIDENCE_FRESH_MS))?,
    });
    if let (Some(observation), false) = (observation.as_object_mut(), finding.facts.is_empty()) {
        let facts = finding.facts.iter().map(|fact| {
            json!({"href": format!("../raw/{fact}.json"), "description": "A request and its answer, as they were."})
        });
        observation.insert("relevant-evidence".to_owned(), facts.collect::<Vec<_>>().into());
    }
    Ok(observation)
}

/// One finding for each control that was judged: satisfied if nothing fails, and only if something passes.
fn findings(
    judgement: &Judgement,
    chosen: &[&Finding],
    catalogue: &BTreeMap<&str, &Control>,
    seed: &str,
) -> Vec<Value> {
    let mut by_control: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for finding in &judgement.findings {
        by_control.entry(&finding.control).or_default().push(finding);
    }
    let shown: BTreeSet<*const Finding> = chosen
        .iter()
        .map(|finding| std::ptr::from_ref(*finding))
        .collect();
    let findings = by_control.into_iter().filter_map(|(id, findings)| {
        let control = catalogue.get(id)?;
        let fails = findings
            .iter()
            .any(|finding| matches!(finding.answer, Answer::Fail | Answer::Excepted { .. }));
        let passes = findings.iter().any(|finding| finding.answer == Answer::Pass);
        // What could not be checked anywhere is neither satisfied nor not: its observations say so.
        let is_open = findings.iter().any(|finding| {
            matches!(
                finding.answer,
                Answer::CouldNotCheck { .. } | Answer::Conflict { .. }
            )
        });
        if !fails && (is_open || !passes) {
            return None;
        }
        let related = findings
            .iter()
            .filter(|finding| shown.contains(&std::ptr::from_ref(**finding)));
        let related: Vec<Value> = related
            .map(|finding| json!({"observation-uuid": observation_uuid(finding, seed)}))
            .collect();
        let mut finding = json!({
            "uuid": name_uuid(&format!("finding {id} {seed}")),
            "title": line(&format!("{id}: {}", control.question)),
            "description": line(control.question),
            "props": [property("severity", severity(control.severity))],
            "target": {
                "type": "objective-id",
                "target-id": token(&format!("strongroom-{}", id.to_lowercase())),
                "status": {"state": if fails { "not-satisfied" } else { "satisfied" }},
            },
        });
        if let (Some(finding), false) = (finding.as_object_mut(), related.is_empty()) {
            finding.insert("related-observations".to_owned(), related.into());
        }
        Some(finding)
    });
    findings.collect()
}

fn observation_uuid(finding: &Finding, seed: &str) -> Uuid {
    name_uuid(&format!(
        "observation {} {} {seed}",
        finding.control, finding.resource
    ))
}

fn resource_uuid(resource: &str) -> Uuid {
    name_uuid(&format!("resource {resource}"))
}

/// The version-5 UUID of a name in our namespace, which is the one of [`NAMESPACE`] among URLs.
fn name_uuid(name: &str) -> Uuid {
    let space = version_5(
        Uuid::from_u128(0x6ba7_b811_9dad_11d1_80b4_00c0_4fd4_30c8),
        NAMESPACE,
    );
    version_5(space, name)
}

fn version_5(space: Uuid, name: &str) -> Uuid {
    let hash = digest(
        &SHA1_FOR_LEGACY_USE_ONLY,
        &[space.as_bytes(), name.as_bytes()].concat(),
    );
    let mut bytes = [0; 16];
    bytes.copy_from_slice(hash.as_ref().get(..16).unwrap_or(&[0; 16]));
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": name, "ns": NAMESPACE, "value": line(value)})
}

/// OSCAL's values are one line without space at either end, and not empty.
fn line(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|letter| {
            if letter.is_control() || letter.is_whitespace() {
                ' '
            } else {
                letter
            }
        })
        .take(OSCAL_TEXT)
        .collect();
    match text.trim() {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}

/// OSCAL's tokens are names as XML has them.
fn token(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_') {
                letter
            } else {
                '-'
            }
        })
        .collect();
    if text.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
        text
    } else {
        format!("x{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_those_that_others_derive_from_the_same_name() {
        // Python: uuid.uuid5(uuid.NAMESPACE_URL, "https://example.com/")
        let url = Uuid::from_u128(0x6ba7_b811_9dad_11d1_80b4_00c0_4fd4_30c8);
        assert_eq!(
            version_5(url, "https://example.com/").to_string(),
            "dd2c1780-811a-5296-81c5-178a0ef488bc"
        );
    }

    #[test]
    fn tokens_and_lines_are_what_oscal_allows() {
        assert_eq!(token("ISO/IEC 27001"), "ISO-IEC-27001");
        assert_eq!(token("1a"), "x1a");
        assert_eq!(line(" a\n b\t"), "a  b");
        assert_eq!(line("\n"), "-");
    }
}
