"""Tokens that must not count, shown to each plane of an instance that also trusts another tenant.

The other tenant is ours to sign for, so that each token has one defect and no other.
"""

import datetime
import functools
import http.server
import json
import ssl
import threading
import time
import uuid

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from instance import OwnInstance

PLANES = {
    "vault": "https://vault.azure.net",
    "management": "https://management.azure.com",
    "service": "https://cognitiveservices.azure.com",
}
GUEST, APPLICATION = str(uuid.uuid4()), str(uuid.uuid4())
WITHOUT_RIGHTS, REFUSED = dict.fromkeys(PLANES, 403), dict.fromkeys(PLANES, 401)


def new_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key):
    return jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)


class Tenant:
    """A tenant that publishes its keys on loopback, behind TLS of its own."""

    def __init__(self, folder):
        self.id, self.key = str(uuid.uuid4()), new_key()
        self.issuer = f"https://sts.windows.net/{self.id}/"
        self.keys = {"keys": [self.jwk(self.key, "1")]}
        self.roots = folder / "roots.pem"
        tenant = self

        class Keys(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps(tenant.keys).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        self.host = f"localhost:{self.server.server_port}"
        self.server.socket = self.context().wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def jwk(key, kid):
        return public_jwk(key) | {"kid": kid, "use": "sig"}

    def context(self):
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.timezone.utc)
        day = datetime.timedelta(days=1)
        made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        self.roots.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        own = self.roots.with_name("own.pem")
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        own.write_bytes(key.private_bytes(*form) + self.roots.read_bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        return context

    def claims(self, plane, **changes):
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": PLANES[plane], "tid": self.id, "oid": GUEST, "sub": GUEST, "appid": APPLICATION}
        usual |= {"iat": now, "nbf": now, "exp": now + 3600, "ver": "1.0"} | changes
        return {name: value for name, value in usual.items() if value is not None}

    def token(self, plane, key=None, kid="1", **changes):
        return jwt.encode(self.claims(plane, **changes), key or self.key, "RS256", {"kid": kid})


class Planes:
    """An instance of its own that trusts the tenant, and one address at each of its planes."""

    def __init__(self, folder, tenant):
        trust = ["--entra-tenant", tenant.id, "--entra-jwks-url", f"https://{tenant.host}/keys"]
        trust += [word for audience in PLANES.values() for word in ("--entra-audience", audience)]
        self.own = OwnInstance(folder, *trust, "--key-host", tenant.host, "--key-roots", str(tenant.roots))
        self.start()

    def start(self):
        known = self.own.start()
        management = known["ARM_ENDPOINT"].rstrip("/")
        self.urls = {
            "vault": f"{known['STRONGROOM_VAULT_URL'].rstrip('/')}/keys?api-version=7.6",
            "management": f"{management}/subscriptions/{known['AZURE_SUBSCRIPTION_ID']}/resourcegroups/none?api-version=2021-04-01",
            "service": f"{management}/openai-accounts/{known['STRONGROOM_ACCOUNT']}/openai/v1/models",
        }

    def meets(self, make):
        """What each plane answers to the token that is made for it."""
        return {plane: self.own.ask(make(plane), "GET", url).status_code for plane, url in self.urls.items()}


@pytest.fixture(scope="module")
def tenant(tmp_path_factory):
    tenant = Tenant(tmp_path_factory.mktemp("tenant"))
    yield tenant
    tenant.server.shutdown()


@pytest.fixture(scope="module")
def system(tenant, tmp_path_factory):
    system = Planes(tmp_path_factory.mktemp("system"), tenant)
    known = ["--tenant", tenant.id, "--object-id", GUEST, "--client-id", APPLICATION]
    system.own.run("principal", "guest", "--display-name", "guest", *known)
    yield system
    system.own.stop()


def test_a_good_token_is_known_everywhere_and_has_no_right_by_that(system, tenant):
    assert system.meets(tenant.token) == WITHOUT_RIGHTS


@pytest.mark.parametrize(
    "defect",
    [
        {"exp": 1700000000},
        {"nbf": 4000000000},
        {"aud": "https://storage.azure.com"},
        {"aud": list(PLANES.values())},
        {"iss": "https://sts.windows.net/other/"},
        {"tid": str(uuid.uuid4())},
        {"oid": None},
    ],
    ids=lambda defect: next(iter(defect.items())).__repr__(),
)
def test_a_token_with_one_wrong_claim_counts_nowhere(system, tenant, defect):
    assert system.meets(functools.partial(tenant.token, **defect)) == REFUSED


def test_a_token_for_one_plane_counts_at_no_other(system, tenant):
    others = dict(zip(PLANES, [*list(PLANES)[1:], "vault"]))
    assert system.meets(lambda plane: tenant.token(others[plane])) == REFUSED


def test_a_key_that_nobody_published_signs_nothing(system, tenant):
    assert system.meets(functools.partial(tenant.token, key=new_key())) == REFUSED


def test_a_token_without_a_signature_counts_nowhere(system, tenant):
    assert system.meets(lambda plane: jwt.encode(tenant.claims(plane), None, "none", {"kid": "1"})) == REFUSED
    assert system.meets(lambda plane: tenant.token(plane).rsplit(".", 1)[0] + ".") == REFUSED


@pytest.mark.parametrize("form", ["pem", "jwk", "modulus"])
def test_the_public_key_is_no_secret_to_sign_with(system, tenant, form):
    public, kind = tenant.key.public_key(), serialization.PublicFormat.SubjectPublicKeyInfo
    secret = {
        "pem": public.public_bytes(serialization.Encoding.PEM, kind),
        "jwk": json.dumps(tenant.keys["keys"][0]).encode(),
        "modulus": public.public_numbers().n.to_bytes(256, "big"),
    }[form]
    # PyJWT itself refuses to sign with a public key; the parts are put together by hand.
    sign = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)

    def confused(plane):
        head, claims = jwt.encode(tenant.claims(plane), "x" * 32, "HS256", {"kid": "1"}).split(".")[:2]
        return f"{head}.{claims}." + jwt.utils.base64url_encode(sign.sign(f"{head}.{claims}".encode(), secret)).decode()

    assert system.meets(confused) == REFUSED


def test_a_key_that_the_token_brings_along_or_points_to_is_not_used(system, tenant):
    stranger = new_key()
    for header in [{"jwk": public_jwk(stranger)}, {"jku": "https://localhost:1/keys"}, {"x5u": "https://localhost:1/chain"}]:
        brought = lambda plane, header=header: jwt.encode(tenant.claims(plane), stranger, "RS256", {"kid": "1", **header})
        assert system.meets(brought) == REFUSED


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "x" * 20_000])
def test_what_is_no_token_counts_nowhere(system, text):
    statuses = system.meets(lambda _: text)
    # A head that is too long is refused before anybody reads the token.
    assert set(statuses.values()) <= {401, 431}, statuses


def test_a_published_key_that_is_replaced_takes_its_tokens_with_it(system, tenant):
    old, new = tenant.key, new_key()
    new_token = functools.partial(tenant.token, key=new, kid="2")
    tenant.keys = {"keys": [tenant.jwk(new, "2")]}
    # Unknown names are no way to have keys fetched again and again.
    assert system.meets(new_token) == REFUSED and system.meets(tenant.token) == WITHOUT_RIGHTS
    system.own.stop()
    system.start()
    assert system.meets(new_token) == WITHOUT_RIGHTS
    assert system.meets(functools.partial(tenant.token, key=old)) == REFUSED
    # The old name with the new key is another key.
    assert system.meets(functools.partial(tenant.token, key=new, kid="1")) == REFUSED
