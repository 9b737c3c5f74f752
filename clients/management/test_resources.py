"""azure-mgmt-resource, -monitor and -resourcegraph: groups, resources of any kind, the activity log, queries."""

import datetime

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.monitor import MonitorManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resourcegraph import ResourceGraphClient

from instance import codes

KIND = "Microsoft.Storage/storageAccounts"
VERSION = {"api_version": "2024-01-01"}
COUNT = 5


@pytest.fixture(scope="module")
def client(manage):
    return manage(ResourceManagementClient)


@pytest.fixture(scope="module")
def resources(client, group):
    """Several of one kind, by name."""
    ids = [f"{group.id}/providers/{KIND}/sdkstore{n}" for n in range(COUNT)]
    body = {"location": "local", "tags": {"made": "here"}, "properties": {"kept": {"as": "given"}}}
    return [client.resources.begin_create_or_update_by_id(id, body, **VERSION).result() for id in ids]


def test_groups_are_read_changed_and_listed(client, group):
    assert group.properties.provisioning_state == "Succeeded" and group.tags == {"team": "blue"}
    assert client.resource_groups.get(group.name.upper()).id == group.id
    assert client.resource_groups.update(group.name, {"tags": {"team": "red"}}).tags == {"team": "red"}
    assert group.name in [row.name for row in client.resource_groups.list()]
    tagged = client.resource_groups.list(filter="tagName eq 'team' and tagValue eq 'red'")
    assert [row.name for row in tagged] == [group.name]


def test_resources_of_any_kind_are_read_changed_and_deleted(client, resources):
    first = client.resources.get_by_id(resources[0].id, **VERSION)
    assert (first.type, first.tags, first.properties["kept"]) == (KIND, {"made": "here"}, {"as": "given"})
    changed = client.resources.begin_update_by_id(first.id, {"properties": {"more": 1}}, **VERSION).result()
    assert (changed.properties["kept"], changed.properties["more"]) == ({"as": "given"}, 1)
    again = client.resources.begin_create_or_update_by_id(first.id + "x", {"location": "local"}, **VERSION).result()
    client.resources.begin_delete_by_id(again.id, **VERSION).result()
    with pytest.raises(ResourceNotFoundError) as missing:
        client.resources.get_by_id(again.id, **VERSION)
    assert codes(missing)[:2] == (404, "ResourceNotFound")


def test_lists_are_followed_page_by_page(client, group, resources):
    pages = [list(page) for page in client.resources.list_by_resource_group(group.name, top=2).by_page()]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(row.id for page in pages for row in page) == sorted(made.id for made in resources)
    found = client.resources.list(filter=f"resourceType eq '{KIND}' and substringof('store3', name)")
    assert [row.id for row in found] == [resources[3].id]


def test_tags_of_a_scope_are_merged(client, resources):
    id = resources[1].id
    client.tags.begin_update_at_scope(id, {"operation": "Merge", "properties": {"tags": {"cost": "1"}}}).result()
    assert client.tags.get_at_scope(id).properties.tags == {"made": "here", "cost": "1"}


def test_what_stands_in_the_way_is_told(client, group):
    with pytest.raises(HttpResponseError) as refused:
        client.resources.begin_create_or_update_by_id(f"{group.id}/providers/{KIND}/none/blobServices/x", {}, **VERSION).result()
    assert codes(refused)[:2] == (404, "ParentResourceNotFound")
    with pytest.raises(HttpResponseError) as missing:
        client.resource_groups.begin_delete("none-such").result()
    assert codes(missing)[:2] == (404, "ResourceGroupNotFound")


def test_the_activity_log_has_every_write(manage, instance, group, resources):
    since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    when = f"eventTimestamp ge '{since:%Y-%m-%dT%H:%M:%SZ}'"
    rows = list(manage(MonitorManagementClient).activity_logs.list(f"{when} and resourceGroupName eq '{group.name}'"))
    for made in resources:
        writes = [row for row in rows if row.resource_id.lower() == made.id.lower() and "/write" in row.operation_name.value.lower()]
        assert {"Started", "Succeeded"} <= {row.status.value for row in writes}, made.id
    assert {row.subscription_id for row in rows} == {instance.subscription} and all(row.caller for row in rows)


def test_resource_graph_counts_and_pages(manage, instance, resources):
    graph = manage(lambda credential, _, **settings: ResourceGraphClient(credential, **settings))
    ask = lambda query, **options: graph.resources({"subscriptions": [instance.subscription], "query": query, "options": options})
    counted = ask(f"Resources | where type =~ '{KIND}' | summarize count() by location")
    assert counted.data == [{"location": "local", "count_": COUNT}]
    query = f"Resources | where type =~ '{KIND}' | project name | order by name asc"
    first = ask(query, **{"$top": 3})
    assert (first.total_records, first.count) == (COUNT, 3)
    rest = ask(query, **{"$top": 3, "$skipToken": first.skip_token})
    assert [row["name"] for row in first.data + rest.data] == sorted(made.name for made in resources) and not rest.skip_token
    with pytest.raises(HttpResponseError) as refused:
        ask("Resources | evaluate python()")
    assert codes(refused)[0] == 400
