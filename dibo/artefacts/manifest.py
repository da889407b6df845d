"""The manifest beside an image: what it was made of, what is in it, and what its files must be.

    web.manifest.json               beside web.qcow2, web.raw, … of one run
    deploy.ramdisk.manifest.json    beside deploy.ramdisk and deploy.kernel

The same image has the same manifest, independent of user, machine and time: so no path, no name of a machine, no time
of day, no engine is in it. Nor is a secret: of variables that belong to `local` flavours, or whose name speaks of a
secret, the name alone. docs/reference/manifest.md says what each part means; SCHEMA is what holds.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from dibo import __version__
from dibo.artefacts import recorded
from dibo.flavours.secret_names import SPEAKS_OF_SECRET
from dibo.images.image import Image
from dibo.layout.merge import document
from dibo.layout.model import Layout
from dibo.settings.variables import VARIABLES
from dibo.tree.dpkg import Package
from dibo.tree.node import Buffer

FORMAT: Final = recorded.FORMAT
SUFFIX: Final = recorded.SUFFIX
_SHAPES: Final = ("DIBO_QCOW2_COMPRESSION",)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What reading a root told."""

    layers: tuple[str, ...]
    """Digests of the lowest layer first (dibo.images.layers.change_digest)."""
    packages: tuple[Package, ...] | None


def of_image(
    image: Image, *, key: str | None, architecture: str, time: int | None, options: Mapping[str, str]
) -> Document:
    """What is known of an image that was found somewhere, before it is read. `time` is that of the artefacts, in
    seconds since 1970, where times in the root were clamped to it."""
    return {
        **new_document("dibo convert", architecture=architecture, time=time),
        "image": {"name": public_name(image.name), "digest": image.digest, "key": key},
        "options": shaping(options),
        "layers": [{"diff-id": layer.diff_id} for layer in image.layers],
    }


def of_kit(kit: Image) -> Document:
    """Which kit is on the image."""
    return {"kit": {"name": public_name(kit.name), "digest": kit.digest}}


def of_disk(
    *, size: int, size_set_by: str, filesystem: str, layout: Layout | None, layout_of_a_file: bool, loop: bool
) -> Document:
    """What a disk is to be like; `layout_of_a_file`: whether a file of the user's said how it is laid out."""
    return {
        "disk": {
            "size": size,
            "size-set-by": size_set_by,
            "filesystem": filesystem,
            "layout": document(layout) if layout is not None else None,
            "layout-of-a-file": layout_of_a_file,
            "loop": loop,
        }
    }


def of_ramdisk(
    *, kernel_version: str | None, compression: str, microcode: bool, own_kernel: bool, own_busybox: bool
) -> Document:
    """What a ramdisk is to be like. What it takes from the machine that makes it is said, not where that lies."""
    return {
        "ramdisk": {
            "kernel-version": kernel_version,
            "compression": compression,
            "microcode": microcode,
            "kernel-of-this-machine": own_kernel,
            "busybox-of-this-machine": own_busybox,
        }
    }


def artefacts(
    kinds: Sequence[str], paths: Sequence[Path], sizes: Sequence[int], sums: Sequence[str]
) -> list[Document]:
    """Files that were made: `sums` are their sha256, or empty if no checksums were requested."""
    return [
        {"type": kind, "name": path.name, "size": size, "sha256": digest or None}
        for kind, path, size, digest in zip_longest(kinds, paths, sizes, sums)
    ]


def beside(files: Mapping[str, Buffer]) -> list[Document]:
    """Files that steps left for the directory of the image, by path."""
    return [
        {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
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


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """As JSON, in one way only."""
    return json.dumps(manifest, indent=1, sort_keys=True) + "\n"


def shaping(options: Mapping[str, str]) -> dict[str, str]:
    """Those variables for converters that can change what they make."""
    return {
        name: value
        for name, value in sorted(options.items())
        if (name in _SHAPES or name not in VARIABLES)
        and name != "DIBO_RUN"
        and not SPEAKS_OF_SECRET.search(name)
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


def new_document(command: str, *, architecture: str, time: int | None) -> Document:
    """What every manifest begins with."""
    import deflate
    import zstandard
    from zlib_ng import zlib_ng

    return {
        "format": FORMAT,
        "made-by": {
            "dibo": __version__,
            "command": command,
            "python": platform.python_version(),
            "deflate": deflate.__version__,
            "zlib-ng": zlib_ng.ZLIBNG_RUNTIME_VERSION,
            "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        },
        "architecture": architecture,
        "source-date-epoch": time,
    }
