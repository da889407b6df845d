"""A kit as an image of one layer, in an OCI layout that may hold the same kit for other architectures.

Directories that the kit shares with every root, such as /usr/lib, are not in the layer: the image decides what they
are, and symbolic links of the image on the way are followed, as if a process had written the files.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dibo.artefacts.outputs import check_writable
from dibo.errors import OutputError
from dibo.images.image import Image, Layer, Reader
from dibo.images.layers.spool import Spool
from dibo.images.layers.tar_writer import TarOutput, write_tar
from dibo.images.manifest import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, digest_of
from dibo.images.platforms import PLATFORMS
from dibo.kits.make import Kit
from dibo.kits.manifest import LABEL
from dibo.tree.node import Node
from dibo.tree.query import walk

_IMPLIED: Final = frozenset(
    f"./{path}".encode()
    for path in (
        *("", "boot/", "boot/grub/", "usr/", "usr/lib/", "usr/lib/modules/", "usr/lib/firmware/"),
        "usr/lib/dibo/",
    )
)
"""Directories that get no entry."""
_CHUNK: Final = 1 << 20


def write_layer(kit: Kit, spool: Spool, path: Path, *, epoch: int) -> Image:
    """Write the layer to `path`, compressed; the image. The contents of the kit's tree are in `spool`, which takes
    those that have bytes of their own."""
    import zstandard

    _spool_bytes(kit.tree, spool)
    plain = hashlib.sha256()
    with path.open("wb") as file, zstandard.ZstdCompressor(level=9).stream_writer(file) as packed:
        write_tar(kit.tree, spool, _Hashing(packed, plain), epoch=epoch, without=_IMPLIED)
    with path.open("rb") as written:
        stored = hashlib.file_digest(written, "sha256").hexdigest()

    @contextmanager
    def opened() -> Iterator[Reader]:
        with path.open("rb") as source:
            yield source

    layer = Layer(
        open=opened,
        digest=f"sha256:{stored}",
        size=path.stat().st_size,
        diff_id=f"sha256:{plain.hexdigest()}",
        media_type=f"{OCI_LAYER}+zstd",
    )
    config = _config(kit, f"sha256:{plain.hexdigest()}", epoch)
    return Image(
        name=f"the kit for {kit.manifest.architecture}",
        digest=digest_of(_json(config)),
        architecture=kit.manifest.architecture,
        layers=(layer,),
        config=config,
    )


class _Hashing:
    def __init__(self, out: TarOutput, digest: Any) -> None:
        self._out, self._digest = out, digest

    def write(self, data: bytes, /) -> object:
        self._digest.update(data)
        return self._out.write(data)


def _spool_bytes(tree: Node, spool: Spool) -> None:
    for node in walk(tree):
        if stat.S_ISREG(node.mode) and node.data and node.content is None:
            node.content = spool.begin(len(node.data))
            spool.write(node.data)
    spool.flush()


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _config(kit: Kit, diff_id: str, epoch: int) -> Mapping[str, Any]:
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "created": created,
        **_platform(kit.manifest.architecture),
        "config": {"Labels": {LABEL: kit.manifest.profile}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": f"dibo build --kit: Linux {kit.manifest.kernel}"}],
    }


def _platform(architecture: str) -> dict[str, str]:
    name, variant = PLATFORMS[architecture]
    return {"architecture": name, "os": "linux", **({"variant": variant} if variant else {})}


def descriptor(image: Image) -> tuple[dict[str, Any], bytes, bytes]:
    """The entry of a kit in an index, its manifest and its config."""
    config = _json(image.config)
    layers = [
        {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for layer in image.layers
    ]
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": layers,
        }
    )
    entry = {
        "mediaType": OCI_MANIFEST,
        "digest": digest_of(manifest),
        "size": len(manifest),
        "platform": _platform(image.architecture),
        "annotations": {LABEL: image.config["config"]["Labels"][LABEL]},
    }
    return entry, manifest, config


def with_entry(index: Mapping[str, Any] | None, entry: Mapping[str, Any], *, place: str) -> bytes:
    """An index with `entry`, in place of one for the same platform. Raises OutputError for an index of something else
    than kits."""
    entries = index.get("manifests") if index is not None else []
    if not isinstance(entries, list) or not all(_is_kit(known) for known in entries):
        raise OutputError(
            f"{place} holds something else than kits", hint="name another place, or remove its content"
        )
    kept = [known for known in entries if known.get("platform") != entry["platform"]]
    kept = sorted((*kept, entry), key=lambda known: json.dumps(known.get("platform"), sort_keys=True))
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": kept})


def _is_kit(entry: object) -> bool:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return isinstance(annotations, dict) and LABEL in annotations


def check_kit_output(directory: Path) -> None:
    """Refuse a directory that no kit can be written to. Raises OutputError."""
    if not directory.absolute().parent.is_dir():
        raise OutputError(
            f"the directory {directory.absolute().parent} does not exist",
            hint="make it, or choose another with -o",
        )
    if directory.exists() and not (
        directory.is_dir() and (_index(directory) or not any(directory.iterdir()))
    ):
        raise OutputError(f"{directory} exists, and is no kit", hint="choose another name with -o")
    place = directory if directory.exists() else directory.absolute().parent
    check_writable(place, hint="choose another directory with -o")


def _index(directory: Path) -> Mapping[str, Any] | None:
    with suppress(OSError, ValueError, RecursionError):
        document = json.loads((directory / "index.json").read_bytes())
        return document if isinstance(document, dict) else None
    return None


def save_kit(image: Image, directory: Path) -> str:
    """Write a kit into an OCI layout, which may hold it for other architectures; the digest of its manifest. The index
    is written last. Raises OutputError."""
    check_kit_output(directory)
    entry, manifest, config = descriptor(image)
    index = with_entry(_index(directory), entry, place=str(directory))
    blobs = directory / "blobs" / "sha256"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        for layer in image.layers:
            with layer.open() as source:
                _write(
                    blobs / str(layer.digest).removeprefix("sha256:"), iter(lambda: source.read(_CHUNK), b"")
                )
        for data in (config, manifest):
            _write(blobs / digest_of(data).removeprefix("sha256:"), iter((data,)))
        _write(directory / "oci-layout", iter((b'{"imageLayoutVersion": "1.0.0"}',)))
        _write(directory / "index.json", iter((index,)))
    except OSError as error:
        raise OutputError(f"cannot write {directory}: {error.strerror}") from error
    return str(entry["digest"])


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
