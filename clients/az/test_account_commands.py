"""`az cognitiveservices`: accounts of the AI service, their keys, deployments and encryption."""

import json
import os
import secrets

import pytest

from instance import wait_until


@pytest.fixture
def account(az, instance):
    """An account of a group, with an identity of its own."""
    name = "az-account-" + secrets.token_hex(3)
    words = ["--kind", "OpenAI", "--sku", "S0", "--location", "local", "--custom-domain", name, "--assign-identity", "--yes"]
    made = az("cognitiveservices", "account", "create", "--name", name, "--resource-group", instance.group, *words)
    assert (made["name"], made["properties"]["provisioningState"], made["identity"]["type"]) == (name, "Succeeded", "SystemAssigned")
    assert made["properties"]["encryption"] is None
    yield made, ["--name", name, "--resource-group", instance.group]
    if name in [row["name"] for row in az("cognitiveservices", "account", "list")]:
        az("cognitiveservices", "account", "delete", "--name", name, "--resource-group", instance.group)
    if name in [row["name"] for row in az("cognitiveservices", "account", "list-deleted")]:
        az("cognitiveservices", "account", "purge", "--name", name, "--resource-group", instance.group, "--location", "local")


def test_an_account_is_deleted_recovered_and_purged(az, account):
    made, of = account
    deleted = [*of, "--location", "local"]
    az("cognitiveservices", "account", "delete", *of)
    assert "ResourceNotFound" in az.refused("cognitiveservices", "account", "show", *of)
    shown, listed = az.together(
        ["cognitiveservices", "account", "show-deleted", *deleted], ["cognitiveservices", "account", "list-deleted"]
    )
    assert shown["name"] == made["name"] and made["name"] in [row["name"] for row in listed]
    recovered = az("cognitiveservices", "account", "recover", *deleted)
    assert recovered["id"] == made["id"]
    assert recovered["properties"]["internalId"] == made["properties"]["internalId"]
    az("cognitiveservices", "account", "delete", *of)
    az("cognitiveservices", "account", "purge", *deleted)
    assert made["name"] not in [row["name"] for row in az("cognitiveservices", "account", "list-deleted")]


def test_an_account_is_changed_and_its_keys_are_regenerated(az, account):
    made, of = account
    identity = az("cognitiveservices", "account", "identity", "assign", *of)
    assert identity["principalId"] == made["identity"]["principalId"]
    assert az("cognitiveservices", "account", "identity", "show", *of)["type"] == "SystemAssigned"
    tagged = az("cognitiveservices", "account", "update", *of, "--tags", "team=blue")
    assert tagged["tags"] == {"team": "blue"}
    before = az("cognitiveservices", "account", "keys", "list", *of)
    after = az("cognitiveservices", "account", "keys", "regenerate", *of, "--key-name", "Key1")
    assert after["key1"] != before["key1"] and after["key2"] == before["key2"]
    az("cognitiveservices", "account", "network-rule", "add", *of, "--ip-address", "10.2.0.0/16")
    (rule,) = az("cognitiveservices", "account", "network-rule", "list", *of)["ipRules"]
    assert rule["value"] == "10.2.0.0/16"


def test_models_are_deployed_listed_and_taken_off(az, account):
    _, of = account
    deployment = ["--deployment-name", "first"]
    model = ["--model-name", os.environ["STRONGROOM_DEPLOYMENT"], "--model-version", "1", "--model-format", "OpenAI"]
    made = az("cognitiveservices", "account", "deployment", "create", *of, *deployment, *model, "--sku-name", "Standard", "--sku-capacity", "1")
    assert made["properties"]["model"]["name"] == os.environ["STRONGROOM_DEPLOYMENT"]
    shown, listed, models, usages = az.together(
        ["cognitiveservices", "account", "deployment", "show", *of, *deployment],
        ["cognitiveservices", "account", "deployment", "list", *of],
        ["cognitiveservices", "account", "list-models", *of],
        ["cognitiveservices", "account", "list-usage", *of],
    )
    assert shown["id"] == made["id"] and [row["name"] for row in listed] == ["first"]
    assert os.environ["STRONGROOM_DEPLOYMENT"] in [row["name"] for row in models] and isinstance(usages, list)
    az("cognitiveservices", "account", "deployment", "delete", *of, *deployment)
    assert az("cognitiveservices", "account", "deployment", "list", *of) == []


def test_a_fine_tuned_model_is_deployed_and_not_while_its_key_is_off(az, instance):
    of = ["--name", instance.account, "--resource-group", instance.group]
    deployment = ["cognitiveservices", "account", "deployment"]
    name = "az-" + secrets.token_hex(3)
    with instance.tuned_model("az") as model:
        wanted = ["--model-name", model, "--model-version", "1", "--model-format", "OpenAI", "--sku-name", "Standard", "--sku-capacity", "1"]
        assert model in [row["name"] for row in az("cognitiveservices", "account", "list-models", *of)]
        with instance.blind():
            refused = az.refused(*deployment, "create", *of, "--deployment-name", name, *wanted)
            assert "customer_key_refused" in refused
        made = az(*deployment, "create", *of, "--deployment-name", name, *wanted)
        # `az` does not wait until it is made.
        assert made["properties"]["provisioningState"] in ("Creating", "Succeeded")
        show = [*deployment, "show", *of, "--deployment-name", name]
        wait_until(lambda: az(*show)["properties"]["provisioningState"] == "Succeeded")
        shown, listed = az.together(show, [*deployment, "list", *of])
        assert (shown["id"], shown["properties"]["model"]["name"]) == (made["id"], model) and name in [row["name"] for row in listed]
        unknown = [*wanted[:1], model.replace(":az:", ":other:"), *wanted[2:]]
        assert "DeploymentModelNotSupported" in az.refused(*deployment, "create", *of, "--deployment-name", name + "2", *unknown)
        az(*deployment, "delete", *of, "--deployment-name", name)
        assert name not in [row["name"] for row in az(*deployment, "list", *of)]


