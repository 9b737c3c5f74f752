"""What all suites need. They are run by `cargo xtask clients`, which starts the instance."""

import os

import pytest

from instance import Instance


@pytest.fixture(scope="session")
def instance():
    missing = [name for name in ("STRONGROOM_BINARY", "STRONGROOM_DATA", "STRONGROOM_VAULT_URL") if not os.environ.get(name)]
    assert not missing, f"not set: {missing}; run `cargo xtask clients`"
    return Instance()


def pytest_sessionfinish(session):
    """A test that was skipped has proven nothing: in the test command it is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("STRONGROOM_BINARY") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
