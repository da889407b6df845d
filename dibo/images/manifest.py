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
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPES: Final = (OCI_INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES: Final = (OCI_MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
# OCI distribution specification, "Pushing Manifests": what every registry must take
LARGEST_MANIFEST: Final = 4 << 20
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")

# Debian's word for an architecture → GOARCH and variant, the words of the OCI specification
PLATFORMS: Final = {
    "amd64": ("amd64", ""),
    "arm64": ("arm64", "v8"),
    "armhf": ("arm", "v7"),
    "i386": ("386", ""),
    "ppc64el": ("ppc64le", ""),
    "riscv64": ("riscv64", ""),
    "s390x": ("s390x", ""),
}


def digest_of(body: bytes, algorithm: str = "sha256") -> str:
    """As descriptors have it: `sha256:…`."""
    return f"{algorithm}:{hashlib.new(algorithm, body, usedforsecurity=False).hexdigest()}"


def checked(body: bytes, *, what: str, wanted: str | None = None) -> tuple[str, dict[str, Any]]:
    """The digest of a manifest, and what it says. Raises VerificationFailed when it is not `wanted`, RegistryError
    when it is not a JSON object or too large."""
    if len(body) > LARGEST_MANIFEST:
        raise RegistryError(f"the manifest of {what} is larger than any manifest may be")
    digest = digest_of(body, (wanted or "sha256:").partition(":")[0])
    if wanted not in (None, digest):
        raise VerificationFailed(
            f"{digest} came for {what}", hint="do not use it; tell whoever runs the registry"
        )
    try:
        manifest = json.loads(body)
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise RegistryError(f"what came for {what} is no manifest", hint="is this a registry?")
    return digest, manifest


def is_image(manifest: dict[str, Any]) -> bool:
    """Whether it is one image's manifest, not an index; the type is optional in OCI's."""
    return manifest.get("mediaType") in MANIFEST_TYPES or (
        "layers" in manifest and "mediaType" not in manifest
    )


def pick(manifest: dict[str, Any], digest: str, *, architecture: str, what: str) -> str:
    """The digest for `architecture`: `digest` itself unless `manifest` is an index. Raises RegistryError."""
    if manifest.get("mediaType") in MANIFEST_TYPES or "layers" in manifest:
        return digest
    entries = manifest.get("manifests")
    if not isinstance(entries, list):
        raise RegistryError(
            f"{what} is neither an image nor an index of images", hint="name a container image"
        )
    found = [entry for entry in entries if _is_for(entry, architecture)]
    if not found:
        have = sorted({_platform(entry) for entry in entries} - {"unknown/unknown"})
        raise RegistryError(
            f"{what} has no image for {architecture}; it has {', '.join(have) or 'none at all'}",
            hint="choose another architecture with -a, or another image",
        )
    return str(found[0]["digest"])


def _is_for(entry: Any, architecture: str) -> bool:
    platform = entry.get("platform", {}) if isinstance(entry, dict) else {}
    if not isinstance(platform, dict) or not DIGEST.fullmatch(str(entry.get("digest"))):
        return False
    wanted, variant = PLATFORMS.get(architecture, (architecture, ""))
    return (
        platform.get("os", "linux") == "linux"
        and platform.get("architecture") == wanted
        and platform.get("variant", variant) in ("", variant)
    )


def _platform(entry: Any) -> str:
    platform = entry.get("platform", {}) if isinstance(entry, dict) else {}
    if not isinstance(platform, dict):
        return "unknown/unknown"
    return f"{platform.get('os', 'unknown')}/{platform.get('architecture', 'unknown')}"
