"""Every method of KeyClient and CryptographyClient, against the running vault.

Driven by the environment file of `strongroom up`, as test_keyvault.py is.
"""

import base64
import datetime
import hashlib
import os
import secrets

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest
from azure.identity import ClientSecretCredential
from azure.keyvault.keys import (
    ApiVersion,
    JsonWebKey,
    KeyClient,
    KeyCurveName,
    KeyOperation,
    KeyRotationLifetimeAction,
    KeyRotationPolicy,
    KeyRotationPolicyAction,
    KeyType,
)
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from instance import codes, encoded

URL = os.environ.get("STRONGROOM_VAULT_URL")
pytestmark = pytest.mark.skipif(not URL, reason="needs the environment of a running `strongroom up`")

DIGESTS = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}
CURVES = {
    KeyCurveName.p_256: SignatureAlgorithm.es256,
    KeyCurveName.p_384: SignatureAlgorithm.es384,
    KeyCurveName.p_521: SignatureAlgorithm.es512,
}
PRIVATE = {KeyCurveName.p_256: ec.SECP256R1, KeyCurveName.p_384: ec.SECP384R1, KeyCurveName.p_521: ec.SECP521R1}


@pytest.fixture(scope="module", params=[ApiVersion.V7_3, ApiVersion.V7_6, None], ids=["7.3", "7.6", "newest"])
def client(request):
    version = {} if request.param is None else {"api_version": request.param}
    who = ClientSecretCredential(
        os.environ["AZURE_TENANT_ID"],
        os.environ["AZURE_CLIENT_ID"],
        os.environ["AZURE_CLIENT_SECRET"],
        authority=os.environ["AZURE_AUTHORITY_HOST"],
        disable_instance_discovery=True,
    )
    with KeyClient(URL, who, retry_policy=RetryPolicy(retry_total=0), **version) as client:
        yield client


@pytest.fixture
def name():
    return "py-all-" + secrets.token_hex(6)


def ask(client, path, body):
    """One operation at the vault itself: where the SDK would do it with the public half."""
    answer = client.send_request(HttpRequest("POST", f"{URL.rstrip('/')}{path}?api-version=7.6", json=body))
    return answer.status_code, answer.json()


