"""Logging in with `az`, from nothing but the environment file."""

import os

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AzureCliCredential, CredentialUnavailableError
from azure.keyvault.keys import KeyClient

from azure_cli import Az, bare_variables
from instance import OwnInstance, VAULT_AUDIENCE


@pytest.fixture
def newcomer(tmp_path):
    """`az` as it is after its installation."""
    return Az(bare_variables() | {"AZURE_CONFIG_DIR": str(tmp_path / "azure")})


def test_a_cloud_is_registered_by_its_address_and_a_service_principal_logs_in(newcomer, instance):
    newcomer.text("cloud", "register", "-n", "Strongroom", "--endpoint-resource-manager", os.environ["ARM_ENDPOINT"])
    newcomer.text("cloud", "set", "-n", "Strongroom")
    newcomer.text("config", "set", "core.instance_discovery=false", "core.collect_telemetry=false")
    login = ["login", "--service-principal", "--tenant", instance.tenant, "--username", instance.administrator["appId"], "--password"]
    assert "AADSTS7000215" in newcomer.refused(*login, "not-the-secret")
    (known,) = newcomer(*login, instance.administrator["password"])
    assert (known["id"], known["tenantId"], known["state"]) == (instance.subscription, instance.tenant, "Enabled")
    assert known["user"] == {"name": instance.administrator["appId"], "type": "servicePrincipal"}
    shown = newcomer("keyvault", "key", "show", "--vault-name", instance.vault_name, "--name", os.environ["STRONGROOM_KEY"])
    assert shown["key"]["kty"] == "RSA"
    newcomer.text("logout")
    assert "az login" in newcomer.refused("account", "show")


def test_what_the_shell_registered_is_the_cloud_that_is_there(az, instance):
    cloud, account, tokens = az.together(
        ["cloud", "show"], ["account", "show"], ["account", "get-access-token", "--resource", VAULT_AUDIENCE]
    )
    assert cloud["name"] == "Strongroom" and cloud["suffixes"]["keyvaultDns"] == ".vault.localhost"
    assert cloud["endpoints"]["resourceManager"].rstrip("/") == os.environ["ARM_ENDPOINT"].rstrip("/")
    assert (account["id"], account["isDefault"]) == (instance.subscription, True)
    assert instance.ask(tokens["accessToken"], "GET", "/keys").status_code == 200


def test_the_environment_is_all_that_az_needs_also_after_a_start_on_other_ports(tmp_path):
    own = OwnInstance(tmp_path)
    for _ in range(2):
        known = own.start()
        own.run("env", env=bare_variables())
        newcomer = Az(bare_variables() | known)
        shown = newcomer("keyvault", "key", "show", "--vault-name", known["STRONGROOM_VAULT"], "--name", known["STRONGROOM_KEY"])
        assert shown["key"]["kty"] == "RSA"
        assert newcomer("account", "show")["id"] == known["AZURE_SUBSCRIPTION_ID"]
        own.stop()


def test_azure_identity_takes_the_login_of_az_and_says_where_there_is_none(az, newcomer, instance, monkeypatch):
    for name, value in az.variables.items():
        monkeypatch.setenv(name, value)
    with KeyClient(instance.vault, AzureCliCredential(process_timeout=60)) as client:
        assert client.get_key(os.environ["STRONGROOM_KEY"]).key_type == "RSA"
    monkeypatch.setenv("AZURE_CONFIG_DIR", newcomer.variables["AZURE_CONFIG_DIR"])
    with pytest.raises((CredentialUnavailableError, ClientAuthenticationError)) as missing:
        AzureCliCredential(process_timeout=60).get_token(f"{VAULT_AUDIENCE}/.default")
    assert "az login" in str(missing.value)
