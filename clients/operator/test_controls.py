"""Each state is made by `az`, and `strongroom check` says what follows: what is right passes, what is wrong fails, what is hidden could not be checked."""

import json

import pytest

from estate import ENCRYPTION_USER, KINDS, Estate, standing

POLICY = {"lifetimeActions": [{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Rotate"}}], "attributes": {"expiryTime": "P700D"}}
OPERATIONS = [
    "Microsoft.KeyVault/vaults/delete",
    "Microsoft.KeyVault/locations/deletedVaults/purge/action",
    "Microsoft.Authorization/roleAssignments/delete",
    "Microsoft.Authorization/locks/delete",
    "Microsoft.Insights/diagnosticSettings/delete",
]
# What each kind of resource is asked.
DEPENDENT = {
    "storage": ["D01", "D02", "D04", "D18", "D19"],
    "search": ["D06", "D18", "D19"],
    "cosmos": ["D07", "D18", "D19", "D20"],
    "config": ["D10"],
    "hub": ["D11"],
    "events": ["D12"],
    "bus": ["D13"],
    "kusto": ["D14"],
    "images": ["D15"],
    "postgres": ["D17"],
}
DESIGN = """version: 1
accounts:
  - id: {account}
    key:
      uri: {key}
      version: latest
    identity: system
exceptions:
  - control: A06
    approver: carol@contoso.example
    until: 2099-12-31
    reason: no private endpoints on this machine
"""


@pytest.fixture(scope="module")
def estate(az, instance, tmp_path_factory):
    """One account, vault and key as they should be (`good`), one each as they come (`bad`)."""
    made = Estate(az, instance, tmp_path_factory.mktemp("estate"))
    vault = ["keyvault", "create", *made.of_group, "--location", "local", "--enable-purge-protection", "true", "--retention-days", "7"]
    firewall = ["--default-action", "Deny", "--bypass", "AzureServices", "--network-acls-ips", "127.0.0.1/32"]
    good, bad, me = az.together(
        made.account("good", tags=["Owner=ai-team"]),
        made.account("bad", kind="AIServices"),
        ["ad", "sp", "show", "--id", instance.administrator["appId"]],
    )
    made.good, made.bad, made.me = good["identity"]["principalId"], bad["identity"]["principalId"], me["id"]
    az.together(
        [*vault, "--name", made.name("good"), "--enable-rbac-authorization", "true", *firewall, "--tags", "owner=key-team"],
        [*vault, "--name", made.name("bad"), "--enable-rbac-authorization", "false"],
    )
    # What happens from here on is in the vault's log.
    az.together(
        made.logs(made.vault_id("good"), "AuditEvent"),
        made.assign(made.me, "Key Vault Crypto Officer", made.vault_id("good")),
        ["keyvault", "set-policy", "--name", made.name("bad"), "--object-id", made.bad, "--key-permissions", "all"],
    )
    key = ["keyvault", "key", "create", "--size", "2048", "--ops", "wrapKey", "unwrapKey", "--name", "cmk"]
    az.together(
        [*key, "--vault-name", made.name("good"), "--expires", "2027-11-01T00:00:00Z", "--tags", "owner=key-team"],
        [*key, "--vault-name", made.name("bad")],
        made.assign(made.good, ENCRYPTION_USER, made.vault_id("good") + "/keys/cmk"),
    )
    policy = made.file("policy.json", POLICY)
    az.together(
        ["keyvault", "key", "rotation-policy", "update", "--vault-name", made.name("good"), "--name", "cmk", "--value", policy],
        ["lock", "create", "--name", "keep", "--lock-type", "CanNotDelete", "--resource", made.vault_id("good")],
        made.logs(made.account_id("good"), "Audit"),
    )
    made.encrypt("good", "good", "cmk")
    made.encrypt("bad", "bad", "cmk")
    az(*made.patch("good", {"disableLocalAuth": True, "publicNetworkAccess": "Disabled", "restrictOutboundNetworkAccess": True}))
    return made


def test_what_is_as_it_should_be_passes(estate, until):
    judged = until(estate.account_id("good"), "N08", "pass")
    of_account = ["N01", "N02", "N03", "N04", "N05", "N06", "N07", "N08", "N11", "N16", "A01", "A02", "A03", "A04", "A05", "A07", "A08", "A12"]
    of_vault = ["N17", "N20", "B01", "B02", "B03", "B04", "B08"]
    of_key = ["C01", "C02", "C03", "C04", "C05", "C07", "C08"]
    key = f"{estate.vault_url('good')}/keys/cmk"
    for resource, controls in ((estate.account_id("good"), of_account), (estate.vault_id("good"), of_vault), (key, of_key)):
        assert judged.answers(resource, *controls) == dict.fromkeys(controls, "pass")
    # One version has none to be disabled too early; and two rules disagree on a firewall with trusted services let through.
    assert judged.answers(key, "N09", "C09") == dict.fromkeys(["N09", "C09"], "not-applicable")
    assert judged.answers(estate.vault_id("good"), "B05", "B10") == {"B05": "conflict", "B10": "not-applicable"}
    (chain,) = [chain for chain in judged.chains if chain["account"] == estate.account_id("good").lower()]
    assert [hop["hop"] for hop in chain["hops"]] == ["account", "key", "version", "identity", "grant", "vault", "network", "use"]
    assert {hop["answer"] for hop in chain["hops"]} == {"pass"}


def test_what_is_as_it_comes_fails(estate, check):
    judged = check()
    of_account = ["N03", "N19", "A04", "A05", "A06", "A07", "A08", "A12"]
    of_vault = ["N17", "N20", "B03", "B04", "B05", "B06", "B07", "B08", "B10"]
    of_key = ["C01", "C05", "C06"]
    key = f"{estate.vault_url('bad')}/keys/cmk"
    for resource, controls in ((estate.account_id("bad"), of_account), (estate.vault_id("bad"), of_vault), (key, of_key)):
        assert judged.answers(resource, *controls) == dict.fromkeys(controls, "fail")
    # The vault's log goes nowhere: that it is not used cannot be told, and is no failure.
    assert judged.answers(estate.account_id("bad"), "N08", "N01", "N02") == {"N08": "could-not-check", "N01": "pass", "N02": "pass"}
    remedy = judged.of(estate.vault_id("bad"))["N20"]["remedy"]
    assert estate.vault_id("bad").lower() in remedy.lower() and "<" not in remedy


def test_one_change_makes_one_control_fail_and_its_undoing_makes_it_pass(az, estate, check):
    """The lock first, which would hold the rest; then the hops of the chain, one after another."""
    az.text("lock", "delete", "--name", "keep", "--ids", f"{estate.vault_id('good')}/providers/Microsoft.Authorization/locks/keep")
    assert check().answers(estate.vault_id("good"), "N20") == {"N20": "fail"}
    key, of_key = ["--vault-name", estate.name("good"), "--name", "cmk"], estate.vault_id("good") + "/keys/cmk"
    role = (estate.good, ENCRYPTION_USER, of_key)
    vault = ["keyvault", "update", "--name", estate.name("good")]
    steps = [
        ("N02", "grant", estate.unassign(*role), estate.assign(*role)),
        ("N05", "network", [*vault, "--bypass", "None"], [*vault, "--bypass", "AzureServices"]),
        ("N03", None, estate.assign(estate.good, "Key Vault Crypto User", of_key), estate.unassign(estate.good, "Key Vault Crypto User", of_key)),
        ("N01", "version", ["keyvault", "key", "set-attributes", *key, "--enabled", "false"], ["keyvault", "key", "set-attributes", *key, "--enabled", "true"]),
    ]
    for control, hop, change, undo in steps:
        az.text(*change)
        judged = check()
        assert judged.answers(estate.account_id("good"), control) == {control: "fail"}
        (chain,) = [chain for chain in judged.chains if chain["account"] == estate.account_id("good").lower()]
        if hop:
            assert (chain["hops"][-1]["hop"], chain["hops"][-1]["answer"]) == (hop, "fail")
        az.text(*undo)
        assert check().answers(estate.account_id("good"), control) == {control: "pass"}


def test_what_stands_with_an_account_is_judged_by_its_kind(az, estate, check):
    """What is under the account's own key, what it brings as its storage, and where its vault's log goes."""
    right, wrong = standing(estate.vault_url("good"))
    ids = {name: estate.id(KINDS[name][0], f"op{name}{estate.end}") for name in right}
    workspace, cluster = (estate.id(f"Microsoft.OperationalInsights/{kind}", estate.name(name)) for kind, name in (("workspaces", "logs"), ("clusters", "cluster")))
    logs = {"forceCmkForQuery": True, "retentionInDays": 365, "features": {"clusterResourceId": cluster}}
    az.together(
        *(estate.put(ids[name], KINDS[name][1], right[name], {"owner": "data"}) for name in right),
        estate.put(workspace, "2023-09-01", logs),
        estate.put(cluster, "2023-09-01", {"keyVaultProperties": {"keyVaultUri": estate.vault_url("good"), "keyName": "logs"}}),
        estate.patch("good", {"userOwnedStorage": [{"resourceId": ids["storage"]}]}),
    )
    judged = check()
    for name, controls in DEPENDENT.items():
        assert judged.answers(ids[name], *controls) == dict.fromkeys(controls, "pass")
    assert judged.answers(workspace, "D09") | judged.answers(cluster, "D08") == {"D08": "pass", "D09": "pass"}
    assert judged.answers(estate.account_id("good"), "N12") == {"N12": "pass"}
    # Whoever owns this machine holds both ends; everything has an owner.
    both_ends = judged.of(estate.account_id("good"))["N19"]
    assert "can both run the account and purge the key" in both_ends["reason"] and "no owner" not in both_ends["reason"]
    az.together(
        *(estate.put(ids[name], KINDS[name][1], wrong[name]) for name in wrong),
        estate.put(workspace, "2023-09-01", logs | {"forceCmkForQuery": False, "retentionInDays": 7}),
        estate.put(cluster, "2023-09-01", {}),
    )
    judged = check()
    for name in wrong:
        assert judged.answers(ids[name], *DEPENDENT[name]) == dict.fromkeys(DEPENDENT[name], "fail")
    assert judged.answers(workspace, "D09") | judged.answers(cluster, "D08") == {"D08": "fail", "D09": "fail"}
    assert judged.answers(estate.account_id("good"), "N12") == {"N12": "fail"}
    assert "no owner" in judged.of(estate.account_id("good"))["N19"]["reason"]
    assert "7 days" in judged.of(estate.vault_id("good"))["N17"]["reason"]


def test_alert_rules_plans_and_links_are_seen_when_they_are_there(az, estate, instance, check):
    subscription = f"/subscriptions/{instance.subscription}"
    before = check()
    assert [row["answer"] for row in before.findings if row["control"] == "N18"] == ["fail"]
    assert before.answers(estate.vault_id("good"), "B06", "B09") == {"B06": "fail", "B09": "fail"}
    group = estate.id("Microsoft.Insights/actionGroups", estate.name("oncall"))
    either = [{"field": "operationName", "equals": operation} for operation in OPERATIONS]
    rule = {"enabled": True, "scopes": [subscription], "condition": {"allOf": [{"anyOf": either}]}, "actions": {"actionGroups": [{"actionGroupId": group}]}}
    query = {"enabled": True, "criteria": {"allOf": [{"query": "AzureDiagnostics | where OperationName in ('KeyUpdate', 'KeyDelete')"}]}, "actions": {"actionGroups": [group]}}
    plan = {"pricingTier": "Standard"}
    az.together(
        estate.put(group, "2023-01-01", {"enabled": True, "emailReceivers": [{"name": "oncall", "emailAddress": "oncall@contoso.example"}]}),
        estate.put(estate.id("Microsoft.Insights/activityLogAlerts", estate.name("vault")), "2020-10-01", rule),
        estate.put(estate.id("Microsoft.Insights/scheduledQueryRules", estate.name("keys")), "2023-03-15-preview", query),
        estate.put(f"{subscription}/providers/Microsoft.Security/pricings/KeyVaults", "2024-01-01", plan),
        estate.put(f"{subscription}/providers/Microsoft.Security/pricings/AI", "2024-01-01", plan),
    )
    judged = check()
    rows = [row for row in judged.findings if row["control"] == "N18"]
    assert [row["answer"] for row in rows] == ["pass"], rows
    assert judged.answers(estate.vault_id("good"), "B09") | judged.answers(estate.account_id("good"), "A10") == {"B09": "pass", "A10": "pass"}


def test_what_a_caller_may_not_read_could_not_be_checked_and_is_no_failure(az, estate, instance, check):
    """A reader of accounts alone: every question about vaults, keys, roles, locks and logs stays open."""
    reader = instance.application(estate.name("reader"))
    definition = {
        "Name": estate.name("reader"),
        "Actions": ["Microsoft.CognitiveServices/accounts/read"],
        "AssignableScopes": [instance.group_id],
    }
    az("role", "definition", "create", "--role-definition", json.dumps(definition))
    az(*estate.assign(reader["id"], estate.name("reader"), instance.group_id))
    variables = az.variables | {"AZURE_CLIENT_ID": reader["appId"], "AZURE_CLIENT_SECRET": reader["password"]}
    variables.pop("STRONGROOM_DATA", None)
    judged = check(variables)
    account = estate.account_id("good")
    hidden = ["N01", "N02", "N03", "N04", "N05", "N06", "N08", "N11", "N15", "N16", "N19", "A07", "A10"]
    assert judged.answers(account, *hidden) == dict.fromkeys(hidden, "could-not-check")
    for control in hidden:
        assert judged.of(account)[control]["call"], control
    # What the account itself shows is judged all the same.
    assert judged.answers(account, "N07", "A01", "A04") == dict.fromkeys(["N07", "A01", "A04"], "pass")
    vault = ["N17", "N20", "B01", "B02", "B03", "B04", "B05", "B06", "B08", "B09"]
    assert judged.answers(f"https://{estate.name('good')}.vault.localhost", *vault) == dict.fromkeys(vault, "could-not-check")
    assert "could-not-check" in {row["answer"] for row in judged.findings if row["control"] == "N22"}


def test_a_rotation_is_followed_and_an_old_version_that_is_still_used_is_told(az, estate, check, until):
    key = ["--vault-name", estate.name("good"), "--name", "cmk"]
    old = az("keyvault", "key", "show", *key)["key"]["kid"].rsplit("/", 1)[-1]
    az("keyvault", "key", "rotate", *key)
    judged = check()
    resource = f"{estate.vault_url('good')}/keys/cmk"
    assert judged.answers(resource, "N09") == {"N09": "fail"} and old in judged.of(resource)["N09"]["reason"]
    estate.encrypt("good", "good", "cmk", old)
    judged = check()
    assert judged.answers(estate.account_id("good"), "N07") == {"N07": "fail"}
    estate.encrypt("good", "good", "cmk")
    assert check().answers(estate.account_id("good"), "N07") == {"N07": "pass"}


def test_a_key_and_then_a_vault_that_are_deleted_are_told_with_the_day_of_their_end(az, estate, check):
    bad = estate.account_id("bad")
    az.text("keyvault", "key", "delete", "--vault-name", estate.name("bad"), "--name", "cmk")
    judged = check()
    assert judged.answers(bad, "N01", "N16") == {"N01": "fail", "N16": "fail"}
    assert "recovered until" in judged.of(bad)["N01"]["reason"]
    az.text("keyvault", "key", "recover", "--vault-name", estate.name("bad"), "--name", "cmk")
    assert check().answers(bad, "N01", "N16") == {"N01": "pass", "N16": "pass"}
    az.text("keyvault", "delete", "--name", estate.name("bad"))
    judged = check()
    assert judged.answers(bad, "N01", "N16") == {"N01": "fail", "N16": "fail"}
    az.text("keyvault", "recover", "--name", estate.name("bad"))


def test_an_account_that_is_taken_back_to_the_services_key_is_told_by_the_design(az, estate, check):
    """The activity log here does not show what a write asked for: whether it was so for a time is not told, and no pass."""
    design = estate.tmp / "strongroom.yaml"
    design.write_text(DESIGN.format(account=estate.account_id("good"), key=f"{estate.vault_url('good')}/keys/cmk"))
    approved = ["--design", str(design)]
    assert check(None, *approved).answers(estate.account_id("good"), "N14", "N15", "N13", "A06") == {
        "N14": "not-applicable", "N15": "could-not-check", "N13": "nothing", "A06": "excepted"
    }
    words = ["cognitiveservices", "account", "update", "--name", estate.name("good"), *estate.of_group]
    az(*words, "--encryption", json.dumps({"keySource": "Microsoft.CognitiveServices"}))
    judged = check(None, *approved)
    assert judged.answers(estate.account_id("good"), "A01", "N15", "N01") == {"A01": "fail", "N15": "fail", "N01": "not-applicable"}
    estate.encrypt("good", "good", "cmk")
    assert check(None, *approved).answers(estate.account_id("good"), "A01", "N15") == {"A01": "pass", "N15": "could-not-check"}
