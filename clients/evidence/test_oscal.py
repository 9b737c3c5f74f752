"""The assessment results, judged by compliance-trestle, whose models are generated from NIST's."""

import json
import pathlib
import subprocess
import sys

import pytest
from trestle.oscal.assessment_results import AssessmentResults


@pytest.fixture(scope="module")
def results(package):
    return package / "oscal" / "assessment-results.json"


def test_trestle_reads_and_validates_them(results, tmp_path):
    trestle = pathlib.Path(sys.executable).with_name("trestle")
    for words in (["init", "--local"], ["import", "-f", str(results), "-o", "evidence"]):
        done = subprocess.run([trestle, *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([trestle, "validate", "-a"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "VALID" in done.stdout + done.stderr, done.stdout + done.stderr


def test_every_finding_is_an_observation_and_nothing_unchecked_is_satisfied(results, package):
    model = AssessmentResults.oscal_read(results)
    (result,) = model.results
    findings = json.loads((package / "findings.json").read_text())["findings"]
    answers = {prop.value for seen in result.observations for prop in seen.props if prop.name == "answer"}
    assert len(result.observations) == len(findings)
    assert answers == {finding["answer"] for finding in findings}
    judged = {found.target.target_id: found.target.status.state.value for found in result.findings}
    assert judged == {"strongroom-a01": "not-satisfied", "strongroom-n01": "satisfied", "strongroom-n10": "not-satisfied"}
    for seen in result.observations:
        for evidence in seen.relevant_evidence:
            assert (results.parent / evidence.href).is_file()
