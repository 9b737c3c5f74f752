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
    """Keys in a vault, and whoever prepares them."""

    def __init__(self, instance):
        self.instance, self.token = instance, instance.token(instance.administrator)
        self.names = (f"py-may-{secrets.token_hex(4)}-{n}" for n in itertools.count())
        self.rsa, version = self.made({"kty": "RSA", "key_size": 2048})
        self.ec, _ = self.made()
        text = encoded(b"t" * 32)
        use = lambda verb, alg: self.do("POST", f"/keys/{self.rsa}/{version}/{verb}", {"alg": alg, "value": text})["value"]
        self.values = {
            "RSA": self.rsa,
            "EC": self.ec,
            "VERSION": version,
            "TEXT": text,
            "CIPHER": use("encrypt", "RSA-OAEP-256"),
            "SIGNATURE": use("sign", "PS256"),
            "BACKUP": self.do("POST", f"/keys/{self.ec}/backup")["value"],
            "JWK": json.dumps(private_jwk()),
        }

    def __getitem__(self, word):
        """What a word of the table stands for: what is there, or what is made now."""
        made = {"MADE": lambda: self.made()[0], "DELETED": self.deleted, "NEW": lambda: next(self.names)}
        return made[word]() if word in made else self.values[word]

    def do(self, method, path, body=None):
        answer = self.instance.ask(self.token, method, path, body)
        assert answer.ok, (method, path, answer.text)
        return answer.json()

    def made(self, kind=None):
        name = next(self.names)
        made = self.do("POST", f"/keys/{name}/create", kind or {"kty": "EC", "crv": "P-256"})
        return name, made["key"]["kid"].rsplit("/", 1)[1]

    def deleted(self):
        name, _ = self.made()
        self.do("DELETE", f"/keys/{name}")
        return name

    def ask(self, token, row):
        """One operation; gives the codes of the answer and what it says."""
        request, body = (string.Template(row[part]).substitute(self) for part in ("request", "body"))
        answer = self.instance.ask(token, *request.split(" "), json.loads(body) if body else None)
        return codes(answer), answer.text


@pytest.fixture(scope="module")
def bench(instance):
    return Bench(instance)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_its_operations_and_each_other_is_refused_with_the_action_it_lacks(instance, bench, role):
    application = instance.application(f"py-{role}-{secrets.token_hex(3)}")
    if role != "none":
        instance.assign(application["id"], role, instance.vault_id)
    token = instance.token(application)
    seen, expected = {}, {}
    for row in OPERATIONS:
        (status, code, inner), text = bench.ask(token, row)
        lacks = f"Microsoft.KeyVault/vaults/{row['data action']}" in text
        seen[row["operation"]] = (status, code, inner, lacks)[: None if inner == "ForbiddenByRbac" else 1]
        refusal = (403, "Forbidden", "ForbiddenByRbac", True)
        expected[row["operation"]] = (int(row["done"]),) if row[role] == "yes" else refusal
    assert seen == expected
