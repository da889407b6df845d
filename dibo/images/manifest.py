"""Manifests and indexes of images: pure questions about their JSON.

OCI image specification, manifest.md, image-index.md, descriptor.md; Docker's types are their elder twins:

    index       {"mediaType": …index…, "manifests": [DESCRIPTOR with "platform": {"os", "architecture", "variant"}, …]}
    manifest    {"mediaType": …manifest…, "config": DESCRIPTOR, "layers": [DESCRIPTOR, …]}, the lowest layer first
    DESCRIPTOR  {"mediaType", "digest": "sha256:…", "size"}
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from dibo.errors import RegistryError, VerificationFailed

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPES: Final = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES: Final = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
# OCI distribution specification, "Pushing Manifests": what every registry must take
LARGEST_MANIFEST: Final = 4 << 20
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """As descriptors have it: `sha256:…`."""
    return f"{algorithm}:{hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()}"


def checked(body: bytes, *, description: str, expected: str | None = None) -> tuple[str, dict[str, Any]]:
    """The digest of a manifest, and what it says. Raises VerificationFailed when it is not `expected`, RegistryError
    when it is not a JSON object or too large."""
    if len(body) > LARGEST_MANIFEST:
        raise RegistryError(f"the manifest of {description} is larger than any manifest may be")
    digest = digest_of(body, (expected or "sha256:").partition(":")[0])
    if expected not in (None, digest):
        raise VerificationFailed(
            f"{digest} came for {description}",
            hint="do not use it; report it to the operator of the registry",
        )
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise RegistryError(f"what came for {description} is no manifest", hint="is this a registry?")
    return digest, manifest
