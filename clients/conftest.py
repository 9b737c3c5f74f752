"""What all suites need. They are run by `cargo xtask clients`, which starts the instance."""

import os

import pytest

from instance import Instance


@pytest.fixture(scope="session")
def instance():
    missing = [name for name in ("STRONGROOM_BINARY", "STRONGROOM_DATA", "STRONGROOM_VAULT_URL") if not os.environ.get(name)]
    assert not missing, f"not set: {missing}; run `cargo xtask clients`"
    return Instance()
