"""The JSON schema of `dibo report` (dibo.api.json_schema)."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import (
    Schema,
    count,
    document,
    flag,
    list_of,
    maybe,
    maybe_count,
    maybe_seconds,
    object_of,
    one_of,
    seconds,
    text,
    texts,
)
from dibo.system.task import BUILT, CACHED, PULLED, SHARED


def _maybe_object(description: str, properties: Schema) -> Schema:
    return object_of(properties) | {"type": ["object", "null"], "description": description}


def _maybe_list(description: str, properties: Schema) -> Schema:
    return list_of(description, properties) | {"type": ["array", "null"]}


def _maybe_flag(description: str) -> Schema:
    return {"type": ["boolean", "null"], "description": description}


_LAYER_INDEX: Final = maybe_count("index of the layer that brought it; null where that is not known")
_PART: Final = {
    "type": ["object", "null"],
    "description": "name, size, files, and parts of the same kind; null where the image says nothing of it",
}
_FLAVOUR: Final = {
    "name": text("its name"),
    "requested": _maybe_flag("whether the user named it; others need it else; null without a manifest"),
    "built_in": _maybe_flag("whether it comes with dibo; null without a manifest"),
    "size": maybe_count("bytes that its layers brought and that are still there"),
    "files": maybe_count("files of these"),
    "packages": maybe_count("packages of these"),
    "took": maybe_seconds("seconds that building its layers took; null where that is not known"),
}
_LAYER: Final = {
    "title": text("what it is made by"),
    "key": maybe("its key, of layers that dibo built"),
    "flavour": maybe("the flavour that made it"),
    "local": flag("whether it has data of the user or the machine that built it"),
    "size": count("bytes that it brought and that are still there"),
    "files": count("files of these"),
    "packages": count("packages of these"),
    "stored": maybe_count("bytes as it is stored"),
    "took": maybe_seconds("seconds that building it took, wherever that was; null where that is not known"),
    "hooks": list_of(
        "its hooks in their order", {"name": text("its name"), "took": seconds("seconds that it took")}
    ),
    "origin": {
        "type": ["string", "null"],
        "enum": [BUILT, CACHED, PULLED, SHARED, None],
        "description": "where the last build here had it from",
    },
    "registry": maybe("repository that it was pulled from"),
}
_BUILD: Final = {
    "took": seconds("seconds of all steps"),
    "saved": seconds(
        "seconds that building the layers that were not built had taken, without those of pulling"
    ),
    "unknown": count("layers that were not built, and of which no time is known"),
    "steps": list_of(
        "steps besides layers", {"title": text("what was done"), "took": seconds("seconds that it took")}
    ),
}
_PACKAGE: Final = {
    "name": text("its name"),
    "version": text("its version"),
    "architecture": text("its architecture"),
    "manager": text("dpkg or apk"),
    "size": count("bytes of its files; by its own account, where these are not known"),
    "files": count("files of it"),
    "layer": _LAYER_INDEX,
    "flavour": maybe("flavour of that layer"),
}
_UNIT: Final = {
    "name": text("its name"),
    "state": text("enabled, static, …, as systemctl list-unit-files has it"),
    "description": text("its description; may be empty"),
    "wanted_by": texts("units that start it"),
    "on_demand": maybe("socket, timer or path that starts it, where nothing else does"),
    "package": maybe("package of its file"),
    "layer": _LAYER_INDEX,
}
_PORT: Final = {
    "unit": text("the unit that listens, by what its files say"),
    "address": maybe("address; null for all"),
    "port": count("port"),
    "protocol": text("tcp, udp"),
    "said_by": text("a file, or what else says so"),
    "condition": maybe("what it depends on"),
    "starts": flag("whether the unit starts at boot, or on demand"),
}
_PRIVILEGED: Final = {
    "path": text("its path"),
    "mode": text("permissions, octal"),
    "owner": text("user"),
    "group": text("group"),
    "capabilities": texts("capabilities(7)"),
    "package": maybe("package of the file"),
    "layer": _LAYER_INDEX,
}
_FILE: Final = {
    "path": text("its path"),
    "kind": text("file, hard link, directory, symlink, …"),
    "size": count("bytes; 0 for further names of one file"),
    "layer": _LAYER_INDEX,
    "package": maybe("package of the file"),
}

REPORT: Final = document(
    "report",
    "`dibo report`",
    page=maybe("file of the page; null if none was written"),
    name=text("the image, without the directories that it lies in"),
    form=one_of("what it is", "image", "disk", "tar", "directory", "ramdisk"),
    format=text("what it is written in: qcow2, raw, oci, tar, cpio"),
    architecture=text("Debian's word; empty where nothing says"),
    system=text("the system's own name; may be empty"),
    digest=maybe("of a container image: digest of its config"),
    size=count("bytes of all files with their holes, hard links once"),
    stored=maybe_count("bytes that the image takes as it is; null where that is not known"),
    entries=count("names in it"),
    flavours=list_of("flavours in the order of the stack", _FLAVOUR),
    layers=list_of("layers, the lowest first", _LAYER),
    build=_maybe_object("the last build here of the image; null where none is recorded", _BUILD),
    space=object_of({"directories": _PART, "packages": _PART, "flavours": _PART, "layers": _PART})
    | {"description": "where the space goes, divided in four ways; small parts are taken together"},
    packages=_maybe_list("packages by name; null where no database was read", _PACKAGE),
    kernels=texts("versions of kernels, the newest last"),
    cmdline={
        "type": ["array", "null"],
        "items": {"type": "string"},
        "description": "arguments of the newest kernel; null where the image does not say",
    },
    command=texts("what a container of it runs"),
    first_boot=list_of(
        "what runs at the first boot alone",
        {"name": text("its name"), "path": text("its path"), "flavour": maybe("flavour that brought it")},
    ),
    units=list_of("units that start at boot or on demand, by name", _UNIT),
    ports=list_of("ports by unit, those that start first", _PORT),
    privileged=list_of("files with set-user-id, set-group-id or capabilities", _PRIVILEGED),
    files=list_of("all names in it, in the order of a walk", _FILE),
    notes=texts("what could not be read, and why"),
)
