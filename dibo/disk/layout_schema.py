"""The grammar of a layout: keys, patterns, and the JSON schema that editors complete and check with.

The parser in layout.py uses the same keys and patterns, says the same in words, and knows a little more.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from dibo.disk.partition import Content, FileSystem, PartitionType, Table

MAX_PARTITIONS = 128  # entries in the table that gpt.py writes, and the least that UEFI 2.10, 5.3.1 asks for
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,35}$"  # a GPT name has room for 36 UTF-16 units
SIZE_PATTERN = r"^[1-9][0-9]{0,11}(\.[0-9]{1,9})? ?[KMGTkmgt](i?[Bb])?$"
MOUNT_PATTERN = r"^/([^/\s\x00-\x1f.][^/\s\x00-\x1f]*(/[^/\s\x00-\x1f.][^/\s\x00-\x1f]*)*)?$"
VFAT_LABEL_PATTERN = r"^[A-Z0-9_$%'@~!(){}^#&-]([A-Z0-9 _$%'@~!(){}^#&-]*[A-Z0-9_$%'@~!(){}^#&-])?$"
LABEL_PATTERN = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"
REST = "rest"

DISK_KEYS = ("table", "partitions")
PARTITION_KEYS = ("name", "type", "size", "filesystem", "label", "mount", "content")
PARTITION_REQUIRED = ("name", "type", "size")


def _at_most_one(key: str, value: str) -> dict[str, Any]:
    return {"contains": _has(key, value), "minContains": 0, "maxContains": 1}


def _has(key: str, value: str) -> dict[str, Any]:
    return {"type": "object", "required": [key], "properties": {key: {"const": value}}}


def _if_then(condition: dict[str, Any], consequence: dict[str, Any]) -> dict[str, Any]:
    return {"if": condition, "then": consequence}


def _words(words: type[Enum]) -> dict[str, Any]:
    return {"enum": [word.value for word in words]}


LAYOUT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The disk layout of a flavour",
    "type": "object",
    "additionalProperties": False,
    "required": list(DISK_KEYS),
    "properties": {
        "table": _words(Table),
        "partitions": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_PARTITIONS,
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": list(PARTITION_REQUIRED),
                "properties": {
                    "name": {"type": "string", "pattern": NAME_PATTERN},
                    "type": _words(PartitionType),
                    "size": {"type": "string", "anyOf": [{"const": REST}, {"pattern": SIZE_PATTERN}]},
                    "filesystem": _words(FileSystem),
                    "label": {"type": "string", "pattern": LABEL_PATTERN},
                    "mount": {"type": "string", "pattern": MOUNT_PATTERN},
                    "content": _words(Content),
                },
                "dependentRequired": {"label": ["filesystem"], "mount": ["filesystem"]},
                "allOf": [
                    *(
                        _if_then(
                            _has("filesystem", filesystem.value),
                            {"properties": {"label": {"maxLength": filesystem.label_limit}}},
                        )
                        for filesystem in FileSystem
                    ),
                    _if_then(
                        _has("filesystem", "vfat"),
                        {
                            "properties": {
                                "label": {"pattern": VFAT_LABEL_PATTERN},
                                "mount": {"not": {"const": "/"}},
                            }
                        },
                    ),
                    _if_then(_has("type", "bios-boot"), {"not": {"required": ["filesystem"]}}),
                    _if_then(_has("type", "esp"), _has("filesystem", "vfat")),
                    _if_then(_has("content", "esp"), _has("filesystem", "vfat")),
                    _if_then(_has("content", "grub-core"), _has("type", "bios-boot")),
                ],
            },
            "allOf": [
                {"contains": _has("mount", "/"), "minContains": 1, "maxContains": 1},
                _at_most_one("size", REST),
                *(_at_most_one("content", content.value) for content in Content),
            ],
        },
    },
}
"""JSON schema (draft 2020-12) of the value of `disk:`. It cannot say that names and mounts differ."""
