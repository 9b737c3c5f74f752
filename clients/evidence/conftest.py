"""Packages for the suite: the one of the vectors, and those that the program makes."""

import json
import pathlib
import zipfile

import pytest

VECTORS = pathlib.Path(__file__).resolve().parents[2] / "vectors" / "evidence"


@pytest.fixture(scope="session")
def vector():
    """The whole package of the vectors, and its key."""
    case = json.loads((VECTORS / "valid.json").read_text())["case"]
    return VECTORS / case["package"], case["key"]


@pytest.fixture(scope="session")
def package(vector, tmp_path_factory):
    """The same as a folder."""
    folder = tmp_path_factory.mktemp("package")
    with zipfile.ZipFile(vector[0]) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    return folder / "evidence"
