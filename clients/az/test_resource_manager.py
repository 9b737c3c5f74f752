"""What `az` asks of Resource Manager: groups, resources, tags, locks, providers, the activity log, Resource Graph."""

import json
import secrets

import pytest

KIND = "Microsoft.Storage/storageAccounts"


@pytest.fixture(scope="module")
def group(az):
    name = "az-group-" + secrets.token_hex(3)
    made = az("group", "create", "--name", name, "--location", "local", "--tags", "team=blue")
    assert made["properties"]["provisioningState"] == "Succeeded" and made["tags"] == {"team": "blue"}
    yield made
    az("group", "delete", "--name", name, "--yes")
    assert az("group", "exists", "--name", name) is False


@pytest.fixture(scope="module")
def resource(az, group):
    words = ["--resource-type", KIND, "--name", "azstore" + secrets.token_hex(3), "--location", "local"]
    return az("resource", "create", "--resource-group", group["name"], *words, "--properties", '{"kept": {"as": "given"}}')


def test_the_subscription_its_places_and_its_groups_are_listed(az, instance, group):
    accounts, places, groups, shown, there = az.together(
        ["account", "list"],
        ["account", "list-locations"],
        ["group", "list"],
        ["group", "show", "--name", group["name"].upper()],
        ["group", "exists", "--name", group["name"]],
    )
    assert [account["id"] for account in accounts] == [instance.subscription]
    assert "local" in [place["name"] for place in places]
    assert {instance.group, group["name"]} <= {row["name"] for row in groups}
    assert shown == group and there is True


def test_a_resource_of_any_kind_is_kept_found_and_changed(az, group, resource):
    assert resource["properties"]["kept"] == {"as": "given"}
    shown, by_type, by_tag = az.together(
        ["resource", "show", "--ids", resource["id"]],
        ["resource", "list", "--resource-type", KIND],
        ["resource", "list", "--tag", "team=none-such"],
    )
    assert shown["properties"]["kept"] == {"as": "given"} and shown["type"] == KIND
    assert [row["id"] for row in by_type] == [resource["id"]] and by_tag == []
    changed = az("resource", "update", "--ids", resource["id"], "--set", "properties.kept.as=changed")
    assert changed["properties"]["kept"] == {"as": "changed"}


def test_tags_are_put_on_listed_and_taken_off(az, resource):
    tagged = az("tag", "create", "--resource-id", resource["id"], "--tags", "cost=1", "team=red")
    assert tagged["properties"]["tags"] == {"cost": "1", "team": "red"}
    merged = az("tag", "update", "--resource-id", resource["id"], "--operation", "Merge", "--tags", "team=green")
    assert merged["properties"]["tags"] == {"cost": "1", "team": "green"}
    by_tag, names = az.together(["resource", "list", "--tag", "team=green"], ["tag", "list"])
    assert [row["id"] for row in by_tag] == [resource["id"]]
    assert {"cost", "team"} <= {row["tagName"] for row in names}
    az("tag", "delete", "--resource-id", resource["id"], "--yes")
    assert az("tag", "list", "--resource-id", resource["id"])["properties"].get("tags") in (None, {})


def test_a_lock_holds_what_it_is_put_on(az, group, resource):
    of = ["--resource-group", group["name"]]
    made = az("lock", "create", "--name", "hold", "--lock-type", "CanNotDelete", *of)
    assert made["level"] == "CanNotDelete"
    assert [row["name"] for row in az("lock", "list", *of)] == ["hold"]
    assert "ScopeLocked" in az.refused("group", "delete", "--name", group["name"], "--yes")
    assert "failed to be deleted" in az.refused("resource", "delete", "--ids", resource["id"])
    az("lock", "delete", "--name", "hold", *of)
    assert az("lock", "list", *of) == []


def test_providers_are_registered(az):
    shown, listed = az.together(["provider", "show", "--namespace", "Microsoft.KeyVault"], ["provider", "list"])
    assert shown["registrationState"] == "Registered"
    assert "vaults" in [kind["resourceType"] for kind in shown["resourceTypes"]]
    assert {"Microsoft.KeyVault", "Microsoft.CognitiveServices"} <= {row["namespace"] for row in listed}


def test_each_write_stands_in_the_activity_log(az, instance, group, resource):
    rows = az("monitor", "activity-log", "list", "--resource-group", group["name"], "--max-events", "50", "--offset", "1h")
    writes = [row for row in rows if row["resourceId"].lower() == resource["id"].lower()]
    assert {"Started", "Succeeded"} <= {row["status"]["value"] for row in writes}
    (first,) = {row["operationName"]["value"].lower() for row in writes if row["status"]["value"] == "Started"} & {f"{KIND}/write".lower()}
    assert first == f"{KIND}/write".lower()
    assert all(row["subscriptionId"] == instance.subscription and row["caller"] and row["correlationId"] for row in writes)


def test_resource_graph_finds_what_there_is(az, instance, resource):
    query = f"Resources | where type =~ '{KIND}' | project id, name, location | order by name asc"
    body = json.dumps({"subscriptions": [instance.subscription], "query": query})
    found = az("rest", "--method", "post", "--url", "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01", "--body", body)
    assert found["totalRecords"] == found["count"] == 1
    assert found["data"] == [{"id": resource["id"], "name": resource["name"], "location": "local"}]


def test_what_is_not_there_or_not_allowed_is_told_by_its_code(az):
    assert "ResourceGroupNotFound" in az.refused("group", "show", "--name", "none-such")
    assert "ResourceNotFound" in az.refused("resource", "show", "--resource-group", "strongroom", "--resource-type", KIND, "--name", "none")
