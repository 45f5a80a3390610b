"""Converted files that are not what they were: each is named, with what to do."""

import os
from pathlib import Path

import pytest

from clr.data import prepare
from clr.errors import UserError


def damage_truncate(info):
    size = os.path.getsize(info.beton("train"))
    os.truncate(info.beton("train"), 123)
    return info.beton("train"), f"is truncated: 123 bytes, expected {size}"


def damage_swap(info):
    os.replace(info.beton("train"), info.beton("test"))
    os.link(info.beton("test"), info.beton("train"))
    return info.beton("test"), "is not the file"


def damage_header(info):
    with open(info.beton("test"), "r+b") as file:
        file.write(b"\x09")
    return info.beton("test"), "is not the file"


def damage_end(info):
    with open(info.beton("test"), "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x09")
    return info.beton("test"), "is not the file"


def damage_append(info):
    with open(info.beton("test"), "ab") as file:
        file.write(b"\x00")
    return info.beton("test"), "is not the file"


def damage_remove(info):
    os.remove(info.beton("test"))
    return info.beton("test"), "is missing"


def damage_manifest(info):
    path = os.path.join(info.folder, "manifest.json")
    text = Path(path).read_text()
    Path(path).write_text(text.replace('"num_train": 24', '"num_train": 23'))
    return path, "is damaged"


def damage_manifest_text(info):
    path = os.path.join(info.folder, "manifest.json")
    os.truncate(path, 20)
    return path, "is damaged"


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_swap,
        damage_header,
        damage_end,
        damage_append,
        damage_remove,
        damage_manifest,
        damage_manifest_text,
    ],
)
def test_damaged_files_are_named(config, tmp_path, damage):
    info = prepare(config, str(tmp_path / "data"), "ffcv")
    path, problem = damage(info)
    with pytest.raises(UserError) as caught:
        prepare(config, str(tmp_path / "data"), "ffcv")
    message = str(caught.value)
    assert message.startswith(f"{path} {problem}") and message.endswith(
        f"delete the folder {info.folder} to convert again"
    )
    assert "\n" not in message