def integer(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def rsa_jwk(key):
    numbers = key.private_numbers()
    public = numbers.public_numbers
    return JsonWebKey(
        kty=KeyType.rsa,
        key_ops=["wrapKey", "unwrapKey", "sign", "verify", "encrypt", "decrypt"],
        n=integer(public.n),
        e=integer(public.e),
        d=integer(numbers.d),
        p=integer(numbers.p),
        q=integer(numbers.q),
        dp=integer(numbers.dmp1),
        dq=integer(numbers.dmq1),
        qi=integer(numbers.iqmp),
    )


@pytest.mark.parametrize("hash_bits", DIGESTS)
@pytest.mark.parametrize("family", ["RS", "PS"])
def test_rsa_keys_sign_what_the_public_half_verifies(client, name, family, hash_bits):
    key = client.create_rsa_key(name, size=2048)
    algorithm = SignatureAlgorithm(family + hash_bits)
    digest = DIGESTS[hash_bits](b"to be signed").digest()
    crypto = client.get_cryptography_client(name, key_version=key.properties.version)
    signature = crypto.sign(algorithm, digest).signature
    assert crypto.verify(algorithm, digest, signature).is_valid
    other = DIGESTS[hash_bits](b"something else").digest()
    assert not crypto.verify(algorithm, other, signature).is_valid
    for value, expected in [(digest, True), (other, False)]:
        body = {"alg": algorithm.value, "digest": encoded(value), "value": encoded(signature)}
        assert ask(client, f"/keys/{name}/{key.properties.version}/verify", body) == (200, {"value": expected})


@pytest.mark.parametrize("curve", CURVES)
def test_ec_keys_sign_what_the_public_half_verifies(client, name, curve):
    key = client.create_ec_key(name, curve=curve)
    assert key.key_type == KeyType.ec and key.key.crv == curve
    algorithm = CURVES[curve]
    hash_bits = algorithm.value[2:]
    digest = DIGESTS[hash_bits](b"to be signed").digest()
    crypto = client.get_cryptography_client(name, key_version=key.properties.version)
    signature = crypto.sign(algorithm, digest).signature
    assert crypto.verify(algorithm, digest, signature).is_valid
    body = {"alg": algorithm.value, "digest": encoded(digest), "value": encoded(signature)}
    assert ask(client, f"/keys/{name}//verify", body) == (200, {"value": True})
    with pytest.raises(HttpResponseError) as refused:
        crypto.sign(algorithm, digest[:-1])
    assert refused.value.status_code == 400


@pytest.mark.parametrize("algorithm", [EncryptionAlgorithm.rsa_oaep, EncryptionAlgorithm.rsa_oaep_256, EncryptionAlgorithm.rsa1_5])
def test_what_was_encrypted_here_or_there_is_decrypted(client, name, algorithm):
    key = client.create_rsa_key(name, size=2048)
    crypto = client.get_cryptography_client(name, key_version=key.properties.version)
    secret = secrets.token_bytes(64)
    here = crypto.encrypt(algorithm, secret).ciphertext
    assert crypto.decrypt(algorithm, here).plaintext == secret
    status, there = ask(client, f"/keys/{name}//encrypt", {"alg": algorithm.value, "value": encoded(secret)})
    assert status == 200 and there["kid"] == key.id
    there = base64.urlsafe_b64decode(there["value"] + "==")
    assert there != here and crypto.decrypt(algorithm, there).plaintext == secret


@pytest.mark.parametrize("algorithm", [KeyWrapAlgorithm.rsa_oaep, KeyWrapAlgorithm.rsa_oaep_256, KeyWrapAlgorithm.rsa1_5])
def test_keys_are_wrapped_and_unwrapped(client, name, algorithm):
    key = client.create_rsa_key(name, size=2048)
    crypto = client.get_cryptography_client(name, key_version=key.properties.version)
    wrapped = crypto.wrap_key(algorithm, b"k" * 32)
    assert crypto.unwrap_key(algorithm, wrapped.encrypted_key).key == b"k" * 32


def test_an_imported_rsa_key_is_the_same_key(client, name):
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    imported = client.import_key(name, rsa_jwk(mine), tags={"from": "outside"}, enabled=True)
    assert imported.key.n == integer(mine.public_key().public_numbers().n)
    assert imported.key.d is None and imported.properties.tags == {"from": "outside"}
    crypto = client.get_cryptography_client(name)
    wrapped = crypto.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32).encrypted_key
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"k" * 32
    again = client.import_key(name, rsa_jwk(mine))
    assert again.properties.version != imported.properties.version


@pytest.mark.parametrize("curve", CURVES)
def test_an_imported_ec_key_signs(client, name, curve):
    mine = ec.generate_private_key(PRIVATE[curve]())
    numbers = mine.private_numbers()
    size = (mine.curve.key_size + 7) // 8
    public = numbers.public_numbers
    jwk = JsonWebKey(
        kty=KeyType.ec,
        crv=curve,
        key_ops=["sign", "verify"],
        x=public.x.to_bytes(size, "big"),
        y=public.y.to_bytes(size, "big"),
        d=numbers.private_value.to_bytes(size, "big"),
    )
    imported = client.import_key(name, jwk)
    assert imported.key.x == public.x.to_bytes(size, "big") and imported.key.d is None
    algorithm = CURVES[curve]
    digest = DIGESTS[algorithm.value[2:]](b"to be signed").digest()
    crypto = client.get_cryptography_client(name)
    assert crypto.verify(algorithm, digest, crypto.sign(algorithm, digest).signature).is_valid


