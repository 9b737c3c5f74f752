"""Who may do what with keys: every operation on behalf of every role, each answered as `operations.md` says."""

import itertools
import json
import pathlib
import secrets
import string

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from instance import codes, encoded

FACTS = ["operation", "request", "body", "done", "data action", "permission"]


def table():
    """The rows of `operations.md`, by the heads of its columns."""
    lines = (pathlib.Path(__file__).parent / "operations.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


OPERATIONS = table()
ROLES = [column for column in OPERATIONS[0] if column not in FACTS]


def private_jwk():
    key = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    numbers = {"x": key.public_numbers.x, "y": key.public_numbers.y, "d": key.private_value}
    return {"kty": "EC", "crv": "P-256"} | {name: encoded(number.to_bytes(32, "big")) for name, number in numbers.items()}


class Bench:
    """A vault with keys, and whoever prepares them."""

    def __init__(self, instance, who_decides):
        self.instance, self.token = instance, instance.token(instance.administrator)
        self.vault = f"py-{who_decides}-{secrets.token_hex(3)}"
        roles = str(who_decides == "roles").lower()
        (made,) = instance.run("vault", "create", "--name", self.vault, "--enable-rbac-authorization", roles)
        self.id, self.url = made["id"], made["properties"]["vaultUri"].rstrip("/")
        if who_decides == "roles":
            instance.assign(instance.administrator["appId"], "Key Vault Administrator", self.id)
        else:
            self.allow(instance.administrator["appId"], "all")
        self.names = (f"key-{n}" for n in itertools.count())
        self.fixed = self.prepare()

    def prepare(self):
        rsa, version = self.made({"kty": "RSA", "key_size": 2048})
        text = encoded(b"t" * 32)
        use = lambda verb, alg: self.do("POST", f"/keys/{rsa}/{version}/{verb}", {"alg": alg, "value": text})["value"]
        words = {"RSA": rsa, "EC": self.made()[0], "VERSION": version, "TEXT": text, "JWK": json.dumps(private_jwk())}
        return words | {"CIPHER": use("encrypt", "RSA-OAEP-256"), "SIGNATURE": use("sign", "PS256")}

    def __getitem__(self, word):
        """What a word of the table stands for: what is there, or what is made now."""
        made = {"MADE": lambda: self.made()[0], "DELETED": self.deleted, "NEW": lambda: next(self.names), "BACKUP": self.backup}
        return made[word]() if word in made else self.fixed[word]

    def allow(self, principal, *permissions):
        policy = ["vault", "policy", "set", "--name", self.vault, "--assignee", principal]
        self.instance.run(*policy, "--key-permissions", *permissions)

    def do(self, method, path, body=None):
        answer = self.instance.ask(self.token, method, self.url + path, body)
        assert answer.ok, (method, path, answer.text)
        return answer.json() if answer.content else None

    def made(self, kind=None):
        name = next(self.names)
        made = self.do("POST", f"/keys/{name}/create", kind or {"kty": "EC", "crv": "P-256"})
        return name, made["key"]["kid"].rsplit("/", 1)[1]

    def deleted(self):
        name, _ = self.made()
        self.do("DELETE", f"/keys/{name}")
        return name

    def backup(self):
        name, _ = self.made()
        backup = self.do("POST", f"/keys/{name}/backup")["value"]
        self.do("DELETE", f"/keys/{name}")
        self.do("DELETE", f"/deletedkeys/{name}")
        return backup

    def outcomes(self, token, lacks):
        """What each operation is answered: its status, and of a refusal by the vault's permissions the codes, and whether it says
        what `lacks` says of the row."""
        seen = {}
        for row in OPERATIONS:
            request, body = (string.Template(row[part]).substitute(self) for part in ("request", "body"))
            method, path = request.split(" ")
            answer = self.instance.ask(token, method, self.url + path, json.loads(body) if body else None)
            refused = codes(answer)[2] in ("ForbiddenByRbac", "AccessDenied")
            seen[row["operation"]] = (*codes(answer), lacks(row) in answer.text) if refused else answer.status_code
        return seen


def expected(inner, allowed):
    return {row["operation"]: int(row["done"]) if allowed(row) else (403, "Forbidden", inner, True) for row in OPERATIONS}


@pytest.fixture(scope="module")
def roles(instance):
    return Bench(instance, "roles")


@pytest.fixture(scope="module")
def policies(instance):
    return Bench(instance, "policies")


@pytest.fixture(scope="module")
def nobody(instance):
    application = instance.application("py-nobody-" + secrets.token_hex(3))
    return application | {"token": instance.token(application)}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_its_operations_and_each_other_is_refused_with_the_action_it_lacks(instance, roles, role):
    application = instance.application(f"py-{role}-{secrets.token_hex(3)}")
    if role != "none":
        instance.assign(application["id"], role, roles.id)
    seen = roles.outcomes(instance.token(application), lambda row: f"'Microsoft.KeyVault/vaults/{row['data action']}'")
    assert seen == expected("ForbiddenByRbac", lambda row: row[role] == "yes")


PERMISSIONS = sorted({row["permission"] for row in OPERATIONS})


@pytest.mark.parametrize("permission", [*PERMISSIONS, "all"])
def test_a_permission_of_an_access_policy_allows_its_operations_and_each_other_is_refused_by_name(policies, nobody, permission):
    policies.allow(nobody["id"], permission)
    seen = policies.outcomes(nobody["token"], lambda row: f"does not have keys {row['permission']} permission")
    assert seen == expected("AccessDenied", lambda row: permission in (row["permission"], "all"))


def test_who_has_no_access_policy_may_do_nothing(policies, nobody):
    policies.allow(nobody["id"], "all")
    policies.instance.run("vault", "policy", "remove", "--name", policies.vault, "--assignee", nobody["id"])
    seen = policies.outcomes(nobody["token"], lambda row: f"does not have keys {row['permission']} permission")
    assert seen == expected("AccessDenied", lambda row: False)


def test_what_one_permission_model_grants_counts_for_nothing_under_the_other(policies, nobody):
    policies.instance.assign(nobody["id"], "Key Vault Crypto Officer", policies.id)
    listed = lambda: codes(policies.instance.ask(nobody["token"], "GET", policies.url + "/keys"))
    switch = ["vault", "update", "--name", policies.vault, "--enable-rbac-authorization"]
    assert listed() == (403, "Forbidden", "AccessDenied")
    policies.instance.run(*switch, "true")
    assert listed()[0] == 200
    policies.instance.run(*switch, "false")
    assert listed() == (403, "Forbidden", "AccessDenied")


def test_a_role_through_a_group_counts_as_long_as_the_membership(instance, roles, nobody):
    name = "py-group-" + secrets.token_hex(3)
    (group,) = instance.run("principal", "create", "group", "--display-name", name)
    instance.assign(group["id"], "Key Vault Crypto User", roles.id)
    read = lambda: instance.ask(nobody["token"], "GET", f"{roles.url}/keys/{roles['RSA']}").status_code
    assert read() == 403
    instance.run("group", "member", "add", "--group", name, "--member", nobody["id"])
    assert read() == 200
    instance.run("group", "member", "remove", "--group", name, "--member", nobody["id"])
    assert read() == 403
