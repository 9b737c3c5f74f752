"""azure-cli as `strongroom shell` sets it up, in a configuration folder that nobody used before."""

import os
import subprocess

import pytest

from azure_cli import Az, bare_variables


@pytest.fixture(scope="session")
def az(instance):
    shell = [os.environ["STRONGROOM_BINARY"], "shell", "--data", os.environ["STRONGROOM_DATA"]]
    variables = bare_variables() | {"SHELL": "/usr/bin/env"}
    opened = subprocess.run(shell, capture_output=True, text=True, env=variables, check=True)
    lines = (line.split("=", 1) for line in opened.stdout.splitlines() if "=" in line)
    return Az(variables | dict(lines))
