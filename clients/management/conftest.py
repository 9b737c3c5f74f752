"""The management SDKs, as anybody sets them up for another cloud than the public one."""

import os
import secrets

import pytest
from azure.mgmt.resource.resources import ResourceManagementClient


@pytest.fixture(scope="session")
def manage(instance):
    """Makes a client of an SDK for the administrator, or for another application."""

    def client(kind, application=None, **settings):
        credential = instance.credential(application or instance.administrator)
        return kind(credential, instance.subscription, base_url=os.environ["ARM_ENDPOINT"], **settings)

    return client


@pytest.fixture(scope="module")
def group(manage):
    """A group that goes, with all that is in it, when the module's tests are over."""
    groups = manage(ResourceManagementClient).resource_groups
    name = "sdk-" + secrets.token_hex(3)
    yield groups.create_or_update(name, {"location": "local", "tags": {"team": "blue"}})
    groups.begin_delete(name).result()
    assert not groups.check_existence(name)
