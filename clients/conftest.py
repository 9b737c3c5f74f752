"""What all suites need. They are run by `cargo xtask clients`, which starts the instance."""

import os
import time
from urllib.parse import urlsplit

import pytest
import requests

from instance import ARM_AUDIENCE, Instance

# Actions that change something or give a secret out; other POSTs look something up.
ACTIONS = ("/listkeys", "/regeneratekey", "/purge")


@pytest.fixture(scope="session")
def instance():
    missing = [name for name in ("STRONGROOM_BINARY", "STRONGROOM_DATA", "STRONGROOM_VAULT_URL") if not os.environ.get(name)]
    assert not missing, f"not set: {missing}; run `cargo xtask clients`"
    return Instance()


@pytest.fixture(scope="session", autouse=True)
def on_record(instance):
    """Every write that a client sent to Resource Manager, refused ones too, stands in the activity log when all is over."""
    place, send, sent = urlsplit(os.environ["ARM_ENDPOINT"]).netloc, requests.Session.send, {}
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))

    def watched(session, request, **settings):
        answer = send(session, request, **settings)
        url = urlsplit(request.url)
        writes = request.method in ("PUT", "PATCH", "DELETE") or url.path.lower().endswith(ACTIONS)
        # What is asked of nothing, or by nobody, is no write: there is nothing to record.
        if writes and url.netloc == place and (answer.ok or answer.status_code in (403, 409, 412)):
            sent[answer.headers["x-ms-correlation-request-id"]] = (answer.ok, f"{request.method} {url.path}")
        return answer

    requests.Session.send = watched
    yield
    requests.Session.send = send
    token, rows = instance.token(instance.administrator, ARM_AUDIENCE.rstrip("/")), {}
    log = f"https://{place}/subscriptions/{instance.subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    following = f"{log}?api-version=2015-04-01&$filter=eventTimestamp ge '{began}'"
    while following:
        page = instance.ask(token, "GET", following).json()
        for row in page["value"]:
            rows.setdefault(row["correlationId"], set()).add(row["status"]["value"])
        following = page.get("nextLink")
    wanted = lambda ok, seen: ("Started" in seen and seen & {"Succeeded", "Accepted"}) if ok else "Failed" in seen
    missing = [what for id, (ok, what) in sent.items() if not wanted(ok, rows.get(id, set()))]
    assert not missing, f"of {len(sent)} writes these are not in the activity log: {missing}"


def pytest_sessionfinish(session):
    """A test that was skipped has proven nothing: in the test command it is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("STRONGROOM_BINARY") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
