"""`az keyvault` for vaults themselves: from their creation to their end."""

import secrets

import pytest


@pytest.fixture
def vault(az, instance):
    name = "az-vault-" + secrets.token_hex(3)
    words = ["--name", name, "--resource-group", instance.group, "--location", "local", "--enable-rbac-authorization", "false"]
    made = az("keyvault", "create", *words)
    assert (made["name"], made["properties"]["provisioningState"]) == (name, "Succeeded")
    # Whoever makes a vault whose access policies decide is given one by `az`.
    assert [row["permissions"]["keys"] for row in made["properties"]["accessPolicies"]] == [["all"]]
    return made


def test_a_vault_is_shown_listed_and_changed(az, instance, vault):
    name = ["--name", vault["name"]]
    shown, listed, everywhere = az.together(
        ["keyvault", "show", *name],
        ["keyvault", "list", "--resource-group", instance.group],
        ["keyvault", "list"],
    )
    assert shown == vault
    for rows in (listed, everywhere):
        assert {vault["name"], instance.vault_name} <= {row["name"] for row in rows}
    closed = az("keyvault", "update", *name, "--default-action", "Deny")
    assert closed["properties"]["networkAcls"]["defaultAction"] == "Deny"
    changed = az("keyvault", "update", *name, "--enable-purge-protection", "true", "--set", "tags.team=blue")
    assert changed["properties"]["enablePurgeProtection"] is True and changed["tags"] == {"team": "blue"}


def test_a_vault_of_roles_with_purge_protection_is_made_and_takes_no_policies(az, instance):
    name = "az-safe-" + secrets.token_hex(3)
    words = ["--name", name, "--resource-group", instance.group, "--location", "local", "--retention-days", "90"]
    made = az("keyvault", "create", *words, "--enable-purge-protection", "true", "--enable-rbac-authorization", "true")
    properties = made["properties"]
    shown = [properties[it] for it in ("enablePurgeProtection", "enableRbacAuthorization", "softDeleteRetentionInDays", "accessPolicies")]
    assert shown == [True, True, 90, []] and properties["enableSoftDelete"] is True
    policy = ["--object-id", instance.application("az-none-" + secrets.token_hex(3))["id"], "--key-permissions", "get"]
    assert "rbac" in az.refused("keyvault", "set-policy", "--name", name, *policy).lower()
    assert "already" in az.refused("keyvault", "create", *words)
    az("keyvault", "delete", "--name", name)
    assert "not allowed" in az.refused("keyvault", "purge", "--name", name)


def test_policies_and_network_rules_are_put_on_and_taken_off(az, instance, vault):
    name, application = ["--name", vault["name"]], instance.application("az-policy-" + secrets.token_hex(3))
    changed = az("keyvault", "set-policy", *name, "--spn", application["appId"], "--key-permissions", "get", "unwrapKey")
    granted = {row["objectId"]: row["permissions"]["keys"] for row in changed["properties"]["accessPolicies"]}
    assert sorted(granted[application["id"]]) == ["get", "unwrapKey"]
    changed = az("keyvault", "delete-policy", *name, "--object-id", application["id"])
    assert application["id"] not in [row["objectId"] for row in changed["properties"]["accessPolicies"]]
    az("keyvault", "network-rule", "add", *name, "--ip-address", "10.1.0.0/16")
    (rule,) = az("keyvault", "network-rule", "list", *name)["ipRules"]
    assert rule["value"] == "10.1.0.0/16"
    az("keyvault", "network-rule", "remove", *name, "--ip-address", "10.1.0.0/16")
    assert az("keyvault", "network-rule", "list", *name)["ipRules"] == []


def test_a_key_without_purge_protection_is_purged_and_restored(az, tmp_path, vault):
    address, file = ["--vault-name", vault["name"], "--name", "first"], str(tmp_path / "backup")
    made = az("keyvault", "key", "create", *address, "--kty", "EC", "--curve", "P-256")
    az("keyvault", "key", "backup", *address, "--file", file)
    az("keyvault", "key", "delete", *address)
    az("keyvault", "key", "purge", *address)
    restored = az("keyvault", "key", "restore", "--vault-name", vault["name"], "--file", file)
    assert restored["key"] == made["key"]


def test_a_vault_is_deleted_recovered_and_purged(az, vault):
    name = ["--name", vault["name"]]
    az("keyvault", "delete", *name)
    listed, shown = az.together(["keyvault", "list-deleted", "--resource-type", "vault"], ["keyvault", "show-deleted", *name])
    assert vault["name"] in [row["name"] for row in listed]
    assert shown["properties"]["vaultId"] == vault["id"]
    assert az("keyvault", "recover", *name)["id"] == vault["id"]
    az("keyvault", "delete", *name)
    az("keyvault", "purge", *name)
    assert vault["name"] not in [row["name"] for row in az("keyvault", "list-deleted", "--resource-type", "vault")]
