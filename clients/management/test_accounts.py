"""azure-mgmt-cognitiveservices: accounts from their creation to their end, and whose key each one uses."""

import datetime
import os
import secrets
import socket

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.cognitiveservices import CognitiveServicesManagementClient
from azure.mgmt.monitor import MonitorManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resourcegraph import ResourceGraphClient

from instance import codes

SERVICE_KEY = "Microsoft.CognitiveServices"


@pytest.fixture(scope="module")
def client(manage):
    return manage(CognitiveServicesManagementClient)


def body(name, **more):
    properties = {"customSubDomainName": name, **more.pop("properties", {})}
    kind = {"kind": "OpenAI", "sku": {"name": "S0"}, "location": "local", "identity": {"type": "SystemAssigned"}}
    return {**kind, **more, "properties": properties}


@pytest.fixture
def account(client, group):
    name = "sdk-account-" + secrets.token_hex(3)
    yield client.accounts.begin_create(group.name, name, body(name, tags={"made": "here"})).result()
    try:
        client.accounts.begin_delete(group.name, name).result()
        client.deleted_accounts.begin_purge("local", group.name, name).result()
    except HttpResponseError:
        # The test itself saw to that.
        pass


def test_an_account_is_read_changed_and_listed(client, group, account):
    shown = client.accounts.get(group.name, account.name)
    assert (shown.id, shown.kind, shown.sku.name, shown.tags) == (account.id, "OpenAI", "S0", {"made": "here"})
    assert shown.identity.principal_id and shown.properties.endpoint == f"https://{account.name}.openai.localhost/"
    rules = {"defaultAction": "Deny", "ipRules": [{"value": "10.3.0.0/16"}]}
    changed = client.accounts.begin_update(
        group.name, account.name, {"tags": {"team": "blue"}, "properties": {"networkAcls": rules}}
    ).result()
    assert changed.tags == {"team": "blue"} and changed.properties.network_acls.default_action == "Deny"
    for listed in [client.accounts.list(), client.accounts.list_by_resource_group(group.name)]:
        assert account.id in [row.id for row in listed]


def test_account_keys_are_listed_regenerated_and_turned_off(client, group, account):
    before = client.accounts.list_keys(group.name, account.name)
    after = client.accounts.regenerate_key(group.name, account.name, "Key2")
    assert after.key1 == before.key1 and after.key2 != before.key2
    client.accounts.begin_update(group.name, account.name, {"properties": {"disableLocalAuth": True}}).result()
    with pytest.raises(HttpResponseError) as refused:
        client.accounts.list_keys(group.name, account.name)
    assert codes(refused)[:2] == (400, "BadRequest")


def test_deployments_are_made_read_listed_and_deleted(client, group, account):
    model = {"format": "OpenAI", "name": os.environ["STRONGROOM_DEPLOYMENT"], "version": "1"}
    wanted = {"sku": {"name": "Standard", "capacity": 1}, "properties": {"model": model}}
    made = client.deployments.begin_create_or_update(group.name, account.name, "first", wanted).result()
    assert made.properties.model.name == os.environ["STRONGROOM_DEPLOYMENT"]
    assert client.deployments.get(group.name, account.name, "first").id == made.id
    assert [row.name for row in client.deployments.list(group.name, account.name)] == ["first"]
    client.deployments.begin_delete(group.name, account.name, "first").result()
    with pytest.raises(ResourceNotFoundError):
        client.deployments.get(group.name, account.name, "first")


def test_a_fine_tuned_model_is_deployed_and_not_while_its_key_is_off(client, instance):
    place, name = (instance.group, instance.account), "sdk-" + secrets.token_hex(3)
    with instance.tuned_model("sdk") as model:
        wanted = {"sku": {"name": "Standard", "capacity": 1}, "properties": {"model": {"format": "OpenAI", "name": model, "version": "1"}}}
        assert model in [row.name for row in client.accounts.list_models(*place)]
        with instance.blind(), pytest.raises(HttpResponseError) as refused:
            client.deployments.begin_create_or_update(*place, name, wanted).result()
        assert codes(refused)[:2] == (403, "customer_key_refused")
        made = client.deployments.begin_create_or_update(*place, name, wanted).result()
        assert (made.properties.provisioning_state, made.properties.model.name) == ("Succeeded", model)
        assert client.deployments.get(*place, name).id == made.id
        assert name in [row.name for row in client.deployments.list(*place)]
        client.deployments.begin_delete(*place, name).result()
        with pytest.raises(ResourceNotFoundError):
            client.deployments.get(*place, name)


