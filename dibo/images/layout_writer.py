"""An image written out as an OCI layout, for programs that read no other source of images.

    oci-layout            {"imageLayoutVersion": "1.0.0"}
    index.json            one manifest
    blobs/sha256/<hex>    manifest, config and layers, each under its digest

OCI image specification, image-layout.md, manifest.md, config.md. Layers stay as they are stored; what reads the layout
checks them against their digests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dibo.errors import VerificationFailed
from dibo.formats import magic
from dibo.images.image import Image, Layer

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CHUNK: Final = 1 << 20
_SUFFIXES: Final = {"gzip": "+gzip", "zstd": "+zstd"}


def save_layout(image: Image, directory: Path) -> str:
    """Write `image` into `directory`, which is empty; the digest of its manifest.

    Raises VerificationFailed for a layer whose bytes are not those of its digest, and what opening layers raises.
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layers = [_layer(layer, blobs, description=image.name) for layer in image.layers]
    config = _json(blobs, _with_history(image.config, len(layers)), _CONFIG)
    manifest = _json(
        blobs, {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": layers}, _MANIFEST
    )
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return str(manifest["digest"])


def _with_history(config: Mapping[str, Any], layers: int) -> Mapping[str, Any]:
    """History may be left out, or be wrong (config.md), but engines refuse to build on an image where it does not tell
    as many layers as there are."""
    history = config.get("history")
    entries = [entry for entry in history if isinstance(entry, dict)] if isinstance(history, list) else []
    if sum(1 for entry in entries if not entry.get("empty_layer")) == layers:
        return config
    return {**config, "history": [{"comment": "layer"}] * layers}


def _layer(layer: Layer, blobs: Path, *, description: str) -> dict[str, Any]:
    digest, size, head = hashlib.sha256(), 0, b""
    part = blobs / "part"
    with layer.open() as source, part.open("wb") as target:
        while chunk := source.read(_CHUNK):
            head = head or chunk[:4]
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
    name = f"sha256:{digest.hexdigest()}"
    if layer.digest not in (None, name) or layer.size not in (None, size):
        raise VerificationFailed(
            f"a layer of {description} does not match its digest: expected {layer.digest}, got {name}",
            hint="do not use it; fetch the image again",
        )
    part.replace(blobs / digest.hexdigest())
    suffix = _SUFFIXES.get(magic.compression(head), "")
    return {"mediaType": _LAYER + suffix, "digest": name, "size": size}


def _json(blobs: Path, document: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    body = json.dumps(document).encode()
    digest = hashlib.sha256(body).hexdigest()
    (blobs / digest).write_bytes(body)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(body)}
