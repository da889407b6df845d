"""The JSON schemas of `dibo inspect` and `dibo diff` (dibo.api.json_schema)."""

from __future__ import annotations

from typing import Final

from dibo.api.json_types import (
    Schema,
    count,
    document,
    flag,
    list_of,
    map_of,
    maybe,
    maybe_count,
    object_of,
    one_of,
    text,
    texts,
)


def _maybe_object(description: str, properties: Schema) -> Schema:
    return object_of(properties) | {"type": ["object", "null"], "description": description}


def _maybe_list(description: str, properties: Schema) -> Schema:
    return list_of(description, properties) | {"type": ["array", "null"]}


_MAYBE_TEXTS: Final[Schema] = {"type": ["array", "null"], "items": {"type": "string"}}
_INTEGER: Final[Schema] = {"type": "integer"}
_IMAGE: Final = {
    "name": text("the image, as it was named"),
    "form": one_of("what it is", "image", "disk", "tar", "directory", "ramdisk"),
    "format": text("what it is written in: qcow2, raw, oci, tar, cpio"),
    "architecture": maybe("Debian's word; null where nothing says"),
    "digest": maybe("of a container image: digest of its config"),
    "entries": count("names in it"),
    "bytes": count("bytes of all files with their holes, hard links once"),
    "stored": maybe_count("bytes that the image takes as it is; null where that is not known"),
}
_FILE: Final = {
    "type": text("file, directory, symlink, character device, block device, FIFO, socket"),
    "mode": text("permissions with set-id bits, octal"),
    "uid": count("owner"),
    "gid": count("group"),
    "size": count("bytes of a file, or of the target of a symlink"),
    "mtime": _INTEGER | {"description": "time of the last change, in nanoseconds since 1970"},
    "target": maybe("target of a symlink"),
    "device": {
        "type": ["array", "null"],
        "items": {"type": "integer", "minimum": 0},
        "description": "major and minor number of a device",
    },
    "xattrs": map_of("extended attributes, values in hexadecimal", {"type": "string"}),
    "link_to": maybe("of a further name of a file: its first name"),
    "package": maybe("package that the file belongs to"),
    "layer": maybe_count("index of the layer that brought it; null without layers"),
    "sha256": maybe("sha256 of the bytes, hexadecimal; null where they were not read"),
}
_PACKAGE: Final = {
    "name": text("its name"),
    "architecture": text("its architecture, in the words of its manager"),
    "version": text("its version"),
    "manager": one_of("whose database lists it", "dpkg", "apk"),
    "size": maybe_count("bytes that it takes by its own account"),
    "source": maybe("source package, where that has another name"),
    "summary": text("what it is; may be empty"),
}
_UNIT: Final = {
    "name": text("its name"),
    "path": text("its file, or the link that stands for it"),
    "state": one_of("as systemctl has it", "enabled", "disabled", "static", "masked", "alias", "indirect"),
    "preset": maybe("enabled or disabled by the presets; null where they do not say"),
    "description": text("what it is; may be empty"),
    "wanted_by": texts("units that start it"),
    "listen": texts("addresses that a socket listens on"),
    "start": maybe("command of a service"),
    "package": maybe("package that it belongs to"),
}
_USER: Final = {
    "name": text("name"),
    "uid": count("id"),
    "gid": count("id of the group"),
    "comment": text("who it is"),
    "home": text("home directory"),
    "shell": text("shell"),
    "password": one_of("whether a password lets it in", "none", "set", "empty", "unknown"),
}
_GROUP: Final = {"name": text("name"), "gid": count("id"), "members": texts("users in it")}
_KERNEL: Final = {
    "version": text("version"),
    "path": text("path of the kernel"),
    "ramdisks": texts("paths of its ramdisks"),
    "arguments": _MAYBE_TEXTS | {"description": "arguments by the boot loader; null where it has none"},
}
_LAYER: Final = {
    "digest": maybe("digest as stored"),
    "diff_id": maybe("digest of the tar"),
    "size": maybe_count("bytes as stored"),
    "key": maybe("key, of a layer that dibo built"),
    "flavour": maybe("flavour that made it"),
    "title": maybe("what made it"),
}
_PARTITION: Final = {
    "number": count("number; 0 for a disk without partitions"),
    "start": count("first byte"),
    "size": count("bytes"),
    "filesystem": maybe("file system"),
    "label": maybe("its label"),
    "uuid": maybe("its UUID"),
    "mounted": maybe("path of its files in the inventory; null where they are not in it"),
    "trouble": maybe("why its files cannot be read"),
}


