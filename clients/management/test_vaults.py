"""azure-mgmt-keyvault: vaults from their creation to their end, and their keys, then seen by azure-keyvault-keys."""

import secrets

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.keyvault.keys import KeyClient
from azure.mgmt.keyvault import KeyVaultManagementClient

from instance import codes


@pytest.fixture(scope="module")
def client(manage):
    return manage(KeyVaultManagementClient)


@pytest.fixture(scope="module")
def administrator(instance):
    """The administrator's object id."""
    known = instance.run("principal", "list", "--kind", "app")
    (found,) = [row["id"] for row in known if row["appId"] == instance.administrator["appId"]]
    return found


def settings(instance, **properties):
    usual = {"tenantId": instance.tenant, "sku": {"family": "A", "name": "standard"}, "accessPolicies": []}
    return {"location": "local", "properties": {**usual, "enableRbacAuthorization": False, **properties}}


def policy(instance, who, *permissions):
    return {"tenantId": instance.tenant, "objectId": who, "permissions": {"keys": list(permissions)}}


@pytest.fixture
def vault(client, instance, group, administrator):
    name = "sdk-vault-" + secrets.token_hex(4)
    body = settings(instance, softDeleteRetentionInDays=7, accessPolicies=[policy(instance, administrator, "all")])
    return client.vaults.begin_create_or_update(group.name, name, body).result()


def test_a_vault_is_made_read_changed_and_listed(client, instance, group, vault):
    shown = client.vaults.get(group.name, vault.name)
    properties = shown.properties
    assert (shown.id, shown.type, shown.location) == (vault.id, "Microsoft.KeyVault/vaults", "local")
    assert properties.vault_uri.startswith(f"https://{vault.name}.vault.localhost") and properties.provisioning_state == "Succeeded"
    assert (properties.soft_delete_retention_in_days, properties.enable_purge_protection) == (7, None)
    rules = {"defaultAction": "Deny", "bypass": "AzureServices", "ipRules": [{"value": "10.0.0.0/24"}]}
    changed = client.vaults.update(group.name, vault.name, {"tags": {"team": "blue"}, "properties": {"networkAcls": rules}})
    assert changed.tags == {"team": "blue"} and changed.properties.network_acls.ip_rules[0].value == "10.0.0.0/24"
    assert len(changed.properties.access_policies) == 1
    for listed in [client.vaults.list_by_resource_group(group.name), client.vaults.list_by_subscription(), client.vaults.list()]:
        assert vault.id in [row.id for row in listed]


def test_access_policies_are_added_replaced_and_removed_and_count_at_the_vault(client, instance, group, vault):
    application = instance.application("sdk-policy-" + secrets.token_hex(3))
    token = instance.token(application)
    ask = lambda path: codes(instance.ask(token, "GET", vault.properties.vault_uri.rstrip("/") + path))
    change = lambda kind, *permissions: client.vaults.update_access_policy(
        group.name, vault.name, kind, {"properties": {"accessPolicies": [policy(instance, application["id"], *permissions)]}}
    )
    refused = (403, "Forbidden", "AccessDenied")
    assert ask("/keys") == refused
    change("add", "list")
    assert ask("/keys")[0] == 200 and ask("/keys/none") == refused
    change("add", "get")
    assert ask("/keys")[0] == 200 and ask("/keys/none")[:2] == (404, "KeyNotFound")
    change("remove", "get", "list")
    assert ask("/keys") == refused and len(client.vaults.get(group.name, vault.name).properties.access_policies) == 1


def test_keys_are_made_through_resource_manager_and_seen_at_the_vault(client, instance, group, vault):
    body = {"properties": {"kty": "RSA", "keySize": 3072, "keyOps": ["wrapKey", "unwrapKey"]}, "tags": {"made": "there"}}
    made = client.keys.create_if_not_exist(group.name, vault.name, "managed", body)
    assert (made.properties.kty, made.properties.key_size) == ("RSA", 3072)
    again = client.keys.create_if_not_exist(group.name, vault.name, "managed", {"properties": {"kty": "EC"}})
    assert again.properties.key_uri_with_version == made.properties.key_uri_with_version
    with KeyClient(vault.properties.vault_uri, instance.credential(instance.administrator)) as keys:
        seen = keys.get_key("managed")
        assert seen.id == made.properties.key_uri_with_version and seen.properties.tags == {"made": "there"}
        newer = keys.rotate_key("managed")
    versions = [row.properties.key_uri_with_version for row in client.keys.list_versions(group.name, vault.name, "managed")]
    assert sorted(versions) == sorted([seen.id, newer.id])
    assert [row.name for row in client.keys.list(group.name, vault.name)] == ["managed"]


def test_a_deleted_vault_is_listed_recovered_and_purged(client, instance, group, vault):
    client.vaults.delete(group.name, vault.name)
    with pytest.raises(ResourceNotFoundError):
        client.vaults.get(group.name, vault.name)
    deleted = client.vaults.get_deleted(vault.name, "local")
    assert deleted.properties.vault_id == vault.id and deleted.properties.scheduled_purge_date > deleted.properties.deletion_date
    assert vault.name in [row.name for row in client.vaults.list_deleted()]
    with pytest.raises(HttpResponseError) as held:
        client.vaults.begin_create_or_update(group.name, vault.name, settings(instance)).result()
    assert held.value.status_code == 409
    recovered = client.vaults.begin_create_or_update(group.name, vault.name, settings(instance, createMode="recover")).result()
    assert recovered.properties.vault_uri == vault.properties.vault_uri
    client.vaults.delete(group.name, vault.name)
    client.vaults.begin_purge_deleted(vault.name, "local").result()
    with pytest.raises(ResourceNotFoundError):
        client.vaults.get_deleted(vault.name, "local")
    assert client.vaults.check_name_availability({"name": vault.name, "type": "Microsoft.KeyVault/vaults"}).name_available


def test_purge_protection_is_for_good(client, instance, group, vault):
    client.vaults.update(group.name, vault.name, {"properties": {"enablePurgeProtection": True}})
    with pytest.raises(HttpResponseError) as refused:
        client.vaults.update(group.name, vault.name, {"properties": {"enablePurgeProtection": False}})
    assert refused.value.status_code == 400
    client.vaults.delete(group.name, vault.name)
    with pytest.raises(HttpResponseError) as refused:
        client.vaults.begin_purge_deleted(vault.name, "local").result()
    assert codes(refused)[:2] == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    "wrong",
    [{"softDeleteRetentionInDays": 6}, {"softDeleteRetentionInDays": 91}, {"enableSoftDelete": False}, {"sku": {"family": "A", "name": "gold"}}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_no_vault_has_are_refused(client, instance, group, wrong):
    with pytest.raises(HttpResponseError) as refused:
        client.vaults.begin_create_or_update(group.name, "sdk-none-such", settings(instance, **wrong)).result()
    assert refused.value.status_code == 400


def test_an_application_without_a_role_manages_no_vault(manage, instance, group, vault):
    stranger = manage(KeyVaultManagementClient, instance.application("sdk-stranger-" + secrets.token_hex(3)))
    for call in [lambda: stranger.vaults.get(group.name, vault.name), lambda: stranger.vaults.delete(group.name, vault.name)]:
        with pytest.raises(HttpResponseError) as refused:
            call()
        assert codes(refused)[:2] == (403, "AuthorizationFailed")
    assert list(stranger.vaults.list_by_subscription()) == []
