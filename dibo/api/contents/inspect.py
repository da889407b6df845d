"""From the name of an image to what is in it: text, a JSON document."""

from __future__ import annotations

from collections.abc import Mapping

from dibo.api.contents.fields import (
    Fields,
    file_fields,
    group_fields,
    image_fields,
    kernel_fields,
    layer_fields,
    package_fields,
    partition_fields,
    unit_fields,
    user_fields,
)
from dibo.api.contents.read import read_request
from dibo.api.documents import CommandAnswer, new_document
from dibo.contents.inventory import Inventory, shown
from dibo.contents.inventory_text import inventory_text
from dibo.contents.read import open_contents
from dibo.settings.settings import Settings
from dibo.system.report import Report


def inspect(settings: Settings, report: Report, name: str, *, files: bool) -> CommandAnswer:
    """What is in the image `name`; with `files`, each file with the sha256 of its bytes. Raises as
    dibo.contents.read.open_contents does."""
    with read_request(settings, report, hashes=files) as reading, open_contents(name, reading) as contents:
        inventory = contents.inventory
        digests: Mapping[bytes, str] = {}
        if files:
            unknown = [
                path
                for path, record in inventory.files.items()
                if record.kind == "file" and not record.digest
            ]
            with report.task("hash files"):
                digests = contents.digests(unknown)
        return CommandAnswer(
            text=inventory_text(inventory, files=files),
            document=new_document("inspect", **_fields(inventory, digests, files=files)),
        )


def _fields(inventory: Inventory, digests: Mapping[bytes, str], *, files: bool) -> Fields:
    packages = inventory.packages
    return {
        **image_fields(inventory),
        "system": dict(inventory.os_release),
        "packages": None if packages is None else [package_fields(package) for package in packages],
        "units": [unit_fields(unit) for unit in inventory.units],
        "users": [user_fields(user) for user in inventory.users],
        "groups": [group_fields(group) for group in inventory.groups],
        "kernels": [kernel_fields(kernel) for kernel in inventory.kernels],
        "cmdline": None if inventory.cmdline is None else list(inventory.cmdline),
        "labels": dict(inventory.labels),
        "config": {name: value for name, value in inventory.config.items() if name != "Labels"},
        "layers": [layer_fields(layer) for layer in inventory.layers],
        "partitions": [partition_fields(partition) for partition in inventory.partitions],
        "files": [_file(inventory, path, digests) for path in inventory.files] if files else None,
        "notes": list(inventory.notes),
    }


def _file(inventory: Inventory, path: bytes, digests: Mapping[bytes, str]) -> Fields:
    record = inventory.files[path]
    return {
        "path": shown(path),
        **file_fields(record),
        "sha256": record.digest or digests.get(path) or None,
    }
