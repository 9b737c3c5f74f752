"""Blobs interoperate with Google Tink, in both directions, at every boundary of the format.

The Rust side is `cargo build -p strongroom-seal --example tink_peer`; its path may be given as STRONGROOM_TINK_PEER.
"""

import io
import json
import os
import pathlib
import subprocess

import pytest
from tink import TinkError, json_proto_keyset_format, secret_key_access, streaming_aead

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT = ["3f2504e0-4f89-41d3-9a0c-0305e82c3301", "file", "file-tink", "1"]
LENGTHS = [0, 1, 1048519, 1048520, 1048521, 2097080, 2097081, 5000000]


@pytest.fixture(scope="session")
def program():
    given = os.environ.get("STRONGROOM_TINK_PEER")
    if given:
        return given
    subprocess.run(
        ["cargo", "build", "--quiet", "-p", "strongroom-seal", "--example", "tink_peer"], cwd=ROOT, check=True
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "debug" / "examples" / "tink_peer")


class Peer:
    """One object key, known to both sides."""

    def __init__(self, program):
        self.program = program
        made = json.loads(subprocess.run([program, "new", *CONTEXT], check=True, capture_output=True).stdout)
        self.key = [made["seed"], made["wrapped"]]
        self.associated_data = bytes.fromhex(made["associated_data"])
        streaming_aead.register()
        handle = json_proto_keyset_format.parse(json.dumps(made["keyset"]), secret_key_access.TOKEN)
        self.tink = handle.primitive(streaming_aead.StreamingAead)

    def run(self, verb, data):
        return subprocess.run([self.program, verb, *self.key, *CONTEXT], input=data, capture_output=True)

    def tink_open(self, stored, associated_data=None):
        source = io.BytesIO(stored)
        data = self.associated_data if associated_data is None else associated_data
        with self.tink.new_decrypting_stream(source, data) as stream:
            return stream.read()

    def tink_seal(self, plain):
        target = Unclosed()
        with self.tink.new_encrypting_stream(target, self.associated_data) as stream:
            stream.write(plain)
        return target.getvalue()


class Unclosed(io.BytesIO):
    """Tink closes what it wrote to; the test still wants to read it."""

    def close(self):
        pass


@pytest.fixture(scope="session")
def peer(program):
    return Peer(program)


def plain(length):
    pattern = bytes(at % 251 for at in range(4096 * 251))
    return (pattern * (length // len(pattern) + 1))[:length]


@pytest.mark.parametrize("length", LENGTHS)
def test_tink_opens_what_strongroom_seals(peer, length):
    sealed = peer.run("seal", plain(length))
    assert sealed.returncode == 0, sealed.stderr
    assert peer.tink_open(sealed.stdout) == plain(length)


@pytest.mark.parametrize("length", LENGTHS)
def test_strongroom_opens_what_tink_seals(peer, length):
    opened = peer.run("open", peer.tink_seal(plain(length)))
    assert opened.returncode == 0, opened.stderr
    assert opened.stdout == plain(length)


@pytest.mark.parametrize("length", LENGTHS)
def test_both_store_the_same_number_of_bytes(peer, length):
    assert len(peer.run("seal", plain(length)).stdout) == len(peer.tink_seal(plain(length)))


def test_tink_refuses_another_context(peer):
    sealed = peer.run("seal", plain(1000)).stdout
    with pytest.raises(TinkError):
        peer.tink_open(sealed, peer.associated_data + b"x")


def test_both_refuse_a_lost_end_at_a_segment_boundary(peer):
    cut = peer.run("seal", plain(2097081)).stdout[: 2 * 1048576]
    assert peer.run("open", cut).returncode != 0
    with pytest.raises(TinkError):
        peer.tink_open(cut)
