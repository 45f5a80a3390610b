"""Damaged converted files: each is named in an error that says how to fix it."""

import os
from pathlib import Path

import pytest

from clr.data import DatasetInfo, find_prepared, prepare
from clr.errors import UserError


def truncate(info: DatasetInfo) -> tuple[str, str]:
    size = os.path.getsize(info.beton("train"))
    os.truncate(info.beton("train"), 123)
    return info.beton("train"), f"is truncated: 123 bytes, expected {size}"


def swap(info: DatasetInfo) -> tuple[str, str]:
    os.replace(info.beton("train"), info.beton("test"))
    os.link(info.beton("test"), info.beton("train"))
    return info.beton("test"), "is not the file"


def change_the_header(info: DatasetInfo) -> tuple[str, str]:
    with open(info.beton("test"), "r+b") as file:
        file.write(b"\x09")
    return info.beton("test"), "is not the file"


def change_the_end(info: DatasetInfo) -> tuple[str, str]:
    with open(info.beton("test"), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x09")
    return info.beton("test"), "is not the file"


def append(info: DatasetInfo) -> tuple[str, str]:
    with open(info.beton("test"), "ab") as file:
        file.write(b"\x00")
    return info.beton("test"), "is not the file"


def remove(info: DatasetInfo) -> tuple[str, str]:
    os.remove(info.beton("test"))
    return info.beton("test"), "is missing"


def change_the_manifest(info: DatasetInfo) -> tuple[str, str]:
    path = Path(info.folder, "manifest.json")
    path.write_text(path.read_text().replace('"num_train": 24', '"num_train": 23'))
    return str(path), "is damaged"


def truncate_the_manifest(info: DatasetInfo) -> tuple[str, str]:
    path = os.path.join(info.folder, "manifest.json")
    os.truncate(path, 20)
    return path, "is damaged"


def replace_the_manifest(info: DatasetInfo) -> tuple[str, str]:
    path = os.path.join(info.folder, "manifest.json")
    Path(path).write_text("null")
    return path, "is damaged (it is not a JSON object)"


def remove_the_checksum(info: DatasetInfo) -> tuple[str, str]:
    path = os.path.join(info.folder, "manifest.json")
    Path(path).write_text("{}")
    return path, "is damaged (its checksum differs)"


DAMAGES = [truncate, swap, change_the_header, change_the_end, append, remove]
DAMAGES += [change_the_manifest, truncate_the_manifest]
DAMAGES += [replace_the_manifest, remove_the_checksum]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("function", [prepare, find_prepared])
def test_damaged_files_are_named(config, tmp_path, function, damage):
    info = prepare(config, str(tmp_path / "data"), "torch")
    path, problem = damage(info)
    with pytest.raises(UserError) as caught:
        function(config, str(tmp_path / "data"), "torch")
    message = str(caught.value)
    assert message.startswith(f"{path} {problem}")
    assert message.endswith(f"delete the folder {info.folder} to convert again")
    assert "\n" not in message


@pytest.mark.parametrize("name", ["loop", "x" * 300])
@pytest.mark.parametrize("function", [prepare, find_prepared])
def test_a_data_dir_that_cannot_be_looked_into_is_a_mistake(config, tmp_path, function, name):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="choose another data_dir=FOLDER"):
        function(config, str(tmp_path / name), "torch")