def _pairs(description: str, record: Schema) -> Schema:
    either = {
        "name": text("its name"),
        "change": one_of("what happened to it", "added", "removed", "changed"),
        "before": _maybe_object("in the first image, or null", record),
        "after": _maybe_object("in the second image, or null", record),
    }
    return list_of(description, either)


def _text_pairs(description: str) -> Schema:
    either = {
        "name": text("what it is"),
        "change": one_of("what happened to it", "added", "removed", "changed"),
        "before": maybe("in the first image"),
        "after": maybe("in the second image"),
    }
    return list_of(description, either)


_FILE_CHANGE: Final = {
    "path": text("its path; bytes that are no UTF-8 as \\xNN"),
    "change": one_of("what happened to it", "added", "removed", "changed"),
    "aspects": texts(
        "what changed of it: type, content, size, target, device, mode, owner, group, xattrs, time; else empty"
    ),
    "of_package": flag("whether a package that changed explains it"),
    "before": _maybe_object("in the first image, or null", _FILE),
    "after": _maybe_object("in the second image, or null", _FILE),
}
_COMPARED: Final = {**_IMAGE, "packages": maybe_count("how many packages; null without a database")}

INSPECT: Final = document(
    "inspect",
    "`dibo inspect`",
    **_IMAGE,
    system=map_of("variables of os-release(5)", {"type": "string"}),
    packages=_maybe_list("packages by name; null without a database that dibo reads", _PACKAGE),
    units=list_of("units of systemd by name", _UNIT),
    users=list_of("users by id", _USER),
    groups=list_of("groups by id", _GROUP),
    kernels=list_of("kernels, the newest last", _KERNEL),
    cmdline=_MAYBE_TEXTS
    | {"description": "arguments of the newest kernel; null where the image does not say"},
    labels=map_of("labels of a container image", {"type": "string"}),
    config={"type": "object", "description": "how a container image is run, as its config has it"},
    layers=list_of("layers, the lowest first", _LAYER),
    partitions=list_of("partitions of a disk", _PARTITION),
    files=_maybe_list("files by path, with --files; else null", {"path": text("its path"), **_FILE}),
    notes=texts("what was left out, and why"),
)
DIFF: Final = document(
    "diff",
    "`dibo diff`",
    before=object_of(_COMPARED) | {"description": "the first image"},
    after=object_of(_COMPARED) | {"description": "the second image"},
    same=flag("whether the contents are the same"),
    sections=texts("what was compared"),
    system=_text_pairs("architecture and os-release(5)"),
    packages=_pairs("packages", _PACKAGE),
    files=list_of("files by path", _FILE_CHANGE),
    units=_pairs("units of systemd", _UNIT),
    users=_pairs("users", _USER),
    groups=_pairs("groups", _GROUP),
    kernels=_pairs("kernels", _KERNEL),
    config=_text_pairs("how a container image is run, and its labels"),
    partitions=_pairs("partitions of two disks", _PARTITION),
    layers=_maybe_object(
        "layers; null where they were not compared",
        {
            "shared": count("layers that are the same at the bottom of both"),
            "before": list_of("layers of the first image, the lowest first", _LAYER),
            "after": list_of("layers of the second image, the lowest first", _LAYER),
        },
    ),
    sizes=list_of(
        "directories whose sizes differ, the largest difference first",
        {
            "path": text("the directory"),
            "before": count("bytes in the first image"),
            "after": count("bytes in the second image"),
        },
    ),
    left_out=map_of("how many differences were left out, by reason", {"type": "integer", "minimum": 1}),
    notes=texts("what was not compared, and why"),
)
