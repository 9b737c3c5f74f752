"""azure-cli as `strongroom shell` sets it up, in a configuration folder that nobody used before."""

import os
import subprocess

import pytest

from azure_cli import Az, bare_variables, shell_variables


@pytest.fixture(scope="session")
def az():
    return Az(shell_variables())


@pytest.fixture(params=["in the shell", "by the environment file"])
def either(request, az):
    """`az` in `strongroom shell`, and after `eval "$(strongroom env)"`."""
    if request.param == "in the shell":
        return az
    data = os.environ["STRONGROOM_DATA"]
    script = f'eval "$("{os.environ["STRONGROOM_BINARY"]}" env --data "{data}")"; env'
    # Nothing of the instance is in the environment before.
    bare = {name: bare_variables()[name] for name in ("PATH", "HOME", "LANG") if name in bare_variables()}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=bare, check=True)
    lines = (line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return Az(dict(lines))
