"""One object, exported with its own key by `strongroom export`, opens with Google Tink and nothing of ours."""

import os
import pathlib
import subprocess

import openai
import pytest
from tink import json_proto_keyset_format, secret_key_access, streaming_aead

PROGRAM = os.environ["STRONGROOM_BINARY"]
DATA = os.environ["STRONGROOM_DATA"]


def strongroom(*arguments):
    command = [PROGRAM, *arguments, "--data", DATA]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def open_with_tink(folder: pathlib.Path, associated_data=None) -> bytes:
    streaming_aead.register()
    keyset = (folder / "keyset.json").read_text()
    handle = json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)
    bound = associated_data or (folder / "associated_data.bin").read_bytes()
    with open(folder / "sealed.bin", "rb") as sealed:
        return primitive.new_decrypting_stream(sealed, bound).read()


@pytest.fixture(name="exported", params=[1, 64 * 1024 + 1, 2_500_000], ids=lambda size: f"{size} bytes")
def export_one(request, tmp_path):
    content = os.urandom(request.param)
    uploaded = openai.OpenAI().files.create(file=("exported.bin", content), purpose="batch")
    folder = tmp_path / "export"
    done = strongroom("export", "file", uploaded.id, "--to", str(folder))
    assert done.returncode == 0, done.stderr
    return folder, content


def test_tink_opens_what_was_exported(exported):
    folder, content = exported
    assert open_with_tink(folder) == content


def test_the_export_is_bound_to_its_object(exported):
    folder, _ = exported
    other = bytearray((folder / "associated_data.bin").read_bytes())
    other[-1] ^= 1
    with pytest.raises(Exception):
        open_with_tink(folder, bytes(other))


def test_an_unknown_object_is_not_exported(tmp_path):
    done = strongroom("export", "file", "file-unknown", "--to", str(tmp_path / "export"))
    assert done.returncode == 1
    assert not (tmp_path / "export").exists()
