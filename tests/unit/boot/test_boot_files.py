from __future__ import annotations

import json
from pathlib import PurePosixPath

import pytest

from dibo.boot.boot_files import BiosImages, BootManifest, parse_manifest
from dibo.errors import LayoutError

BOOT = PurePosixPath("/usr/lib/dibo/boot")


def test_both_ways_to_boot() -> None:
    text = '{"format": 1, "bios": {"boot": "boot.img", "core": "i386-pc/core.img"}, "esp": "esp"}'
    assert parse_manifest(text) == BootManifest(
        bios=BiosImages(boot=BOOT / "boot.img", core=BOOT / "i386-pc/core.img"), esp=BOOT / "esp"
    )


def test_each_can_be_missing() -> None:
    assert parse_manifest('{"format": 1}') == BootManifest(bios=None, esp=None)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "format"),
        ({}, "format"),
        ({"format": 2}, "format"),
        ({"format": True}, "format"),
        ({"format": 1, "uefi": "esp"}, "uefi: no such key"),
        ({"format": 1, "bios": "boot.img"}, "bios: expected an object"),
        ({"format": 1, "bios": {"boot": "boot.img"}}, "bios.core: expected a path"),
        ({"format": 1, "bios": {"boot": "a", "core": "b", "c": "d"}}, "bios.c: no such key"),
        ({"format": 1, "esp": 7}, "esp: expected a path"),
        ({"format": 1, "esp": ""}, "esp: expected a path"),
        ({"format": 1, "esp": "a\0b"}, "esp: expected a path"),
        ({"format": 1, "esp": "/etc"}, "not a plain path"),
        ({"format": 1, "esp": "../../../etc"}, "not a plain path"),
        ({"format": 1, "esp": "esp/."}, "not a plain path"),
        ({"format": 1, "esp": "esp/"}, "not a plain path"),
    ],
)
def test_a_manifest_is_a_byte_from_outside(data: object, words: str) -> None:
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    with pytest.raises(LayoutError) as caught:
        parse_manifest(text)
    assert caught.value.message.startswith(f"{BOOT}/manifest.json in the root: ")
    assert words in caught.value.message
