"""What the suite makes with `az`: accounts, vaults, keys, and the resources that stand with them."""

import json
import secrets

ENCRYPTION_USER = "Key Vault Crypto Service Encryption User"
KINDS = {
    "storage": ("Microsoft.Storage/storageAccounts", "2024-01-01"),
    "search": ("Microsoft.Search/searchServices", "2025-05-01"),
    "cosmos": ("Microsoft.DocumentDB/databaseAccounts", "2024-11-15"),
    "config": ("Microsoft.AppConfiguration/configurationStores", "2024-05-01"),
    "hub": ("Microsoft.MachineLearningServices/workspaces", "2024-10-01"),
    "events": ("Microsoft.EventHub/namespaces", "2024-01-01"),
    "bus": ("Microsoft.ServiceBus/namespaces", "2024-01-01"),
    "kusto": ("Microsoft.Kusto/clusters", "2024-04-13"),
    "images": ("Microsoft.ContainerRegistry/registries", "2023-07-01"),
    "postgres": ("Microsoft.DBforPostgreSQL/flexibleServers", "2024-08-01"),
}


def parts(vault, key):
    return {"keyVaultUri": vault, "keyName": key, "keyVersion": ""}


def standing(vault):
    """Of each kind of resource what it shows when it is under the account's key and closed; and of some, when it names the key and does not use it."""
    key, closed = f"{vault}/keys/cmk", {"publicNetworkAccess": "Disabled"}
    services = {name: {"keyType": "Account"} for name in ("blob", "queue", "table")}
    storage = {"keySource": "Microsoft.Keyvault", "requireInfrastructureEncryption": True, "services": services}
    storage["keyvaultproperties"] = {"keyvaulturi": vault, "keyname": "cmk"}
    listed = {"encryption": {"keySource": "Microsoft.KeyVault", "keyVaultProperties": [parts(vault, "cmk")]}}
    named = {"keyVaultProperties": {"keyIdentifier": key}}
    right = {
        "storage": closed | {"allowSharedKeyAccess": False, "encryption": storage},
        "search": closed | {"disableLocalAuth": True, "encryptionWithCmk": named | {"enforcement": "Enabled"}},
        "cosmos": closed | {"disableLocalAuth": True, "keyVaultKeyUri": key, "backupPolicy": {"type": "Continuous"}},
        "config": {"encryption": named},
        "hub": {"encryption": named | {"status": "Enabled"}},
        "events": listed,
        "bus": listed,
        "kusto": {"keyVaultProperties": parts(vault, "cmk")},
        "images": {"encryption": named | {"status": "enabled"}},
        "postgres": {"dataEncryption": {"type": "AzureKeyVault", "primaryKeyURI": key}},
    }
    wrong = {
        "storage": {},
        "search": {"encryptionWithCmk": named | {"enforcement": "Disabled"}},
        "hub": {"encryption": named | {"status": "Disabled"}},
        "images": {"encryption": named | {"status": "disabled"}},
        "postgres": {"dataEncryption": {"type": "SystemManaged", "primaryKeyURI": key}},
    }
    return right, wrong


class Estate:
    """Names, and what is done to them."""

    def __init__(self, az, instance, tmp):
        self.az, self.instance, self.tmp = az, instance, tmp
        self.end = secrets.token_hex(3)
        self.group = instance.group
        self.of_group = ["--resource-group", instance.group]

    def name(self, what):
        return f"op-{what}-{self.end}"

    def id(self, kind, name):
        return f"{self.instance.group_id}/providers/{kind}/{name}"

    def account_id(self, what):
        return self.id("Microsoft.CognitiveServices/accounts", self.name(what))

    def vault_id(self, what):
        return self.id("Microsoft.KeyVault/vaults", self.name(what))

    def vault_url(self, what):
        return f"https://{self.name(what)}.vault.localhost"

    def put(self, id, version, properties, tags=None):
        body = {"location": "local", "properties": properties} | ({"tags": tags} if tags else {})
        return ["rest", "--method", "put", "--url", f"{id}?api-version={version}", "--body", json.dumps(body)]

    def account(self, what, kind="OpenAI", tags=()):
        words = ["--kind", kind, "--sku", "S0", "--location", "local", "--custom-domain", self.name(what), "--assign-identity", "--yes"]
        tagged = ["--tags", *tags] if tags else []
        return ["cognitiveservices", "account", "create", "--name", self.name(what), *self.of_group, *words, *tagged]

    def encrypt(self, what, vault, key, version=""):
        value = {"keySource": "Microsoft.KeyVault"}
        value["keyVaultProperties"] = parts(self.vault_url(vault), key) | {"keyVersion": version}
        words = ["cognitiveservices", "account", "update", "--name", self.name(what), *self.of_group, "--encryption", json.dumps(value)]
        return self.az(*words)

    def patch(self, what, properties):
        url = f"{self.account_id(what)}?api-version=2025-06-01"
        return ["rest", "--method", "patch", "--url", url, "--body", json.dumps({"properties": properties})]

    def assign(self, principal, role, scope, kind="ServicePrincipal"):
        words = ["--assignee-object-id", principal, "--assignee-principal-type", kind, "--role", role, "--scope", scope]
        return ["role", "assignment", "create", *words]

    def unassign(self, principal, role, scope):
        return ["role", "assignment", "delete", "--assignee", principal, "--role", role, "--scope", scope]

    def logs(self, id, category):
        workspace = self.id("Microsoft.OperationalInsights/workspaces", self.name("logs"))
        what = json.dumps([{"category": category, "enabled": True}])
        return ["monitor", "diagnostic-settings", "create", "--name", "audit", "--resource", id, "--workspace", workspace, "--logs", what]

    def file(self, name, value):
        path = self.tmp / name
        path.write_text(json.dumps(value))
        return str(path)
