"""The JSON schema of a manifest beside an image (dibo.artefacts.manifest): `dibo schema manifest`."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_MAYBE: Final = {"type": ["string", "null"]}
_DIGEST: Final = {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
_KEY: Final = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_FLAG: Final = {"type": "boolean"}


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


_LAYER: Final = _object(
    {},
    {
        "title": _TEXT,
        "key": _KEY,
        "local": _FLAG,
        "flavour": {**_TEXT, "description": "the flavour whose packages or hooks it has"},
        "digest": {**_DIGEST, "description": "digest of the layer's changes"},
        "diff-id": {**_MAYBE, "description": "digest of the layer's tar, in a converted image"},
    },
)
_BASE: Final = _object(
    {
        "name": _TEXT,
        "wanted": {**_MAYBE, "description": "as --base takes it; null for a local file"},
        "release": _MAYBE,
        "mirror": _MAYBE,
        "ingredients": {"type": "object", "additionalProperties": _TEXT},
    }
)
_FLAVOUR: Final = _object(
    {"name": _TEXT, "digest": _DIGEST, "from": {"enum": ["dibo", "elsewhere"]}, "asked": _FLAG},
    {
        "files": {"type": "object", "additionalProperties": _DIGEST, "description": "digests of its files"},
        "fetched": {
            "type": "array",
            "items": _object(
                {
                    "name": _TEXT,
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                    "urls": {"type": "array", "items": _TEXT},
                }
            ),
            "description": "files that were fetched for it",
        },
    },
)
_DISK: Final = _object(
    {
        "size": {"type": "integer"},
        "size-set-by": _TEXT,
        "filesystem": _TEXT,
        "layout": {"type": ["object", "null"], "description": "as layout.yaml: dibo schema layout"},
        "layout-of-a-file": _FLAG,
        "loop": _FLAG,
    }
)
_RAMDISK: Final = _object(
    {
        "kernel-version": _MAYBE,
        "compression": _TEXT,
        "microcode": _FLAG,
        "kernel-of-this-machine": _FLAG,
        "busybox-of-this-machine": _FLAG,
    }
)
_ARTEFACT: Final = _object(
    {
        "type": _TEXT,
        "name": _TEXT,
        "size": {"type": "integer"},
        "sha256": {**_MAYBE, "pattern": "^[0-9a-f]{64}$"},
    }
)

_LOCK: Final = _object(
    {
        "format": {"const": 1},
        "epoch": _TEXT,
        "chosen": {
            "type": "object",
            "additionalProperties": _object(
                {
                    "words": {"type": "array", "items": _TEXT},
                    "packages": {
                        "type": "array",
                        "items": _object(
                            {
                                "name": _TEXT,
                                "version": _TEXT,
                                "architecture": _TEXT,
                                "sha256": _DIGEST,
                                "size": {"type": "integer"},
                                "path": _TEXT,
                                "security": _FLAG,
                            }
                        ),
                    },
                    "removed": {"type": "array", "items": _TEXT},
                }
            ),
        },
    }
)

MANIFEST_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "The manifest beside an image",
    **_object(
        {
            "format": {"const": 1},
            "made-by": {"type": "object", "additionalProperties": _TEXT, "required": ["dibo", "command"]},
            "architecture": _TEXT,
            "source-date-epoch": {"type": ["integer", "null"]},
            "options": {"type": "object", "additionalProperties": _TEXT},
            "layers": {"type": "array", "items": _LAYER},
            "packages": {
                "type": ["array", "null"],
                "items": _object({"name": _TEXT, "version": _TEXT, "architecture": _TEXT}),
            },
            "artefacts": {"type": "array", "items": _ARTEFACT},
        },
        {
            "epoch": _TEXT,
            "beside": {
                "type": "array",
                "items": _object({"name": _TEXT, "size": {"type": "integer"}, "sha256": _TEXT}),
                "description": "files that elements left beside the image",
            },
            "lock": _LOCK,
            "base": _BASE,
            "image": _object({"name": _TEXT, "digest": _TEXT, "key": _MAYBE}),
            "kit": _object({"name": _TEXT, "digest": _TEXT}, {"kernel": _TEXT, "program": _TEXT}),
            "flavours": {"type": "array", "items": _FLAVOUR},
            "elements": {
                "type": "array",
                "items": _FLAVOUR,
                "description": "elements of diskimage-builder, in their order",
            },
            "environment": {"type": "object", "additionalProperties": _MAYBE},
            "disk": _DISK,
            "ramdisk": _RAMDISK,
            "conversion": _object(
                {"boot-loader": _TEXT, "init": {"type": ["boolean", "null"]}, "restart": _TEXT},
                {"secure-boot-certificate": _DIGEST},
            ),
        },
    ),
}
