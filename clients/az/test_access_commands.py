"""Who there is and who may do what, by `az ad`, `az role`, `az identity`; where logs go, by `az monitor diagnostic-settings`."""

import json
import secrets

import pytest
from azure.core.exceptions import ClientAuthenticationError


@pytest.fixture
def application(instance):
    return instance.application("az-app-" + secrets.token_hex(3))


def test_an_assignment_is_made_listed_and_taken_away(az, instance, application):
    where = ["--scope", instance.vault_id, "--assignee", application["appId"]]
    made = az("role", "assignment", "create", *where, "--role", "Key Vault Reader")
    assert (made["principalId"], made["principalType"], made["scope"]) == (application["id"], "ServicePrincipal", instance.vault_id)
    read = lambda: instance.ask(instance.token(application), "GET", "/keys").status_code
    assert read() == 200
    listed, by_group = az.together(
        ["role", "assignment", "list", "--scope", instance.vault_id, "--assignee", application["id"]],
        ["role", "assignment", "list", "--resource-group", instance.group, "--include-inherited"],
    )
    assert [(row["roleDefinitionName"], row["principalName"]) for row in listed] == [("Key Vault Reader", application["appId"])]
    assert "Owner" in [row["roleDefinitionName"] for row in by_group]
    everywhere, groups = az.together(
        ["role", "assignment", "list", "--all", "--assignee", application["appId"]],
        ["role", "assignment", "list", "--scope", instance.vault_id, "--assignee", application["appId"], "--include-groups"],
    )
    assert [row["id"] for row in everywhere] == [row["id"] for row in groups] == [made["id"]]
    by_object = ["--assignee-object-id", application["id"], "--assignee-principal-type", "ServicePrincipal"]
    again = ["role", "assignment", "create", "--scope", instance.vault_id, *by_object, "--role", "Key Vault Reader"]
    # The answer is RoleAssignmentExists; `az` then shows the one that there is.
    assert az(*again)["id"] == made["id"]
    az("role", "assignment", "delete", *where, "--role", "Key Vault Reader")
    assert read() == 403
    assert az("role", "assignment", "list", *where) == []


def test_roles_are_listed_made_changed_and_deleted(az, instance):
    (crypto,) = az("role", "definition", "list", "--name", "Key Vault Crypto Service Encryption User")
    assert crypto["roleType"] == "BuiltInRole" and crypto["name"] == "e147488a-f6f5-4113-8e2d-b22465e65bf6"
    assert "Microsoft.KeyVault/vaults/keys/unwrap/action" in crypto["permissions"][0]["dataActions"]
    name = "az role " + secrets.token_hex(3)
    role = {"Name": name, "Description": "Looks.", "DataActions": ["Microsoft.KeyVault/vaults/keys/read"]}
    role["AssignableScopes"] = [instance.group_id]
    made = az("role", "definition", "create", "--role-definition", json.dumps(role))
    assert (made["roleName"], made["roleType"]) == (name, "CustomRole")
    changed = az("role", "definition", "update", "--role-definition", json.dumps(made | {"description": "Looks closely."}))
    assert (changed["name"], changed["description"]) == (made["name"], "Looks closely.")
    az("role", "definition", "delete", "--name", name, "--scope", instance.group_id)
    assert az("role", "definition", "list", "--name", name, "--custom-role-only", "true") == []


def test_the_directory_is_looked_up(az, instance, application):
    user = "ada-" + secrets.token_hex(3)
    instance.run("principal", "create", "user", "--display-name", user, "--user-principal-name", f"{user}@contoso.example")
    app, sps, users, shown = az.together(
        ["ad", "sp", "show", "--id", application["appId"]],
        ["ad", "sp", "list", "--display-name", application["displayName"]],
        ["ad", "user", "list", "--filter", f"startswith(displayName,'{user}')"],
        ["ad", "user", "show", "--id", f"{user}@contoso.example"],
    )
    assert (app["id"], app["appId"]) == (application["id"], application["appId"])
    assert [row["id"] for row in sps] == [application["id"]]
    assert [row["displayName"] for row in users] == [user] and shown["id"] == users[0]["id"]


def test_groups_are_made_and_filled(az, application):
    name = "az-group-" + secrets.token_hex(3)
    made = az("ad", "group", "create", "--display-name", name, "--mail-nickname", name)
    az("ad", "group", "member", "add", "--group", name, "--member-id", application["id"])
    members, there = az.together(
        ["ad", "group", "member", "list", "--group", name],
        ["ad", "group", "member", "check", "--group", name, "--member-id", application["id"]],
    )
    assert [row["id"] for row in members] == [application["id"]] and there["value"] is True
    az("ad", "group", "member", "remove", "--group", name, "--member-id", application["id"])
    az("ad", "group", "delete", "--group", made["id"])
    assert az("ad", "group", "list", "--display-name", name) == []


def test_an_application_is_made_with_a_role_and_logs_in(az, instance):
    name = "az-rbac-" + secrets.token_hex(3)
    made = az("ad", "sp", "create-for-rbac", "--name", name, "--role", "Key Vault Crypto User", "--scopes", instance.vault_id)
    assert made["tenant"] == instance.tenant
    assert instance.ask(instance.token(made), "GET", "/keys").status_code == 200
    again = az("ad", "sp", "credential", "reset", "--id", made["appId"])
    assert instance.ask(instance.token(again), "GET", "/keys").status_code == 200
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        instance.token(made)
    az("ad", "sp", "delete", "--id", made["appId"])


def test_identities_are_made_listed_and_deleted(az, instance):
    name, of = "az-identity-" + secrets.token_hex(3), ["--resource-group", instance.group]
    made = az("identity", "create", "--name", name, *of, "--location", "local")
    shown, listed, found = az.together(
        ["identity", "show", "--name", name, *of],
        ["identity", "list", *of],
        ["ad", "sp", "show", "--id", made["clientId"]],
    )
    assert shown == made and name in [row["name"] for row in listed] and found["id"] == made["principalId"]
    az("identity", "delete", "--name", name, *of)
    assert name not in [row["name"] for row in az("identity", "list", *of)]


def test_the_vaults_records_are_sent_where_a_setting_says(az, instance):
    storage = f"{instance.group_id}/providers/Microsoft.Storage/storageAccounts/azlogs{secrets.token_hex(3)}"
    of = ["--name", "az-logs", "--resource", instance.vault_id]
    logs = json.dumps([{"category": "AuditEvent", "enabled": True}])
    made = az("monitor", "diagnostic-settings", "create", *of, "--storage-account", storage, "--logs", logs)
    assert made["storageAccountId"] == storage and made["logs"][0]["category"] == "AuditEvent"
    shown, listed = az.together(
        ["monitor", "diagnostic-settings", "show", *of], ["monitor", "diagnostic-settings", "list", "--resource", instance.vault_id]
    )
    assert shown["id"] == made["id"] and "az-logs" in [row["name"] for row in listed]
    az("monitor", "diagnostic-settings", "delete", *of)
    workspace = f"{instance.group_id}/providers/Microsoft.OperationalInsights/workspaces/az-logs"
    group = json.dumps([{"categoryGroup": "allLogs", "enabled": True}])
    made = az("monitor", "diagnostic-settings", "create", *of, "--workspace", workspace, "--logs", group)
    assert (made["workspaceId"], made.get("storageAccountId"), made["logs"][0]["categoryGroup"]) == (workspace, None, "allLogs")
    az("monitor", "diagnostic-settings", "delete", *of)
    assert az("monitor", "diagnostic-settings", "list", "--resource", instance.vault_id) == []
