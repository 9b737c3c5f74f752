"""The embedded Key Vault as Azure's own Python clients see it.

Driven by the environment file of `strongroom up` (`. DIR/env`): the administrator's credentials (AZURE_*),
STRONGROOM_VAULT_URL, REQUESTS_CA_BUNDLE, and HTTPS_PROXY, through which any `<vault>.vault.localhost` is found.
"""

import base64
import datetime
import os
import re
import secrets
import urllib.parse

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient, KeyOperation
from azure.keyvault.keys.crypto import KeyWrapAlgorithm

from instance import codes

URL = os.environ.get("STRONGROOM_VAULT_URL")
pytestmark = pytest.mark.skipif(not URL, reason="needs the environment of a running `strongroom up`")
SEED = secrets.token_bytes(32)
ALGORITHMS = [KeyWrapAlgorithm.rsa_oaep_256, KeyWrapAlgorithm.rsa_oaep]


def credential(secret=None):
    return ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        secret or os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
    )


@pytest.fixture(scope="module")
def client():
    with KeyClient(URL, credential(), retry_policy=RetryPolicy(retry_total=0)) as client:
        yield client


@pytest.fixture
def name():
    return "py-" + secrets.token_hex(6)


def unwrap(client, key, algorithm, wrapped):
    """Unwrapping always asks the vault; wrapping is done by this client itself, with the public half."""
    return client.get_cryptography_client(key.name, key_version=key.properties.version).unwrap_key(algorithm, wrapped).key


def wrap(client, key, algorithm):
    return client.get_cryptography_client(key.name, key_version=key.properties.version).wrap_key(algorithm, SEED)


@pytest.mark.parametrize("size", [2048, 3072, 4096])
def test_keys_of_each_size_are_made_and_unwrap_what_was_wrapped(client, name, size):
    key = client.create_rsa_key(name, size=size, tags={"made-by": "test"})
    assert re.fullmatch(re.escape(URL.rstrip("/")) + f"/keys/{name}/[0-9a-f]{{32}}", key.id)
    assert key.key_type == "RSA" and len(key.key.n) * 8 == size and key.key.e == b"\x01\x00\x01"
    assert key.properties.enabled and key.properties.tags == {"made-by": "test"}
    assert client.get_key(name).id == key.id
    for algorithm in ALGORITHMS:
        wrapped = wrap(client, key, algorithm)
        assert wrapped.key_id == key.id
        assert unwrap(client, key, algorithm, wrapped.encrypted_key) == SEED


def test_the_vault_itself_wraps_too(client, name):
    key = client.create_rsa_key(name, size=2048)
    value = base64.urlsafe_b64encode(SEED).rstrip(b"=").decode()
    for path in [f"/keys/{name}/{key.properties.version}/wrapkey", f"/keys/{name}//wrapKey"]:
        request = HttpRequest(
            "POST", f"{URL.rstrip('/')}{path}?api-version=7.6", json={"alg": "RSA-OAEP-256", "value": value}
        )
        answer = client.send_request(request)
        answer.raise_for_status()
        assert answer.json()["kid"] == key.id
        wrapped = base64.urlsafe_b64decode(answer.json()["value"] + "==")
        assert unwrap(client, key, KeyWrapAlgorithm.rsa_oaep_256, wrapped) == SEED


def test_old_versions_unwrap_after_rotation(client, name):
    first = client.create_rsa_key(name, size=2048)
    wrapped = wrap(client, first, ALGORITHMS[0]).encrypted_key
    second = client.rotate_key(name)
    assert second.properties.version != first.properties.version
    assert client.get_key(name).id == second.id
    assert unwrap(client, first, ALGORITHMS[0], wrapped) == SEED
    with pytest.raises(HttpResponseError) as refused:
        unwrap(client, second, ALGORITHMS[0], wrapped)
    assert codes(refused) == (400, "BadParameter", None)
    versions = [version.version for version in client.list_properties_of_key_versions(name)]
    assert sorted(versions) == sorted([first.properties.version, second.properties.version])