def test_a_deleted_account_is_listed_holds_its_name_and_is_recovered_or_purged(client, group, account):
    client.accounts.begin_delete(group.name, account.name).result()
    with pytest.raises(ResourceNotFoundError):
        client.accounts.get(group.name, account.name)
    deleted = client.deleted_accounts.get("local", group.name, account.name)
    assert deleted.properties.scheduled_purge_date > deleted.properties.deletion_date
    assert account.name in [row.name for row in client.deleted_accounts.list()]
    with pytest.raises(HttpResponseError) as held:
        client.accounts.begin_create(group.name, account.name, body(account.name)).result()
    assert codes(held)[:2] == (409, "FlagMustBeSetForRestore")
    recovered = client.accounts.begin_create(group.name, account.name, body(account.name, properties={"restore": True})).result()
    assert recovered.properties.internal_id == account.properties.internal_id
    client.accounts.begin_delete(group.name, account.name).result()
    client.deleted_accounts.begin_purge("local", group.name, account.name).result()
    with pytest.raises(ResourceNotFoundError):
        client.deleted_accounts.get("local", group.name, account.name)
    again = client.accounts.begin_create(group.name, account.name, body(account.name)).result()
    assert again.properties.internal_id != account.properties.internal_id


def customer_key(instance, key, **more):
    vault = {"keyVaultUri": f"https://{instance.vault_name}.vault.localhost/", "keyName": key, "keyVersion": "", **more}
    return {"properties": {"encryption": {"keySource": "Microsoft.KeyVault", "keyVaultProperties": vault}}}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "customer-vault.vault.localhost.evil.example"])
def test_a_vault_that_is_not_one_is_refused_and_nobody_connects_to_it(client, instance, group, account, host):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        uri = f"https://{host}:{stranger.getsockname()[1]}/"
        with pytest.raises(HttpResponseError) as refused:
            foreign = customer_key(instance, os.environ["STRONGROOM_KEY"], keyVaultUri=uri)
            client.accounts.begin_update(group.name, account.name, foreign).result()
        assert refused.value.status_code == 400
        stranger.setblocking(False)
        with pytest.raises(BlockingIOError):
            stranger.accept()


def test_all_that_is_wrong_with_a_key_is_told_at_once(client, instance, group, account):
    vaults = instance.run("vault", "create", "--name", "sdk-weak-" + secrets.token_hex(3), "--retention-days", "7")
    uri, token = vaults[0]["properties"]["vaultUri"], instance.token(instance.administrator)
    instance.assign(instance.administrator["appId"], "Key Vault Administrator", vaults[0]["id"])
    made = instance.ask(token, "POST", f"{uri}keys/curve/create", {"kty": "EC", "crv": "P-256", "attributes": {"enabled": False}})
    assert made.status_code == 200
    with pytest.raises(HttpResponseError) as refused:
        client.accounts.begin_update(group.name, account.name, customer_key(instance, "curve", keyVaultUri=uri)).result()
    told = refused.value.response.text().lower()
    # The key's kind and state, the vault's purge protection, the identity's rights.
    assert refused.value.status_code == 400
    assert all(word in told for word in ("rsa", "enabled", "purge", "unwrap")), told


def test_an_account_goes_to_a_customers_key_and_back(client, instance, group, account):
    key = os.environ["STRONGROOM_KEY"]
    with pytest.raises(HttpResponseError) as refused:
        client.accounts.begin_update(group.name, account.name, customer_key(instance, key)).result()
    assert refused.value.status_code in (400, 403) and account.identity.principal_id in refused.value.message
    kept = client.accounts.get(group.name, account.name).properties.encryption
    assert kept is None or kept.key_source == SERVICE_KEY
    instance.assign(account.identity.principal_id, "Key Vault Crypto Service Encryption User", f"{instance.vault_id}/keys/{key}")
    changed = client.accounts.begin_update(group.name, account.name, customer_key(instance, key)).result()
    assert changed.properties.encryption.key_vault_properties.key_name == key
    back = client.accounts.begin_update(group.name, account.name, {"properties": {"encryption": {"keySource": SERVICE_KEY}}}).result()
    assert back.properties.encryption.key_source == SERVICE_KEY