def test_an_identity_is_shown_taken_off_and_put_on_again(az, account):
    made, of = account
    shown = az("cognitiveservices", "account", "identity", "show", *of)
    assert (shown["type"], shown["principalId"]) == ("SystemAssigned", made["identity"]["principalId"])
    az("cognitiveservices", "account", "identity", "remove", *of)
    assert not az("cognitiveservices", "account", "identity", "show", *of)
    again = az("cognitiveservices", "account", "identity", "assign", *of)
    assert again["type"] == "SystemAssigned" and again["principalId"] != made["identity"]["principalId"]


def test_what_there_is_to_choose_is_listed(az, instance, account):
    made, of = account
    kinds, skus, here, own = az.together(
        ["cognitiveservices", "account", "list-kinds"],
        ["cognitiveservices", "account", "list-skus", "--kind", "OpenAI", "--location", "local"],
        ["cognitiveservices", "account", "list", "--resource-group", instance.group],
        ["cognitiveservices", "account", "list-skus", *of],
    )
    assert {"OpenAI", "AIServices"} <= set(kinds) and {row["name"] for row in skus} == {"S0"}
    assert {made["id"], f"{instance.group_id}/providers/Microsoft.CognitiveServices/accounts/{instance.account}"} <= {row["id"] for row in here}
    assert [row["sku"]["name"] for row in own["value"]] == ["S0"]


def test_an_account_is_made_with_a_key_that_its_identity_may_use(az, instance):
    name, key = "az-born-" + secrets.token_hex(3), "az-born-" + secrets.token_hex(3)
    vault = f"https://{instance.vault_name}.vault.localhost/"
    az("keyvault", "key", "create", "--vault-name", instance.vault_name, "--name", key, "--size", "2048")
    words = ["--kind", "OpenAI", "--sku", "S0", "--location", "local", "--custom-domain", name, "--assign-identity", "--yes"]
    create = ["cognitiveservices", "account", "create", "--name", name, "--resource-group", instance.group, *words]
    # The identity of a new account has no right yet: as on Azure, its key is set once it has.
    refused = az.refused(*create, "--encryption", encryption(vault, key))
    assert "InvalidEncryption" in refused and "unwrapKey" in refused
    assert name not in [row["name"] for row in az("cognitiveservices", "account", "list")]
    own = az(*create, "--encryption", json.dumps({"keySource": "Microsoft.CognitiveServices"}))
    assert own["properties"]["provisioningState"] == "Succeeded" and own["identity"]["principalId"]
    az("cognitiveservices", "account", "delete", "--name", name, "--resource-group", instance.group)
    az("cognitiveservices", "account", "purge", "--name", name, "--resource-group", instance.group, "--location", "local")


def encryption(vault, key):
    return json.dumps({"keySource": "Microsoft.KeyVault", "keyVaultProperties": {"keyVaultUri": vault, "keyName": key, "keyVersion": ""}})


def test_a_customers_key_takes_a_vault_key_and_right_that_are_there(az, instance, account):
    made, of = account
    key, vault = "az-cmk-" + secrets.token_hex(3), f"https://{instance.vault_name}.vault.localhost/"
    update = ["cognitiveservices", "account", "update", *of, "--encryption"]
    assert key in az.refused(*update, encryption(vault, key))
    az("keyvault", "key", "create", "--vault-name", instance.vault_name, "--name", key, "--size", "2048")
    refused = az.refused(*update, encryption(vault, key))
    assert made["identity"]["principalId"] in refused or "wrap" in refused.lower()
    instance.assign(made["identity"]["principalId"], "Key Vault Crypto Service Encryption User", f"{instance.vault_id}/keys/{key}")
    changed = az(*update, encryption(vault, key))
    assert changed["properties"]["encryption"]["keySource"] == "Microsoft.KeyVault"
    assert changed["properties"]["encryption"]["keyVaultProperties"]["keyName"] == key
    (version,) = [row["kid"].rsplit("/", 1)[1] for row in az("keyvault", "key", "list-versions", "--vault-name", instance.vault_name, "--name", key)]
    pinned = json.loads(encryption(vault, key))
    pinned["keyVaultProperties"]["keyVersion"] = version
    changed = az(*update, json.dumps(pinned))
    assert changed["properties"]["encryption"]["keyVaultProperties"]["keyVersion"] == version
    back = az(*update, json.dumps({"keySource": "Microsoft.CognitiveServices"}))
    assert back["properties"]["encryption"]["keySource"] == "Microsoft.CognitiveServices"
