"""The grammar of a layout: keys, patterns, and the JSON schema that editors complete and check with.

The parser in layout.py uses the same keys and patterns, says the same in words, and knows a little more. A layout may
leave out nearly everything, since it is put together with what other flavours say.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from dibo.layout.model import FileSystemType, Flag, PartitionContent, PartitionType, Sizing, TableType

MAX_PARTITIONS = 128  # entries in the table that gpt.py writes, and the least that UEFI 2.10, 5.3.1 asks for
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,35}$"  # a GPT name has room for 36 UTF-16 units
SIZE_PATTERN = r"^[1-9][0-9]{0,11}(\.[0-9]{1,9})? ?[KMGTkmgt](i?[Bb])?$"
PERCENT_PATTERN = r"^(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})? ?%$"
GUID_PATTERN = r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
CODE_PATTERN = r"^0x[0-9A-Fa-f]{2}$"
MOUNT_PATTERN = r"^/([^/\s\x00-\x1f.][^/\s\x00-\x1f]*(/[^/\s\x00-\x1f.][^/\s\x00-\x1f]*)*)?$"
OPTION_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:/=@%+-]*$"
OPTIONS_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:/=@%+-]*(,[A-Za-z0-9_][A-Za-z0-9_.:/=@%+-]*)*$"
VFAT_LABEL_PATTERN = r"^[A-Z0-9_$%'@~!(){}^#&-]([A-Z0-9 _$%'@~!(){}^#&-]*[A-Z0-9_$%'@~!(){}^#&-])?$"
LABEL_PATTERN = r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$"

LAYOUT_KEYS = ("table", "alignment", "size", "sector", "partitions")
SECTORS = (512, 4096)
PARTITION_KEYS = (
    "name",
    "type",
    "size",
    "headroom",
    "filesystem",
    "label",
    "mount",
    "options",
    "flags",
    "content",
)


def _at_most_one(key: str, value: str) -> dict[str, Any]:
    return {"contains": _has(key, value), "minContains": 0, "maxContains": 1}


def _has(key: str, value: str) -> dict[str, Any]:
    return {"type": "object", "required": [key], "properties": {key: {"const": value}}}


def _says_another(key: str, value: str) -> dict[str, Any]:
    return {"type": "object", "required": [key], "properties": {key: {"not": {"const": value}}}}


def _if_then(condition: dict[str, Any], consequence: dict[str, Any]) -> dict[str, Any]:
    return {"if": condition, "then": consequence}


def _words(words: type[Enum]) -> dict[str, Any]:
    return {"enum": [word.value for word in words]}


def _size(*words: Sizing) -> dict[str, Any]:
    return {
        "type": "string",
        "anyOf": [{"enum": [word.value for word in words]}, {"pattern": SIZE_PATTERN}],
    }


_NO_FILE_SYSTEM = {"properties": {"filesystem": {"const": "none"}}}
_PARTITION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "pattern": NAME_PATTERN, "description": "Name of the partition."},
        "type": {
            "type": "string",
            "anyOf": [_words(PartitionType), {"pattern": GUID_PATTERN}, {"pattern": CODE_PATTERN}],
            "description": "A name, a GUID of a GPT, or a code of an MBR such as 0x83.",
        },
        "size": {**_size(Sizing.FIT, Sizing.REST), "description": "64MiB, fit or rest."},
        "headroom": {
            "type": "string",
            "anyOf": [{"pattern": PERCENT_PATTERN}, {"pattern": SIZE_PATTERN}],
            "description": "Free space that fit adds: a share of the stored bytes such as 10%, or a size.",
        },
        "filesystem": _words(FileSystemType),
        "label": {"type": "string", "pattern": LABEL_PATTERN, "description": "Label of the file system."},
        "mount": {"type": "string", "pattern": MOUNT_PATTERN, "description": "Where it is mounted: /var."},
        "options": {
            "description": "Mount options for fstab: a list, or text with commas.",
            "oneOf": [
                {"type": "string", "pattern": OPTIONS_PATTERN},
                {"type": "array", "items": {"type": "string", "pattern": OPTION_PATTERN}},
            ],
        },
        "flags": {"type": "array", "items": _words(Flag)},
        "content": _words(PartitionContent),
    },
    "allOf": [
        *(
            _if_then(
                _has("filesystem", filesystem.value),
                {"properties": {"label": {"maxLength": filesystem.label_limit}}},
            )
            for filesystem in FileSystemType
            if filesystem is not FileSystemType.NONE
        ),
        _if_then(
            _has("filesystem", "vfat"),
            {"properties": {"label": {"pattern": VFAT_LABEL_PATTERN}, "mount": {"not": {"const": "/"}}}},
        ),
        _if_then(_has("filesystem", "swap"), {"not": {"required": ["mount"]}}),
        _if_then(
            _has("filesystem", "none"),
            {"not": {"anyOf": [{"required": [key]} for key in ("label", "mount", "options")]}},
        ),
        _if_then({"type": "object", "required": ["headroom"]}, {"properties": {"size": _words(Sizing)}}),
        _if_then(_has("type", "bios-boot"), _NO_FILE_SYSTEM),
        _if_then(_has("type", "esp"), {"not": _says_another("filesystem", "vfat")}),
        _if_then(_has("content", "esp"), {"not": _says_another("filesystem", "vfat")}),
        _if_then(_has("content", "grub-core"), {"not": _says_another("type", "bios-boot")}),
    ],
}

_ONLY_ONCE: list[dict[str, Any]] = [
    _at_most_one("mount", "/"),
    _at_most_one("size", Sizing.REST.value),
    *(_at_most_one("content", content.value) for content in PartitionContent),
]
"""Stands under dependentSchemas: editors that know only draft 07 ignore that, and not `contains`, whose minContains
they do not know; they would ask each layout for a root."""

LAYOUT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "layout.yaml of dibo",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "table": {**_words(TableType), "description": "Kind of the partition table."},
        "alignment": {
            "type": "string",
            "pattern": SIZE_PATTERN,
            "description": "Partitions start at multiples of this; default 1MiB.",
        },
        "size": {**_size(Sizing.FIT), "description": "Size of the whole disk, or fit: as small as possible."},
        "sector": {
            "enum": list(SECTORS),
            "description": "Bytes of a logical sector; default 512. 4096 requires table gpt and UEFI.",
        },
        "partitions": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_PARTITIONS,
            "items": _PARTITION,
            "description": "In the order of the disk.",
        },
    },
    "dependentSchemas": {"partitions": {"properties": {"partitions": {"allOf": _ONLY_ONCE}}}},
}
"""JSON schema (draft 2020-12) of layout.yaml and of the value of `disk:`. It cannot say that names and mounts differ,
and does not ask for what another flavour may say."""
