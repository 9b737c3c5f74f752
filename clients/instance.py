"""The running `strongroom up` that every suite talks to, as its environment file and its own commands show it."""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import time

import requests
from azure.identity import ClientSecretCredential

VAULT_AUDIENCE = "https://vault.azure.net"
ARM_AUDIENCE = "https://management.azure.com/"
# A form of login without a question to the real Entra whether the authority is one.
HERE = {"disable_instance_discovery": True}
START_SECONDS = 120
WEIGHTS = pathlib.Path(__file__).parents[1] / "crates/strongroom-models/rehearsal/model.safetensors"


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


class Instance:
    """What the environment file says, and what its administrator does by `strongroom ...`."""

    def __init__(self):
        self.vault = os.environ["STRONGROOM_VAULT_URL"].rstrip("/")
        self.authority = os.environ["AZURE_AUTHORITY_HOST"].rstrip("/")
        self.tenant = os.environ["AZURE_TENANT_ID"]
        self.subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
        self.group = os.environ["STRONGROOM_RESOURCE_GROUP"]
        self.account = os.environ["STRONGROOM_ACCOUNT"]
        self.group_id = f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"
        self.vault_name = os.environ["STRONGROOM_VAULT"]
        self.vault_id = f"{self.group_id}/providers/Microsoft.KeyVault/vaults/{self.vault_name}"
        self.administrator = {
            "appId": os.environ["AZURE_CLIENT_ID"],
            "password": os.environ["AZURE_CLIENT_SECRET"],
        }

    def run(self, *words):
        """One command of the program; gives its JSON."""
        command = [os.environ["STRONGROOM_BINARY"], *words, "--data", os.environ["STRONGROOM_DATA"], "--output", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def tuned_model(self, suffix):
        """A fine-tuned model: the rehearsal model's weights, brought as another's. Gives its name."""
        brought = self.run("model", "import", "--base", "rehearsal", "--name", suffix, str(WEIGHTS))
        name = brought[0]["id"]
        yield name
        if name in [model["id"] for model in self.run("model", "list")]:
            self.run("model", "delete", "--name", name)

    @contextlib.contextmanager
    def blind(self):
        """Without the customer key."""
        self.run("key", "disable")
        try:
            wait_until(lambda: self.run("status")["key"]["state"] == "refused")
            yield
        finally:
            self.run("key", "enable")
            wait_until(self.sees)

    def sees(self):
        """Whether the data plane answers."""
        command = [os.environ["STRONGROOM_BINARY"], "model", "list", "--data", os.environ["STRONGROOM_DATA"]]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def application(self, name):
        """A new application: `id`, `appId`, `password`."""
        return self.run("principal", "create", "app", "--display-name", name, "--with-secret")

    def assign(self, principal, role, scope=None):
        scope = ["--scope", scope] if scope else []
        return self.run("role", "assignment", "create", "--assignee", principal, "--role", role, *scope)

    def credential(self, application):
        return ClientSecretCredential(
            self.tenant, application["appId"], application["password"], authority=self.authority, **HERE
        )

    def token(self, application, audience=VAULT_AUDIENCE):
        return self.credential(application).get_token(f"{audience}/.default").token

    def ask(self, token, method, url, body=None, **settings):
        """One request as it is; the vault's own paths may be given without its address."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= settings.pop("headers", {})
        url = url if url.startswith("https://") else self.vault + url
        version = {} if "api-version" in url else {"api-version": "7.6"}
        return requests.request(method, url, params=version, json=body, headers=headers, timeout=60, **settings)


class OwnInstance:
    """A `strongroom up` with settings of its own, beside the one that all share."""

    def __init__(self, folder, *settings):
        self.data = folder / "data"
        ports = ["--https-port", "0", "--http-port", "0"]
        self.up = [os.environ["STRONGROOM_BINARY"], "up", "--data", str(self.data), *ports, *settings]

    def start(self):
        """Gives its environment file, which is written when everything serves."""
        # What leads to the shared instance leads nowhere from here.
        outside = {name: value for name, value in os.environ.items() if name != "HTTPS_PROXY"}
        self.process = subprocess.Popen(self.up, env=outside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while not (self.data / "env").exists():
            assert time.monotonic() < end and self.process.poll() is None, f"it did not start: {self.data / 'logs'}"
            time.sleep(0.1)
        lines = (self.data / "env").read_text().splitlines()
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines)
        self.variables = {name: value.strip("'") for name, value in pairs}
        return self.variables

    def stop(self):
        self.process.terminate()
        self.process.wait(START_SECONDS)
        (self.data / "env").rename(self.data / "env-before")

    def run(self, *words, env=None):
        command = [os.environ["STRONGROOM_BINARY"], *words, "--data", str(self.data)]
        subprocess.run(command, check=True, capture_output=True, env=env)

    def request(self, method, url, **settings):
        with requests.Session() as session:
            session.trust_env = False
            session.verify, session.proxies = self.variables["REQUESTS_CA_BUNDLE"], {"https": self.variables["HTTPS_PROXY"]}
            return session.request(method, url, timeout=60, **settings)

    def ask(self, token, method, url, body=None):
        return self.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"})

    def token(self, audience=VAULT_AUDIENCE):
        """The administrator's."""
        known = self.variables
        form = {"grant_type": "client_credentials", "scope": f"{audience}/.default"}
        form |= {"client_id": known["AZURE_CLIENT_ID"], "client_secret": known["AZURE_CLIENT_SECRET"]}
        issuer = f"{known['AZURE_AUTHORITY_HOST']}/{known['AZURE_TENANT_ID']}/oauth2/v2.0/token"
        return self.request("POST", issuer, data=form).json()["access_token"]


def codes(answer):
    """The status, the code and the inner code of an answer, of `requests` or as an error of an SDK."""
    answer = getattr(answer, "value", answer)
    if hasattr(answer, "response"):
        answer = answer.response
    try:
        error = json.loads(answer.text() if callable(answer.text) else answer.text)["error"]
    except (ValueError, KeyError, TypeError):
        error = {}
    return answer.status_code, error.get("code"), (error.get("innererror") or {}).get("code")


def encoded(value):
    """Bytes as JSON of Azure and of tokens holds them."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
