"""`az keyvault key`, by the vault's name through the CONNECT proxy and by a key's id."""

import base64
import hashlib
import json
import secrets

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


@pytest.fixture
def name():
    return "az-" + secrets.token_hex(5)


@pytest.fixture(params=["by name", "by id"])
def key(request, az, instance, name):
    """A new RSA key: what `az` shows of it, and the words that address it."""
    shown = az("keyvault", "key", "create", "--vault-name", instance.vault_name, "--name", name, "--size", "2048", "--tags", "made=here")
    if request.param == "by name":
        return shown, ["--vault-name", instance.vault_name, "--name", name]
    return shown, ["--id", f"{instance.vault}/keys/{name}"]


def path(shown):
    """A key's id without the vault: asked through the proxy, the vault has no port in its name."""
    return (shown.get("kid") or shown["key"]["kid"]).split("/", 3)[3]


def version(shown):
    return path(shown).rsplit("/", 1)[1]


def base64_of(value):
    return base64.b64encode(value).decode()


def test_a_key_is_shown_changed_and_rotated(az, instance, name, key):
    made, address = key
    assert path(made) == f"keys/{name}/{version(made)}"
    assert made["key"]["kty"] == "RSA" and len(base64.b64decode(made["key"]["n"])) == 256
    assert made["attributes"]["enabled"] and made["attributes"]["recoveryLevel"] == "Recoverable"
    assert made["tags"] == {"made": "here"}
    shown, listed = az.together(
        ["keyvault", "key", "show", *address],
        ["keyvault", "key", "list", "--vault-name", instance.vault_name],
    )
    assert path(shown) == path(made) and shown["key"]["n"] == made["key"]["n"]
    assert (shown["attributes"], shown["tags"]) == (made["attributes"], made["tags"])
    assert [row["tags"] for row in listed if row["name"] == name] == [{"made": "here"}]
    changed = az("keyvault", "key", "set-attributes", *address, "--enabled", "false", "--expires", "2040-01-02T00:00:00Z")
    assert changed["attributes"]["enabled"] is False and changed["attributes"]["expires"] == "2040-01-02T00:00:00+00:00"
    rotated = az("keyvault", "key", "rotate", *address)
    assert version(rotated) != version(made) and rotated["tags"] == {"made": "here"}
    listed = az("keyvault", "key", "list-versions", *address)
    assert sorted((version(row), row["attributes"]["enabled"]) for row in listed) == sorted(
        [(version(made), False), (version(rotated), True)]
    )


def test_a_rotation_policy_is_set_and_shown(az, key):
    _, address = key
    policy = {
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}],
        "attributes": {"expiryTime": "P2Y"},
    }
    az("keyvault", "key", "rotation-policy", "update", *address, "--value", json.dumps(policy))
    kept = az("keyvault", "key", "rotation-policy", "show", *address)
    assert kept["expiresIn"] == "P2Y"
    actions = {(action["action"], action["timeAfterCreate"], action["timeBeforeExpiry"]) for action in kept["lifetimeActions"]}
    assert ("Rotate", "P90D", None) in actions


def test_what_is_encrypted_is_decrypted_and_what_is_signed_is_verified(az, key):
    _, address = key
    secret, digest = base64_of(secrets.token_bytes(40)), base64_of(hashlib.sha256(b"signed").digest())
    encrypt, sign = az.together(
        ["keyvault", "key", "encrypt", *address, "--algorithm", "RSA-OAEP-256", "--data-type", "base64", "--value", secret],
        ["keyvault", "key", "sign", *address, "--algorithm", "PS256", "--digest", digest],
    )
    decrypt = ["keyvault", "key", "decrypt", *address, "--algorithm", "RSA-OAEP-256", "--data-type", "base64"]
    verify = ["keyvault", "key", "verify", *address, "--algorithm", "PS256", "--signature", sign["signature"], "--digest"]
    other = base64_of(hashlib.sha256(b"other").digest())
    plain, good, bad = az.together([*decrypt, "--value", encrypt["result"]], [*verify, digest], [*verify, other])
    assert plain["result"] == secret
    assert (good["isValid"], bad["isValid"]) == (True, False)


