"""The JSON schema of a project file (draft 2020-12): what editors complete and check with, `dibo schema project`.

The parser refuses what the schema refuses, and a little more: what only several keys together show, such as a name that
two images would have. A test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from dibo.layout.schema import LAYOUT_SCHEMA
from dibo.projects import keys
from dibo.settings.settings import HOST_HOOKS, NETWORKS, RESTARTS

Schema = dict[str, Any]


def _pattern(pattern: re.Pattern[str]) -> str:
    return f"^(?:{pattern.pattern})$"


def _text(description: str, pattern: re.Pattern[str] | None = None) -> Schema:
    form = {"minLength": 1} if pattern is None else {"pattern": _pattern(pattern)}
    return {"type": "string", **form, "description": description}


def _words(description: str, words: Iterable[str]) -> Schema:
    return {"enum": list(words), "description": description}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _number(description: str, least: int = 1) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": 10**9, "description": description}


def _texts(description: str, pattern: re.Pattern[str] | None = None) -> Schema:
    return {"type": "array", "items": _text("", pattern), "description": description}


def _mapping(description: str, properties: Mapping[str, Schema], *required: str) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        **({"required": list(required)} if required else {}),
        "description": description,
    }


_SIZE: Final = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 999999},
        {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,12})?$"},
    ],
    "description": "Size of the disk in GB, that is 2^30 bytes; fractions allowed.",
}
_BOOT: Final[dict[str, Schema]] = {
    "firmware": _words("What the machine starts with.", keys.FIRMWARE),
    "machine": _words("Machine that QEMU emulates.", keys.MACHINES),
    "cpus": _number("Processors."),
    "memory": _number("Memory in MiB."),
    "ports": {
        "type": "array",
        "items": {"anyOf": [_number("A port of the machine."), _text("A port.", keys.PORT)]},
        "description": "Ports to forward: [[ADDRESS:]HERE:]GUEST[/udp].",
    },
    "network": _words("Network of the machine; isolated lets nothing out.", keys.GUEST_NETWORKS),
    "append": _text("Arguments of a kernel that QEMU loads, besides its own."),
    "user": _text("User that logs in."),
    "timeout": _number("Seconds for all steps."),
}
_STEPS: Final[dict[str, Schema]] = {
    "expect": _text("A regular expression that the console shows."),
    "type": _text("A line to type on the console."),
    "run": _text("A shell command over SSH; another exit code than 0 fails the test."),
    "wait": {"type": "number", "minimum": 0, "maximum": 86400, "description": "Seconds to wait."},
    "screenshot": _text("A PNG file that a picture of the screen is written to."),
}
_STEP: Final = {**_mapping("A step.", _STEPS), "minProperties": 1, "maxProperties": 1}
_TEST: Final = _mapping(
    "A test of its own boot.",
    {
        "name": _text("Name of the test.", keys.TEST_NAME),
        "steps": {"type": "array", "minItems": 1, "items": _STEP, "description": "Steps, in order."},
        **_BOOT,
    },
    "name",
    "steps",
)
_CONVERT: Final = _mapping(
    "A container image to convert, and how.",
    {
        "image": _text("Reference of the container image."),
        "boot-loader": _words("Boot loader of an image that dibo did not prepare.", keys.BOOT_LOADERS),
        "bare": _flag("Write only the file system."),
        "prepare": _flag("If needed, use an engine to make boot files."),
        "checksum": _flag("Write NAME.TYPE.sha256 beside each artefact."),
        "init": _flag("With a kit: true boots the init of the image, false runs the program that it names."),
        "restart": _words("With a kit, when the program is started again.", RESTARTS),
    },
    "image",
)
_RAMDISK: Final = _mapping(
    "A ramdisk, and how it is made.",
    {
        "kernel": _text("Version of the kernel (the newest)."),
        "compress": _text("zstd, gzip, xz, none; or with a level, zstd:19."),
        "microcode": _flag("Prepend the microcode of the root."),
    },
)
_SECRETS: Final = {
    "description": "Names of secrets that the image needs: a list, or where each value is: a FILE or env:VARIABLE.",
    "anyOf": [
        _texts("Names; --secret says where each value is.", keys.SECRET),
        {
            "type": "object",
            "propertyNames": {"pattern": _pattern(keys.SECRET)},
            "additionalProperties": _text("FILE or env:VARIABLE; never the value.", keys.SECRET_SOURCE),
        },
    ],
}
_VARIABLES: Final = {
    "type": "object",
    "description": "Environment variables that flavours declare.",
    "propertyNames": {"pattern": _pattern(keys.VARIABLE)},
    "additionalProperties": {
        "type": ["string", "integer"],
        "not": {"type": "string", "pattern": r"[\n\x00]"},
    },
}
_TEXT: Final[dict[str, Schema]] = {
    "base": _text("Root to start from: ubuntu, debian, either with :RELEASE, an image, a tarball, a URL."),
    "release": _text("Release of the base."),
    "arch": _text("Architecture, perhaps with a variant: amd64, amd64/v2.", keys.ARCHITECTURE),
    "fs-type": _text("Root file system: ext4, ext3, ext2, xfs, btrfs."),
    "kit": _text("Kit for an image without a kernel, which `dibo build --kit` made."),
    "epoch": _text(
        "Name of the state of package archives to build from.",
        keys.EPOCH,
    ),
    "mirror": _text("Debian mirror to install from."),
    "sha256": _text("Digest of a base that is a tarball or a URL.", keys.SHA256),
    "network": _words("Network of steps.", NETWORKS),
    "host-hooks": _words("Hooks on the host.", HOST_HOOKS),
    "destination": _text(
        "Directory of artefacts, or docker://HOST/PATH[:TAG]; {name} and axes are replaced."
    ),
}
_LAYOUT: Final = {
    "description": "Layout of the disk: a file, or the layout itself.",
    "anyOf": [
        _text("A layout.yaml."),
        {key: value for key, value in LAYOUT_SCHEMA.items() if key != "$schema"},
    ],
}
_INHERITED: Final[dict[str, Schema]] = {
    **_TEXT,
    "flavours": _texts("Flavours, added to those that are inherited.", keys.FLAVOUR),
    "convert": {
        "anyOf": [_text("Container image to convert."), _CONVERT],
        "description": "Instead of flavours.",
    },
    "architectures": {
        **_texts("Architectures, each an image of its own.", keys.ARCHITECTURE),
        "minItems": 1,
        "uniqueItems": True,
    },
    "types": {**_texts("Artefacts: qcow2, raw, tar, …"), "minItems": 1},
    "layout": _LAYOUT,
    "packages": _texts("Packages to install after install.d of elements of diskimage-builder."),
    "size": _SIZE,
    "variables": _VARIABLES,
    "secrets": _SECRETS,
    "ramdisk": {
        "anyOf": [_flag("Make a ramdisk of the flavours."), _RAMDISK],
        "description": "Instead of a disk.",
    },
    "tests": {
        "type": "array",
        "items": {"anyOf": [_STEP, _TEST]},
        "description": "Steps of one boot, and tests with a boot of their own.",
    },
    "boot": _mapping("How the image is booted.", _BOOT),
    "provenance": _flag("Write the provenance of artefacts beside them."),
    "cache-files": _flag("Also store files of packages, and fetched files, where layers are stored."),
    "no-base": _flag("Omit the flavour `base`, and with it the kernel."),
    "flavours-path": _texts("Directories of flavours, relative to this file."),
    "converters-path": _texts("Directories of converters, relative to this file."),
    **{
        name: {"anyOf": [_text("A repository."), _texts("Repositories.")], "description": text}
        for name, text in (
            ("cache", "Repositories HOST/PATH to read layers from and store them in."),
            ("cache-from", "Repositories to only read layers from."),
            ("cache-to", "Repositories to only store layers in."),
        )
    },
}
_VARIANT: Final = _mapping(
    "Keys of the images that have this variant.",
    {key: {"$ref": f"#/$defs/{key}"} for key in keys.VARIANT_KEYS},
)
_SCALAR: Final = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "number"}]}
_TEXT_AXES: Final[dict[str, Schema]] = {
    key: {
        "type": "array",
        "minItems": 1,
        "items": {name: value for name, value in _INHERITED[key].items() if name != "description"},
    }
    for key in keys.TEXT_KEYS
}
_MATRIX: Final = {
    "type": "object",
    "minProperties": 1,
    "description": "Axes: an image for each combination of their values. A list for a key such as release or arch, or "
    "a mapping of names to keys.",
    "properties": {
        **_TEXT_AXES,
        keys.EXCLUDE: {
            "type": "array",
            "description": "Combinations that are left out: values by axis.",
            "items": {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "anyOf": [_SCALAR, {"type": "array", "minItems": 1, "items": _SCALAR}]
                },
            },
        },
    },
    "propertyNames": {"pattern": _pattern(keys.AXIS_NAME)},
    "additionalProperties": {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": _pattern(keys.IMAGE_NAME)},
        "additionalProperties": _VARIANT,
    },
}
_NAMES: Final = {
    "anyOf": [_text("A name.", keys.IMAGE_NAME), _texts("Names.", keys.IMAGE_NAME)],
    "description": "Templates or images whose keys are inherited, in order.",
}
_OF_IMAGES: Final[dict[str, Schema]] = {
    **_INHERITED,
    "name": _text("Name of the image; {image} and axes in braces are replaced."),
    "matrix": _MATRIX,
    "extends": _NAMES,
    "defaults": _flag("false: inherit no defaults."),
}


def _named(description: str, values: Schema) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": _pattern(keys.IMAGE_NAME)},
        "additionalProperties": values,
        "description": description,
    }


def _keys(description: str, names: Iterable[str]) -> Schema:
    schema = _mapping(description, {key: {"$ref": f"#/$defs/{key}"} for key in names})
    return {**schema, "type": ["object", "null"]}


PROJECT_SCHEMA: Final[Schema] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "dibo.yaml: the images of a repository",
    "type": "object",
    "additionalProperties": False,
    "patternProperties": {"^x-": {"description": "Anything: dibo does not read it."}},
    "properties": {
        "include": _texts("More project files, relative to this one."),
        "defaults": _keys("Keys that all images of this file inherit.", keys.DEFAULT_KEYS),
        "templates": _named("Keys that images inherit by extends.", _keys("A template.", keys.TEMPLATE_KEYS)),
        "images": _named("The images.", _keys("An image.", keys.IMAGE_KEYS)),
    },
    "$defs": _OF_IMAGES,
}
