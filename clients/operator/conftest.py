"""An estate that `az` makes, once as it should be and once not, and `strongroom check` over it."""

import json
import os
import subprocess
import time

import pytest

from azure_cli import Az, shell_variables

LOG_SECONDS = 60


@pytest.fixture(scope="session")
def az():
    return Az(shell_variables())


class Judged:
    """What `strongroom check` says."""

    def __init__(self, text):
        self.findings = json.loads(text)["findings"]
        self.chains = json.loads(text)["chains"]

    def of(self, resource):
        """The answers about resources whose id ends so, or has this part, by control."""
        resource = resource.lower()
        return {row["control"]: row for row in self.findings if resource in row["resource"].lower()}

    def answers(self, resource, *controls):
        """Of these controls, what is not answered as the first word says: empty is right."""
        rows = self.of(resource)
        return {control: rows.get(control, {}).get("answer", "nothing") for control in controls}


@pytest.fixture(scope="session")
def check(az):
    def run(variables=None, *words):
        named = ["--data", os.environ["STRONGROOM_DATA"]] if variables is None else []
        command = [os.environ["STRONGROOM_BINARY"], "check", "-o", "json", "--fail-on", "none", *named, *words]
        done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return Judged(done.stdout)

    return run


@pytest.fixture(scope="session")
def until(check):
    """Checks until a control says so: logs arrive when they arrive."""

    def wait(resource, control, answer):
        end = time.monotonic() + LOG_SECONDS
        while True:
            judged = check()
            row = judged.of(resource).get(control, {})
            if row.get("answer") == answer:
                return judged
            assert time.monotonic() < end, row
            time.sleep(1)

    return wait
