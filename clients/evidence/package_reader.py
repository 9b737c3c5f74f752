"""A second verifier of evidence packages, written from docs/evidence.md alone.

It shares no code and no cryptographic library with the first one.
"""

import base64
import binascii
import hashlib
import io
import json
import pathlib
import re
import struct
import zlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TABLE = {
    "README.md", "summary.html", "findings.csv", "findings.json", "graph.json", "completeness.json", "run.json",
    "oscal/assessment-results.json",
}
OUTSIDE = {"manifest.json", "statement.dsse.json", "completeness.dsse.json", "checkpoint.txt", "log.txt"}
RUN, COMPLETENESS = "urn:strongroom:evidence:run:1", "urn:strongroom:evidence:completeness:1"
PAYLOAD = "application/vnd.in-toto+json"


class Changed(Exception):
    """It is not what was signed."""


def demand(holds, what):
    if not holds:
        raise Changed(what)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def b64(text):
    """The bytes, if this is the one way to write them."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Changed("not base64") from None
    demand(base64.b64encode(data).decode() == text, "another way to write base64")
    return data


def load(data):
    def unique(pairs):
        demand(len({name for name, _ in pairs}) == len(pairs), "a member twice")
        return dict(pairs)

    try:
        return json.loads(data, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise Changed("not JSON") from None


class Key:
    def __init__(self, text):
        self.name, self.id, key = text.split("+", 2)
        key = base64.b64decode(key)
        assert key[0] == 1 and hashlib.sha256(self.name.encode() + b"\n" + key).hexdigest()[:8] == self.id
        self.public = Ed25519PublicKey.from_public_bytes(key[1:])

    def verify(self, signature, message):
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            raise Changed("no such signature") from None


def zip_files(data):
    """The files of a zip, which must be what a writer makes of them."""
    demand(len(data) >= 22, "too short")
    count, size, start = struct.unpack("<HII", data[-12:-2])
    files, at = [], start
    for _ in range(count):
        demand(at + 46 <= len(data), "the directory is cut off")
        crc, _, length, name, = struct.unpack("<IIIH", data[at + 16 : at + 30])
        offset = struct.unpack("<I", data[at + 42 : at + 46])[0]
        path = data[at + 46 : at + 46 + name]
        content = data[offset + 30 + name : offset + 30 + name + length]
        demand(zlib.crc32(content) == crc, "a checksum")
        demand(path.startswith(b"evidence/"), "outside of the folder")
        files.append((path[9:].decode("utf-8", "replace"), content))
        at += 46 + name
    demand(make_zip(files) == data, "something between the files")
    demand([path for path, _ in files] == sorted({path for path, _ in files}), "order")
    return dict(files)


def make_zip(files):
    out, directory = io.BytesIO(), io.BytesIO()
    common = bytes([10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0])
    for path, content in files:
        name, here = b"evidence/" + path.encode(), out.tell()
        sizes = struct.pack("<IIIHH", zlib.crc32(content), len(content), len(content), len(name), 0)
        out.write(b"PK\x03\x04" + common + sizes + name + content)
        directory.write(b"PK\x01\x02\x1e\x03" + common + sizes + bytes(8) + b"\xa4\x81" + struct.pack("<I", here) + name)
    end = struct.pack("<HHHHIIH", 0, 0, len(files), len(files), len(directory.getvalue()), out.tell(), 0)
    return out.getvalue() + directory.getvalue() + b"PK\x05\x06" + end


def folder_files(folder):
    files = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        demand(not path.is_symlink(), "a link")
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            demand(name in ("raw", "oscal"), "a folder")
        else:
            files[name] = path.read_bytes()
    return files


def statement(data, key, subject, content, kind):
    envelope = load(data)
    demand(set(envelope) == {"payload", "payloadType", "signatures"} and len(envelope["signatures"]) == 1, "members")
    signature = envelope["signatures"][0]
    written = '{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}\n'
    told = written % (envelope["payload"], PAYLOAD, f"{key.name}+{key.id}", signature.get("sig"))
    demand(told.encode() == data, "another way to write it")
    payload = b64(envelope["payload"])
    key.verify(b64(signature["sig"]), f"DSSEv1 28 {PAYLOAD} {len(payload)} ".encode() + payload)
    inside = load(payload)
    demand(inside["_type"] == "https://in-toto.io/Statement/v1" and inside["predicateType"] == kind, "its type")
    demand(inside["subject"] == [{"name": subject, "digest": {"sha256": digest(content)}}], "its subject")
    return inside["predicate"]


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def root(leaves):
    if len(leaves) < 2:
        return leaves[0] if leaves else sha(b"")
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\x01", root(leaves[:half]), root(leaves[half:]))


def path_of(leaves, index):
    if len(leaves) < 2:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return path_of(leaves[:half], index) + [root(leaves[half:])]
    return path_of(leaves[half:], index - half) + [root(leaves[:half])]


def checkpoint(text, key):
    """Size and root of a signed tree head."""
    body, signed = text[: text.index("\n\n") + 1], text[text.index("\n\n") + 2 :]
    origin, size, top = body.split("\n")[:3]
    prefix = f"— {key.name} "
    demand(origin == key.name and signed.startswith(prefix) and signed.endswith("\n"), "the origin")
    signature = b64(signed[len(prefix) : -1])
    demand(signature[:4].hex() == key.id, "the id of the key")
    key.verify(signature[4:], body.encode())
    demand(body == f"{key.name}\n{int(size)}\n{base64.b64encode(b64(top)).decode()}\n", "another way to write it")
    return int(size), b64(top)


def check_log(files, key):
    manifest = files["manifest.json"]
    try:
        proof, log = files["checkpoint.txt"].decode(), files["log.txt"].decode()
        head, note = proof.split("\n\n", 1)
        lines = head.split("\n")
        demand(lines[0] == "c2sp.org/tlog-proof@v1" and re.fullmatch("index (0|[1-9][0-9]*)", lines[1]), "the proof's head")
        index, path = int(lines[1][6:]), [b64(line) for line in lines[2:]]
        size, top = checkpoint(note, key)
    except (UnicodeDecodeError, ValueError, IndexError):
        raise Changed("not a proof") from None
    demand(log.endswith("\n"), "the last line")
    leaves = [b64(line) for line in log[:-1].split("\n")]
    demand(len(leaves) == size and root(leaves) == top, "the leaves")
    entry = '{"manifest":{"sha256":"%s","size":%d},"type":"%s"}' % (digest(manifest), len(manifest), RUN)
    demand(index < size and leaves[index] == sha(b"\x00", entry.encode()), "another entry")
    demand(path == path_of(leaves, index), "the path")
    return leaves


def verify(files, key):
    """Refuses what is not a package signed by this key; gives its statement of completeness."""
    demand(OUTSIDE <= set(files), "a file is missing")
    manifest = load(files["manifest.json"])
    demand(set(manifest) == {"files", "format", "redaction", "rules", "signers", "tool"} and manifest["format"] == 1, "members")
    named = {file["path"]: file for file in manifest["files"]}
    demand(list(named) == sorted(named) and len(named) == len(manifest["files"]), "order")
    demand(set(named) | OUTSIDE == set(files) and TABLE <= set(named), "other files than are named")
    for path, file in named.items():
        raw = re.fullmatch("raw/([0-9a-f]{64})\\.json", path)
        demand(path in TABLE or (raw and raw[1] == file["sha256"]), "a name")
        demand((file["size"], file["sha256"]) == (len(files[path]), digest(files[path])), path)
    statement(files["statement.dsse.json"], key, "manifest.json", files["manifest.json"], RUN)
    told = statement(files["completeness.dsse.json"], key, "completeness.json", files["completeness.json"], COMPLETENESS)
    document = load(files["completeness.json"])
    demand(document["verdict"] == told and told["asked"] - told["answered"] == len(document["unanswered"]), "the numbers")
    check_log(files, key)
    return told