def test_a_key_of_another_size_and_use_does_what_it_is_for(az, instance, name):
    address = ["--vault-name", instance.vault_name, "--name", name]
    uses = ["encrypt", "decrypt", "sign", "verify"]
    made = az("keyvault", "key", "create", *address, "--kty", "RSA", "--size", "3072", "--ops", *uses)
    assert made["key"]["keyOps"] == uses and len(base64.b64decode(made["key"]["n"])) == 384
    secret, digest = base64_of(secrets.token_bytes(40)), base64_of(hashlib.sha256(b"signed").digest())
    encrypt, sign = az.together(
        ["keyvault", "key", "encrypt", *address, "--algorithm", "RSA-OAEP", "--data-type", "base64", "--value", secret],
        ["keyvault", "key", "sign", *address, "--algorithm", "RS256", "--digest", digest],
    )
    plain, good = az.together(
        ["keyvault", "key", "decrypt", *address, "--algorithm", "RSA-OAEP", "--data-type", "base64", "--value", encrypt["result"]],
        ["keyvault", "key", "verify", *address, "--algorithm", "RS256", "--digest", digest, "--signature", sign["signature"]],
    )
    assert plain["result"] == secret and good["isValid"] is True


def test_a_deleted_key_is_listed_comes_back_and_is_not_purged_where_that_is_protected(az, instance, name, key):
    made, address = key
    vault = ["--vault-name", instance.vault_name]
    deleted_address = ["--id", f"{instance.vault}/deletedkeys/{name}"] if "--id" in address else address
    deleted = az("keyvault", "key", "delete", *address)
    assert deleted["recoveryId"].endswith(f"/deletedkeys/{name}") and deleted["scheduledPurgeDate"] > deleted["deletedDate"]
    listed, shown = az.together(
        ["keyvault", "key", "list-deleted", *vault], ["keyvault", "key", "show-deleted", *deleted_address]
    )
    assert name in [row["name"] for row in listed] and path(shown) == path(made)
    assert "KeyNotFound" in az.refused("keyvault", "key", "show", *address)
    assert "Forbidden" in az.refused("keyvault", "key", "purge", *deleted_address)
    recovered = az("keyvault", "key", "recover", *deleted_address)
    assert path(recovered) == path(made)


def test_a_backup_is_refused_over_its_own_key(az, instance, tmp_path, key):
    _, address = key
    file = str(tmp_path / "backup")
    az("keyvault", "key", "backup", *address, "--file", file)
    assert "Conflict" in az.refused("keyvault", "key", "restore", "--vault-name", instance.vault_name, "--file", file)


def test_a_key_from_elsewhere_is_imported_and_its_public_half_downloaded(az, instance, name, tmp_path):
    mine = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    private.write_bytes(mine.private_bytes(*form))
    address = ["--vault-name", instance.vault_name, "--name", name]
    imported = az("keyvault", "key", "import", *address, "--pem-file", str(private), "--ops", "sign", "verify")
    assert (imported["key"]["kty"], imported["key"]["crv"]) == ("EC", "P-256")
    az("keyvault", "key", "download", *address, "--file", str(public), "--encoding", "PEM")
    assert serialization.load_pem_public_key(public.read_bytes()).public_numbers() == mine.public_key().public_numbers()


def test_random_bytes_are_given(az, instance):
    drawn = az("keyvault", "key", "random", "--count", "16", "--id", instance.vault)
    assert len(base64.b64decode(drawn["value"])) == 16


def test_a_vault_that_is_not_there_and_an_hsm_are_told_so(az, instance, name):
    assert "VaultNotFound" in az.refused("keyvault", "key", "list", "--vault-name", "none-such")
    address = ["--vault-name", instance.vault_name, "--name", name]
    assert "BadParameter" in az.refused("keyvault", "key", "create", *address, "--protection", "hsm")
