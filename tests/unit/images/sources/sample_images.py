"""Images made by hand, valid or invalid as a test needs them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
TAG = "org.opencontainers.image.ref.name"

Change = Mapping[str, Any]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer_tar(name: str) -> bytes:
    """A tar with one file."""
    return tar_of({name: name.encode()})


def tar_of(
    files: Mapping[str, bytes], links: Mapping[str, str] | None = None, *, hard: bool = False
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.LNKTYPE if hard else tarfile.SYMTYPE
            member.linkname = target
            tar.addfile(member)
    return out.getvalue()


class Maker:
    """An OCI layout as it grows: blobs by digest. `write` makes the directory, `files` gives what a tar holds."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.index: Any = None

    def blob(self, data: bytes | Any, kind: str, **more: Any) -> dict[str, Any]:
        """Add a blob, JSON unless it is bytes; its descriptor."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.blobs[digest_of(body)] = body
        return {"mediaType": kind, "digest": digest_of(body), "size": len(body), **more}

    def image(
        self,
        *,
        architecture: str = "amd64",
        variant: str = "",
        names: Sequence[str] = ("low", "high"),
        config: Change | None = None,
        manifest: Change | None = None,
        compress: bool = False,
        docker: bool = False,
        **more: Any,
    ) -> dict[str, Any]:
        """Add an image with a layer for each of `names`; the descriptor of its manifest."""
        tars = [layer_tar(name) for name in names]
        kind = DOCKER_LAYER if docker else f"{LAYER}+gzip" if compress else LAYER
        layers = [self.blob(gzip.compress(tar, 1) if compress else tar, kind) for tar in tars]
        about = {
            "os": "linux",
            "architecture": architecture,
            **({"variant": variant} if variant else {}),
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
            **(config or {}),
        }
        document = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else MANIFEST,
            "config": self.blob(about, DOCKER_CONFIG if docker else CONFIG),
            "layers": layers,
            **(manifest or {}),
        }
        return self.blob(document, str(document["mediaType"]), **more)

    def id_of(self, manifest: Mapping[str, Any]) -> str:
        """What an image of that manifest is known by: the digest of its config."""
        return str(json.loads(self.blobs[manifest["digest"]])["config"]["digest"])

    def index_of(self, *entries: Any, kind: str = INDEX) -> dict[str, Any]:
        return self.blob({"schemaVersion": 2, "mediaType": kind, "manifests": entries}, kind)

    def top(self, *entries: Any) -> None:
        self.index = {"schemaVersion": 2, "manifests": entries}

    @property
    def files(self) -> dict[str, bytes]:
        return {
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
            "index.json": json.dumps(self.index).encode(),
            **{f"blobs/{digest.replace(':', '/')}": body for digest, body in self.blobs.items()},
        }

    def write(self, directory: Path) -> Path:
        write_files(directory, self.files)
        return directory


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    for name, body in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


def tagged(descriptor: Mapping[str, Any], tag: str, **more: str) -> dict[str, Any]:
    return {**descriptor, "annotations": {TAG: tag, **more}}


def on(architecture: str, variant: str = "", os: str = "linux") -> dict[str, Any]:
    """The platform of an entry of an index."""
    words = {"os": os, "architecture": architecture, "variant": variant}
    return {"platform": {key: word for key, word in words.items() if word}}