def test_a_backup_brings_every_version_back(client, name):
    first = client.create_rsa_key(name, size=2048, tags={"kept": "yes"})
    wrapped = client.get_cryptography_client(name).wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32).encrypted_key
    second = client.rotate_key(name)
    backup = client.backup_key(name)
    with pytest.raises(ResourceExistsError) as taken:
        client.restore_key_backup(backup)
    assert codes(taken)[:2] == (409, "Conflict")
    # The vault of a first start is protected from purging, so the name stays held: the blob is proven by its refusals alone here.
    client.begin_delete_key(name).result()
    with pytest.raises(ResourceExistsError) as held:
        client.restore_key_backup(backup)
    assert codes(held) == (409, "Conflict", "ObjectIsDeletedButRecoverable")
    client.begin_recover_deleted_key(name).wait()
    crypto = client.get_cryptography_client(name, key_version=first.properties.version)
    assert crypto.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"k" * 32
    assert client.get_key(name).id == second.id
    with pytest.raises(HttpResponseError) as altered:
        client.restore_key_backup(backup[:-9] + bytes([backup[-9] ^ 1]) + backup[-8:])
    assert altered.value.status_code == 400


def test_a_rotation_policy_is_kept_and_applies_to_the_next_version(client, name):
    client.create_rsa_key(name, size=2048)
    assert client.get_key_rotation_policy(name) is not None
    policy = KeyRotationPolicy()
    actions = [
        KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P90D"),
        KeyRotationLifetimeAction(KeyRotationPolicyAction.notify, time_before_expiry="P30D"),
    ]
    updated = client.update_key_rotation_policy(name, policy, expires_in="P2Y", lifetime_actions=actions)
    assert updated.expires_in == "P2Y"
    kept = client.get_key_rotation_policy(name)
    assert {(a.action, a.time_after_create, a.time_before_expiry) for a in kept.lifetime_actions} == {
        (KeyRotationPolicyAction.rotate, "P90D", None),
        (KeyRotationPolicyAction.notify, None, "P30D"),
    }
    rotated = client.rotate_key(name)
    years = rotated.properties.expires_on - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(days=728) < years < datetime.timedelta(days=732)
    with pytest.raises(HttpResponseError) as refused:
        too_soon = [KeyRotationLifetimeAction(KeyRotationPolicyAction.rotate, time_after_create="P1D")]
        client.update_key_rotation_policy(name, policy, lifetime_actions=too_soon)
    assert refused.value.status_code == 400


def test_random_bytes_are_random(client):
    one, other = client.get_random_bytes(32), client.get_random_bytes(32)
    assert len(one) == len(other) == 32 and one != other
    for count in [0, 129]:
        with pytest.raises((HttpResponseError, ValueError)):
            client.get_random_bytes(count)


def test_attributes_are_kept_and_shown(client, name):
    later = datetime.datetime(2040, 1, 2, tzinfo=datetime.timezone.utc)
    key = client.create_rsa_key(name, size=2048, expires_on=later, enabled=True, key_operations=[KeyOperation.sign])
    properties = key.properties
    assert properties.expires_on == later and properties.recoverable_days == 90
    assert properties.recovery_level == "Recoverable" and not properties.managed
    assert key.key_operations == [KeyOperation.sign]
    changed = client.update_key_properties(name, properties.version, tags={"a": "b"}, not_before=None)
    assert changed.properties.tags == {"a": "b"} and changed.properties.expires_on == later
    with pytest.raises(HttpResponseError) as refused:
        client.get_cryptography_client(name).unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"\1" * 256)
    assert codes(refused)[:2] == (403, "Forbidden")
    with pytest.raises(HttpResponseError) as refused:
        client.update_key_properties(name, tags={f"t{n}": "" for n in range(16)})
    assert codes(refused)[:2] == (400, "BadParameter")