def test_resource_graph_knows_whose_key_each_account_uses(manage, instance, account):
    graph = manage(lambda credential, _, **settings: ResourceGraphClient(credential, **settings))
    query = (
        "Resources | where type =~ 'Microsoft.CognitiveServices/accounts'"
        " | extend source = tostring(properties.encryption.keySource) | project name, source"
    )
    rows = graph.resources({"subscriptions": [instance.subscription], "query": query}).data
    known = {row["name"]: row["source"] for row in rows}
    assert known[instance.account] == "Microsoft.KeyVault" and known[account.name] != "Microsoft.KeyVault"


def test_what_the_service_offers_is_listed(client, group, account):
    assert "OpenAI" in {row.kind for row in client.resource_skus.list()}
    assert os.environ["STRONGROOM_DEPLOYMENT"] in [row.model.name for row in client.models.list("local")]
    assert "Microsoft.CognitiveServices/accounts/read" in [row.name for row in client.operations.list()]


def test_an_application_without_a_role_manages_no_account(manage, instance, group, account):
    stranger = manage(CognitiveServicesManagementClient, instance.application("sdk-stranger-" + secrets.token_hex(3)))
    with pytest.raises(HttpResponseError) as refused:
        stranger.accounts.list_keys(group.name, account.name)
    assert codes(refused)[:2] == (403, "AuthorizationFailed")
    assert list(stranger.accounts.list()) == []


def test_private_endpoints_ask_for_an_account_and_its_owner_answers(client, manage, group, account):
    resources, version = manage(ResourceManagementClient).resources, {"api_version": "2024-05-01"}
    id = f"{group.id}/providers/Microsoft.Network/privateEndpoints/end-{secrets.token_hex(3)}"
    link = {"name": "link", "properties": {"privateLinkServiceId": account.id, "groupIds": ["account"], "requestMessage": "please"}}
    wanted = {"location": "local", "properties": {"manualPrivateLinkServiceConnections": [link]}}
    resources.begin_create_or_update_by_id(id, wanted, **version).result()
    (asked,) = client.private_endpoint_connections.list(group.name, account.name).value
    state = lambda connection: connection.properties.private_link_service_connection_state.status
    assert state(asked) == "Pending" and asked.properties.private_endpoint.id.lower() == id.lower()
    answer = {"properties": {"privateLinkServiceConnectionState": {"status": "Approved", "description": "yes"}}}
    client.private_endpoint_connections.begin_create_or_update(group.name, account.name, asked.name, answer).result()
    assert state(client.private_endpoint_connections.get(group.name, account.name, asked.name)) == "Approved"
    shown = client.accounts.get(group.name, account.name).properties.private_endpoint_connections
    assert [row.id for row in shown] == [asked.id]
    client.private_endpoint_connections.begin_delete(group.name, account.name, asked.name).result()
    assert client.private_endpoint_connections.list(group.name, account.name).value == []
    assert [row.name for row in client.private_link_resources.list(group.name, account.name).value] == ["account"]


@pytest.mark.parametrize("what", ["encryption_scopes", "rai_policies", "defender_for_ai_settings"])
def test_what_accounts_have_not_here_is_refused_as_a_type_that_is_not_there(client, group, account, what):
    with pytest.raises(ResourceNotFoundError) as refused:
        list(getattr(client, what).list(group.name, account.name))
    assert codes(refused)[:2] == (404, "InvalidResourceType")


def test_the_log_is_followed_page_by_page(manage, group, account):
    writes = manage(ResourceManagementClient).tags
    for number in range(120):
        writes.begin_update_at_scope(account.id, {"operation": "Merge", "properties": {"tags": {"count": str(number)}}}).result()
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    when = f"eventTimestamp ge '{since:%Y-%m-%dT%H:%M:%SZ}' and resourceGroupName eq '{group.name}'"
    pages = [list(page) for page in manage(MonitorManagementClient).activity_logs.list(when).by_page()]
    # Two rows for each write: more than one page, and none twice.
    rows = [row for page in pages for row in page]
    assert len(pages) > 1 and len(rows) > 240 and len({row.event_data_id for row in rows}) == len(rows)
