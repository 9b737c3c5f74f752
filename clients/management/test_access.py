"""azure-mgmt-authorization: roles and assignments, each counting at the vault from the moment that it is there."""

import secrets
import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.mgmt.authorization import AuthorizationManagementClient

from instance import codes

# A version of this API that has all of these operations.
VERSION = {"api_version": "2022-04-01"}


@pytest.fixture(scope="module")
def client(manage):
    return manage(AuthorizationManagementClient, **VERSION)


@pytest.fixture
def application(instance):
    return instance.application("sdk-access-" + secrets.token_hex(3))


def role_id(client, instance, name):
    (found,) = client.role_definitions.list(instance.vault_id, filter=f"roleName eq '{name}'")
    return found.id


def assignment(client, instance, application, role="Key Vault Reader"):
    known = role_id(client, instance, role)
    return {"role_definition_id": known, "principal_id": application["id"], "principal_type": "ServicePrincipal"}


def test_an_assignment_counts_as_long_as_it_is_there(client, instance, application):
    name, token = str(uuid.uuid4()), instance.token(application)
    read = lambda: instance.ask(token, "GET", "/keys").status_code
    body = assignment(client, instance, application)
    assert read() == 403
    made = client.role_assignments.create(instance.vault_id, name, body)
    assert (made.name, made.principal_id, made.scope) == (name, application["id"], instance.vault_id)
    assert read() == 200
    assert client.role_assignments.get(instance.vault_id, name).id == made.id == client.role_assignments.get_by_id(made.id).id
    for listed in [
        client.role_assignments.list_for_scope(instance.vault_id, filter=f"principalId eq '{application['id']}'"),
        client.role_assignments.list_for_subscription(filter=f"assignedTo('{application['id']}')"),
        client.role_assignments.list_for_resource_group(instance.group, filter=f"principalId eq '{application['id']}'"),
    ]:
        assert [row.id for row in listed] == [made.id]
    assert client.role_assignments.create(instance.vault_id, name, body).id == made.id
    with pytest.raises(ResourceExistsError) as twice:
        client.role_assignments.create(instance.vault_id, str(uuid.uuid4()), body)
    assert codes(twice)[:2] == (409, "RoleAssignmentExists")
    assert client.role_assignments.delete(instance.vault_id, name).id == made.id
    assert read() == 403
    with pytest.raises(ResourceNotFoundError) as gone:
        client.role_assignments.get(instance.vault_id, name)
    assert codes(gone)[:2] == (404, "RoleAssignmentNotFound")


def test_what_cannot_be_assigned_is_told_by_its_code(client, instance, application):
    usual = assignment(client, instance, application)
    for change, expected in [
        ({"principal_id": str(uuid.uuid4())}, (400, "PrincipalNotFound")),
        ({"principal_type": "User"}, (400, "UnmatchedPrincipalType")),
        ({"role_definition_id": usual["role_definition_id"][:-12] + "0" * 12}, (404, "RoleDefinitionDoesNotExist")),
    ]:
        with pytest.raises(HttpResponseError) as refused:
            client.role_assignments.create(instance.vault_id, str(uuid.uuid4()), usual | change)
        assert codes(refused)[:2] == expected


def test_who_may_not_assign_gives_nobody_a_role(client, manage, instance, application):
    client.role_assignments.create(instance.vault_id, str(uuid.uuid4()), assignment(client, instance, application, "Contributor"))
    contributor = manage(AuthorizationManagementClient, application, **VERSION)
    with pytest.raises(HttpResponseError) as refused:
        contributor.role_assignments.create(instance.vault_id, str(uuid.uuid4()), assignment(client, instance, application, "Owner"))
    assert codes(refused)[:2] == (403, "AuthorizationFailed")
    assert "Microsoft.Authorization/roleAssignments/write" in refused.value.message


def test_a_custom_role_is_made_changed_and_deleted(client, instance, application):
    id, name = str(uuid.uuid4()), "sdk role " + secrets.token_hex(3)
    body = {
        "role_name": name,
        "role_type": "CustomRole",
        "description": "Looks.",
        "permissions": [{"actions": [], "not_actions": [], "data_actions": ["Microsoft.KeyVault/vaults/keys/read"]}],
        "assignable_scopes": [instance.group_id],
    }
    made = client.role_definitions.create_or_update(instance.group_id, id, body)
    assert (made.role_name, made.role_type, made.name) == (name, "CustomRole", id)
    assigned = client.role_assignments.create(instance.vault_id, str(uuid.uuid4()), assignment(client, instance, application, name))
    token = instance.token(application)
    assert instance.ask(token, "GET", "/keys").status_code == 200
    changed = body | {"permissions": [{"actions": ["*/read"], "not_actions": [], "data_actions": []}]}
    client.role_definitions.create_or_update(instance.group_id, id, changed)
    assert instance.ask(token, "GET", "/keys").status_code == 403
    with pytest.raises(HttpResponseError) as used:
        client.role_definitions.delete(instance.group_id, id)
    assert codes(used)[1] == "RoleDefinitionHasAssignments"
    client.role_assignments.delete_by_id(assigned.id)
    assert client.role_definitions.delete(instance.group_id, id).name == id
    assert id not in [row.name for row in client.role_definitions.list(instance.group_id, filter="type eq 'CustomRole'")]


def test_ones_own_permissions_are_listed(client, instance):
    actions = [action for row in client.permissions.list_for_resource_group(instance.group) for action in row.actions]
    assert "*" in actions
