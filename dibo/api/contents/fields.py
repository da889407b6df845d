"""Records of inventories as the values of JSON documents (dibo.api.contents.schema)."""

from __future__ import annotations

from typing import Any

from dibo.contents.inventory import (
    NO_LAYER,
    FileRecord,
    GroupRecord,
    InstalledPackage,
    Inventory,
    KernelRecord,
    LayerRecord,
    PartitionRecord,
    Unit,
    UserRecord,
    shown,
)

Fields = dict[str, Any]


def image_fields(inventory: Inventory) -> Fields:
    """Of one of the two images of a comparison."""
    return {
        "name": inventory.name,
        "form": inventory.form,
        "format": inventory.format,
        "architecture": inventory.architecture or None,
        "digest": inventory.digest or None,
        "entries": inventory.totals.entries,
        "bytes": inventory.totals.bytes,
        "stored": inventory.totals.stored or None,
        "packages": None if inventory.packages is None else len(inventory.packages),
    }


def file_fields(record: FileRecord) -> Fields:
    return {
        "type": record.kind,
        "mode": f"{record.mode:04o}",
        "uid": record.uid,
        "gid": record.gid,
        "size": record.size,
        "mtime": record.mtime,
        "target": record.target.decode(errors="backslashreplace") or None,
        "device": list(record.device) if record.kind.endswith("device") else None,
        "xattrs": {
            name.decode(errors="backslashreplace"): value.hex() for name, value in record.xattrs.items()
        },
        "link_to": shown(record.first_name) if record.first_name else None,
        "package": record.package or None,
        "layer": record.layer if record.layer != NO_LAYER else None,
        "sha256": record.digest or None,
    }


def package_fields(package: InstalledPackage) -> Fields:
    return {
        "name": package.name,
        "architecture": package.architecture,
        "version": package.version,
        "manager": package.manager,
        "size": package.size or None,
        "source": package.source or None,
        "summary": package.summary,
    }


def unit_fields(unit: Unit) -> Fields:
    return {
        "name": unit.name,
        "path": shown(unit.path),
        "state": unit.state,
        "preset": unit.preset or None,
        "description": unit.description,
        "wanted_by": list(unit.wanted_by),
        "listen": list(unit.listen),
        "start": unit.start or None,
        "package": unit.package or None,
    }


def user_fields(user: UserRecord) -> Fields:
    return {
        "name": user.name,
        "uid": user.uid,
        "gid": user.gid,
        "comment": user.comment,
        "home": user.home,
        "shell": user.shell,
        "password": user.password,
    }


def group_fields(group: GroupRecord) -> Fields:
    return {"name": group.name, "gid": group.gid, "members": list(group.members)}


def kernel_fields(kernel: KernelRecord) -> Fields:
    return {
        "version": kernel.version,
        "path": kernel.path,
        "ramdisks": list(kernel.ramdisks),
        "arguments": None if kernel.arguments is None else list(kernel.arguments),
    }


def layer_fields(layer: LayerRecord) -> Fields:
    return {
        "digest": layer.digest or None,
        "diff_id": layer.diff_id or None,
        "size": layer.size or None,
        "key": layer.key or None,
        "flavour": layer.flavour or None,
        "title": layer.title or None,
    }


def partition_fields(partition: PartitionRecord) -> Fields:
    return {
        "number": partition.number,
        "start": partition.start,
        "size": partition.size,
        "filesystem": partition.filesystem or None,
        "label": partition.label or None,
        "uuid": partition.uuid or None,
        "mounted": partition.mounted or None,
        "trouble": partition.trouble or None,
    }
