"""The running `strongroom up` that every suite talks to, as its environment file and its own commands show it."""

import base64
import json
import os
import subprocess

import requests
from azure.identity import ClientSecretCredential

VAULT_AUDIENCE = "https://vault.azure.net"
ARM_AUDIENCE = "https://management.azure.com/"
# A form of login without a question to the real Entra whether the authority is one.
HERE = {"disable_instance_discovery": True}


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
