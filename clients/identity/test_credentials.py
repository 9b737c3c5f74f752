"""Each kind of credential of azure-identity: it gets a token that the vault then takes, or the AADSTS number of what is wrong."""

import datetime
import json
import re
import secrets
import time
import uuid

import jwt
import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import RetryPolicy
from azure.identity import (
    CertificateCredential,
    ChainedTokenCredential,
    ClientAssertionCredential,
    ClientSecretCredential,
    CredentialUnavailableError,
    DefaultAzureCredential,
    EnvironmentCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import KeyWrapAlgorithm
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from instance import HERE, VAULT_AUDIENCE, codes

SCOPE = f"{VAULT_AUDIENCE}/.default"
EXCHANGE = "api://AzureADTokenExchange"
ISSUER = "https://cluster.example/"
SUBJECT = "system:serviceaccount:team:workload"


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*kind)


def certificate(key, days=1):
    """A self-signed certificate with its key, as credentials read them."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "workload")])
    now = datetime.datetime.now(datetime.timezone.utc)
    begin, end = sorted([now - datetime.timedelta(minutes=5), now + datetime.timedelta(days=days)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, end)
    return pem(key) + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def number(failed):
    """The AADSTS number that an error names."""
    return int(re.search(r"AADSTS(\d+)", str(failed.value))[1])


class Workload:
    """An application that may unwrap with one key, its certificate, and an issuer that vouches for it."""

    def __init__(self, instance, folder):
        self.instance, self.folder = instance, folder
        self.application = instance.application("py-workload-" + secrets.token_hex(3))
        self.key, self.issuer_key = new_key(), new_key()
        self.certificate = self.file("certificate.pem", certificate(self.key))
        add = ["principal", "credential", "add"]
        of = ["--id", self.application["id"]]
        instance.run(*add, "certificate", *of, "--file", self.certificate)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.issuer_key.public_key(), as_dict=True)
        jwks = json.dumps({"keys": [public | {"kid": "1", "use": "sig", "alg": "RS256"}]}).encode()
        keys = ["--jwks-file", self.file("jwks.json", jwks)]
        instance.run(*add, "federated", *of, "--issuer", ISSUER, "--subject", SUBJECT, *keys)
        self.vault_key = self.client(instance.credential(instance.administrator)).create_rsa_key(
            "py-identity-" + secrets.token_hex(4), size=2048
        )
        self.may(self.application["id"])

    def may(self, principal):
        scope = f"{self.instance.vault_id}/keys/{self.vault_key.name}"
        self.instance.assign(principal, "Key Vault Crypto Service Encryption User", scope)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def client(self, credential):
        return KeyClient(self.instance.vault, credential, retry_policy=RetryPolicy(retry_total=0))

    def uses(self, credential):
        """Wraps here, and unwraps at the vault with this credential."""
        with self.client(credential) as client:
            crypto = client.get_cryptography_client(self.vault_key.name)
            wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32).encrypted_key
            assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"k" * 32

    def vouched(self, key=None, **claims):
        """What the external issuer says."""
        now = int(time.time())
        usual = {"iss": ISSUER, "sub": SUBJECT, "aud": EXCHANGE, "iat": now, "nbf": now, "exp": now + 600, "jti": str(uuid.uuid4())}
        return jwt.encode(usual | claims, key or self.issuer_key, "RS256", {"kid": "1"})

    def of(self, kind, *proof, **settings):
        """A credential of this kind for the application."""
        settings = {"authority": self.instance.authority, **HERE, **settings}
        tenant, application = settings.pop("tenant_id", self.instance.tenant), settings.pop("client_id", self.application["appId"])
        return kind(tenant_id=tenant, client_id=application, *proof, **settings)


@pytest.fixture(scope="module")
def workload(instance, tmp_path_factory):
    return Workload(instance, tmp_path_factory.mktemp("identity"))


def test_a_secret_is_taken(workload):
    workload.uses(workload.of(ClientSecretCredential, client_secret=workload.application["password"]))


def test_a_right_ends_with_the_key_that_it_was_given_for(workload):
    credential = workload.of(ClientSecretCredential, client_secret=workload.application["password"])
    with workload.client(credential) as client, pytest.raises(HttpResponseError) as refused:
        client.get_key("py-none-such")
    assert codes(refused) == (403, "Forbidden", "ForbiddenByRbac")


def test_a_certificate_is_taken(workload):
    workload.uses(workload.of(CertificateCredential, certificate_path=workload.certificate))
    workload.uses(workload.of(CertificateCredential, certificate_path=workload.certificate, send_certificate_chain=True))


def test_a_workloads_token_of_another_issuer_is_taken(workload):
    file = workload.file("token", workload.vouched().encode())
    workload.uses(workload.of(WorkloadIdentityCredential, token_file_path=file))


def test_an_assertion_that_the_caller_makes_is_taken(workload):
    workload.uses(workload.of(ClientAssertionCredential, func=workload.vouched))


UNKNOWN = str(uuid.uuid4())


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"client_secret": "not-the-secret"}, 7000215),
        ({"client_id": UNKNOWN}, 700016),
    ],
)
def test_a_wrong_secret_or_application_is_told_by_its_number(workload, wrong, expected):
    settings = {"client_secret": workload.application["password"], **wrong}
    with pytest.raises(ClientAuthenticationError) as failed:
        workload.of(ClientSecretCredential, **settings).get_token(SCOPE)
    assert number(failed) == expected


def test_a_tenant_that_is_not_there_has_no_configuration(workload):
    credential = workload.of(ClientSecretCredential, client_secret="any", tenant_id=UNKNOWN)
    with pytest.raises(ClientAuthenticationError, match="Unable to get authority configuration"):
        credential.get_token(SCOPE)
    found = requests.get(f"{workload.instance.authority}/{UNKNOWN}/v2.0/.well-known/openid-configuration", timeout=60)
    assert (found.status_code, found.json()["error_codes"]) == (400, [90002])


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("https://nowhere.example/.default", 500011), (f"{VAULT_AUDIENCE}/keys.read", 1002012)],
)
def test_a_resource_that_nobody_knows_or_a_scope_that_is_none_is_told_by_its_number(workload, scope, expected):
    credential = workload.of(ClientSecretCredential, client_secret=workload.application["password"])
    with pytest.raises(ClientAuthenticationError) as failed:
        credential.get_token(scope)
    assert number(failed) == expected


def test_a_certificate_that_is_not_registered_is_told_by_its_number(workload):
    stranger = certificate(new_key())
    with pytest.raises(ClientAuthenticationError) as failed:
        workload.of(CertificateCredential, certificate_data=stranger).get_token(SCOPE)
    assert number(failed) == 700027


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"iss": "https://other.example/"}, 70021),
        ({"sub": "system:serviceaccount:team:other"}, 700213),
        ({"aud": "api://other"}, 700212),
        ({"iat": 1700000000, "nbf": 1700000000, "exp": 1700000600}, 700024),
    ],
    ids=["issuer", "subject", "audience", "expired"],
)
def test_what_an_issuers_word_lacks_is_told_by_its_number(workload, claims, expected):
    with pytest.raises(ClientAuthenticationError) as failed:
        workload.of(ClientAssertionCredential, func=lambda: workload.vouched(**claims)).get_token(SCOPE)
    assert number(failed) == expected


def test_another_key_than_the_issuers_is_told_by_its_number(workload):
    with pytest.raises(ClientAuthenticationError) as failed:
        workload.of(ClientAssertionCredential, func=lambda: workload.vouched(new_key())).get_token(SCOPE)
    assert number(failed) == 50013


def test_an_expired_or_removed_secret_is_not_taken_any_more(workload):
    of = ["--id", workload.application["id"]]
    added = workload.instance.run("principal", "credential", "add", "secret", *of, "--days", "1")
    workload.of(ClientSecretCredential, client_secret=added["secret"]).get_token(SCOPE)
    workload.instance.run("principal", "credential", "delete", *of, "--credential", added["id"])
    with pytest.raises(ClientAuthenticationError) as failed:
        workload.of(ClientSecretCredential, client_secret=added["secret"]).get_token(SCOPE)
    assert number(failed) == 7000215


def test_the_environment_is_read(workload, monkeypatch):
    monkeypatch.setenv("AZURE_CLIENT_ID", workload.application["appId"])
    monkeypatch.setenv("AZURE_CLIENT_SECRET", workload.application["password"])
    workload.uses(EnvironmentCredential(**HERE))
    workload.uses(DefaultAzureCredential(**HERE))
    monkeypatch.delenv("AZURE_CLIENT_SECRET")
    monkeypatch.setenv("AZURE_CLIENT_CERTIFICATE_PATH", workload.certificate)
    workload.uses(EnvironmentCredential(**HERE))
    monkeypatch.delenv("AZURE_CLIENT_CERTIFICATE_PATH")
    with pytest.raises(CredentialUnavailableError):
        EnvironmentCredential(**HERE).get_token(SCOPE)


def test_a_chain_goes_on_to_the_credential_that_there_is(workload, monkeypatch):
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name)
    secret = workload.of(ClientSecretCredential, client_secret=workload.application["password"])
    workload.uses(ChainedTokenCredential(EnvironmentCredential(**HERE), secret))
    wrong = workload.of(ClientSecretCredential, client_secret="not-the-secret")
    with pytest.raises(ClientAuthenticationError):
        ChainedTokenCredential(wrong).get_token(SCOPE)


class Host:
    """A host with an identity of its own and one that is assigned to it."""

    def __init__(self, workload):
        instance = workload.instance
        # The service's own identity is one; it may use the customer's key, and now this one too.
        (self.own,) = instance.run("principal", "list", "--kind", "identity", "--name", instance.account)
        create = ["principal", "create", "identity", "--name", "py-assigned-" + secrets.token_hex(3)]
        (self.assigned,) = instance.run(*create)
        for identity in (self.own, self.assigned):
            workload.may(identity["id"])
        both = ["--system-assigned", self.own["id"], "--user-assigned", self.assigned["id"]]
        self.variables = instance.run("principal", "host", *both)


@pytest.fixture(scope="module")
def host(workload):
    return Host(workload)


@pytest.fixture
def app_service(host, monkeypatch):
    monkeypatch.setenv("IDENTITY_ENDPOINT", host.variables["endpoint"])
    monkeypatch.setenv("IDENTITY_HEADER", host.variables["header"])
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name)


def subject(credential):
    token = credential.get_token(SCOPE).token
    return jwt.decode(token, options={"verify_signature": False})["oid"]


def test_a_hosts_own_identity_is_the_one_that_is_meant_without_a_choice(workload, host, app_service):
    workload.uses(ManagedIdentityCredential())
    assert subject(ManagedIdentityCredential()) == host.own["id"]
    assert subject(DefaultAzureCredential(**HERE)) == host.own["id"]


def test_an_assigned_identity_is_chosen_by_each_of_its_names(workload, host, app_service):
    workload.uses(ManagedIdentityCredential(client_id=host.assigned["appId"]))
    for name in ({"object_id": host.assigned["id"]}, {"resource_id": host.assigned["alternativeNames"][1]}):
        assert subject(ManagedIdentityCredential(identity_config=name)) == host.assigned["id"]


def test_an_identity_that_is_not_assigned_and_a_wrong_header_get_no_token(host, app_service, monkeypatch):
    with pytest.raises(ClientAuthenticationError) as missing:
        ManagedIdentityCredential(client_id=UNKNOWN).get_token(SCOPE)
    assert "Identity not found" in str(missing.value)
    monkeypatch.setenv("IDENTITY_HEADER", "not-the-header")
    with pytest.raises(ClientAuthenticationError):
        ManagedIdentityCredential().get_token(SCOPE)


def test_a_machine_gives_tokens_at_its_own_endpoint(workload, host, monkeypatch):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", host.variables["machine"])
    workload.uses(ManagedIdentityCredential())
    assert subject(ManagedIdentityCredential(client_id=host.assigned["appId"])) == host.assigned["id"]
