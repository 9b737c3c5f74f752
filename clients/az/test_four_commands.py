"""The four commands by which an operator finds out what keeps an account from its key."""

import os


def test_the_account_says_whose_key_it_uses(either, instance):
    # az cognitiveservices account show --name <account> --resource-group <resource-group>
    shown = either("cognitiveservices", "account", "show", "--name", instance.account, "--resource-group", instance.group)
    encryption = shown["properties"]["encryption"]
    assert encryption["keySource"] == "Microsoft.KeyVault"
    assert encryption["keyVaultProperties"]["keyVaultUri"] == f"https://{instance.vault_name}.vault.localhost/"
    assert encryption["keyVaultProperties"]["keyName"] == os.environ["STRONGROOM_KEY"]
    assert shown["identity"]["type"] == "SystemAssigned" and shown["properties"]["provisioningState"] == "Succeeded"


def test_the_key_says_whether_it_is_enabled(either, instance):
    # az keyvault key show --vault-name <vault-name> --name <key-name>
    shown = either("keyvault", "key", "show", "--vault-name", instance.vault_name, "--name", os.environ["STRONGROOM_KEY"])
    assert shown["attributes"]["enabled"] is True and shown["attributes"]["recoverableDays"] == 90
    assert {"wrapKey", "unwrapKey"} <= set(shown["key"]["keyOps"])


def test_the_assignments_say_whether_the_identity_may_use_it(either, instance):
    # az role assignment list --assignee <principal-id> --scope <key-vault-id> --output table
    (identity,) = instance.run("principal", "list", "--kind", "identity", "--name", instance.account)
    command = ["role", "assignment", "list", "--assignee", identity["id"], "--scope", instance.vault_id]
    heads, _, row = either.text(*command, "--output", "table").strip().splitlines()
    assert heads.split() == ["Principal", "Role", "Scope"]
    assert row.split(maxsplit=1)[0] == identity["appId"] and instance.vault_id in row
    assert "Key Vault Crypto Service Encryption User" in row


def test_the_activity_log_says_who_changed_what(either, instance):
    # az monitor activity-log list --resource-group <resource-group> --max-events 50
    either("tag", "update", "--resource-id", instance.vault_id, "--operation", "Merge", "--tags", "seen=now")
    rows = either("monitor", "activity-log", "list", "--resource-group", instance.group, "--max-events", "50")
    assert 0 < len(rows) <= 50
    newest = [row for row in rows if row["resourceId"].lower().startswith(instance.vault_id.lower())][0]
    assert newest["status"]["value"] == "Succeeded" and newest["caller"]
    assert newest["operationName"]["value"].lower() == "microsoft.resources/tags/write"
