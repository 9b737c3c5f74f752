"""What a vault answers where the caller may, and the vault or its key is not as it should be."""

import secrets

import pytest

from instance import OwnInstance, codes, encoded


class Vault:
    """A vault without purge protection, and its administrator."""

    def __init__(self, instance):
        self.instance, self.token = instance, instance.token(instance.administrator)
        self.name = "py-state-" + secrets.token_hex(3)
        (made,) = instance.run("vault", "create", "--name", self.name, "--retention-days", "7")
        self.id, self.url = made["id"], made["properties"]["vaultUri"].rstrip("/")
        self.give_role()

    def give_role(self):
        self.instance.assign(self.instance.administrator["appId"], "Key Vault Administrator", self.id)

    def command(self, *words, **options):
        self.instance.run("vault", *words, "--name", self.name, *(word for pair in options.items() for word in pair))

    def ask(self, method, path, body=None):
        return codes(self.instance.ask(self.token, method, self.url + path, body))

    def key(self):
        """The name of a new one."""
        name = "key-" + secrets.token_hex(4)
        assert self.ask("POST", f"/keys/{name}/create", {"kty": "RSA"})[0] == 200
        return name

    def use(self, name, verb):
        value = encoded(b"v" * (32 if verb in ("encrypt", "wrapkey", "sign") else 256))
        body = {"alg": "PS256" if verb in ("sign", "verify") else "RSA-OAEP-256", "value": value}
        if verb == "verify":
            body["digest"] = encoded(b"d" * 32)
        return self.ask("POST", f"/keys/{name}//{verb}", body)


@pytest.fixture(scope="module")
def vault(instance):
    return Vault(instance)


USES = ["encrypt", "decrypt", "wrapkey", "unwrapkey", "sign", "verify"]
# A value that this key never made is the answer of a use that is allowed: it was looked at.
DONE = {"encrypt": 200, "wrapkey": 200, "sign": 200, "verify": 200, "decrypt": 400, "unwrapkey": 400}


def test_a_disabled_key_is_used_for_nothing_and_shown(vault):
    name = vault.key()
    assert vault.ask("PATCH", f"/keys/{name}", {"attributes": {"enabled": False}})[0] == 200
    assert {verb: vault.use(name, verb) for verb in USES} == dict.fromkeys(USES, (403, "Forbidden", "KeyDisabled"))
    assert vault.ask("GET", f"/keys/{name}")[0] == 200


@pytest.mark.parametrize(
    ("times", "inner"), [({"exp": 1700000000}, "KeyExpired"), ({"nbf": 4000000000}, "KeyNotYetValid")], ids=["expired", "not yet valid"]
)
def test_a_key_out_of_its_time_protects_nothing_new_and_opens_what_it_protected(vault, times, inner):
    name = vault.key()
    assert vault.ask("PATCH", f"/keys/{name}", {"attributes": times})[0] == 200
    refused = (403, "Forbidden", inner)
    seen = {verb: vault.use(name, verb) for verb in USES}
    assert {verb: seen[verb] for verb in ("encrypt", "wrapkey", "sign")} == dict.fromkeys(("encrypt", "wrapkey", "sign"), refused)
    assert {seen[verb][:2] for verb in ("decrypt", "unwrapkey")} == {(400, "BadParameter")}
    assert seen["verify"][0] == 200


def test_a_use_that_the_key_is_not_for_is_refused(vault):
    name = vault.key()
    assert {verb: vault.use(name, verb)[0] for verb in USES} == DONE
    assert vault.ask("PATCH", f"/keys/{name}", {"key_ops": ["sign"]})[0] == 200
    assert vault.use(name, "unwrapkey") == (403, "Forbidden", None) and vault.use(name, "sign")[0] == 200


def test_a_deleted_key_holds_its_name_and_a_purged_one_is_gone(vault):
    name, not_there = vault.key(), (404, "KeyNotFound", None)
    assert vault.ask("DELETE", f"/keys/{name}")[0] == 200
    assert vault.use(name, "unwrapkey") == vault.ask("GET", f"/keys/{name}") == not_there
    held = (409, "Conflict", "ObjectIsDeletedButRecoverable")
    assert vault.ask("POST", f"/keys/{name}/create", {"kty": "RSA"}) == held
    assert vault.ask("DELETE", f"/deletedkeys/{name}")[0] == 204
    assert vault.ask("GET", f"/deletedkeys/{name}") == vault.ask("POST", f"/deletedkeys/{name}/recover") == not_there
    assert vault.ask("POST", f"/keys/{name}/create", {"kty": "EC", "crv": "P-256"})[0] == 200


def test_a_firewall_shuts_out_and_lets_in_by_address(vault):
    listed = lambda: vault.ask("GET", "/keys")
    vault.command("update", **{"--default-action": "deny"})
    assert listed() == (403, "Forbidden", "ForbiddenByFirewall")
    vault.command("network", "add", **{"--ip-address": "127.0.0.1"})
    assert listed()[0] == 200
    vault.command("update", **{"--public-network-access": "disabled"})
    assert listed() == (403, "Forbidden", "ForbiddenByConnection")
    vault.command("update", **{"--public-network-access": "enabled", "--default-action": "allow"})
    assert listed()[0] == 200


def test_a_token_that_is_none_is_told_nothing_of_the_firewall(instance, vault):
    vault.command("update", **{"--public-network-access": "disabled"})
    answer = instance.ask("not-a-token", "GET", vault.url + "/keys")
    assert codes(answer) == (401, "Unauthorized", None) and "resource=" in answer.headers["WWW-Authenticate"]
    vault.command("update", **{"--public-network-access": "enabled"})


def test_a_deleted_vault_answers_nobody_and_comes_back_without_its_roles(instance):
    vault = Vault(instance)
    name = vault.key()
    vault.command("delete")
    assert vault.ask("GET", f"/keys/{name}") == (404, "VaultNotFound", None)
    vault.command("recover")
    assert vault.ask("GET", f"/keys/{name}") == (403, "Forbidden", "ForbiddenByRbac")
    vault.give_role()
    assert vault.ask("GET", f"/keys/{name}")[0] == 200
    vault.command("delete")
    vault.command("purge")
    assert vault.ask("GET", f"/keys/{name}") == (404, "VaultNotFound", None)
    # What is made under its name is another vault.
    vault.command("create")
    vault.give_role()
    assert vault.ask("GET", f"/keys/{name}") == (404, "KeyNotFound", None)


def test_a_throttled_vault_says_when_to_come_back(tmp_path):
    own = OwnInstance(tmp_path, "--throttling", "2000")
    url = own.start()["STRONGROOM_VAULT_URL"].rstrip("/") + "/keys"
    token = own.token()
    make = lambda: own.ask(token, "POST", f"{url}/py-many/create?api-version=7.6", {"kty": "EC", "crv": "P-256"})
    # Azure's table has room for ten new keys in ten seconds.
    answers = [make() for _ in range(11)]
    assert {answer.status_code for answer in answers[:10]} == {200}
    assert codes(answers[10]) == (429, "Throttled", "VaultRequestTypeLimitReached")
    assert 1 <= int(answers[10].headers["Retry-After"]) <= 10
    assert own.ask(token, "GET", url + "?api-version=7.6").status_code == 200
    own.stop()
