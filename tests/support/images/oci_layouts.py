"""OCI image layouts made by hand, from layers as bytes or files: for what no tool can be made to write.

OCI image specification: image-layout.md, manifest.md, config.md, image-index.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTar:
    """A tar that is to be a layer."""

    tar: Path
    compression: str = "gzip"


class OciLayout:
    """A directory that fills up with blobs. `write_index` comes last."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = directory / "blobs" / "sha256"
        self._blobs.mkdir(parents=True)
        (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def image(
        self,
        layers: Sequence[LayerTar],
        *,
        architecture: str = "amd64",
        environment: Sequence[str] = (),
        run: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Add an image; the descriptor of its manifest. `run` is what its config says about running it."""
        found = [self._layer(layer) for layer in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {**({"Env": [*environment]} if environment else {}), **(run or {})},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in found]},
            "history": [{"created_by": "by hand"} for _ in found],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self._json(config, f"{OCI}.config.v1+json"),
            "layers": [descriptor for descriptor, _ in found],
        }
        return self._json(manifest, f"{OCI}.manifest.v1+json")

    def index(self, manifests: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Add an index of manifests; its descriptor."""
        content = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [*manifests]}
        return self._json(content, f"{OCI}.index.v1+json")

    def write_index(self, tags: Mapping[str, dict[str, Any]]) -> None:
        named = [
            {**descriptor, "annotations": {"org.opencontainers.image.ref.name": tag}}
            for tag, descriptor in tags.items()
        ]
        (self.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": named}))

    def _layer(self, layer: LayerTar) -> tuple[dict[str, Any], str]:
        place = self.directory / "new"
        compress(layer.tar, place, layer.compression)
        digest, size = _digest(place), place.stat().st_size
        place.rename(self._blobs / digest)
        suffix = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}[layer.compression]
        kind = f"{OCI}.layer.v1.tar{suffix}"
        return (
            {"mediaType": kind, "digest": f"sha256:{digest}", "size": size},
            f"sha256:{_digest(layer.tar)}",
        )

    def _json(self, value: Mapping[str, Any], media_type: str) -> dict[str, Any]:
        content = json.dumps(value).encode()
        digest = hashlib.sha256(content).hexdigest()
        (self._blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def compress(source: Path, target: Path, compression: str) -> None:
    if compression == "none":
        os.link(source, target)  # a sparse file stays one
    elif compression == "zstd":
        subprocess.run(["zstd", "-q", "-1", "-T2", "-f", str(source), "-o", str(target)], check=True)
    else:
        with source.open("rb") as plain, gzip.GzipFile(target, "wb", compresslevel=1, mtime=0) as packed:
            shutil.copyfileobj(plain, packed, 1 << 20)


def simple(directory: Path, layers: Sequence[LayerTar], tag: str = "latest") -> Path:
    """A layout of one image; its directory."""
    layout = OciLayout(directory)
    layout.write_index({tag: layout.image(layers)})
    return directory


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Tar:
    """A tar by Python's tarfile, member by member; names are bytes as they shall be in the image."""

    def __init__(self, path: Path, format: int = tarfile.PAX_FORMAT) -> None:
        self.path = path
        self._file = tarfile.open(path, "w", format=format, errors="surrogateescape")  # noqa: SIM115

    def add(
        self,
        name: str | bytes,
        content: bytes = b"",
        *,
        kind: bytes = tarfile.REGTYPE,
        change: Callable[[tarfile.TarInfo], None] | None = None,
        **attributes: Any,
    ) -> None:
        member = tarfile.TarInfo(name if isinstance(name, str) else name.decode(errors="surrogateescape"))
        member.type = kind
        member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
        member.size = len(content)
        member.mtime = 1_000_000_000
        for key, value in attributes.items():
            setattr(member, key, value)
        if change:
            change(member)
        self._file.addfile(member, io.BytesIO(content) if content else None)

    def directory(self, name: str | bytes, **attributes: Any) -> None:
        self.add(name, kind=tarfile.DIRTYPE, **attributes)

    def symlink(self, name: str | bytes, target: str, **attributes: Any) -> None:
        self.add(name, kind=tarfile.SYMTYPE, linkname=target, **attributes)

    def link(self, name: str | bytes, target: str, **attributes: Any) -> None:
        self.add(name, kind=tarfile.LNKTYPE, linkname=target, **attributes)

    def whiteout(self, name: str) -> None:
        directory, slash, last = name.rpartition("/")
        self.add(f"{directory}{slash}.wh.{last}", mode=0)

    def opaque(self, directory: str) -> None:
        self.add(f"{directory}/.wh..wh..opq", mode=0)

    def close(self) -> Path:
        self._file.close()
        return self.path
