"""A second reader, written from docs/format.md alone, run over every vector that is about bytes.

It shares no code and no cryptographic library with the first one.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import uuid

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors"
SEGMENT, HEADER, TAG = 1 << 20, 40, 16
FIRST_ROOM, ROOM = SEGMENT - HEADER - TAG, SEGMENT - TAG
MAX_BLOB = 1 << 40


class Refused(Exception):
    """Named as the vectors name it."""


def u32(number):
    return number.to_bytes(4, "big")


def hkdf(salt, ikm, info):
    root = hmac.digest(salt, ikm, "sha256")
    return hmac.digest(root, info + b"\x01", "sha256")


def derive(branch):
    account = uuid.UUID(branch["account"]).bytes
    seed, version = bytes.fromhex(branch["seed"]), u32(branch["version"])
    uses = ["branch-key", "branch-endorse", "branch-check"]
    return [hkdf(account, seed, f"strongroom/{use}/v1".encode() + version) for use in uses]


def encode(label, context):
    kind, name = context["kind"], context["id"]
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789._-"
    if not 1 <= len(kind.encode()) <= 64 or any(letter not in allowed for letter in kind):
        raise Refused("ContextError::Kind")
    if not 1 <= len(name.encode()) <= 255 or any(not 0x21 <= byte <= 0x7E for byte in name.encode()):
        raise Refused("ContextError::Id")
    account = uuid.UUID(context["account"]).bytes
    fields = [f"strongroom/{label}/v1".encode(), account, kind.encode(), name.encode(), u32(context["part"])]
    return b"".join(len(field).to_bytes(2, "big") + field for field in fields)


def gcm_open(key, nonce, sealed, associated_data):
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated_data)
    except InvalidTag:
        raise Refused("OpenError::NotAuthentic") from None


def xaes_open(key, nonce, sealed, associated_data):
    def block(plain):
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(plain)

    last = int.from_bytes(block(bytes(16)), "big")
    subkey = (last << 1) & ((1 << 128) - 1)
    if last >> 127:
        subkey ^= 0x87
    halves = [int.from_bytes(bytes([0, at, 0x58, 0]) + nonce[:12], "big") ^ subkey for at in (1, 2)]
    derived = b"".join(block(half.to_bytes(16, "big")) for half in halves)
    return gcm_open(derived, nonce[12:], sealed, associated_data)


def check_head(stored, magic):
    if len(stored) < 4:
        raise Refused("OpenError::Truncated")
    if stored[:4] != magic:
        raise Refused("OpenError::NotOurs")
    if len(stored) < 5:
        raise Refused("OpenError::Truncated")
    if stored[4] != 1:
        raise Refused("OpenError::FutureVersion" if stored[4] > 1 else "OpenError::NotOurs")


def unwrap(case):
    stored, branch, context = bytes.fromhex(case["wrapped_key"]), case["branch"], case["context"]
    check_head(stored, b"SRwk")
    if len(stored) != 81:
        raise Refused("OpenError::Truncated" if len(stored) < 81 else "OpenError::TrailingBytes")
    if context["account"] != branch["account"]:
        raise Refused("OpenError::WrongAccount")
    if int.from_bytes(stored[5:9], "big") != branch["version"]:
        raise Refused("OpenError::WrongBranch")
    key = xaes_open(derive(branch)[0], stored[9:33], stored[33:], stored[:9] + encode("object-key", context))
    assert key.hex() == case["object_key"]


def open_record(case):
    stored = bytes.fromhex(case["record"])
    check_head(stored, b"SRrc")
    if len(stored) < 45:
        raise Refused("OpenError::Truncated")
    key, associated_data = bytes.fromhex(case["object_key"]), stored[:5] + encode("record", case["context"])
    assert xaes_open(key, stored[5:29], stored[29:], associated_data).hex() == case["plaintext"]


def plain_length(stored):
    segments = -(-stored // SEGMENT)
    if stored < HEADER + TAG or (segments > 1 and stored - (segments - 1) * SEGMENT <= TAG):
        raise Refused("OpenError::Truncated")
    plain = stored - HEADER - TAG * segments
    if plain > MAX_BLOB:
        raise Refused("OpenError::TooLarge")
    return plain


def segment_cipher(key, header, context):
    if header[0] != HEADER:
        raise Refused("OpenError::NotOurs")
    return hkdf(header[1:33], key, encode("blob", context)), header[33:]


def nonce(prefix, index, last):
    return prefix + u32(index) + bytes([last])


def content(length):
    return (bytes(range(251)) * (length // 251 + 1))[:length]


def make(recipe, key, context):
    """The sealed blob of a recipe, with its edits made."""
    header = bytes([HEADER]) + bytes.fromhex(recipe["salt"]) + bytes.fromhex(recipe["nonce_prefix"])
    segment_key, prefix = segment_cipher(key, header, recipe.get("sealed_for", context))
    plain = content(recipe["plaintext_length"])
    parts = [plain[:FIRST_ROOM]] + [plain[at : at + ROOM] for at in range(FIRST_ROOM, len(plain), ROOM)]
    sealed = [
        AESGCM(segment_key).encrypt(nonce(prefix, at, at + 1 == len(parts)), part, None)
        for at, part in enumerate(parts)
    ]
    stored = bytearray(header + b"".join(sealed))
    compare(stored, recipe["sealed"])
    for edit in recipe["then"]:
        ((what, how),) = edit.items()
        stored = EDITS[what](stored, **how)
    return bytes(stored)


def flip(stored, byte, bit):
    stored[byte] ^= 1 << bit
    return stored


def swap(stored, first, second):
    one, two = slice(first * SEGMENT, (first + 1) * SEGMENT), slice(second * SEGMENT, (second + 1) * SEGMENT)
    stored[one], stored[two] = stored[two], stored[one]
    return stored


EDITS = {
    "flip-bit": flip,
    "truncate": lambda stored, length: stored[:length],
    "append": lambda stored, bytes: stored + bytearray.fromhex(bytes),
    "swap-segments": swap,
    "duplicate-segment": lambda stored, segment: stored[: (segment + 1) * SEGMENT] + stored[segment * SEGMENT :],
    "remove-segment": lambda stored, segment: stored[: segment * SEGMENT] + stored[(segment + 1) * SEGMENT :],
}


def compare(found, digest):
    assert (len(found), hashlib.sha256(found).hexdigest()) == (digest["length"], digest["sha256"])


def open_blob(case):
    key, context, blob = bytes.fromhex(case["object_key"]), case["context"], case["blob"]
    stored = bytes.fromhex(blob) if isinstance(blob, str) else make(blob, key, context)
    length = len(stored) if case.get("recorded_length") is None else case["recorded_length"]
    plain = plain_length(length)
    start, end = case.get("start", 0), case.get("end", plain)
    if not start <= end <= plain:
        raise Refused("OpenError::OutOfRange")
    segment_key, prefix = segment_cipher(key, stored[:HEADER], context)
    count, opened = -(-length // SEGMENT), b""
    first = 0 if start < FIRST_ROOM else 1 + (start - FIRST_ROOM) // ROOM
    skipped = 0 if first == 0 else FIRST_ROOM + (first - 1) * ROOM
    for at in range(first, count):
        if skipped + len(opened) >= end and "end" in case:
            break
        low, high = max(at * SEGMENT, HEADER), min((at + 1) * SEGMENT, length)
        if high > len(stored):
            raise Refused("OpenError::Truncated")
        opened += gcm_open(segment_key, nonce(prefix, at, at + 1 == count), stored[low:high], None)
    if len(stored) > length:
        raise Refused("OpenError::TrailingBytes")
    compare(opened[start - skipped : end - skipped], case["plaintext"])


def export(case):
    key = bytes.fromhex(case["object_key"])
    value = bytes.fromhex("1208088080401020" + "1803" + "1a20") + key
    assert case["associated_data"] == encode("blob", case["context"]).hex()
    assert case["keyset"]["key"][0]["keyData"]["value"] == base64.b64encode(value).decode()


def check_value(case):
    if derive(case["branch"])[2].hex() != case["check_value"]:
        raise Refused("OpenError::CheckMismatch")


def endorsement(case):
    branch = case["branch"]
    message = uuid.UUID(branch["account"]).bytes + u32(branch["version"]) + u32(case["next_version"])
    message += bytes.fromhex(case["next_check_value"])
    if hmac.digest(derive(branch)[1], message, "sha256").hex() != case["endorsement"]:
        raise Refused("OpenError::NotEndorsed")


def contexts(case):
    for field, label in [("object_key", "object-key"), ("record", "record"), ("blob", "blob")]:
        assert encode(label, case["context"]).hex() == case[field]


def blob_length(case):
    assert plain_length(case["stored"]) == case["plaintext"]


OPERATIONS = {
    "derive-branch-key": check_value,
    "verify-endorsement": endorsement,
    "unwrap-object-key": unwrap,
    "encode-context": contexts,
    "open-record": open_record,
    "open-blob": open_blob,
    "open-range": open_blob,
    "blob-length": blob_length,
    "export-blob-key": export,
}
# Key ids and tokens are read by the program alone: they are no format of what is stored. Evidence packages have a suite of their own.
FILES = [path for path in sorted(VECTORS.glob("*/*.json")) if path.parent.name not in ("key-id", "token", "evidence")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_second_reader_ends_as_the_vector_says(path):
    vector = json.loads(path.read_text())
    try:
        OPERATIONS[vector["case"]["operation"]](vector["case"])
        outcome = "ok"
    except Refused as reason:
        outcome = str(reason)
    assert outcome == vector["expect"]


def test_there_are_vectors():
    assert len(FILES) > 100
