"""What no well-behaved client sends, byte by byte at the TLS door: one of each kind, for each plane."""

import contextlib
import json
import os
import socket
import ssl
import urllib.parse

import pytest

from instance import ARM_AUDIENCE


@contextlib.contextmanager
def connection(url):
    """A TLS connection to whom the address names."""
    place = urllib.parse.urlsplit(url)
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    with socket.create_connection(("127.0.0.1", place.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=place.hostname) as stream:
            yield stream, place.netloc


def answer(stream):
    """The status and the body of an answer that ends with its connection."""
    received = b""
    while piece := stream.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


class Plane:
    """A plane, and a token of the administrator for it."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, method, target, body=b"", **more):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "Connection": "close"}
        with connection(self.url) as (stream, host):
            headers = {"Host": host, "Content-Length": str(len(body))} | headers | more
            lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            stream.sendall("\r\n".join(lines).encode())
            # The answer may come before the body is read.
            with contextlib.suppress(OSError):
                stream.sendall(body)
            status, body = answer(stream)
        error = json.loads(body)["error"]
        assert error["message"] if isinstance(error, dict) else error
        return status, error["code"] if isinstance(error, dict) else error


@pytest.fixture(scope="module")
def vault(instance):
    return Plane(instance.vault, instance.token(instance.administrator))


@pytest.fixture(scope="module")
def arm(instance):
    return Plane(os.environ["ARM_ENDPOINT"], instance.token(instance.administrator, ARM_AUDIENCE.rstrip("/")))


V = "?api-version=7.6"
CREATE = "/keys/py-bad/create" + V
BAD = (400, "BadParameter")
AT_THE_VAULT = {
    "no JSON": ("POST", CREATE, b"{", BAD),
    "JSON that nests without end": ("POST", CREATE, b"[" * 10_000, BAD),
    "no UTF-8": ("POST", CREATE, b'{"kty": "\xff"}', BAD),
    "a member twice": ("POST", CREATE, b'{"kty": "EC", "kty": "RSA"}', BAD),
    "a wrong type": ("POST", CREATE, b'{"kty": "RSA", "key_size": "2048"}', BAD),
    "an unknown algorithm": ("POST", "/keys/py-bad//unwrapkey" + V, b'{"alg": "A256KW", "value": "AAAA"}', BAD),
    "a body that is too long": ("POST", CREATE, b'{"kty": "RSA", "x": "' + b"y" * 70_000 + b'"}', BAD),
    "a name with signs": ("GET", "/keys/a_b" + V, b"", BAD),
    "a name that is too long": ("GET", f"/keys/{'n' * 128}{V}", b"", BAD),
    "a way up": ("GET", "/keys/../../etc/passwd" + V, b"", (404, "ResourceNotFound")),
    "a way up in disguise": ("GET", "/keys/..%2f..%2fetc" + V, b"", BAD),
    "a path to nothing": ("GET", "/secrets" + V, b"", (404, "ResourceNotFound")),
    "another method": ("PUT", "/keys/py-bad/0123" + V, b"{}", (405, "HttpMethodNotAllowed")),
    "no api-version": ("GET", "/keys", b"", BAD),
    "an api-version that is none": ("GET", "/keys?api-version=latest", b"", BAD),
    "too many at once": ("GET", f"/keys{V}&maxresults=99", b"", BAD),
}


@pytest.mark.parametrize("what", AT_THE_VAULT)
def test_the_vault_says_what_is_wrong(vault, what):
    method, target, body, expected = AT_THE_VAULT[what]
    assert vault.ask(method, target, body) == expected


def test_members_that_the_vault_does_not_know_change_nothing(instance, vault):
    body = {"kty": "EC", "crv": "P-256", "surprise": {"deep": [1, 2]}}
    made = instance.ask(vault.token, "POST", "/keys/py-unknown-member/create", body)
    assert made.status_code == 200 and "surprise" not in made.text


GROUPS = "/subscriptions/SUBSCRIPTION/resourcegroups"
V = "?api-version=2021-04-01"
AT_RESOURCE_MANAGER = {
    "no JSON": ("PUT", f"{GROUPS}/py-bad{V}", b"{", (400, "InvalidRequestContent")),
    "JSON that nests too deep": ("PUT", f"{GROUPS}/py-bad{V}", b'{"a":' * 100 + b"1" + b"}" * 100, (400, "InvalidRequestContent")),
    "a wrong type": ("PUT", f"{GROUPS}/py-bad{V}", b'{"location": "local", "tags": "none"}', (400, "InvalidTags")),
    "no location": ("PUT", f"{GROUPS}/py-bad{V}", b"{}", (400, "LocationRequired")),
    "a name with signs": ("PUT", f"{GROUPS}/a%3Cb{V}", b'{"location": "local"}', (400, "InvalidRequestUri")),
    "a body that is too long": ("PUT", f"{GROUPS}/py-bad{V}", b'{"x": "' + b"y" * 1_100_000 + b'"}', (413, "RequestContentTooLarge")),
    "no api-version": ("GET", GROUPS, b"", (400, "MissingApiVersionParameter")),
    "an api-version that is none": ("GET", GROUPS + "?api-version=latest", b"", (400, "InvalidApiVersionParameter")),
    "a foreign subscription": (
        "GET",
        f"/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups{V}",
        b"",
        (404, "SubscriptionNotFound"),
    ),
    "a filter that is none": ("GET", f"/subscriptions/SUBSCRIPTION/resources{V}&$filter=name%20eq", b"", (400, "InvalidFilterInQueryString")),
    "a filter that nests too deep": (
        "GET",
        f"/subscriptions/SUBSCRIPTION/resources{V}&$filter={'(' * 500}name%20eq%20%27x%27{')' * 500}",
        b"",
        (400, "InvalidFilterInQueryString"),
    ),
    "a query that is none": (
        "POST",
        "/providers/Microsoft.ResourceGraph/resources?api-version=2022-10-01",
        b'{"query": "Resources | evaluate python()"}',
        (400, "BadRequest"),
    ),
}


@pytest.mark.parametrize("what", AT_RESOURCE_MANAGER)
def test_resource_manager_says_what_is_wrong(instance, arm, what):
    method, target, body, expected = AT_RESOURCE_MANAGER[what]
    assert arm.ask(method, target.replace("SUBSCRIPTION", instance.subscription), body) == expected


def test_a_host_that_is_not_ours_is_answered_by_nobody(vault):
    assert vault.ask("GET", "/keys?api-version=7.6", Host="vault.azure.net")[0] == 421


def test_connections_that_are_left_half_open_keep_nobody_waiting(vault):
    with contextlib.ExitStack() as left:
        for unfinished in [b"", b"GET /keys", b"POST /keys/a/create?api-version=7.6 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"] * 20:
            stream, _ = left.enter_context(connection(vault.url))
            stream.sendall(unfinished)
        assert vault.ask("GET", "/keys/none-such?api-version=7.6") == (404, "KeyNotFound")
