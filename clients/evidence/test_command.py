"""`strongroom evidence` against the running instance: what it makes is verified by two programs and by the suite's own reader."""

import json
import os
import pathlib
import subprocess

import pytest

from package_reader import Changed, Key, folder_files, verify, zip_files

BINARY = os.environ.get("STRONGROOM_BINARY", "strongroom")
VERIFIER = pathlib.Path(BINARY).with_name("strongroom-evidence-verify")


@pytest.fixture(scope="module")
def made(instance, tmp_path_factory):
    """A collection of facts, a package of it, and the operator's folder."""
    folder = tmp_path_factory.mktemp("evidence")
    first = evidence(folder, "--data", os.environ["STRONGROOM_DATA"], "--to", str(folder / "first"))
    return folder, first


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)


def evidence(folder, *words):
    common = ["--facts", folder / "facts", "--home", folder / "operator", "-o", "json", "--only-show-errors"]
    done = run(BINARY, "evidence", *common, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_package_of_a_real_instance_is_read_by_everybody(made):
    folder, first = made
    told = verify(folder_files(folder / "first"), Key(first["key"]))
    assert told["asked"] > 10 and told["complete"] == first["complete"]
    for command in ([VERIFIER], [BINARY, "evidence", "verify"]):
        done = run(*command, folder / "first", "--key", first["key"])
        assert done.returncode == 0 and "verified" in done.stdout, done.stdout + done.stderr
        # Nobody was told whom to trust.
        done = run(*command, folder / "first")
        assert done.returncode == 4 and "NOT PROVEN" in done.stdout, done.stdout + done.stderr


def test_made_again_of_the_same_facts_it_is_the_same(made):
    folder, first = made
    again = evidence(folder, "--to", folder / "again")
    assert folder_files(folder / "again") == folder_files(folder / "first")
    assert again["manifest"] == first["manifest"]
    evidence(folder, "--to", folder / "again.zip")
    assert zip_files((folder / "again.zip").read_bytes()) == folder_files(folder / "first")


def test_what_is_there_is_not_overwritten(made):
    folder, _ = made
    done = run(BINARY, "evidence", "--facts", folder / "facts", "--home", folder / "operator", "--to", folder / "first")
    assert done.returncode == 1 and "never overwritten" in done.stderr


def test_a_changed_package_is_found_and_the_exit_code_says_so(made, tmp_path):
    folder, first = made
    evidence(folder, "--to", tmp_path / "package")
    report = tmp_path / "package" / "summary.html"
    report.write_bytes(report.read_bytes().replace(b"<h1>", b"<h1> ", 1))
    with pytest.raises(Changed):
        verify(folder_files(tmp_path / "package"), Key(first["key"]))
    for command in ([VERIFIER], [BINARY, "evidence", "verify"]):
        done = run(*command, tmp_path / "package", "--key", first["key"])
        assert done.returncode == 3 and "summary.html was changed" in done.stdout, done.stdout + done.stderr


def test_an_earlier_checkpoint_shows_a_log_that_was_rewritten(made, tmp_path):
    folder, first = made
    pinned = folder / "first" / "checkpoint.txt"
    evidence(folder, "--redact", "people", "--map", tmp_path / "map.json", "--to", tmp_path / "second")
    done = run(VERIFIER, tmp_path / "second", "--key", first["key"], "--checkpoint", pinned)
    assert done.returncode == 0 and "still holds the 1 entries" in done.stdout, done.stdout
    (folder / "operator" / "log").rename(tmp_path / "log")
    evidence(folder, "--redact", "people", "--map", tmp_path / "other.json", "--to", tmp_path / "third")
    done = run(VERIFIER, tmp_path / "third", "--key", first["key"], "--checkpoint", pinned)
    assert done.returncode == 3 and "rewritten" in done.stdout, done.stdout
    (folder / "operator" / "log").rename(tmp_path / "rewritten")
    (tmp_path / "log").rename(folder / "operator" / "log")


def test_a_redacted_package_names_nobody_and_the_map_gives_the_names_back(made, instance, tmp_path):
    folder, first = made
    evidence(folder, "--redact", "all", "--map", tmp_path / "map.json", "--to", tmp_path / "redacted")
    done = run(VERIFIER, tmp_path / "redacted", "--key", first["key"])
    assert done.returncode == 0 and "redacted" in done.stdout, done.stdout
    assert (tmp_path / "map.json").stat().st_mode & 0o777 == 0o600
    hidden = [instance.subscription, instance.tenant, instance.vault_name, instance.administrator["appId"]]
    for path, content in folder_files(tmp_path / "redacted").items():
        for name in hidden:
            assert name.lower().encode() not in content.lower(), f"{name} stands in {path}"
    done = run(BINARY, "evidence", "reveal", "--map", tmp_path / "map.json", tmp_path / "redacted" / "run.json")
    assert done.returncode == 0 and instance.vault_name in done.stdout, done.stderr


def test_a_key_in_a_vault_signs(made, instance, tmp_path):
    folder, _ = made
    # Another suite may have granted it before.
    run(BINARY, "role", "assignment", "create", "--assignee", instance.administrator["appId"], "--role",
        "Key Vault Crypto Officer", "--scope", instance.vault_id, "--data", os.environ["STRONGROOM_DATA"])
    token = instance.token(instance.administrator)
    url = f"{instance.vault}/keys/signs-evidence"
    made_key = instance.ask(token, "POST", f"{url}/create?api-version=7.4", {"kty": "EC", "crv": "P-256"})
    assert made_key.status_code == 200, made_key.text
    package = tmp_path / "signed"
    signed = evidence(folder, "--data", os.environ["STRONGROOM_DATA"], "--signing-key", url, "--to", package)
    assert "BEGIN PUBLIC KEY" in signed["key"]
    (tmp_path / "key.pem").write_text(signed["key"])
    done = run(VERIFIER, package, "--key", tmp_path / "key.pem")
    assert done.returncode == 0 and "that the trusted statement names" in done.stdout, done.stdout
    done = run(VERIFIER, package, "--key", made[1]["key"])
    assert done.returncode == 3, done.stdout