def test_a_disabled_key_does_not_unwrap_until_it_is_enabled(client, name):
    key = client.create_rsa_key(name, size=2048)
    wrapped = wrap(client, key, ALGORITHMS[0]).encrypted_key
    user = client.get_cryptography_client(name, key_version=key.properties.version)
    assert user.unwrap_key(ALGORITHMS[0], wrapped).key == SEED
    assert client.update_key_properties(name, enabled=False).properties.enabled is False
    with pytest.raises(HttpResponseError) as refused:
        user.unwrap_key(ALGORITHMS[0], wrapped)
    assert codes(refused) == (403, "Forbidden", "KeyDisabled")
    client.update_key_properties(name, enabled=True)
    assert user.unwrap_key(ALGORITHMS[0], wrapped).key == SEED


def test_an_expired_key_still_unwraps(client, name):
    key = client.create_rsa_key(name, size=2048)
    wrapped = wrap(client, key, ALGORITHMS[0]).encrypted_key
    past = datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc)
    changed = client.update_key_properties(name, expires_on=past, key_operations=[KeyOperation.unwrap_key, KeyOperation.wrap_key])
    assert changed.properties.expires_on == past and len(changed.key_operations) == 2
    assert unwrap(client, key, ALGORITHMS[0], wrapped) == SEED
    value = base64.urlsafe_b64encode(SEED).rstrip(b"=").decode()
    request = HttpRequest(
        "POST", f"{URL.rstrip('/')}/keys/{name}//wrapkey?api-version=7.6", json={"alg": "RSA-OAEP", "value": value}
    )
    answer = client.send_request(request)
    assert (answer.status_code, answer.json()["error"]["innererror"]["code"]) == (403, "KeyExpired")


def test_a_deleted_key_is_not_found_holds_its_name_and_comes_back(client, name):
    key = client.create_rsa_key(name, size=2048)
    wrapped = wrap(client, key, ALGORITHMS[0]).encrypted_key
    deleted = client.begin_delete_key(name).result()
    assert deleted.name == name and deleted.recovery_id.endswith(f"/deletedkeys/{name}")
    assert deleted.scheduled_purge_date > deleted.deleted_date
    with pytest.raises(ResourceNotFoundError) as missing:
        client.get_key(name)
    assert codes(missing) == (404, "KeyNotFound", None)
    with pytest.raises(ResourceExistsError) as taken:
        client.create_rsa_key(name, size=2048)
    assert codes(taken) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert client.get_deleted_key(name).id == key.id
    assert name in [row.name for row in client.list_deleted_keys()]
    with pytest.raises(HttpResponseError) as refused:
        client.purge_deleted_key(name)
    assert codes(refused)[:2] == (403, "Forbidden")
    client.begin_recover_deleted_key(name).wait()
    assert unwrap(client, key, ALGORITHMS[0], wrapped) == SEED


def test_lists_are_followed_page_by_page(client):
    prefix = "py-list-" + secrets.token_hex(4)
    made = {client.create_rsa_key(f"{prefix}-{n}", size=2048).name for n in range(3)}
    pages = client.list_properties_of_keys(max_page_size=2).by_page()
    names = [row.name for page in pages for row in page]
    assert made <= set(names) and len(names) == len(set(names))


def test_kinds_of_keys_that_need_an_hsm_are_refused(client, name):
    for make in [
        lambda: client.create_rsa_key(name, hardware_protected=True),
        lambda: client.create_oct_key(name, size=256),
        lambda: client.create_rsa_key(name, size=1024),
    ]:
        with pytest.raises(HttpResponseError) as refused:
            make()
        assert codes(refused) == (400, "BadParameter", None)


def test_a_wrong_secret_gets_no_token():
    with KeyClient(URL, credential("not-the-secret"), retry_policy=RetryPolicy(retry_total=0)) as stranger:
        with pytest.raises(ClientAuthenticationError):
            stranger.get_key("anything")


def test_the_challenge_names_the_domain_above_the_vault(client):
    class NoToken:
        """Sends what it is given: a token that is none."""

        def get_token(self, *scopes, **kwargs):
            raise AssertionError(scopes)

    with KeyClient(URL, NoToken(), retry_policy=RetryPolicy(retry_total=0)) as anonymous:
        with pytest.raises(AssertionError) as asked:
            anonymous.get_key("anything")
    (scope,) = asked.value.args[0]
    vault = urllib.parse.urlsplit(URL).netloc
    assert scope == f"https://{vault.split('.', 1)[1]}/.default"
