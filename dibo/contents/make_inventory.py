"""From a tree to an inventory: one record for each name, and what the files in memory say."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import Any, Final

from dibo.contents.inventory import NO_LAYER, FileRecord, Inventory, KernelRecord, Totals
from dibo.contents.node_system import kernels_of
from dibo.contents.packages import PackageDatabase
from dibo.contents.tree_source import TreeSource, walk
from dibo.contents.units import units
from dibo.contents.users import groups, users
from dibo.errors import DiskImageError
from dibo.tree.node import TYPE_NAMES, Node
from dibo.tree.query import find, os_release

_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)
_USR: Final = b"usr/"
_NONE: Final[dict[bytes, bytes]] = {}


def inventory_of(source: TreeSource, *, manifest: Mapping[str, Any] | None = None) -> Inventory:
    """`manifest` is what dibo wrote beside the image."""
    database = PackageDatabase(source.root)
    files = dict(_files(source, database.owners))
    kernels, notes = _kernels(source.root)
    return Inventory(
        name=source.name,
        form=source.form,
        format=source.format,
        architecture=source.architecture or _architecture(source.root, database, manifest),
        digest=source.digest,
        files=files,
        root=_record(source.root),
        totals=_totals(files, source.stored),
        packages=database.packages,
        units=units(source.root, database.owners),
        users=users(source.root),
        groups=groups(source.root),
        kernels=kernels,
        cmdline=kernels[-1].arguments if kernels else None,
        os_release=os_release(source.root),
        labels=source.labels,
        config=source.config,
        layers=source.layers,
        partitions=source.partitions,
        manifest=manifest,
        notes=(*source.notes, *database.notes, *notes),
    )


def _files(source: TreeSource, owners: Mapping[bytes, str]) -> Iterator[tuple[bytes, FileRecord]]:
    notes = source.layer_notes
    first: dict[Node, bytes] = {}
    for path, node in walk(source.root):
        first_name = b""
        if node.children is None:
            first_name = first.setdefault(node, path)
            layer = notes.nodes.get(node, NO_LAYER)
        else:
            layer = notes.directories.get(path, NO_LAYER)
        digest = notes.digests.get(node, "") if stat.S_ISREG(node.mode) else ""
        yield (
            path,
            _record(
                node,
                first_name=b"" if first_name == path else first_name,
                layer=layer,
                package=_owner(path, owners),
                digest=digest,
            ),
        )


def _record(
    node: Node, *, first_name: bytes = b"", layer: int = NO_LAYER, package: str = "", digest: str = ""
) -> FileRecord:
    kind = stat.S_IFMT(node.mode)
    return FileRecord(
        kind=TYPE_NAMES.get(kind, "unknown"),
        mode=stat.S_IMODE(node.mode),
        uid=node.uid,
        gid=node.gid,
        size=node.size if kind == stat.S_IFREG else len(node.target),
        mtime=node.mtime,
        target=node.target,
        device=node.device if kind in _DEVICES else (0, 0),
        xattrs=node.xattrs or _NONE,
        first_name=first_name,
        layer=layer,
        package=package,
        digest=digest,
    )


def _owner(path: bytes, owners: Mapping[bytes, str]) -> str:
    """dpkg knows `lib/…` of a package that was made before /usr was merged."""
    owner = owners.get(path)
    if owner is None and path.startswith(_USR):
        owner = owners.get(path[len(_USR) :])
    return owner or ""


def _totals(files: Mapping[bytes, FileRecord], stored: int) -> Totals:
    regular = [record for record in files.values() if record.kind == "file" and not record.first_name]
    return Totals(
        entries=len(files),
        files=len(regular),
        directories=sum(record.kind == "directory" for record in files.values()),
        symlinks=sum(record.kind == "symlink" for record in files.values()),
        bytes=sum(record.size for record in regular),
        stored=stored,
    )


def _kernels(root: Node) -> tuple[tuple[KernelRecord, ...], tuple[str, ...]]:
    try:
        return kernels_of(root), ()
    except DiskImageError as error:
        return (), (f"kernels cannot be listed: {error.message}",)


def _architecture(root: Node, database: PackageDatabase, manifest: Mapping[str, Any] | None) -> str:
    """What the manifest says, or dpkg's own package, or apk."""
    if manifest is not None and isinstance(manifest.get("architecture"), str):
        return str(manifest["architecture"])
    for package in database.packages or ():
        if package.name == "dpkg" and package.manager == "dpkg":
            return package.architecture
    node = find(root, "/etc/apk/arch")
    return node.data.decode(errors="replace").strip() if node is not None and node.data else ""