def test_a_key_that_may_not_leave_is_not_released(client, name):
    client.create_rsa_key(name, size=2048)
    with pytest.raises(HttpResponseError) as refused:
        client.release_key(name, "an attestation")
    assert refused.value.status_code in (400, 403)


def test_what_was_never_there_is_not_found(client, name):
    for call in [
        lambda: client.get_key(name),
        lambda: client.get_deleted_key(name),
        lambda: client.backup_key(name),
        lambda: client.rotate_key(name),
        lambda: client.begin_delete_key(name),
        lambda: client.begin_recover_deleted_key(name),
        lambda: client.get_key_rotation_policy(name),
        lambda: client.update_key_properties(name, enabled=True),
    ]:
        with pytest.raises(ResourceNotFoundError) as missing:
            call()
        assert codes(missing)[:2] == (404, "KeyNotFound")


def test_kinds_that_need_an_hsm_are_refused_with_the_reason(client, name):
    for make in [
        lambda: client.create_ec_key(name, hardware_protected=True),
        lambda: client.create_rsa_key(name, hardware_protected=True),
        lambda: client.create_oct_key(name, size=256),
        lambda: client.create_oct_key(name, size=256, hardware_protected=True),
    ]:
        with pytest.raises(HttpResponseError) as refused:
            make()
        assert codes(refused) == (400, "BadParameter", None)
        assert "HSM" in refused.value.message


@pytest.mark.parametrize(("kind", "more", "shown"), [(KeyType.rsa, {"size": 3072}, 384), (KeyType.ec, {"curve": KeyCurveName.p_384}, 48)])
def test_a_key_of_any_kind_is_made_by_its_kind(client, name, kind, more, shown):
    made = client.create_key(name, kind, tags={"made": "here"}, enabled=True, **more)
    assert made.key_type == kind and made.properties.tags == {"made": "here"}
    assert len(made.key.n if kind == KeyType.rsa else made.key.x) == shown
    assert client.get_key(name).id == made.id
    with pytest.raises(HttpResponseError) as refused:
        client.create_key(name, KeyType.oct, size=256)
    assert refused.value.status_code == 400


def test_a_key_in_hand_works_without_the_vault_for_what_its_vault_made(client, name):
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    jwk = rsa_jwk(mine)
    client.import_key(name, jwk)
    jwk.kid = client.get_key(name).id
    here = CryptographyClient.from_jwk(jwk)
    there = client.get_cryptography_client(name)
    digest = hashlib.sha256(b"to be signed").digest()
    assert there.verify(SignatureAlgorithm.rs256, digest, here.sign(SignatureAlgorithm.rs256, digest).signature).is_valid
    assert here.verify(SignatureAlgorithm.rs256, digest, there.sign(SignatureAlgorithm.rs256, digest).signature).is_valid
    wrapped = here.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"k" * 32).encrypted_key
    assert there.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"k" * 32
    wrapped = there.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"w" * 32).encrypted_key
    assert here.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped).key == b"w" * 32


def test_a_key_of_the_vault_is_used_as_a_key_of_the_cryptography_library(client, name):
    key = client.create_rsa_key(name, size=2048)
    crypto = client.get_cryptography_client(name, key_version=key.properties.version)
    private, public = crypto.create_rsa_private_key(), crypto.create_rsa_public_key()
    assert private.key_size == public.key_size == 2048
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert private.decrypt(public.encrypt(b"plain", oaep), oaep) == b"plain"
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    signature = private.sign(b"signed", pss, hashes.SHA256())
    public.verify(signature, b"signed", pss, hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"other", pss, hashes.SHA256())


def test_an_attestation_is_refused_with_its_reason(client, name):
    key = client.create_rsa_key(name, size=2048)
    if client.api_version in ("7.3", "7.6"):
        return
    with pytest.raises(HttpResponseError) as refused:
        client.get_key_attestation(name, key.properties.version)
    assert codes(refused)[:2] == (400, "BadParameter") and "HSM" in refused.value.message
