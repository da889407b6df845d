"""The manifest beside an image: what it was made of, what is in it, and what its files must be.

    web.manifest.json               beside web.qcow2, web.raw, … of one run
    deploy.ramdisk.manifest.json    beside deploy.ramdisk and deploy.kernel

The same image has the same manifest, whoever made it, where and when: so no path, no name of a machine, no time of day,
no engine is in it. Nor is a secret: of variables that belong to `local` flavours, or whose name speaks of a secret, the
name alone. docs/reference/manifest.md says what each part means; SCHEMA is what holds.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from dibo import __version__
from dibo.build.build import Job
from dibo.disk.request import Order
from dibo.flavours.model import Flavour
from dibo.flavours.stack import Stack
from dibo.layout.merge import document
from dibo.plan import keys
from dibo.ramdisk.settings import RamdiskSettings
from dibo.settings.settings import VARIABLES
from dibo.system import resources
from dibo.system.workspace import Run
from dibo.tree.dpkg import Package

FORMAT: Final = 1
SUFFIX: Final = ".manifest.json"
_SECRET: Final = re.compile(r"pass|secret|token|credential|private|(^|_)key($|_)|proxy", re.IGNORECASE)
_SHAPES: Final = ("DIBO_QCOW2_COMPRESSION",)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What reading a root told."""

    layers: tuple[str, ...]
    """Digests of the lowest layer first (dibo.images.layers.change_digest)."""
    packages: tuple[Package, ...] | None


def of_build(job: Job, *, command: str, options: Mapping[str, str]) -> Document:
    """What is known of a built image before it is read. `options` are variables for converters."""
    settings, plan = job.settings, job.plan
    asked = set(settings.flavours)
    titles = [plan.base_name, *(planned.step.title for planned in plan.steps)]
    layer_keys = [plan.base_key, *(planned.key for planned in plan.steps)]
    local = [False, *(planned.step.local for planned in plan.steps)]
    return {
        **_head(command, architecture=settings.architecture, time=settings.source_date_epoch),
        "epoch": settings.epoch,
        "base": {
            "name": plan.base_name,
            "wanted": _wanted(settings.base),
            "release": settings.release,
            "mirror": without_login(settings.mirror) if settings.mirror else None,
            "ingredients": json.loads(plan.base_ingredients)["base"],
        },
        "flavours": [
            {
                "name": flavour.name,
                "digest": flavour_digest(flavour),
                "from": "dibo" if _is_built_in(flavour) else "elsewhere",
                "asked": flavour.name in asked,
            }
            for flavour in job.stack.flavours
        ],
        "environment": told(job.stack, settings.environment.get),
        "options": shaping(options),
        "layers": [
            {"title": title, "key": key, "local": is_local}
            for title, key, is_local in zip(titles, layer_keys, local, strict=True)
        ],
    }


def of_image(
    name: str, digest: str, *, diff_ids: Sequence[str | None], key: str | None, order: Order
) -> Document:
    """What is known of an image that was found somewhere, before it is read."""
    return {
        **_head("dibo convert", architecture=order.architecture, time=order.epoch if order.clamp else None),
        "image": {"name": public_name(name), "digest": digest, "key": key},
        "options": shaping(order.options),
        "layers": [{"diff-id": diff_id} for diff_id in diff_ids],
    }


def of_prepared(about: Mapping[str, Any], job: Job) -> Document:
    """`about` an image on which boot files were made, by the steps of `job` on its layers."""
    built = of_build(job, command="dibo convert", options={})
    return {**about, "flavours": built["flavours"], "layers": [*about["layers"], *built["layers"][1:]]}


def of_disk(order: Order, layout_file: Path | None) -> Document:
    """What a disk is to be like; whether a file of the user's said how it is laid out."""
    return {
        "disk": {
            "size": order.image_size,
            "size-set-by": order.size_set_by,
            "filesystem": order.filesystem,
            "layout": document(order.layout) if order.layout is not None else None,
            "layout-of-a-file": layout_file is not None,
            "loop": order.loop,
        }
    }


def of_ramdisk(settings: RamdiskSettings) -> Document:
    """What a ramdisk is to be like. What it takes from the machine that makes it is said, not where that lies."""
    return {
        "ramdisk": {
            "kernel-version": settings.kernel_version,
            "compression": f"{settings.compression.method}:{settings.compression.level}",
            "microcode": settings.microcode,
            "kernel-of-this-machine": settings.module_root is not None,
            "busybox-of-this-machine": settings.busybox is not None,
        }
    }


