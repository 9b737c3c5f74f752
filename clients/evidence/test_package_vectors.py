"""Every vector of packages, read by a verifier that was written from the document alone."""

import json
import pathlib

import pytest

from package_reader import Changed, Key, folder_files, verify, zip_files

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "evidence"
CASES = sorted(path.stem for path in VECTORS.glob("*.json"))


def overwrite(data, byte, content):
    return data[:byte] + content + data[byte + len(content) :]


EDITS = {
    "flip-bit": lambda data, byte, bit: overwrite(data, byte, bytes([data[byte] ^ 1 << bit])),
    "append": lambda data, bytes: data + bytearray.fromhex(bytes),
    "truncate": lambda data, length: data[:length],
    "insert": lambda data, byte, bytes: data[:byte] + bytearray.fromhex(bytes) + data[byte:],
    "overwrite": lambda data, byte, bytes: overwrite(data, byte, bytearray.fromhex(bytes)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_vector_ends_as_it_says(name):
    vector = json.loads((VECTORS / f"{name}.json").read_text())
    case = vector["case"]
    data = (VECTORS / case["package"]).read_bytes()
    for edit in case["edits"]:
        ((what, how),) = edit.items()
        data = bytes(EDITS[what](data, **how))
    if vector["expect"] == "ok":
        told = verify(zip_files(data), Key(case["key"]))
        assert not told["complete"] and told["asked"] == 5
    else:
        with pytest.raises(Changed):
            verify(zip_files(data), Key(case["key"]))


def test_the_folder_that_a_common_tool_unpacks_is_the_same_package(package, vector):
    verify(folder_files(package), Key(vector[1]))
