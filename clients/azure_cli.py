"""azure-cli: one command at a time, or several."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

COMMAND_SECONDS = 300


class Az:
    """Runs `az` and gives what it printed."""

    def __init__(self, variables):
        self.variables = variables

    def run(self, words):
        command = [os.environ["STRONGROOM_AZ"], *words]
        return subprocess.run(command, capture_output=True, text=True, env=self.variables, check=False, timeout=COMMAND_SECONDS)

    def text(self, *words):
        done = self.run(words)
        assert done.returncode == 0, f"az {' '.join(words)}: {done.stderr}"
        return done.stdout

    def __call__(self, *words):
        text = self.text(*words, "--output", "json")
        return json.loads(text) if text.strip() else None

    def together(self, *commands):
        """Several at a time: most of a command's second is its own start."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda words: self(*words), commands))

    def refused(self, *words):
        """What a command that fails says."""
        done = self.run(words)
        assert done.returncode != 0, f"az {' '.join(words)}: {done.stdout}"
        return done.stderr


def bare_variables():
    """The environment of a person who has read the environment file: with `az` found, and able to keep what it compiles."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    folder = os.path.dirname(os.environ["STRONGROOM_AZ"])
    return variables | {"PATH": f"{folder}:{variables['PATH']}"}


def shell_variables():
    """The environment that `strongroom shell` opens: azure-cli in a configuration folder that nobody used before."""
    shell = [os.environ["STRONGROOM_BINARY"], "shell", "--data", os.environ["STRONGROOM_DATA"]]
    variables = bare_variables() | {"SHELL": "/usr/bin/env"}
    opened = subprocess.run(shell, capture_output=True, text=True, env=variables, check=True)
    return variables | dict(line.split("=", 1) for line in opened.stdout.splitlines() if "=" in line)