def artefacts(kinds: Sequence[str], paths: Sequence[Path], sums: Sequence[str]) -> list[Document]:
    """Files that were made: `sums` are their sha256, or none where nobody asked."""
    return [
        {"type": kind, "name": path.name, "size": path.stat().st_size, "sha256": digest}
        for kind, path, digest in zip_longest(kinds, paths, sums)
    ]


def complete(about: Mapping[str, Any], facts: Facts, made: Sequence[Document]) -> Document:
    """The whole of a manifest. A base that is an image may have several layers; `about` has one for it."""
    base, steps = about["layers"][:1], about["layers"][1:]
    below = max(1, len(facts.layers) - len(steps))
    layers = [dict(layer) for layer in (*base * below, *steps)]
    for layer, digest in zip(layers, facts.layers, strict=bool(facts.layers)):
        layer["digest"] = digest
    packages = facts.packages
    listed = (
        None
        if packages is None
        else [{"name": p.name, "version": p.version, "architecture": p.architecture} for p in packages]
    )
    return {**about, "layers": layers, "packages": listed, "artefacts": list(made)}


def write_manifest(manifest: Mapping[str, Any], target: Path, run: Run) -> None:
    """As JSON, in one way only."""
    with run.output(target) as part:
        part.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def write_checksum(path: Path, run: Run) -> str:
    """`NAME.sha256` as sha256sum(1) writes and checks it; the sha256."""
    digest = sha256_of(path)
    with run.output(path.with_name(f"{path.name}.sha256")) as part:
        part.write_text(f"{digest}  {path.name}\n")
    return digest


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flavour_digest(flavour: Flavour) -> str:
    """Of every file of a flavour that can change an image: path, kind, mode, bytes."""
    files = [
        [file.path, file.kind.value, file.executable, file.digest]
        for file in sorted((*flavour.files, *flavour.ramdisk, *flavour.declarations))
    ]
    return f"sha256:{keys.key_of({'files': files})}"


def shaping(options: Mapping[str, str]) -> dict[str, str]:
    """Those variables for converters that can change what they make."""
    return {
        name: value
        for name, value in sorted(options.items())
        if (name in _SHAPES or name not in VARIABLES) and name != "DIBO_RUN" and not _SECRET.search(name)
    }


def public_name(reference: str) -> str:
    """An image as it was named, without the directories that a file lies in."""
    transport, colon, rest = reference.partition(":")
    is_file = colon and transport in ("oci", "oci-archive", "docker-archive", "dir")
    return f"{transport}:{Path(rest).name}" if is_file else reference


def without_login(address: str) -> str:
    """Addresses, separated by blanks, without names of users and their passwords."""
    return " ".join(
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        for parts in map(urlsplit, address.split())
    )


def _head(command: str, *, architecture: str, time: int | None) -> Document:
    import zstandard
    from zlib_ng import zlib_ng

    return {
        "format": FORMAT,
        "made-by": {
            "dibo": __version__,
            "command": command,
            "python": platform.python_version(),
            "zlib-ng": zlib_ng.ZLIBNG_RUNTIME_VERSION,
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        },
        "architecture": architecture,
        "source-date-epoch": time,
    }


def _wanted(base: str) -> str | None:
    """A base as it was asked for; None for what only its maker has: a file, a directory."""
    if base.startswith(("http://", "https://")):
        return without_login(base)
    is_local = base.startswith(("oci:", "/", ".", "~")) or Path(base).is_file()
    return None if is_local else base


def told(stack: Stack, chosen: Callable[[str], str | None]) -> dict[str, str | None]:
    """The variables that flavours declare; None for values that may be secrets. `chosen` has the user's."""
    values: dict[str, str | None] = dict(sorted(stack.environment(chosen).items()))
    for flavour in stack.flavours:
        for name, default in flavour.environment:
            if values[name] not in (None, "", default) and (flavour.local or _SECRET.search(name)):
                values[name] = None
    return values


def _is_built_in(flavour: Flavour) -> bool:
    return flavour.origin.resolve().is_relative_to(resources.shared("flavours").resolve())
